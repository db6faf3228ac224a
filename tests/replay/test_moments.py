"""Sleeps, timeouts and threads are moments of a run: recorded, free, and over at once when the run is resumed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history.scope import tracing

Program = Callable[[], Coroutine[Any, Any, Any]]


class Count(ec.DataModel):
    """How often something was done."""

    count: int = 0


def run_once(place: Path, program: Program) -> tuple[Any, str, int]:
    """Run a program in the run of a store, resumed if it is there; its result, the digest and the head."""
    with ec.open(place / "runs.lmdb") as store, store.run("r", seed=1, resume=True) as run:
        result = asyncio.run(program())
        return result, run.state.digest, run.head


def twice(place: Path, program: Program) -> Any:
    """Run a program and run it again over its log: both must be the same. Return the result."""
    first = run_once(place, program)
    assert run_once(place, program) == first
    return first[0]


def kinds(place: Path) -> list[str]:
    with ec.open(place / "runs.lmdb") as store:
        return [record.kind for record in store["r"].events() if record.kind.startswith("Effect")]


def test_a_sleep_takes_its_time_once(tmp_path: Path) -> None:
    async def program() -> None:
        await ec.sleep(0.3)

    began = time.monotonic()
    run_once(tmp_path, program)
    lived = time.monotonic() - began
    assert lived >= 0.3
    began = time.monotonic()
    run_once(tmp_path, program)
    assert time.monotonic() - began < 0.25
    assert kinds(tmp_path) == ["EffectStarted", "EffectCompleted"]


def test_a_timeout_that_expires_expires_at_the_same_point_again(tmp_path: Path) -> None:
    calls: list[str] = []

    @ec.effect
    async def slow(name: str) -> str:
        calls.append(name)
        await asyncio.sleep(30)
        return name

    async def program() -> str:
        limit = ec.timeout(0.05)
        try:
            async with limit:
                await slow("a")
        except TimeoutError:
            return f"expired {limit.expired()}"
        return "answered"

    assert twice(tmp_path, program) == "expired True"
    assert calls == ["a"]


def test_a_block_left_in_time_ends_its_timeout(tmp_path: Path) -> None:
    @ec.effect
    async def quick() -> int:
        return 1

    async def program() -> tuple[int, bool]:
        async with ec.timeout(60) as limit:
            answer = await quick()
        return answer, limit.expired()

    assert twice(tmp_path, program) == (1, False)
    with ec.open(tmp_path / "runs.lmdb") as store:
        ended = [record.event for record in store["r"].events(kind="EffectFailed")]
    assert [(event.error, event.attempts) for event in ended if isinstance(event, e.EffectFailed)] == [
        ("CancelledError", 0)
    ]


def test_timeouts_nest_and_an_outer_cancellation_is_none_of_theirs(tmp_path: Path) -> None:
    async def program() -> list[str]:
        seen: list[str] = []
        try:
            async with ec.timeout(0.02):
                try:
                    async with ec.timeout(30):
                        await ec.sleep(30)
                except TimeoutError:
                    seen.append("inner")
        except TimeoutError:
            seen.append("outer")

        async def limited() -> None:
            async with ec.timeout(30):
                await ec.sleep(30)

        task = asyncio.create_task(limited())
        await ec.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        seen.append(f"cancelled {task.cancelled()}")
        async with ec.timeout(None) as without:
            seen.append(f"without {without.expired()}")
        return seen

    assert twice(tmp_path, program) == ["outer", "cancelled True", "without False"]


def test_an_error_of_the_block_goes_through_a_timeout(tmp_path: Path) -> None:
    async def program() -> str:
        try:
            async with ec.timeout(30):
                raise KeyError("own")
        except KeyError as error:
            return str(error)

    assert twice(tmp_path, program) == "'own'"


def test_a_thread_runs_again_and_its_result_is_its_own(tmp_path: Path) -> None:
    threads: list[str] = []

    def work(number: int, add: int = 0) -> object:
        threads.append(threading.current_thread().name)
        if number == 3:
            raise LookupError("three")
        return {number + add}  # no JSON value: it does not go through the log

    async def program() -> list[Any]:
        return await asyncio.gather(*(ec.to_thread(work, n, add=1) for n in range(5)), return_exceptions=True)

    first, again = run_once(tmp_path, program), run_once(tmp_path, program)
    for results, *_ in (first, again):
        assert [*results[:3], results[4]] == [{1}, {2}, {3}, {5}]
        assert isinstance(results[3], LookupError)
    assert first[1:] == again[1:]
    assert len(threads) == 10 and threading.current_thread().name not in threads


def test_moments_cost_nothing_and_need_no_budget(tmp_path: Path) -> None:
    async def program() -> int:
        await ec.sleep(0)
        async with ec.timeout(10):
            pass
        return await ec.to_thread(int, "7")

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", budget={"calls": 0}) as run:
        assert asyncio.run(program()) == 7
        assert (run.cost().calls, run.cost().latency) == (0, 0)
        assert run.in_doubt() == []


def test_a_fork_sleeps_for_itself(tmp_path: Path) -> None:
    @ec.effect
    async def ask() -> int:
        return 1

    async def program() -> None:
        await ec.sleep(0)
        await ask()

    with ec.open(tmp_path / "runs.lmdb") as store:
        with store.run("r") as run:
            at = run.head
            asyncio.run(program())
        with run.fork("f", at=at) as fork:
            asyncio.run(program())
            kinds = [record.kind for record in fork.events(at + 1) if record.kind.startswith("Effect")]
    assert kinds == ["EffectStarted", "EffectCompleted", "EffectStarted", "EffectReused"]


def test_inside_the_call_of_an_effect_they_are_those_of_asyncio(tmp_path: Path) -> None:
    @ec.effect
    async def patient() -> list[Any]:
        await ec.sleep(0.001)
        limit = ec.timeout(0.001)
        try:
            async with limit:
                await ec.sleep(30)
        except TimeoutError:
            pass
        return [limit.expired(), await ec.to_thread(int, "3")]

    assert twice(tmp_path, patient) == [True, 3]
    assert kinds(tmp_path) == ["EffectStarted", "EffectCompleted"]


def test_while_a_graph_is_traced_nobody_sleeps_and_nothing_is_recorded(tmp_path: Path) -> None:
    async def program() -> int:
        with tracing():
            await ec.sleep(60)
            async with ec.timeout(0):
                return await ec.to_thread(int, "3")

    assert run_once(tmp_path, program)[0] == 3
    assert kinds(tmp_path) == []


@pytest.mark.parametrize("seconds", ["1", None, True, float("nan")])
def test_a_sleep_of_no_number_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidValue, match="pass a number"):
        asyncio.run(ec.sleep(seconds))


def test_the_names_of_moments_are_taken() -> None:
    with pytest.raises(InvalidValue, match="cannot call an effect 'sleep'"):

        @ec.effect(name="sleep")
        def nap() -> None: ...


def test_a_timeout_is_entered_once(tmp_path: Path) -> None:
    async def program() -> None:
        limit = ec.timeout(5)
        async with limit:
            pass
        with pytest.raises(InvalidValue, match="cannot enter a timeout twice"):
            async with limit:
                pass

    twice(tmp_path, program)


def test_a_thread_reads_in_its_turn_when_a_new_line_of_code_is_recorded_before_it(tmp_path: Path) -> None:
    async def program(run: ec.Run) -> None:
        board = ec.Variable(data_model=Count, name="board")
        replaying: Any = run.replaying
        noted, asked = threading.Event(), threading.Event()

        def note() -> None:
            board.update({"count": board.get("count") + 1})

        def work() -> None:
            if replaying is None:
                note()
                noted.set()
                asked.wait()
                note()
                return
            while not replaying._threads.waiting:  # until the loop's thread has come to what it asks for
                asked.wait(0.001)
            with run.lock:  # that thread cannot go on before this one wants to read
                note()
                note()

        async def pause() -> None:
            await ec.sleep(0)

        working = asyncio.ensure_future(ec.to_thread(work))
        if replaying is None:
            await asyncio.get_running_loop().run_in_executor(None, noted.wait)
        await asyncio.sleep(0)
        sleeping = asyncio.ensure_future(pause())
        await asyncio.sleep(0)
        asked.set()
        await asyncio.gather(working, sleeping)

    def once() -> tuple[str, int, Any]:
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", seed=1, resume=True) as run:
            again: Any = run.replaying
            asyncio.run(program(run))
            missed = None if again is None else (again.added_reads, again.missing_reads)
            return run.state.digest, run.head, missed

    first = once()
    with ec.open(tmp_path / "runs.lmdb") as store:
        recorded = [event.kind for event in store["r"].events()]
    updated = recorded.index("VariableUpdated")
    assert recorded[updated + 1 : updated + 3] == ["SourceSeen", "EffectStarted"]
    assert once() == (*first[:2], (0, 0))
