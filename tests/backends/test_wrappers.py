"""`ReadOnly` refuses every write; `Faulty` fails exactly where it was told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventcore.backends.lmdb import LmdbBackend
from eventcore.backends.memory import MemoryBackend
from eventcore.backends.wrappers import Fault, Faulty, ReadOnly
from eventcore.errors import InvalidValue, OutcomeUnknown, StorageError, StoreClosed, StoreReadOnly
from eventcore.history.backend import Block, Bounded, StoredSnapshot, SupportsBackup


def test_a_read_only_wrapper_refuses_every_write_and_reads_everything() -> None:
    inner = MemoryBackend.open()
    run = inner.create_run("a").id
    inner.append(run, 0, 1, [Block(1, 3, b"x")], StoredSnapshot(3, b"s"))
    store = ReadOnly(inner)
    assert store.read_only
    assert not inner.read_only
    for write in (
        lambda: store.create_run("b"),
        lambda: store.claim(run, "me"),
        lambda: store.append(run, 3, 1, [Block(4, 4, b"x")]),
        lambda: store.drop_snapshot(run, 3),
        lambda: store.delete_run(run),
    ):
        with pytest.raises(StoreReadOnly):
            write()
    assert store.runs() == inner.runs()
    assert list(store.blocks(run, 1, 9)) == [Block(1, 3, b"x")]
    assert store.snapshot(run, 9) == StoredSnapshot(3, b"s")
    assert (store.head(run), store.snapshot_seqs(run), store.postings(run, 1), store.indexed_to(run)) == (
        3,
        [3],
        [],
        0,
    )
    assert store.facts() == inner.facts()
    assert list(store.problems()) == []
    store.close()
    with pytest.raises(StoreClosed):
        store.create_run("b")


def test_a_wrapper_can_do_what_the_backend_inside_can(tmp_path: Path) -> None:
    memory, disk = MemoryBackend.open(), LmdbBackend.open(str(tmp_path / "store"))
    assert isinstance(ReadOnly(memory), Bounded)
    assert not isinstance(ReadOnly(memory), SupportsBackup)
    wrapped = Faulty(disk)
    assert isinstance(wrapped, SupportsBackup)
    assert not isinstance(wrapped, Bounded)
    wrapped.backup(str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "data.mdb").exists()
    disk.close()


def test_the_chosen_call_fails_and_no_other() -> None:
    store = Faulty(MemoryBackend.open(), [Fault("append", 2, lambda: StorageError("disk full"))])
    run = store.create_run("a").id
    store.append(run, 0, 1, [Block(1, 1, b"x")])
    with pytest.raises(StorageError, match="disk full"):
        store.append(run, 1, 1, [Block(2, 2, b"x")])
    assert store.head(run) == 1
    store.append(run, 1, 1, [Block(2, 2, b"x")])
    assert store.head(run) == 2
    assert store.calls["append"] == 3


def test_a_call_may_fail_after_its_work_is_done() -> None:
    store = Faulty(MemoryBackend.open())
    run = store.create_run("a").id
    store.fail("append", OutcomeUnknown, after=True, times=2)
    for seq in (1, 2):
        with pytest.raises(OutcomeUnknown):
            store.append(run, seq - 1, 1, [Block(seq, seq, b"x")])
    store.append(run, 2, 1, [Block(3, 3, b"x")])
    assert store.head(run) == 3


def test_a_fault_in_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidValue, match="apend"):
        Faulty(MemoryBackend.open(), [Fault("apend", 1, StorageError)])
