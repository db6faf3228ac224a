"""Programs that do what cannot be replayed, or what one would rather not: each is told so, and none hangs."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import BudgetExceeded, BusyTask, Diverged, InvalidValue, SchemaMismatch
from eventcore.history.scope import process_scope
from tests.replay.patterns import PATTERNS, World, is_answered


class Notes(ec.DataModel):
    """What is written."""

    text: str = ""
    many: list[str] = ec.Field(default_factory=list)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[ec.Run]:
    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bad", seed=3) as opened:
        yield opened


@ec.effect
async def ask(question: str) -> str:
    """An effect like any other."""
    await asyncio.sleep(0.001)
    return question.upper()


@ec.effect
def double(number: int) -> int:
    """A plain one."""
    return number * 2


async def spins() -> None:
    """A task that never waits."""
    while True:  # noqa: ASYNC110
        await asyncio.sleep(0)


# --- tasks that never block ------------------------------------------------------------------------


def test_a_task_that_never_blocks_is_named(run: ec.Run) -> None:
    async def main() -> None:
        spinning = asyncio.create_task(spins(), name="polls the weather")
        try:
            await ask("is anybody there?")
        finally:
            spinning.cancel()

    with pytest.raises(BusyTask, match=r"'polls the weather' \(spins\) has kept itself ready") as caught:
        asyncio.run(main())
    assert "ec.sleep()" in str(caught.value)
    started, completed = (record.kind for record in run.events() if record.kind.startswith("Effect"))
    assert (started, completed) == ("EffectStarted", "EffectCompleted")


def test_a_task_that_never_blocks_is_named_when_the_run_is_resumed(tmp_path: Path) -> None:
    async def main(busy: bool) -> None:
        spinning = asyncio.create_task(spins(), name="polls") if busy else None
        try:
            await ask("is anybody there?")
        finally:
            if spinning is not None:
                spinning.cancel()

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bad"):
        asyncio.run(main(False))
    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bad", resume=True):  # noqa: SIM117
        with pytest.raises(BusyTask, match="'polls'"):
            asyncio.run(main(True))


# --- threads ---------------------------------------------------------------------------------------


def threaded(kind: str) -> Callable[[], Any]:
    async def in_plain_threads() -> list[int]:
        return list(await asyncio.gather(*(asyncio.to_thread(double, number) for number in range(8))))

    def in_a_pool() -> list[int]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(double, range(8)))

    return in_a_pool if kind == "pool" else lambda: asyncio.run(in_plain_threads())


@pytest.mark.parametrize("kind", ["to_thread", "pool"])
def test_plain_effects_in_threads_of_ones_own_are_answered_again(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_scope, "run", None)
    found: list[Any] = []
    for _ in range(2):
        with ec.open(tmp_path / "runs.lmdb") as store:
            run = store.run("r", resume=True)  # of the whole process: a pool's threads know no other
            answers = threaded(kind)()
            run.flush()
            found.append((answers, run.head, run.state.digest, len(list(run.events(kind="EffectStarted")))))
    assert found[0] == found[1]
    assert found[0][0] == [number * 2 for number in range(8)] and found[0][3] == 8


# --- effects that are no good ----------------------------------------------------------------------


def test_an_effect_inside_an_effect_is_refused_by_name(run: ec.Run) -> None:
    @ec.effect
    async def outer() -> str:
        return await ask("inside")

    @ec.effect
    def plain() -> int:
        return double(2)

    with pytest.raises(InvalidValue, match=r"cannot perform effect 'ask' inside effect .*outer"):
        asyncio.run(outer())
    with pytest.raises(InvalidValue, match=r"cannot perform effect 'double' inside effect .*plain"):
        plain()
    kinds = [record.kind for record in run.events() if record.kind.startswith("Effect")]
    assert kinds == ["EffectStarted", "EffectFailed"] * 2


@pytest.mark.parametrize("answer", [{1, 2}, object(), b"bytes", float("nan"), {1: 2}, "\ud800"])
def test_an_answer_json_cannot_hold_is_an_error_also_when_resumed(tmp_path: Path, answer: Any) -> None:
    calls: list[Any] = []

    @ec.effect(name="odd")
    async def odd() -> Any:
        calls.append(answer)
        return answer

    errors: list[str] = []
    for _ in range(2):
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True):
            with pytest.raises(SchemaMismatch) as caught:
                asyncio.run(odd())
            errors.append(str(caught.value))
    assert len(calls) == 1
    assert errors[0] == errors[1] and "odd" in errors[0]


def test_an_effect_outside_any_run_goes_to_one_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_scope, "run", None)
    assert asyncio.run(ask("anybody?")) == "ANYBODY?"
    assert double(2) == 4
    kept: Any = process_scope.run
    assert [record.kind for record in kept.events() if record.kind.startswith("Effect")] == [
        "EffectStarted",
        "EffectCompleted",
    ] * 2


def test_a_budget_of_nothing_refuses_the_first_call_and_is_resumable(tmp_path: Path) -> None:
    async def main() -> str:
        await ec.sleep(0)
        return await ask("how much?")

    for budget, answer in ((0, None), (0, None), (1, "HOW MUCH?"), (1, "HOW MUCH?")):
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True, budget=budget) as run:
            if answer is None:
                with pytest.raises(BudgetExceeded):
                    asyncio.run(main())
            else:
                assert asyncio.run(main()) == answer
            assert run.cost().calls == (answer is not None)


# --- writes inside the call of an effect -----------------------------------------------------------


def writes() -> dict[str, Callable[[ec.Variable, Any], Any]]:
    return {
        "update": lambda notes, held: notes.update({"text": "lost"}),
        "update a list": lambda notes, held: notes.update({"many": ["lost"]}),
        "assign": lambda notes, held: notes.assign({"text": "lost"}),
        "append": lambda notes, held: notes.get("many").append("lost"),
        "held": lambda notes, held: held.append("lost"),
        "create": lambda notes, held: ec.Variable(data_model=Notes, name="inside"),
    }


@pytest.mark.parametrize("way", writes())
@pytest.mark.parametrize("kind", ["async", "plain", "thread"])
def test_a_write_inside_the_call_of_an_effect_is_refused(run: ec.Run, way: str, kind: str) -> None:
    notes = ec.Variable(data_model=Notes, name="notes")
    held = notes.get("many")

    @ec.effect(name="scribbles")
    async def scribbles() -> None:
        if kind == "thread":
            await ec.to_thread(writes()[way], notes, held)
        else:
            writes()[way](notes, held)

    @ec.effect(name="scribbles")
    def scribbles_now() -> None:
        writes()[way](notes, held)

    before = notes.get_json()
    with pytest.raises(InvalidValue, match=r"inside effect 'scribbles'.*write it where the effect is called"):
        if kind == "plain":
            scribbles_now()
        else:
            asyncio.run(scribbles())
    assert notes.get_json() == before
    assert "inside" not in run.state.variables
    notes.update({"text": "kept"})
    assert notes.get("text") == "kept"


def test_what_an_effect_reads_does_not_move_to_its_run(tmp_path: Path) -> None:
    notes = ec.Variable({"text": "from before"}, data_model=Notes, name="notes")
    home = notes.run

    @ec.effect
    def reads() -> str:
        text: str = notes.get("text")
        return text

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("r") as run:
        assert reads() == "from before"
        assert notes.run is home
        assert notes.get("text") == "from before"
        assert notes.run is run


# --- loops of another make -------------------------------------------------------------------------


class Opaque(asyncio.SelectorEventLoop):
    """A loop whose queue of what is ready cannot be looked into from outside."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("_ready", "_scheduled", "_selector"):
            caller = sys._getframe(1).f_globals["__name__"]
            if caller.startswith("eventcore."):
                raise AttributeError(name)
        return super().__getattribute__(name)


def in_loop(make: Callable[[], Any], store: ec.Store, name: str, pattern: str) -> dict[str, Any]:
    with store.run(name, seed=3, resume=True) as run, asyncio.Runner(loop_factory=make) as runner:
        again = run.replaying
        world = World()
        runner.run(PATTERNS[pattern](world))
        run.flush()
        return {
            "found": [run.state.digest, run.head],
            "calls": len(world.calls),
            "replayed": is_answered(run, again),
        }


@pytest.mark.parametrize("loop", ["opaque", "uvloop"])
@pytest.mark.parametrize(
    "pattern", ["gather_five_deep", "task_group", "timeout", "mixed", "queues", "threads"]
)
def test_a_loop_that_shows_nothing_is_given_calm_passes(tmp_path: Path, loop: str, pattern: str) -> None:
    make: Callable[[], Any] = Opaque if loop == "opaque" else pytest.importorskip("uvloop").new_event_loop
    for number in range(3):
        with ec.open(tmp_path / "runs.lmdb") as store:
            recorded = in_loop(make, store, f"r{number}", pattern)
        with ec.open(tmp_path / "runs.lmdb") as store:
            assert in_loop(make, store, f"r{number}", pattern) == {**recorded, "calls": 0, "replayed": True}


# --- what is missing is missed soon ----------------------------------------------------------------


def test_a_thread_that_does_something_else_is_a_divergence(tmp_path: Path) -> None:
    def work(number: int) -> int:
        threading.Event().wait(0.001)
        return double(number)

    async def main(number: int) -> int:
        return await ec.to_thread(work, number)

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("r"):
        assert asyncio.run(main(3)) == 6
    began = time.monotonic()
    with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True):  # noqa: SIM117
        with pytest.raises(Diverged, match="another EffectStarted"):
            asyncio.run(main(4))
    assert time.monotonic() - began < 5


def test_a_librarys_thread_that_waits_in_the_background_does_not_delay_a_divergence(tmp_path: Path) -> None:
    enough = threading.Event()
    idle = threading.Thread(target=enough.wait, daemon=True)
    idle.start()
    ours, theirs = socket.socketpair()
    listening = threading.Thread(
        target=ours.makefile("rb").readline, daemon=True
    )  # a server's, between requests
    listening.start()

    async def main(number: int) -> int:
        return await ec.to_thread(double, number)

    try:
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r"):
            assert asyncio.run(main(3)) == 6
        began = time.monotonic()
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True):  # noqa: SIM117
            with pytest.raises(Diverged, match="another EffectStarted"):
                asyncio.run(main(4))
        assert time.monotonic() - began < 5
    finally:
        enough.set()
        theirs.close()
        idle.join()
        listening.join()
        ours.close()
