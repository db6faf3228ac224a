"""Starting, resuming, forking, deleting and leaving runs: each sentence of the design is a test."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from eventcore.errors import (
    ConcurrentAppend,
    DuplicateName,
    EventTooLarge,
    InvalidValue,
    NotFound,
    StorageError,
    StoreBusy,
    StoreReadOnly,
    WrongType,
)
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.scope import caused_by, current_run, in_rollout, in_run, process_scope
from eventcore.history.store import Store
from tests.history.processes import talking

HOLD = """
import sys
import eventcore.history.store as stores
from eventcore.history import events as e
store = stores.open(sys.argv[1])
run = store.reopen("taken") if "taken" in store else store.run("taken")
run.record(e.MetricLogged(0, None, 0, "x", 1.0))
run.flush()
print(run.head)
sys.stdin.readline()
"""


def log(run: Run, name: str = "x") -> int:
    return run.record(e.MetricLogged(*run.stamp(), name, 1.0))


def names(run: Run) -> list[str]:
    return [record.event.name for record in run.events(kind=e.MetricLogged)]  # type: ignore[attr-defined]


def resumed(run: Run) -> list[bool]:
    return [record.event.facts["resumed"] for record in run.events(kind=e.RunStarted)]  # type: ignore[attr-defined]


# --- starting ----------------------------------------------------------------------------------


def test_a_run_starts_at_once_and_is_current_for_the_process(url: str) -> None:
    run = stores.open(url).run("baseline", seed=7)
    assert current_run() is run
    assert (run.name, run.seed, run.parent, run.forked_at) == ("baseline", 7, None, None)
    (first,) = run.events()
    assert isinstance(first.event, e.RunStarted)
    assert first.event.seed == 7
    assert {"versions", "argv", "git", "resumed"} <= first.event.facts.keys()


def test_a_run_without_a_name_is_called_run(url: str) -> None:
    assert stores.open(url).run().name == "run"


def test_a_name_that_is_taken_starts_the_next_one_and_says_so(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stores.open(url)
    store.run("baseline")
    assert capsys.readouterr().err == ""
    assert store.run("baseline").name == "baseline-2"
    assert store.run("baseline").name == "baseline-3"
    assert store.runs() == ["baseline", "baseline-2", "baseline-3"]
    assert capsys.readouterr().err.splitlines() == [
        "eventcore: run 'baseline' exists; this one is 'baseline-2'",
        "eventcore: run 'baseline' exists; this one is 'baseline-3'",
    ]


def test_two_launches_that_take_one_name_at_once_get_two_runs(disk: str) -> None:
    code = """
import sys, eventcore.history.store as stores
store = stores.open(sys.argv[1])
print("open"); sys.stdin.readline()
for n in range(10): print(store.run(f"r{n}").name)
"""
    if disk.startswith("sqlite"):
        pytest.skip("one process at a time on versions of SQLite that can lose a commit")
    stores.open(disk).close()
    with talking(code, disk) as one, talking(code, disk) as two:
        assert (one.hear(), two.hear()) == ("open", "open")
        one.say()
        two.say()
        found = [one.hear() for _ in range(10)] + [two.hear() for _ in range(10)]
    assert sorted(found) == sorted([f"r{n}" for n in range(10)] + [f"r{n}-2" for n in range(10)])


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 201, 5, "\ud800"])
def test_a_name_that_cannot_be_shown_or_stored_is_refused(name: str) -> None:
    store = stores.open("memory:")
    with pytest.raises(InvalidValue, match="name"):
        store.run(name)
    assert store.runs() == []


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, True, "7", 1.5])
def test_a_seed_that_is_no_64_bit_integer_is_refused(seed: int) -> None:
    store = stores.open("memory:")
    with pytest.raises(InvalidValue, match="seed"):
        store.run("a", seed=seed)
    with pytest.raises(InvalidValue, match="seed"):
        stores.set_seed(seed)
    assert store.runs() == []


def test_set_seed_is_the_seed_of_later_runs_and_touches_no_other_randomness() -> None:
    before = random.getstate()
    stores.set_seed(11)
    assert stores.open("memory:").run("a").seed == 11
    assert stores.open("memory:").run("b", seed=3).seed == 3
    assert random.getstate() == before


# --- resuming ----------------------------------------------------------------------------------


def test_resume_starts_the_run_if_there_is_none(url: str) -> None:
    assert stores.open(url).run("new", resume=True).name == "new"


def test_reopen_goes_on_at_the_head_and_keeps_the_seed(disk: str, reopen: Callable[[Store], Store]) -> None:
    store = stores.open(disk)
    log(store.run("long", seed=9), "one")
    again = reopen(store).reopen("long")
    log(again, "two")
    assert (again.seed, names(again)) == (9, ["one", "two"])
    assert resumed(again) == [False, True]


def test_reopen_makes_nothing_current_outside_its_block(disk: str, reopen: Callable[[Store], Store]) -> None:
    stores.open(disk).run("long")
    store = reopen(stores.open(disk))
    current = store.run("current")
    again = store.reopen("long")
    assert current_run() is current
    with again:
        assert current_run() is again
    assert current_run() is current
    with pytest.raises(NotFound, match=r"cannot find run 'none'.*it has: long, current"):
        store.reopen("none")


def test_resume_runs_the_code_again_and_goes_on_where_its_log_ends(
    disk: str, reopen: Callable[[Store], Store]
) -> None:
    store = stores.open(disk)
    log(store.run("long", seed=9), "one")
    for seed in (None, 9):
        head = store["long"].head
        store = reopen(store)
        again = store.run("long", resume=True, seed=seed)
        assert (again.seed, names(again)) == (9, [])
        log(again, "one")
        assert names(again) == ["one"]
        again.close()
        assert (store["long"].head, names(store["long"])) == (head, ["one"])
    again = reopen(store).run("long", resume=True)
    log(again, "one")
    log(again, "two")
    assert names(again) == ["one", "two"]
    assert resumed(again) == [False, True]


def test_the_first_event_after_the_end_of_a_resumed_log_is_measured_like_any_other(
    disk: str, reopen: Callable[[Store], Store]
) -> None:
    store = stores.open(disk)
    log(store.run("long"), "one")
    store = reopen(store)
    again = store.run("long", resume=True)
    log(again, "one")
    with pytest.raises(EventTooLarge):
        again.record(e.MetricLogged(*again.stamp(), "two", 1.0), 10_000_000)
    assert names(again) == ["one"]


def test_resuming_with_another_seed_is_refused_and_changes_nothing(
    disk: str, reopen: Callable[[Store], Store]
) -> None:
    store = stores.open(disk)
    log(store.run("long", seed=9), "one")
    store = reopen(store)
    with pytest.raises(
        InvalidValue, match=r"cannot resume run 'long' with seed 1: it was started with seed 9"
    ):
        store.run("long", resume=True, seed=1)
    assert store["long"].head == 2
    with pytest.raises(NotFound):
        store["long-2"]


def test_resume_in_the_same_process_gives_the_same_object(url: str) -> None:
    store = stores.open(url)
    run = store.run("cell")
    store.run("other")
    assert store.reopen("cell") is run
    assert current_run() is not run
    assert store.run("cell", resume=True) is run
    assert current_run() is run


def test_opening_the_store_again_in_a_notebook_finds_the_run_it_left(disk: str) -> None:
    run = stores.open(disk).run("cell")
    log(run)
    again = stores.open(disk)
    assert again.run("cell", resume=True) is run
    assert again.reopen("cell") is run
    assert again["cell"] is run
    with pytest.raises(StoreBusy, match="this process"):
        again.delete("cell")
    again.close()
    log(run)
    assert run.flush() == run.head


def test_a_run_whose_handle_was_forgotten_can_be_reopened_in_the_same_process(disk: str) -> None:
    import gc

    store = stores.open(disk)
    run = store.run("lost")
    log(run)
    run.flush()
    process_scope.run = None
    del store, run
    gc.collect()
    again = stores.open(disk).reopen("lost")
    assert names(again) == ["x"]
    log(again)
    again.flush()


def test_resuming_a_run_that_is_alive_elsewhere_is_refused_naming_it(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'store'}"
    with talking(HOLD, url) as other:
        head = int(other.hear())
        store = stores.open(url)
        with pytest.raises(StoreBusy, match=rf"'taken'.*process {other.process.pid} .*store\['taken'\]"):
            store.run("taken", resume=True)
        with pytest.raises(StoreBusy, match=rf"'taken'.*process {other.process.pid} .*store\['taken'\]"):
            store.reopen("taken")
        with pytest.raises(StoreBusy, match=f"process {other.process.pid}"):
            store.delete("taken")
        assert store["taken"].head == head
        assert store.run("taken").name == "taken-2"
        fork = store["taken"].fork("beside")
        log(fork)
        fork.flush()
    again = store.reopen("taken")  # its process was killed
    log(again)
    assert again.flush() == again.head > head


def test_a_writer_that_was_overtaken_is_told_who_won(disk: str) -> None:
    """I10."""
    store = stores.open(disk)
    run = store.run("contested")
    log(run)
    run.flush()
    store.backend.claim(run.number, "process 1 on elsewhere")
    log(run)
    with pytest.raises(ConcurrentAppend, match=r"'contested'.*process \d+ started.*process 1 on elsewhere"):
        run.flush()
    with pytest.raises(StorageError, match=r"an earlier commit failed.*close the store and open it again"):
        log(run)
    with pytest.raises(ConcurrentAppend):
        run.flush()
    assert names(run) == ["x"]
    again = store.reopen("contested")
    assert again is not run
    log(again)
    assert again.flush() == again.head


def test_two_threads_write_one_run_without_gap_or_loss(url: str) -> None:
    run = stores.open(url).run("threads")
    start = threading.Barrier(4)

    def write(name: str) -> None:
        start.wait()
        for _ in range(500):
            log(run, name)

    threads = [threading.Thread(target=write, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.seq for record in run.events()] == list(range(1, 2002))
    assert sorted(names(run)) == sorted(str(n) for n in range(4) for _ in range(500))


# --- scope -------------------------------------------------------------------------------------


def test_a_block_scopes_the_run_flushes_it_and_restores_the_one_before(url: str) -> None:
    store = stores.open(url)
    outer = store.run("outer")
    log(outer)
    with store.run("inner") as inner:
        assert current_run() is inner
        seq = log(inner)
        with outer:
            assert current_run() is outer
        assert current_run() is inner
    assert current_run() is outer
    assert inner.durable >= seq
    log(inner)  # not current, still open
    assert inner.flush() == inner.head


def test_a_run_at_work_before_a_block_is_current_again_after_it(url: str) -> None:
    store = stores.open(url)
    run = store.run("cell")
    log(run)
    with run:
        log(run)
    assert current_run() is run


def test_one_run_may_be_entered_by_several_tasks_at_once(url: str) -> None:
    run = stores.open(url).run("shared")

    async def work(first: asyncio.Event, then: asyncio.Event) -> None:
        with run:
            first.set()
            await then.wait()
            log(current_run())

    async def both() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        await asyncio.gather(work(one, two), work(two, one))

    asyncio.run(both())
    assert names(run) == ["x", "x"]


def test_a_block_that_fails_restores_and_keeps_what_was_appended(url: str) -> None:
    store = stores.open(url)
    outer = store.run("outer")
    inner = store.run("inner")
    with pytest.raises(ZeroDivisionError), inner:
        log(inner)
        raise ZeroDivisionError
    assert current_run() is outer
    assert inner.durable == inner.head == 2


def test_a_block_shows_its_own_error_even_when_the_store_is_broken_too(disk: str) -> None:
    store = stores.open(disk)
    with pytest.raises(ZeroDivisionError) as caught, store.run("inner") as inner:
        store.backend.claim(inner.number, "somebody else")
        log(inner)
        raise ZeroDivisionError
    assert "somebody else" in str(getattr(caught.value, "__notes__", ""))


def test_two_runs_in_one_event_loop_do_not_mix(url: str) -> None:
    store = stores.open(url)
    left, right = store.run("left"), store.run("right")

    async def work(run: Run) -> None:
        with run:
            for _ in range(20):
                assert current_run() is run
                log(current_run(), run.name)
                await asyncio.sleep(0)
                with in_rollout(f"{run.name}-1"), caused_by(run.head):
                    await asyncio.to_thread(lambda: log(current_run(), run.name))

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work(left))
            group.create_task(work(right))

    asyncio.run(both())
    for run in (left, right):
        assert names(run) == [run.name] * 40
        rollouts = {record.event.rollout for record in run.events(kind=e.MetricLogged)}
        assert rollouts == {None, f"{run.name}-1"}
        assert all(record.event.cause < record.seq for record in run.events())


def test_a_rollout_of_one_run_does_not_reach_into_another(url: str) -> None:
    store = stores.open(url)
    one, two = store.run("one"), store.run("two")
    with in_run(one), in_rollout("r"), in_run(two):
        assert two.stamp()[1:] == (None, 0)


# --- forks and deletion ------------------------------------------------------------------------


def test_a_fork_has_the_parents_events_up_to_its_seq_and_its_own_after(url: str) -> None:
    run = stores.open(url).run("parent")
    for n in range(10):
        log(run, str(n))
    fork = run.fork("child", at=5)
    log(fork, "mine")
    log(run, "not yours")
    assert names(fork) == ["0", "1", "2", "3", "mine"]
    assert [record.seq for record in fork.events()] == list(range(1, 8))
    assert names(run)[-1] == "not yours"
    assert (fork.forked_at, fork.parent and fork.parent.name, fork.seed) == (5, "parent", run.seed)


def test_a_fork_is_not_current_until_it_is_entered(url: str) -> None:
    run = stores.open(url).run("parent")
    fork = run.fork()
    assert fork.name == "parent-fork"
    assert run.fork().name == "parent-fork-2"
    assert current_run() is run
    with fork:
        assert current_run() is fork


@pytest.mark.parametrize("at", [-1, 99, "nowhere", 1.5, True])
def test_forking_where_there_is_nothing_is_refused(url: str, at: int) -> None:
    store = stores.open(url)
    run = store.run("parent")
    with pytest.raises((InvalidValue, NotFound, WrongType), match="parent"):
        run.fork("child", at=at)
    assert store.runs() == ["parent"]


def test_forking_to_a_name_that_is_taken_is_refused(url: str) -> None:
    run = stores.open(url).run("parent")
    with pytest.raises(DuplicateName, match="'parent'"):
        run.fork("parent")


def test_a_run_that_a_fork_reads_through_cannot_be_deleted(url: str) -> None:
    store = stores.open(url)
    run = store.run("parent")
    fork = run.fork("child")
    run.close()
    fork.close()
    with pytest.raises(InvalidValue, match=r"'parent'.*'child'"):
        store.delete("parent")
    store.delete(fork)
    store.delete("parent")
    assert store.runs() == []
    with pytest.raises(NotFound, match="'parent'"):
        store["parent"]


def test_a_run_that_is_open_is_not_deleted(url: str) -> None:
    store = stores.open(url)
    store.run("open")
    with pytest.raises(StoreBusy, match="this process; close it first"):
        store.delete("open")


def test_a_name_is_free_again_after_deletion_and_the_number_is_not(url: str) -> None:
    store = stores.open(url)
    first = store.run("a")
    first.close()
    store.delete("a")
    second = store.run("a")
    assert second.name == "a"
    assert second.number != first.number
    assert len(list(second.events())) == 1


# --- reading only ------------------------------------------------------------------------------


def test_a_run_opened_for_reading_cannot_be_written(disk: str, reopen: Callable[[Store], Store]) -> None:
    store = stores.open(disk)
    log(store.run("a"))
    run = reopen(store)["a"]
    head = run.head
    for write in (lambda: log(run), lambda: run.snapshot(), lambda: run.lock):
        with pytest.raises(StoreReadOnly, match=r"'a'.*opened for reading.*reopen.*resume=True.*fork"):
            write()
    assert run.head == head
    assert run.flush() == head


def test_a_store_opened_for_reading_refuses_every_write_and_creates_nothing(
    disk: str, tmp_path: Path
) -> None:
    with pytest.raises((NotFound, StorageError)):
        stores.open(disk, read_only=True)
    assert list(tmp_path.iterdir()) == []
    with stores.open(disk) as store:
        log(store.run("a"))
    with stores.open(disk, read_only=True) as store:
        assert names(store["a"]) == ["x"]
        for write in (
            lambda: store.run("b"),
            lambda: store.run("a", resume=True),
            lambda: store.reopen("a"),
            lambda: store["a"].fork("b"),
            lambda: store.delete("a"),
            lambda: store.import_run(store["a"], "b"),
        ):
            with pytest.raises(StoreReadOnly):
                write()


def test_a_run_that_is_not_there_is_named_with_those_that_are(url: str) -> None:
    store = stores.open(url)
    store.run("one")
    with pytest.raises(NotFound, match=r"'other'.*it has: one"):
        store["other"]
    assert "one" in store
    assert "other" not in store
    assert (list(store), len(store)) == (["one"], 1)
