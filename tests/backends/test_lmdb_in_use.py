"""What happens to an LMDB store in use: where it lies, how it grows, who reads it, who inherits it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest

from eventcore.backends import filesystem, lmdb_environment
from eventcore.backends.lmdb import LmdbBackend
from eventcore.errors import (
    StorageError,
    StoreBusy,
    StoreClosed,
    StoreReadOnly,
    UnsafeFileSystem,
)
from eventcore.history.backend import Block, StoredSnapshot
from tests.backends.child import payload
from tests.backends.processes import Child, mounted, read_only_disk, said

ALL = 2**60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def filled(path: Path, blocks: int = 30, size: int = 3000) -> None:
    """Make a store with one run of blocks whose bytes are known."""
    store = LmdbBackend.open(str(path))
    run = store.create_run("a", writer="me").id
    for seq in range(1, blocks + 1):
        store.append(run, seq - 1, 1, [Block(seq, seq, payload(seq, size))])
    store.close()


# -- where it lies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("magic", "name"), [(0x6969, "NFS"), (0xFF534D42, "CIFS"), (0x01021997, "9P")])
def test_a_network_file_system_is_refused_unless_forced(
    path: Path, monkeypatch: pytest.MonkeyPatch, magic: int, name: str
) -> None:
    monkeypatch.setattr(filesystem, "statfs_type", lambda _: magic)
    with pytest.raises(UnsafeFileSystem, match=name):
        LmdbBackend.open(str(path))
    assert not path.exists()
    store = LmdbBackend.open(str(path), force=True)
    assert any(name in str(warning) for warning in store.facts()["warnings"])  # type: ignore[attr-defined]
    store.close()


def test_a_fuse_file_system_is_judged_by_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "statfs_type", lambda _: 0x65735546)
    monkeypatch.setattr(filesystem, "mount_type", lambda _: "fuse.sshfs")
    with pytest.raises(UnsafeFileSystem, match="sshfs"):
        LmdbBackend.open(str(path))
    monkeypatch.setattr(filesystem, "mount_type", lambda _: "fuseblk")
    LmdbBackend.open(str(path)).close()


def test_the_file_system_of_a_path_is_known_on_linux(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("not on Linux")
    assert filesystem.statfs_type(Path("/proc")) == 0x9FA0
    assert filesystem.mount_type(Path("/proc")) == "proc"
    assert filesystem.network_name(tmp_path / "not" / "there" / "yet") is None


def test_a_read_only_disk_is_readable_and_says_so_when_written(path: Path, tmp_path: Path) -> None:
    filled(path)
    with read_only_disk(path, tmp_path / "disk") as disk:
        with pytest.raises(StoreReadOnly):
            LmdbBackend.open(str(disk))
        store = LmdbBackend.open(str(disk), read_only=True)
        assert store.head(1) == 30
        assert len(list(store.blocks(1, 1, ALL))) == 30
        with pytest.raises(StoreReadOnly):
            store.append(1, 30, 1, [Block(31, 31, b"x")])
        assert list(store.problems()) == []
        store.close()


def test_a_store_cannot_be_made_on_a_read_only_disk(tmp_path: Path) -> None:
    with read_only_disk(tmp_path, tmp_path / "disk") as disk, pytest.raises(StoreReadOnly):
        LmdbBackend.open(str(disk / "store"))


def test_a_file_size_limit_loses_nothing_and_writing_goes_on_when_it_is_raised(path: Path) -> None:
    kind, full, after = said("fill", f"lmdb:{path}", 2**18)
    assert kind == "StorageError"
    acknowledged, head, blocks = map(int, full.split())
    assert acknowledged == head == blocks > 10
    assert after == f"{acknowledged + 1} {acknowledged + 1} 0"


def test_a_full_disk_loses_nothing_and_writing_goes_on_when_space_is_back(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as disk:
        store = LmdbBackend.open(str(disk / "store"))
        run = store.create_run("a").id
        ballast = disk / "ballast"
        seq = 0
        for _ in range(3):
            ballast.write_bytes(b"x" * 600_000)
            seq = store.head(run)
            with pytest.raises(StorageError, match="full"):
                while True:
                    store.append(run, seq, 1, [Block(seq + 1, seq + 1, payload(seq + 1, 9000))])
                    seq += 1
            assert store.head(run) == seq
            assert [block.first_seq for block in store.blocks(run, 1, ALL)] == list(range(1, seq + 1))
            ballast.unlink()
            store.append(run, seq, 1, [Block(seq + 1, seq + 1, payload(seq + 1))])
        assert list(store.problems()) == []
        store.close()
        again = LmdbBackend.open(str(disk / "store"))
        assert again.head(run) == seq + 1
        again.close()


def test_a_backup_to_a_full_disk_leaves_nothing_behind(path: Path, tmp_path: Path) -> None:
    filled(path, 100, 9000)
    store = LmdbBackend.open(str(path))
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=200k", "none") as disk:
        with pytest.raises(StorageError):
            store.backup(str(disk / "copy"))
        assert os.listdir(disk) == []
    store.close()


# -- size and readers --------------------------------------------------------------------------------------


def test_the_map_grows_by_itself_and_blocks_are_never_half_written(path: Path) -> None:
    store = LmdbBackend.open(str(path), map_size=2**17)
    run = store.create_run("a").id
    written = [Block(seq, seq, payload(seq, 200_000)) for seq in range(1, 21)]
    for seq in range(0, 20, 5):
        store.append(run, seq, 1, written[seq : seq + 5], StoredSnapshot(seq + 5, b"s" * 100_000))
    assert list(store.blocks(run, 1, ALL)) == written
    size = store.facts()["map_size"]
    assert isinstance(size, int)
    assert size >= 20 * 200_000
    store.close()


def test_two_processes_grow_one_map(path: Path) -> None:
    store = LmdbBackend.open(str(path), map_size=2**20)
    url = f"lmdb:{path}"
    with Child("grow", url, "b", 40) as one, Child("grow", url, "c", 40) as two:
        run = store.create_run("a").id
        for seq in range(1, 41):
            store.append(run, seq - 1, 1, [Block(seq, seq, payload(seq, 100_000))])
        assert one.rest() == two.rest() == ["40"]
    for row in store.runs():
        assert [block.data for block in store.blocks(row.id, 1, ALL)] == [
            payload(i, 100_000) for i in range(1, 41)
        ]
    store.close()


def test_threads_read_while_the_map_grows(path: Path) -> None:
    store = LmdbBackend.open(str(path), map_size=2**17)
    run = store.create_run("a").id
    errors: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                seqs = [block.first_seq for block in store.blocks(run, 1, ALL)]
                assert seqs == list(range(1, len(seqs) + 1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for seq in range(1, 101):
        store.append(run, seq - 1, 1, [Block(seq, seq, payload(seq, 30_000))])
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    store.close()


def test_when_all_reader_slots_are_taken_it_says_so_and_goes_on_when_one_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_environment, "MAX_READERS", 3)
    store = LmdbBackend.open(str(path))
    run = store.create_run("a").id
    go = threading.Event()
    inside = threading.Semaphore(0)

    def stay(_: object) -> None:
        inside.release()
        go.wait()

    threads = [threading.Thread(target=store._environment.read, args=(stay,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        inside.acquire()
    with pytest.raises(StoreBusy, match="reader slots"):
        store.head(run)
    store.append(run, 0, 1, [Block(1, 1, b"writers need no slot")])
    go.set()
    for thread in threads:
        thread.join()
    assert store.head(run) == 1
    store.close()


def test_slots_of_killed_readers_are_used_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_environment, "MAX_READERS", 4)
    filled(path)
    store = LmdbBackend.open(str(path))
    for _ in range(6):
        with Child("hold_a_reader", f"lmdb:{path}") as child:
            assert child.read() == "inside"
        assert store.head(1) == 30
    go, inside = threading.Event(), threading.Semaphore(0)

    def stay(_: object) -> None:
        inside.release()
        go.wait()

    # All slots are needed at once, so what the dead left must have been cleared.
    threads = [threading.Thread(target=store._environment.read, args=(stay,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        inside.acquire()
    go.set()
    for thread in threads:
        thread.join()
    store.close()


def test_dead_readers_are_looked_for_about_every_minute(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    store = LmdbBackend.open(str(path))
    with Child("hold_a_reader", f"lmdb:{path}") as child:
        assert child.read() == "inside"
        assert "-" not in str(store._environment.ask(lambda env: env.readers()).split()[-1])
    assert str(child.process.pid) in store._environment.ask(lambda env: env.readers())
    monkeypatch.setattr(lmdb_environment, "READER_CHECK_SECONDS", -1.0)
    store.append(1, 30, 1, [Block(31, 31, b"x")])
    assert str(child.process.pid) not in store._environment.ask(lambda env: env.readers())
    store.close()


def test_a_backup_taken_while_the_store_is_written_is_whole(path: Path, tmp_path: Path) -> None:
    filled(path)
    with Child("append_for_ever", f"lmdb:{path}") as child:
        child.read()
        store = LmdbBackend.open(str(path), read_only=True)
        for number in range(3):
            acknowledged = int(child.read())
            store.backup(str(tmp_path / f"copy{number}"))
            copy = LmdbBackend.open(str(tmp_path / f"copy{number}"), read_only=True)
            head = copy.head(1)
            assert head >= acknowledged
            assert [block.first_seq for block in copy.blocks(1, 1, ALL)] == list(range(1, head + 1))
            assert list(copy.problems()) == []
            copy.close()
        store.close()


# -- other processes -----------------------------------------------------------------------------------------


def test_the_lock_of_a_container_with_the_same_process_number_is_explained(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise lmdb.LockError("mdb_env_open", 11)

    monkeypatch.setattr(lmdb, "open", refuse)
    with pytest.raises(StoreBusy, match="container"):
        LmdbBackend.open(str(path))


def test_a_child_made_by_fork_can_neither_use_nor_harm_its_parents_store(path: Path) -> None:
    filled(path)
    store = LmdbBackend.open(str(path))
    inside, go = threading.Event(), threading.Event()

    def stay(_: object) -> None:
        inside.set()
        go.wait()

    reader = threading.Thread(target=store._environment.read, args=(stay,))
    reader.start()
    inside.wait()
    store.head(1)
    before = store._environment.ask(lambda env: env.readers())
    got, put = os.pipe()
    child = os.fork()
    if child == 0:
        verdict = b"?"
        try:
            refused = 0
            for use in (
                lambda: store.head(1),
                lambda: store.append(1, 30, 1, [Block(31, 31, b"x")]),
                lambda: LmdbBackend.open(str(path)),
            ):
                try:
                    use()
                except StoreClosed as error:
                    refused += "fork" in str(error)
            store.close()
            other = LmdbBackend.open(str(path.parent / "other"))
            other.create_run("fine")
            other.close()
            verdict = b"%d" % refused
        finally:
            os.write(put, verdict)
            os._exit(0)
    os.close(put)
    with os.fdopen(got, "rb") as pipe:
        assert pipe.read() == b"3"
    os.waitpid(child, 0)
    assert store._environment.ask(lambda env: env.readers()) == before
    go.set()
    reader.join()
    store.append(1, 30, 1, [Block(31, 31, b"x")])
    store.close()


def test_a_child_that_ends_normally_leaves_its_parents_readers_alone(path: Path) -> None:
    """Destroying an inherited environment would free the parent's reader slots in the shared table."""
    script = """
import os, sys, threading
from eventcore.backends.lmdb import LmdbBackend
store = LmdbBackend.open(sys.argv[1])
store.create_run("a")
inside, go = threading.Event(), threading.Event()
def stay(txn):
    inside.set()
    go.wait()
thread = threading.Thread(target=store._environment.read, args=(stay,), daemon=True)
thread.start()
inside.wait()
store.head(1)
before = store._environment.ask(lambda env: env.readers())
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
print(store._environment.ask(lambda env: env.readers()) == before)
go.set()
thread.join()
store.close()
"""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_facts_name_the_engine_and_its_sizes(path: Path) -> None:
    filled(path)
    store = LmdbBackend.open(str(path))
    facts = store.facts()
    assert facts["engine"] == "lmdb"
    assert facts["engine_version"] == "0.9." + str(facts["engine_version"]).split(".")[2]
    assert facts["bytes"] == (path / "data.mdb").stat().st_size
    assert facts["map_size"] == 16 * 2**30
    assert facts["max_readers"] == 1024
    assert facts["warnings"] == []
    store.close()
