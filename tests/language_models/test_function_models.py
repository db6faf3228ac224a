"""`LanguageModel(function=f)` and `EmbeddingModel(function=f)`: models that are ordinary functions."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from typing import Any

import pytest

import eventcore as ec
from eventcore.history.scope import in_rollout
from eventcore.language_models import EmbeddingModel, Generator, LanguageModel, Response
from tests.language_models.samples import Label, Text, effects, kinds, one_warning

wait = ec.wait


def test_a_plain_function_answers_and_litellm_is_never_imported() -> None:
    code = (
        "import sys, eventcore as ec\n"
        "from eventcore.language_models import LanguageModel, Generator, EmbeddingModel\n"
        "ec.open('memory:').run('r')\n"
        "lm = LanguageModel(function=lambda messages: messages[-1]['content'].upper())\n"
        "print(ec.wait(lm('hi')).get('content'))\n"
        "ec.wait(EmbeddingModel(function=lambda texts: [[1.0] for _ in texts])('x'))\n"
        "print([n for n in ('litellm', 'jinja2', 'openai') if n in sys.modules])"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["HI", "[]"]


def test_an_async_function_answers() -> None:
    async def f(messages: list[Any]) -> str:
        await asyncio.sleep(0)
        return "later"

    assert wait(LanguageModel(function=f)("x")).get("content") == "later"


@pytest.mark.parametrize(
    "answer",
    [
        {"label": "a"},
        Label(label="a"),
        '{"label": "a"}',
        Response(json={"label": "a"}),
        Response(content='{"label": "a"}'),
    ],
    ids=["dict", "data model", "text", "response", "response with text"],
)
def test_with_a_schema_a_function_may_answer_in_any_form(answer: Any) -> None:
    result = wait(LanguageModel(function=lambda messages: answer)("x", schema=Label))
    assert result.get_json() == {"label": "a", "sure": True, "note": None}


def test_a_function_is_given_what_it_takes() -> None:
    seen: list[dict[str, Any]] = []

    def few(messages: list[Any], temperature: float | None = None) -> str:
        seen.append({"temperature": temperature})
        return '{"label": "x"}'

    def all_of_it(messages: list[Any], **kwargs: Any) -> str:
        seen.append(kwargs)
        return '{"label": "x"}'

    wait(LanguageModel(function=few)("x", schema=Label, temperature=0.1, top_p=0.5))
    wait(LanguageModel(function=all_of_it, seed=3)("x", schema=Label, temperature=0.1))
    assert seen == [{"temperature": 0.1}, {"temperature": 0.1, "seed": 3, "schema": Label.get_schema()}]


def test_a_function_may_say_what_its_answer_cost(run: ec.Run) -> None:
    answer = Response(content="x", model="tiny", input_tokens=3, output_tokens=2, cost=0.5)
    wait(LanguageModel(function=lambda messages: answer)("x"))
    completed = effects(run)[1]
    assert (completed.model, completed.input_tokens, completed.output_tokens, completed.cost) == (
        "tiny",
        3,
        2,
        0.5,
    )


def test_an_unusable_answer_is_asked_for_again_at_once(run: ec.Run) -> None:
    answers = ["no", '{"label": 1}', '{"label": "x"}']
    began = time.monotonic()
    model = LanguageModel(function=lambda messages: answers.pop(0), retry_max_wait=60)
    assert wait(model("x", schema=Label)).get("label") == "x"
    assert time.monotonic() - began < 0.4
    assert effects(run)[1].attempts == 3


def test_a_function_that_never_gives_a_usable_answer_ends_in_none(run: ec.Run) -> None:
    with one_warning("after 3 attempts"):
        assert wait(LanguageModel(function=lambda messages: "no", retry=2)("x", schema=Label)) is None
    assert kinds(run) == ["Started", "Failed"]
    assert (effects(run)[1].error, effects(run)[1].attempts) == ("SchemaMismatch", 3)


def test_a_mistake_in_a_function_is_not_repeated(run: ec.Run) -> None:
    calls: list[int] = []

    def broken(messages: list[Any]) -> str:
        calls.append(1)
        raise KeyError("typo")

    with one_warning("KeyError at the first attempt: 'typo' (test_function_models.py:"):
        assert wait(LanguageModel(function=broken)("x")) is None
    assert len(calls) == 1
    assert effects(run)[1].error == "KeyError"


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError("no route")])
def test_trouble_with_the_network_in_a_function_is_tried_again(error: Exception) -> None:
    outcomes: list[Any] = [error, "x"]

    def flaky(messages: list[Any]) -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    assert wait(LanguageModel(function=flaky, retry_max_wait=0)("x")).get("content") == "x"


def test_what_is_no_answer_at_all_is_an_error_of_the_caller() -> None:
    with pytest.raises(ec.errors.WrongType, match=r"cannot use 3 .* as the answer"):
        wait(LanguageModel(function=lambda messages: 3)("x"))


def test_an_async_function_that_never_answers_is_given_up(run: ec.Run) -> None:
    async def forever(messages: list[Any]) -> str:
        await asyncio.Event().wait()
        return ""

    with one_warning("Timeout after 2 attempts: no answer within 0.05 s"):
        assert wait(LanguageModel(function=forever, timeout=0.05, retry=1, retry_max_wait=0)("x")) is None
    assert effects(run)[1].error == "Timeout"


def test_a_plain_function_that_never_answers_is_given_up_in_a_thread() -> None:
    release = threading.Event()

    def forever(messages: list[Any]) -> str:
        release.wait(30)
        return ""

    async def main() -> Any:
        try:
            return await LanguageModel(function=forever, threaded=True, timeout=0.05, retry=0)("x")
        finally:
            release.set()

    with one_warning("Timeout"):
        assert wait(main()) is None


@pytest.mark.parametrize("threaded", [False, True])
def test_context_variables_reach_the_function(threaded: bool, run: ec.Run) -> None:
    place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")
    seen: list[tuple[str, bool]] = []

    def f(messages: list[Any]) -> str:
        seen.append((place.get(), threading.current_thread() is threading.main_thread()))
        return "x"

    async def main() -> None:
        place.set("here")
        with in_rollout("training:0/abc/0"):
            await LanguageModel(function=f, threaded=threaded)("x")

    wait(main())
    assert seen == [("here", not threaded)]
    assert {event.rollout for event in effects(run)} == {"training:0/abc/0"}


def test_a_function_stands_for_a_model_wherever_one_is_taken() -> None:
    generator = Generator(data_model=Label, language_model=lambda messages: {"label": "f"})
    assert wait(generator(Text(text="x"))).get("label") == "f"


def test_the_fallback_of_a_function_may_be_a_function() -> None:
    def broken(messages: list[Any]) -> str:
        raise ValueError("no")

    model = LanguageModel(function=broken, fallback=lambda messages: "second")
    with one_warning("asking '<lambda>'"):
        assert wait(model("x")).get("content") == "second"


def test_equal_questions_of_one_rollout_are_told_apart_by_their_ordinal(run: ec.Run) -> None:
    model = LanguageModel(function=lambda messages: "x")

    async def main() -> None:
        with in_rollout("training:0/abc/0"):
            await asyncio.gather(*(model("same") for _ in range(3)))

    wait(main())
    started = [event for event in effects(run) if type(event).__name__ == "EffectStarted"]
    assert len({event.digest for event in started}) == 1
    assert sorted(event.ordinal for event in started) == [0, 1, 2]


@pytest.mark.parametrize("rows", [[[1, 2.5]], ([1, 2.5],)])
def test_a_function_embeds(rows: Any) -> None:
    answer = wait(EmbeddingModel(function=lambda texts: rows)("one"))
    assert answer.get_json() == {"embeddings": [[1.0, 2.5]]}


@pytest.mark.parametrize("rows", [None, [], [[1.0], [2.0]], [[]], [["a"]], 3, [None]])
def test_embeddings_of_the_wrong_shape_are_refused(rows: Any, run: ec.Run) -> None:
    with one_warning("cannot use the embeddings"):
        assert wait(EmbeddingModel(function=lambda texts: rows, retry=1)("one")) is None
    assert effects(run)[1].error == "SchemaMismatch"
