"""Effects of one's own: any function, the clock, unique names, derived randomness."""

from __future__ import annotations

import asyncio
import os
import random as global_random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, SchemaMismatch, TracingError
from eventcore.history.scope import in_rollout, tracing


class Hit(ec.DataModel):
    """What a search finds."""

    title: str
    score: float = 0.0


class Row(msgspec.Struct):
    """A row of a table."""

    number: int


@pytest.fixture
def run(tmp_path: Path) -> Iterator[ec.Run]:
    with ec.open(tmp_path / "runs.lmdb") as store, store.run("effects", seed=3) as opened:
        yield opened


def kinds(run: ec.Run) -> list[str]:
    return [record.kind for record in run.events() if record.kind.startswith("Effect")]


def test_a_call_is_an_intent_before_and_an_outcome_after(run: ec.Run) -> None:
    durable_inside: list[bool] = []

    @ec.effect
    async def search(query: str, limit: int = 2) -> list[str]:
        started = list(run.events(kind="EffectStarted"))
        durable_inside.append(bool(started) and started[-1].seq <= run.durable)
        return [query] * limit

    assert asyncio.run(search("cats")) == ["cats", "cats"]
    assert durable_inside == [True]
    started, completed = (record for record in run.events() if record.kind.startswith("Effect"))
    assert started.event.request == {"query": "cats", "limit": 2}  # type: ignore[attr-defined]
    assert completed.event.answer == ["cats", "cats"]  # type: ignore[attr-defined]
    assert completed.event.cause == started.seq
    assert run.durable >= completed.seq


def test_a_plain_function_works_in_the_loop_in_threads_and_outside(run: ec.Run) -> None:
    @ec.effect
    def double(number: int) -> int:
        return number * 2

    async def go() -> list[int]:
        return [double(1), *await asyncio.gather(*(ec.to_thread(double, n) for n in range(2, 6)))]

    assert double(7) == 14
    assert asyncio.run(go()) == [2, 4, 6, 8, 10]
    assert run.cost().calls == 6


def test_what_comes_back_is_decoded_by_the_annotation(run: ec.Run) -> None:
    @ec.effect
    def model() -> Hit:
        return Hit(title="a", score=1)

    @ec.effect
    def struct() -> list[Row]:
        return [Row(1), Row(2)]

    @ec.effect
    def nothing() -> None:
        return None

    @ec.effect
    def bare():  # type: ignore[no-untyped-def]
        return (1, 2)

    assert model() == Hit(title="a", score=1.0)
    assert struct() == [Row(1), Row(2)]
    assert nothing() is None
    assert bare() == [1, 2]


def test_an_ignored_argument_is_no_part_of_the_request(run: ec.Run) -> None:
    @ec.effect(ignore=["client"], name="lookup")
    def look(key: str, client: Any) -> str:
        return f"{client} {key}"

    assert look("k", client=object)
    (started,) = run.events(kind="EffectStarted")
    assert (started.event.kind, started.event.request) == ("lookup", {"key": "k"})  # type: ignore[attr-defined]


def test_ignoring_an_argument_that_is_not_there_is_refused_when_decorating() -> None:
    with pytest.raises(InvalidValue, match="cannot ignore argument 'clint'"):

        @ec.effect(ignore=["clint"])
        def look(client: Any) -> None: ...


def test_an_error_is_recorded_and_raised(run: ec.Run) -> None:
    @ec.effect
    def fails() -> None:
        raise KeyError("gone, with sk-abcdefghijklmnop")

    with pytest.raises(KeyError, match="gone"):
        fails()
    (failed,) = run.events(kind="EffectFailed")
    assert failed.event.error == "KeyError"  # type: ignore[attr-defined]
    assert "sk-abcdefghijklmnop" not in failed.event.message  # type: ignore[attr-defined]


def test_a_result_json_cannot_hold_is_an_error_and_a_recorded_failure(run: ec.Run) -> None:
    @ec.effect
    def sets() -> Any:
        return {1, 2}

    with pytest.raises(SchemaMismatch, match="set of 2 items"):
        sets()
    assert kinds(run) == ["EffectStarted", "EffectFailed"]


def test_an_argument_json_cannot_hold_is_refused_before_anything_is_recorded(run: ec.Run) -> None:
    called: list[Any] = []

    @ec.effect
    def takes(value: Any) -> None:
        called.append(value)

    with pytest.raises(SchemaMismatch):
        takes({1})
    assert (called, kinds(run)) == ([], [])


def nested(outer: str, inner: str, called: list[str]) -> Any:
    """An effect that performs another one inside, each plain or async, as a function to be called."""

    @ec.effect(name="inner")
    def plain_inner() -> int:
        called.append("inner")
        return 1

    @ec.effect(name="inner")
    async def async_inner() -> int:
        return plain_inner()

    async def inside() -> int:
        called.append("outer")
        if inner == "plain in a thread":
            return await ec.to_thread(plain_inner)
        return plain_inner() if inner == "plain" else await asyncio.create_task(async_inner())

    @ec.effect(name="outer")
    def plain_outer() -> int:
        return asyncio.run(inside())

    async_outer = ec.effect(name="outer")(inside)
    return plain_outer if outer == "plain" else lambda: asyncio.run(async_outer())


@pytest.mark.parametrize("inner", ["plain", "plain in a thread", "async"])
@pytest.mark.parametrize("outer", ["plain", "async"])
def test_an_effect_inside_an_effect_is_refused_before_it_is_recorded_or_made(
    run: ec.Run, outer: str, inner: str
) -> None:
    called: list[str] = []
    with pytest.raises(
        InvalidValue, match=r"cannot perform effect 'inner' inside effect 'outer'.*call it outside"
    ):
        nested(outer, inner, called)()
    assert called == ["outer"]
    assert kinds(run) == ["EffectStarted", "EffectFailed"]


@pytest.mark.parametrize("outer", ["plain", "async"])
def test_after_an_effect_was_refused_inside_another_effects_go_on(run: ec.Run, outer: str) -> None:
    with pytest.raises(InvalidValue):
        nested(outer, "plain", [])()
    assert ec.uuid() != ec.uuid()
    assert kinds(run)[2:] == ["EffectStarted", "EffectCompleted"] * 2


def test_equal_requests_of_one_rollout_are_told_apart_by_their_ordinal(run: ec.Run) -> None:
    @ec.effect
    def ask(question: str) -> str:
        return question

    for rollout in ("r1", "r2"):
        with in_rollout(rollout):
            ask("x")
            ask("x")
    started = [record.event for record in run.events(kind="EffectStarted")]
    assert [(event.rollout, event.ordinal) for event in started] == [  # type: ignore[attr-defined]
        ("r1", 0),
        ("r1", 1),
        ("r2", 0),
        ("r2", 1),
    ]
    assert len({event.digest for event in started}) == 1  # type: ignore[attr-defined]


def test_an_effect_is_refused_while_a_graph_is_traced(run: ec.Run) -> None:
    @ec.effect
    def ask() -> str:
        return "x"

    with tracing(), pytest.raises(TracingError, match="while a graph is traced"):
        ask()
    assert kinds(run) == []


def test_the_clock_and_unique_names_are_effects(run: ec.Run) -> None:
    before = datetime.now(UTC)
    moment = ec.now()
    assert before <= moment <= datetime.now(UTC)
    assert len({ec.uuid() for _ in range(20)}) == 20
    answers = [record.event.answer for record in run.events(kind="EffectCompleted")]  # type: ignore[attr-defined]
    assert answers[0] == moment.isoformat()


def test_randomness_is_derived_from_the_run_the_purpose_and_the_rollout() -> None:
    def draw(seed: int) -> list[float]:
        with ec.open("memory:") as store, store.run("r", seed=seed):
            numbers = [ec.random("a").random(), ec.random("a").random(), ec.random("b").random()]
            with in_rollout("one"):
                numbers.append(ec.random("a").random())
            return numbers

    state = global_random.getstate()
    assert draw(1) == draw(1)
    assert len({*draw(1), *draw(2)}) == 8
    assert global_random.getstate() == state


def test_a_record_made_in_a_thread_belongs_to_its_rollout(run: ec.Run) -> None:
    class Skill(ec.Trainable):
        """Trained."""

    variable = ec.Variable(data_model=Skill, name="skill")
    seen: list[str] = []

    def work() -> None:
        seen.append(threading.current_thread().name)
        variable.get("current_predictions").append({"inputs": {}, "outputs": {}, "reward": None})

    async def go() -> None:
        with in_rollout("mine"):
            await ec.to_thread(work)

    asyncio.run(go())
    assert seen != [threading.current_thread().name]
    (appended,) = run.events(kind="PredictionAppended")
    assert appended.event.rollout == "mine"


def test_a_run_continued_in_another_process_goes_on_counting_equal_requests(tmp_path: Path) -> None:
    @ec.effect
    def ask(question: str) -> str:
        return question

    ordinals: list[int] = []
    for goes_on in (ec.Store.run, ec.Store.reopen):
        with ec.open(tmp_path / "again.lmdb") as store, goes_on(store, "r") as opened:
            ask("x")
            ordinals = [record.event.ordinal for record in opened.events(kind="EffectStarted")]  # type: ignore[attr-defined]
    assert ordinals == [0, 1]


def test_a_script_run_again_counts_equal_requests_anew_and_goes_on_after_the_logs_end(tmp_path: Path) -> None:
    made: list[str] = []

    @ec.effect
    def ask(question: str) -> str:
        made.append(question)
        return question

    for times, ordinals in ((2, [0, 1]), (2, [0, 1]), (3, [0, 1, 2])):
        with ec.open(tmp_path / "again.lmdb") as store, store.run("r", resume=True) as opened:
            assert [ask("x") for _ in range(times)] == ["x"] * times
            started = [record.event for record in opened.events(kind="EffectStarted")]
            assert [event.ordinal for event in started] == ordinals  # type: ignore[attr-defined]
            assert len(made) == times


class Refused(Exception):
    """Its text is made of what its own `__init__` sets."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"refused: {self.code}"


def failing(kind: str) -> object:
    """Fail in a way that is hard to make again."""
    if kind == "KeyError":
        return os.environ["NOT_SET_ANYWHERE"]
    if kind == "UnicodeDecodeError":
        return b"\xff".decode()
    if kind == "ExceptionGroup":
        raise ExceptionGroup("several", [ValueError("one"), ValueError("two")])
    if kind == "ValidationError":
        return pydantic.TypeAdapter(int).validate_python("no number")
    raise Refused(3)


@pytest.mark.parametrize(
    ("kind", "caught"),
    [
        ("KeyError", KeyError),
        ("UnicodeDecodeError", UnicodeDecodeError),
        ("ValidationError", ValueError),
        ("Refused", Refused),
        ("ExceptionGroup", Exception),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
def test_code_that_is_run_again_catches_the_same_error_saying_the_same(
    tmp_path: Path, kind: str, caught: type[Exception], plain: bool
) -> None:
    made: list[str] = []

    @ec.effect(name="fail")
    def fail_now() -> object:
        made.append(kind)
        return failing(kind)

    @ec.effect(name="fail")
    async def fail() -> object:
        made.append(kind)
        return failing(kind)

    said: list[str] = []
    for _ in range(3):
        with ec.open(tmp_path / "again.lmdb") as store, store.run("r", resume=True):
            with pytest.raises(caught) as raised:
                fail_now() if plain else asyncio.run(asyncio.wait_for(fail(), 30))
            said.append(str(raised.value))
    assert (made, len(set(said))) == ([kind], 1)


def test_a_builtin_whose_arguments_nobody_knows_is_refused_with_a_way_out() -> None:
    with pytest.raises(InvalidValue, match=r"cannot make max an effect: .*wrap it in a function of your own"):
        ec.effect(max)
