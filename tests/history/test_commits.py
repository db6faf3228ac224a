"""Commits that fail and blocks that are damaged: a clear error, nothing acknowledged lost, the rest readable."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from eventcore.errors import CorruptLog, EventcoreError, OutcomeUnknown, StorageError
from eventcore.history import events as e
from eventcore.history import log as logs
from eventcore.history import store as stores
from eventcore.history.backend import Block
from eventcore.history.run import Run
from eventcore.history.store import Store
from eventcore.variables import Variable
from tests.history.processes import python


class Pair(msgspec.Struct):
    """What is written."""

    n: int = 0
    items: list[int] = []


def log(run: Run, name: str) -> int:
    return run.record(e.MetricLogged(*run.stamp(), name, 1.0))


def names(run: Run) -> list[str]:
    return [record.event.name for record in run.events(kind=e.MetricLogged)]  # type: ignore[attr-defined]


# --- group commit ------------------------------------------------------------------------------


def test_appended_events_become_durable_by_themselves(url: str) -> None:
    run = stores.open(url).run("alone")
    seq = log(run, "x")
    until = time.monotonic() + 10
    while run.durable < seq and time.monotonic() < until:
        time.sleep(0.001)
    assert run.durable == seq == run.head


def test_flush_returns_when_everything_before_it_is_in_the_store(disk: str) -> None:
    store = stores.open(disk)
    run = store.run("barrier")
    for n in range(300):
        log(run, str(n))
        if n % 50 == 0:
            assert run.flush() == run.head == run.durable == store.backend.head(run.number)


def test_events_of_several_threads_share_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open("memory:")
    run = store.run("shared")
    run.flush()
    commits: list[int] = []
    append = store.backend.append

    def counted(*arguments: Any) -> None:
        commits.append(sum(block.last_seq - block.first_seq + 1 for block in arguments[3]))
        time.sleep(0.005)
        append(*arguments)

    monkeypatch.setattr(store.backend, "append", counted)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(5):
            log(run, "x")
            run.flush()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(commits) == 40
    assert len(commits) < 30


def test_blocks_hold_at_most_256_events_and_about_64_kb(url: str) -> None:
    store = stores.open(url)
    run = store.run("blocks")
    with run.lock:  # the committer gets all of it at once
        for n in range(1_000):
            log(run, str(n))
        for n in range(40):
            run.record(e.ProgramDeclared(0, None, 0, "p", {"text": f"{n:x}" * 20_000}), 20_000)
    run.flush()
    blocks = list(store.backend.blocks(run.number, 1, run.head))
    assert max(block.last_seq - block.first_seq + 1 for block in blocks) == 256
    assert len(blocks) >= 4 + 10
    assert names(run) == [str(n) for n in range(1_000)]


def test_the_caller_waits_while_the_buffer_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BUFFER_BYTES", 400_000)
    store = stores.open("memory:")
    run = store.run("full")
    append = store.backend.append
    largest = 0

    def slow(*arguments: Any) -> None:
        time.sleep(0.02)
        append(*arguments)

    monkeypatch.setattr(store.backend, "append", slow)
    for n in range(200):
        run.record(e.ProgramDeclared(0, None, 0, f"p{n % 3}", {"text": "x" * 10_000}), 10_000)
        largest = max(largest, run.head - run.durable)
    run.flush()
    assert largest < 150


def test_tasks_wait_for_their_own_event_and_share_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open("memory:")
    run = store.run("tasks")
    run.flush()
    commits = 0
    append = store.backend.append

    def counted(*arguments: Any) -> None:
        nonlocal commits
        commits += 1
        append(*arguments)

    monkeypatch.setattr(store.backend, "append", counted)

    async def work(n: int) -> None:
        seq = log(run, str(n))
        await run.settled(seq)
        assert run.durable >= seq
        await run.settled(1)

    async def all_of_them() -> None:
        await asyncio.gather(*(work(n) for n in range(50)))

    asyncio.run(all_of_them())
    assert commits < 25


def test_a_task_that_waits_is_told_when_the_commit_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open("memory:")
    run = store.run("tasks")
    run.flush()

    def fail(*_: object) -> None:
        raise StorageError("cannot write: the disk is full")

    monkeypatch.setattr(store.backend, "append", fail)

    async def work() -> None:
        with pytest.raises(StorageError, match="disk is full"):
            await run.settled(log(run, "x"))

    asyncio.run(work())


@pytest.mark.campaign
def test_threads_that_write_fork_look_back_and_flush_at_once_neither_wait_for_ever_nor_disagree(
    url: str,
) -> None:
    store = stores.open(url)
    run = store.run("busy")
    variable = Variable(data_model=Pair, name="pair")
    run.flush()
    stop = threading.Event()
    failures: list[BaseException] = []

    def repeat(work: Callable[[int], object]) -> None:
        n = 0
        try:
            while not stop.is_set():
                n += 1
                work(n)
        except BaseException as error:
            failures.append(error)

    def look(n: int) -> None:
        state = run.at(run.durable)
        assert state.variables["pair"]["n"] >= 0

    def fork(n: int) -> None:
        child = run.fork(f"f{n}")
        assert "pair" in child.state.names()
        child.close()
        time.sleep(0.01)

    jobs: list[Callable[[int], object]] = [
        lambda n: variable.update({"n": n}),
        lambda n: variable.get("items").append(n) if n % 50 else variable.get("items").clear(),
        lambda n: run.flush(),
        lambda n: run.snapshot(),
        look,
        fork,
    ]
    threads = [threading.Thread(target=repeat, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "somebody waits for ever"
    assert failures == []
    run.flush()
    assert run.at(run.head).variables["pair"] == variable.get_json()
    assert store.verify() == []


# --- failing commits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (StorageError("cannot write: the disk is full"), StorageError),
        (OutcomeUnknown("cannot tell what is durable"), OutcomeUnknown),
        (ValueError("a bug of a backend"), OutcomeUnknown),
        (MemoryError(), OutcomeUnknown),
    ],
)
def test_a_failed_commit_poisons_the_run_until_it_is_opened_again(
    url: str, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    store = stores.open(url)
    run = store.run("poisoned")
    variable = Variable(data_model=Pair, name="pair")
    variable.update({"n": 1})
    acknowledged = run.flush()

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "append", fail)
        variable.update({"n": 2})
        for _ in range(2):
            with pytest.raises(raised):
                run.flush()
        with pytest.raises(raised), run:
            pass
    assert run.durable == acknowledged < run.head
    head = run.head
    writes: list[Callable[[], object]] = [
        lambda: variable.update({"n": 3}),
        lambda: variable.get("items").append(1),
        lambda: run.snapshot(),
        lambda: Variable(data_model=Pair, name="another"),
    ]
    for write in writes:
        with pytest.raises(
            OutcomeUnknown, match=rf"an earlier commit failed.*up to {acknowledged} are durable"
        ):
            write()
    assert run.head == head
    assert variable.get_json() == {
        "n": 2,
        "items": [],
    }  # what is in memory can still be read, and saved elsewhere
    assert run.at(acknowledged).variables["pair"]["n"] == 1
    again = store.reopen("poisoned")
    assert again is not run
    with again:
        variable.update({"items": [1]})
    assert again.state.variables["pair"] == {"n": 2, "items": [1]}
    again.flush()
    assert store.verify() == []


def test_a_commit_that_fails_in_the_background_is_told_at_the_next_barrier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = stores.open("memory:")
    run = store.run("background")
    run.flush()
    failed = threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise StorageError("cannot write: the disk is full")

    monkeypatch.setattr(store.backend, "append", fail)
    log(run, "x")
    assert failed.wait(10)
    with pytest.raises(StorageError, match="disk is full"):
        run.flush()
    with pytest.raises(StorageError, match="disk is full"):
        store.close()


def test_a_disk_that_fills_up_while_a_variable_is_written_loses_nothing_acknowledged(disk: str) -> None:
    code = """
import random, resource, signal, sys
import eventcore.history.store as stores
from eventcore.errors import EventcoreError
from eventcore.variables import Variable
from tests.history.test_commits import Pair
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = stores.open(sys.argv[1])
run = store.run("full")
pair = Variable(data_model=Pair, name="pair")
run.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
chance = random.Random(1)
acknowledged = 0
try:
    for n in range(10_000):
        pair.update({"n": n, "items": [chance.getrandbits(60) for _ in range(200)]})
        if n % 3 == 0: run.flush(); acknowledged = n
except EventcoreError as error:
    print(type(error).__name__, acknowledged, run.durable)
else:
    print("never full")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
again = store.reopen("full")
with again:
    pair.update({"n": -1})
again.flush()
print(store.verify())
"""
    said = python(code, disk).stdout.splitlines()
    kind, acknowledged, durable = said[0].split()
    assert kind in ("StorageError", "OutcomeUnknown")
    assert said[1] == "[]"
    run = stores.open(disk)["full"]
    assert run.head >= int(durable)
    assert run.at(int(durable)).variables["pair"]["n"] >= int(acknowledged)
    assert run.state.variables["pair"]["n"] == -1


# --- damaged blocks ----------------------------------------------------------------------------


def with_last_block(store: Store, number: int, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store give other bytes for its last block."""
    blocks = type(store.backend).blocks

    def damaged(run: int, first: int, last: int) -> Any:
        for block in blocks(store.backend, run, first, last):
            yield Block(block.first_seq, block.last_seq, data) if block.last_seq == number else block

    monkeypatch.setattr(store.backend, "blocks", damaged)


def filled(url: str) -> tuple[Store, Run, bytes, int]:
    """A run of three blocks: (store, run, bytes of the last block, its first seq)."""
    store = stores.open(url)
    run = store.run("cut")
    for part in range(3):
        for n in range(5):
            log(run, f"{part}-{n}")
        run.flush()
    run.close()
    *_, last = store.backend.blocks(run.number, 1, 100)
    return store, store["cut"], last.data, last.first_seq


def test_a_log_cut_at_any_byte_of_its_last_block_is_readable_up_to_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run, data, first = filled(url)
    for length in range(len(data)):
        with_last_block(store, run.head, data[:length], monkeypatch)
        assert len(list(run.events(1, first - 1))) == first - 1
        run.at(first - 1)
        with pytest.raises(CorruptLog) as caught:
            list(run.events())
        assert caught.value.seq in (0, first)
        with pytest.raises(CorruptLog):
            run.at(run.head)
    findings = store.verify("cut")
    assert [finding.seq for finding in findings] == [first]


def test_a_flipped_bit_of_the_last_block_is_never_returned_as_a_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, run, data, first = filled("memory:")
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with_last_block(store, run.head, bytes(flipped), monkeypatch)
        for read in (lambda: list(run.events()), lambda: run.state, lambda: list(run.history("x"))):
            with pytest.raises(EventcoreError):
                read()
        if bit % 97 == 0:
            assert store.verify("cut")[0].seq == first


def test_a_block_of_another_place_or_run_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    store, run, _, first = filled("memory:")
    other, *_ = store.backend.blocks(run.number, 1, 1)
    with_last_block(store, run.head, other.data, monkeypatch)
    with pytest.raises(CorruptLog, match="the block stored there says it holds"):
        list(run.events())
    assert store.verify("cut")[0].seq == first


def test_a_missing_block_is_a_gap_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    store, run, _, _ = filled("memory:")
    blocks = type(store.backend).blocks

    def without(number: int, first: int, last: int) -> Any:
        return (b for b in blocks(store.backend, number, first, last) if not b.first_seq <= 8 <= b.last_seq)

    monkeypatch.setattr(store.backend, "blocks", without)
    with pytest.raises(CorruptLog, match=r"cannot read events 7 to 11 of run 'cut': they are missing"):
        list(run.events())
    (finding,) = store.verify("cut")
    assert finding.seq == 7
