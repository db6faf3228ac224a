"""The scripted language model: answers, latencies and failures, in the log like those of any model."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import msgspec
import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, UnknownClass
from eventcore.saving import deserialize_object, register_serializable, serialize_object
from eventcore.testing import FakeLanguageModel


class Label(ec.DataModel):
    label: str
    score: int = ec.Field(default=0, ge=0, le=5)


def ask(model: Any, text: str, **options: Any) -> Any:
    return ec.wait(model(text, **options))


def test_a_list_of_answers_is_given_in_order_and_each_call_is_kept(eventcore_run: ec.Run) -> None:
    model = FakeLanguageModel(["one", {"label": "two"}])
    assert ask(model, "first").get("content") == "one"
    assert ask(model, "second", schema=Label).get_json() == {"label": "two", "score": 0}
    assert [messages[-1]["content"] for messages in model.calls] == ["first", "second"]
    kinds = [type(record.event).__name__ for record in eventcore_run.events()]
    assert kinds.count("EffectCompleted") == 2


@pytest.mark.usefixtures("eventcore_run")
def test_answers_by_what_is_asked_do_not_depend_on_the_order() -> None:
    model = FakeLanguageModel({"red": "warm", "blue": "cold"})

    async def both() -> list[Any]:
        return [answer.get("content") for answer in await asyncio.gather(model("so blue"), model("so red"))]

    assert ec.wait(both()) == ["cold", "warm"]


@pytest.mark.usefixtures("eventcore_run")
def test_made_up_answers_fit_the_schema_and_are_the_same_for_the_same_question() -> None:
    model = FakeLanguageModel()
    first = ask(model, "question", schema=Label).get_json()
    assert (
        first
        == ask(model, "question", schema=Label).get_json()
        != ask(model, "other", schema=Label).get_json()
    )
    assert Label(**first).get_json() == first


def test_a_scripted_failure_is_a_failed_effect_and_the_answer_is_none(eventcore_run: ec.Run) -> None:
    model = FakeLanguageModel(["fine"], failures={0})
    with pytest.warns(UserWarning, match="call 0 fails"):
        assert ask(model, "question") is None
    failed = [record.event for record in eventcore_run.events(kind="EffectFailed")]
    assert [getattr(event, "error", "") for event in failed] == ["ScriptedFailure"]


def test_a_scripted_failure_is_retried_like_any_trouble_with_a_connection(eventcore_run: ec.Run) -> None:
    model = FakeLanguageModel(["fine"], failures=[0, 1], retry=2)
    assert ask(model, "question").get("content") == "fine"
    assert len(model.calls) == 3
    (done,) = [record.event for record in eventcore_run.events(kind="EffectCompleted")]
    assert getattr(done, "attempts", 0) == 3
    again = FakeLanguageModel(["fine"], failures=[0, 1], retry=1)
    with pytest.warns(UserWarning, match="after 2 attempts: the script says that call 1 fails"):
        assert ask(again, "question") is None


@pytest.mark.usefixtures("eventcore_run")
def test_answers_may_be_awaited_be_exceptions_or_data_models() -> None:
    async def slowly(messages: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"label": messages[-1]["content"]}

    assert ask(FakeLanguageModel(slowly), "yes", schema=Label).get("label") == "yes"
    model = FakeLanguageModel([TimeoutError, OSError("cut"), Label(label="no")], retry=2)
    assert ask(without_waits(model), "which", schema=Label).get("label") == "no"


def without_waits(model: FakeLanguageModel) -> FakeLanguageModel:
    """Between two attempts at what a server refused there is a wait, of which these tests want none."""
    connection = model._connection
    patience = msgspec.structs.replace(connection.patience, max_wait=0.0)
    model._connection = msgspec.structs.replace(connection, patience=patience)
    return model


class Branch(ec.DataModel):
    name: str
    left: list[Branch]
    right: list[Branch]
    above: Branch | None = None


ENDLESS = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}},
    "required": ["next"],
}


@pytest.mark.usefixtures("eventcore_run")
def test_an_answer_of_a_model_that_contains_itself_ends() -> None:
    model = FakeLanguageModel()
    for number in range(30):
        answer = ask(model, f"question {number}", schema=Branch)
        assert Branch(**answer.get_json()).name.startswith("name")
    with pytest.raises(InvalidValue, match="no value fits this schema"):
        ask(model, "without end", schema=ENDLESS)


STRICT = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "pattern": r"^[A-Z]{2}-\d{3}$"},
        "short": {"type": "string", "minLength": 2, "maxLength": 3},
        "step": {"type": "integer", "minimum": 5, "maximum": 30, "multipleOf": 4},
        "part": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
        "kinds": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 2},
    },
    "required": ["code", "short", "step", "part", "kinds"],
}


@pytest.mark.usefixtures("eventcore_run")
def test_made_up_answers_keep_patterns_bounds_and_lengths() -> None:
    for number in range(20):
        answer = ask(FakeLanguageModel(), f"question {number}", schema=STRICT).get_json()
        assert re.fullmatch("[A-Z]{2}-[0-9]{3}", answer["code"])
        assert 2 <= len(answer["short"]) <= 3 and answer["step"] in range(8, 31, 4)
        assert 0 < answer["part"] < 0.5 and len(answer["kinds"]) == 2


@pytest.mark.usefixtures("eventcore_run")
def test_keys_of_a_dict_are_found_as_they_stand_in_the_message() -> None:
    model = FakeLanguageModel({'he said "hi"\n': "quoted", "é": "accent"})
    assert ask(model, 'and he said "hi"\nagain').get("content") == "quoted"
    assert ask(model, "café").get("content") == "accent"
    with pytest.warns(UserWarning, match='no answer to "other"; its keys are'):
        assert ask(model, "other") is None


@pytest.mark.usefixtures("eventcore_run")
def test_a_list_belongs_to_the_object_and_says_so() -> None:
    model = FakeLanguageModel(["one"])
    assert model.counts_calls and FakeLanguageModel(failures=[1]).counts_calls
    assert not any(FakeLanguageModel(script).counts_calls for script in (None, {"a": "b"}, lambda said: "x"))
    assert ask(model, "q").get("content") == "one"
    with pytest.warns(UserWarning, match="a dict or a function, which are not used up"):
        assert ask(model, "q") is None
    loaded: Any = deserialize_object(serialize_object(model))
    assert ask(loaded, "q").get("content") == "one"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"answers": 5}, "cannot answer from 5"),
        ({"answers": iter(["a"])}, "cannot answer from"),
        ({"answers": ["a", 5]}, "cannot answer with 5"),
        ({"answers": {"a": None}}, "cannot answer with None"),
        ({"answers": {1: "a"}}, "cannot look for 1"),
        ({"latency": []}, r"cannot answer after \[\] s"),
        ({"latency": -1}, "cannot answer after -1 s"),
        ({"latency": [0.1, -1]}, "cannot answer after"),
        ({"latency": float("nan")}, "cannot answer after nan s"),
        ({"latency": "fast"}, "cannot answer after 'fast' s"),
        ({"latency": True}, "cannot answer after True s"),
        ({"failures": 0}, "cannot fail at the calls 0: pass their numbers in a list"),
        ({"failures": [-1]}, "cannot fail at the calls"),
        ({"failures": "0"}, "cannot fail at the calls"),
        ({"failures": [True]}, "cannot fail at the calls"),
        ({"failures": None}, "cannot fail at the calls None"),
        ({"retry": -1}, "cannot retry -1 times"),
    ],
)
def test_a_script_that_cannot_be_is_refused_when_it_is_made(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        FakeLanguageModel(**arguments)


@pytest.mark.usefixtures("eventcore_run")
def test_latency_decides_who_is_answered_first() -> None:
    model = FakeLanguageModel(
        {"slow": "s", "quick": "q"}, latency=lambda said: 0.05 if "slow" in str(said) else 0.0
    )
    order: list[str] = []

    async def one(text: str) -> None:
        await model(text)
        order.append(text)

    async def both() -> None:
        await asyncio.gather(one("slow"), one("quick"))

    ec.wait(both())
    assert order == ["quick", "slow"]


@pytest.mark.usefixtures("eventcore_run")
def test_answers_of_a_list_go_to_who_asked_first_however_late_they_are() -> None:
    model = FakeLanguageModel(["one", "two", "three"], latency=[0.05, 0.0, 0.02, 0.0], failures=[1])

    async def all_at_once() -> list[Any]:
        answers = await asyncio.gather(*[model(text) for text in "abcd"])
        return [answer and answer.get("content") for answer in answers]

    with pytest.warns(UserWarning, match="gave no answer"):
        assert ec.wait(all_at_once()) == ["one", None, "two", "three"]


@pytest.mark.usefixtures("eventcore_run")
def test_it_survives_its_config_and_refuses_a_script_that_cannot_be() -> None:
    model = FakeLanguageModel({"a": "b"}, failures=[3], name="scripted")
    again: Any = deserialize_object(serialize_object(model))
    assert again.get_config() == model.get_config()
    assert ask(again, "a").get("content") == "b"
    with pytest.raises(InvalidValue, match="pass a list, a dict, a function or None"):
        FakeLanguageModel("text")


def saying(word: str) -> FakeLanguageModel:
    return FakeLanguageModel(
        lambda messages: f"{word}, {messages[-1]['content']}", latency=lambda messages: 0.0
    )


def by_its_name(messages: list[dict[str, Any]]) -> str:
    return "a function of the module"


def test_a_model_with_functions_of_a_test_is_made_again_in_the_same_process() -> None:
    one, other = saying("yes"), saying("no")
    saved = [json.loads(json.dumps(serialize_object(model))) for model in (one, other, saying("yes"))]
    assert saved[0]["config"] == {**saved[2]["config"], "name": one.name}
    assert [ask(deserialize_object(each), "you").get("content") for each in saved] == [
        "yes, you",
        "no, you",
        "yes, you",
    ]
    named: Any = deserialize_object(
        serialize_object(FakeLanguageModel(by_its_name, failures=lambda said: False))
    )
    assert ask(named, "you").get("content") == "a function of the module"
    assert deserialize_object(serialize_object(named)).get_config() == named.get_config()


def test_two_functions_in_one_line_are_told_apart() -> None:
    models = [FakeLanguageModel(lambda said: "one"), FakeLanguageModel(lambda said: "two")]
    again: list[Any] = [deserialize_object(serialize_object(model)) for model in models]
    assert [ask(model, "?").get("content") for model in again] == ["one", "two"]


def test_a_function_no_other_is_like_cannot_be_saved() -> None:
    heard: list[Any] = []
    count = 0

    def counting(messages: list[dict[str, Any]]) -> str:
        nonlocal count
        count += 1
        return str(count)

    def kept(messages: list[dict[str, Any]], before: list[Any] = []) -> str:  # noqa: B006 - what is refused
        return f"{len(before)}"

    def hearing(messages: list[dict[str, Any]]) -> str:
        heard.append(messages)
        return "heard"

    for function in (counting, kept, hearing, heard.__len__):
        with pytest.raises(InvalidValue, match="register_serializable"):
            serialize_object(FakeLanguageModel(function))


def test_a_registered_function_is_saved_by_the_name_any_process_finds() -> None:
    @register_serializable("test_fake_model")
    def answering(messages: list[dict[str, Any]]) -> str:
        return "registered"

    written = serialize_object(FakeLanguageModel(answering))
    assert "functions" not in written["config"]
    assert ask(deserialize_object(written), "?").get("content") == "registered"


def test_a_function_this_process_was_never_given_is_not_looked_for() -> None:
    written = serialize_object(saying("yes"))
    written["config"]["functions"]["answers"] = "os.system"
    with pytest.raises(
        UnknownClass, match=r"answers by os\.system: no FakeLanguageModel of this process was given"
    ):
        deserialize_object(written)
