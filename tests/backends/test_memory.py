"""What is particular to the memory backend: sharing by name, and dropping the front above a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.backends.memory import MemoryBackend
from eventcore.errors import InvalidValue, NotFound
from eventcore.history.backend import Block, Bounded, StoredSnapshot

ALL = 2**60


def test_an_unnamed_store_is_private() -> None:
    one, two = MemoryBackend.open(), MemoryBackend.open()
    one.create_run("a")
    assert two.runs() == []
    assert one.log_id != two.log_id
    assert not one.durable
    assert one.url == "memory:"


def test_a_named_store_is_shared_until_its_last_opener_closes() -> None:
    one, two = MemoryBackend.open("shared"), MemoryBackend.open("shared")
    one.create_run("a")
    one.close()
    assert [row.name for row in two.runs()] == ["a"]
    three = MemoryBackend.open("shared", create=False)
    assert three.runs() == two.runs()
    two.close()
    three.close()
    with pytest.raises(NotFound):
        MemoryBackend.open("shared", create=False)
    again = MemoryBackend.open("shared")
    assert again.runs() == []
    again.close()


@pytest.mark.parametrize("limit", [0, -1, "1 MB", True, 1.5])
def test_a_limit_that_is_no_size_is_refused(limit: object) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        MemoryBackend.open(limit=limit)


def test_nothing_is_dropped_without_a_snapshot() -> None:
    store = MemoryBackend.open(limit=1000)
    run = store.create_run("a").id
    for seq in range(1, 21):
        store.append(run, seq - 1, 1, [Block(seq, seq, b"x" * 100)])
    assert store.first_seq(run) == 1
    assert len(list(store.blocks(run, 1, ALL))) == 20


def test_above_the_limit_the_front_before_a_snapshot_is_dropped() -> None:
    store = MemoryBackend.open(limit=1000)
    assert isinstance(store, Bounded)
    run = store.create_run("a").id
    for seq in range(1, 31):
        snapshot = StoredSnapshot(seq, b"state") if seq % 5 == 0 else None
        store.append(run, seq - 1, 1, [Block(seq, seq, b"x" * 100)], snapshot)
    first = store.first_seq(run)
    assert first > 15
    kept = list(store.blocks(run, 1, ALL))
    assert [block.first_seq for block in kept] == list(range(first, 31))
    assert list(store.blocks(run, 1, first - 1)) == []
    assert store.head(run) == 30
    base = store.snapshot(run, 30)
    assert base is not None
    assert min(store.snapshot_seqs(run)) >= first - 1
    size = store.facts()["bytes"]
    assert isinstance(size, int)
    assert size <= 1000


def test_the_snapshot_a_dropped_front_stands_on_is_kept() -> None:
    store = MemoryBackend.open(limit=500)
    run = store.create_run("a").id
    store.append(run, 0, 1, [Block(1, 9, b"x" * 400)])
    store.append(run, 9, 1, [Block(10, 10, b"x" * 400)], StoredSnapshot(9, b"state"))
    assert store.first_seq(run) == 10
    store.drop_snapshot(run, 9)
    assert store.snapshot(run, 9) == StoredSnapshot(9, b"state")
    store.append(run, 10, 1, [], StoredSnapshot(10, b"later"))
    store.drop_snapshot(run, 10)
    assert store.snapshot_seqs(run) == [9]


def test_what_a_fork_folds_through_is_not_dropped() -> None:
    store = MemoryBackend.open(limit=1000)
    parent = store.create_run("parent").id
    store.append(parent, 0, 1, [Block(seq, seq, b"x" * 50) for seq in range(1, 11)])
    fork = store.create_run("fork", parent=parent, forked_at=3).id
    for seq in range(11, 41):
        store.append(parent, seq - 1, 1, [Block(seq, seq, b"x" * 100)], StoredSnapshot(seq, b"s"))
    assert store.first_seq(parent) == 1
    store.delete_run(fork)
    store.append(parent, 40, 1, [Block(41, 41, b"x" * 100)], StoredSnapshot(41, b"s"))
    assert store.first_seq(parent) > 30


def test_other_runs_shrink_too_when_the_written_one_cannot() -> None:
    store = MemoryBackend.open(limit=1000)
    idle, busy = store.create_run("idle").id, store.create_run("busy").id
    store.append(idle, 0, 1, [Block(1, 9, b"x" * 900)], StoredSnapshot(9, b"s"))
    store.append(busy, 0, 1, [Block(1, 9, b"x" * 900)])
    assert store.first_seq(idle) == 10
    assert store.first_seq(busy) == 1


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=40))
def test_the_state_at_the_head_can_always_be_rebuilt(steps: list[tuple[int, bool]]) -> None:
    """A snapshot not before the front, or the front at seq 1: otherwise the fold has no beginning."""
    store = MemoryBackend.open(limit=1500)
    run = store.create_run("a").id
    for seq, (size, snapshot) in enumerate(steps, 1):
        stored = StoredSnapshot(seq, b"s" * (size // 4)) if snapshot else None
        store.append(run, seq - 1, 1, [Block(seq, seq, b"x" * size)], stored)
        first = store.first_seq(run)
        seqs = [block.first_seq for block in store.blocks(run, 1, ALL)]
        assert seqs == list(range(first, seq + 1))
        if first > 1:
            newest = store.snapshot(run, seq)
            assert newest is not None
            assert newest.seq >= first - 1
    kept = sum(len(block.data) for block in store.blocks(run, 1, ALL))
    kept += sum(
        len((store.snapshot(run, seq) or StoredSnapshot(0, b"")).data) for seq in store.snapshot_seqs(run)
    )
    assert store.facts()["bytes"] == kept
