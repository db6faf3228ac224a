"""The scripted language model: answers, latencies and failures, in the log like those of any model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.saving import deserialize_object, serialize_object
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
def test_it_survives_its_config_and_refuses_a_script_that_cannot_be() -> None:
    model = FakeLanguageModel({"a": "b"}, failures=[3], name="scripted")
    again: Any = deserialize_object(serialize_object(model))
    assert again.get_config() == model.get_config()
    assert ask(again, "a").get("content") == "b"
    with pytest.raises(InvalidValue, match="pass a list, a dict, a function or None"):
        FakeLanguageModel("text")
