"""The traps of LMDB, one test each: what would crash, corrupt or mislead is an error of ours instead."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest

from eventcore.backends import filesystem, lmdb_environment
from eventcore.backends.lmdb import LmdbBackend
from eventcore.errors import (
    CorruptLog,
    InvalidValue,
    NotFound,
    StorageError,
    StoreBusy,
    StoreClosed,
    StoreReadOnly,
    UnknownFormat,
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


# -- opening ---------------------------------------------------------------------------------------


def test_a_store_is_private_to_its_owner(path: Path) -> None:
    store = LmdbBackend.open(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    store.create_run("a")
    store.close()
    for file in path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_a_link_to_an_open_store_opens_the_same_store(path: Path, tmp_path: Path) -> None:
    store = LmdbBackend.open(str(path))
    link = tmp_path / "link"
    link.symlink_to(path)
    through_link = LmdbBackend.open(str(link))
    run = store.create_run("a").id
    through_link.append(run, 0, 1, [Block(1, 1, b"x")])
    store.close()
    assert through_link.head(run) == 1
    through_link.close()


def test_a_relative_path_means_the_folder_at_the_time_of_opening(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    store = LmdbBackend.open("store")
    monkeypatch.chdir("/")
    store.create_run("a")
    store.close()
    again = LmdbBackend.open(str(path), create=False)
    assert again.run("a") is not None
    again.close()


def test_a_store_is_found_whatever_characters_its_path_has(tmp_path: Path) -> None:
    path = tmp_path / "ein Ordner ü" / "名 %20 ?x=1#y"
    store = LmdbBackend.open(str(path))
    store.create_run("a")
    store.close()
    again = LmdbBackend.open(str(path), create=False)
    assert len(again.runs()) == 1
    again.close()


def test_a_missing_store_is_not_made_when_reading(path: Path) -> None:
    with pytest.raises(NotFound, match="no store"):
        LmdbBackend.open(str(path), read_only=True)
    with pytest.raises(NotFound, match="no store"):
        LmdbBackend.open(str(path), create=False)
    assert not path.exists()


def test_a_path_that_is_a_file_is_refused(path: Path) -> None:
    path.write_text("a letter")
    with pytest.raises(StorageError, match="it is a file"):
        LmdbBackend.open(str(path))
    path.write_bytes(b"SQLite format 3\0 and more")
    with pytest.raises(StorageError, match="sqlite:"):
        LmdbBackend.open(str(path))
    with pytest.raises(StorageError):
        LmdbBackend.open(str(path / "below"))


def test_a_link_that_leads_nowhere_is_refused(path: Path) -> None:
    path.symlink_to(path.parent / "gone")
    with pytest.raises(StorageError, match="symbolic link"):
        LmdbBackend.open(str(path))


def test_a_folder_with_other_files_is_left_alone(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("important")
    with pytest.raises(StorageError, match=r"thesis\.tex"):
        LmdbBackend.open(str(path))
    assert os.listdir(path) == ["thesis.tex"]


def test_an_empty_folder_becomes_a_store(path: Path) -> None:
    path.mkdir(mode=0o755)
    LmdbBackend.open(str(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_environment_of_another_program_is_left_alone(path: Path) -> None:
    with lmdb.open(str(path), max_dbs=2, lib_version=0) as env, env.begin(write=True) as txn:
        txn.put(b"theirs", b"1")
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(StorageError, match="another program"):
        LmdbBackend.open(str(path))
    assert (path / "data.mdb").read_bytes() == before


def test_a_store_open_outside_eventcore_in_this_process_is_refused(path: Path) -> None:
    filled(path)
    with lmdb.open(str(path), max_dbs=16), pytest.raises(StoreBusy, match="outside eventcore"):
        LmdbBackend.open(str(path))


def test_unknown_options_and_bad_sizes_are_refused(path: Path) -> None:
    with pytest.raises(InvalidValue, match="map_size"):
        LmdbBackend.open(str(path), mapsize=1)
    for size in (0, -1, "1GB", True, 1.5):
        with pytest.raises(InvalidValue):
            LmdbBackend.open(str(path), map_size=size)
    for bad in ("", "a\0b"):
        with pytest.raises(InvalidValue):
            LmdbBackend.open(bad)
    assert not path.exists()


def test_a_machine_with_little_address_space_gets_a_smaller_map(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lmdb.open

    def small(path: str, **options: Any) -> Any:
        if options["map_size"] > 2**30:
            raise lmdb.MemoryError("mmap", 12)
        return real(path, **options)

    monkeypatch.setattr(lmdb, "open", small)
    store = LmdbBackend.open(str(path))
    assert store.facts()["map_size"] == 2**30
    store.close()


# -- identity and format ------------------------------------------------------------------------------


def test_a_newer_format_is_refused_by_name(path: Path) -> None:
    filled(path)
    manifest = json.loads((path / "MANIFEST").read_text())
    (path / "MANIFEST").write_text(json.dumps({**manifest, "format": 99, "new_field": {}}))
    with pytest.raises(UnknownFormat, match="99"):
        LmdbBackend.open(str(path))


def test_a_newer_format_is_refused_without_a_manifest_too(path: Path) -> None:
    import msgspec

    filled(path)
    (path / "MANIFEST").unlink()
    with lmdb.open(str(path), max_dbs=16) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            txn.put(b"format", msgspec.msgpack.encode({"format": 2, "log_id": "ab", "created": 1.0}), db=meta)
    for _ in range(2):
        with pytest.raises(UnknownFormat, match="2"):
            LmdbBackend.open(str(path))


def test_a_lost_manifest_is_written_again(path: Path) -> None:
    filled(path)
    before = json.loads((path / "MANIFEST").read_text())
    (path / "MANIFEST").unlink()
    LmdbBackend.open(str(path), read_only=True).close()
    assert not (path / "MANIFEST").exists()
    LmdbBackend.open(str(path)).close()
    after = json.loads((path / "MANIFEST").read_text())
    assert (after["log_id"], after["created"]) == (before["log_id"], before["created"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\udcff", '{"format": "x"}'])
def test_a_damaged_manifest_is_reported(path: Path, text: str) -> None:
    filled(path)
    (path / "MANIFEST").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises((CorruptLog, UnknownFormat)):
        LmdbBackend.open(str(path))


def test_a_manifest_that_is_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    filled(path)
    (path / "MANIFEST").rename(tmp_path / "elsewhere")
    (path / "MANIFEST").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptLog, match="symbolic link"):
        LmdbBackend.open(str(path))


def test_data_of_another_store_is_refused(path: Path, tmp_path: Path) -> None:
    filled(path)
    filled(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "data.mdb", path / "data.mdb")
    with pytest.raises(CorruptLog, match="not the store its MANIFEST names"):
        LmdbBackend.open(str(path))


def test_an_older_copy_of_the_data_is_noticed(path: Path, tmp_path: Path) -> None:
    filled(path)
    shutil.copy(path / "data.mdb", tmp_path / "old.mdb")
    store = LmdbBackend.open(str(path))
    store.append(1, 30, 1, [Block(31, 31, b"more")])
    store.close()
    shutil.copy(tmp_path / "old.mdb", path / "data.mdb")
    with pytest.raises(CorruptLog, match="older copy"):
        LmdbBackend.open(str(path))
    (path / "MANIFEST").unlink()
    accepted = LmdbBackend.open(str(path))
    assert accepted.head(1) == 30
    accepted.close()


def test_a_creation_that_was_cut_off_is_finished(path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").touch()
    with pytest.raises(StorageError):
        LmdbBackend.open(str(path), read_only=True)
    LmdbBackend.open(str(path)).close()
    for file in path.iterdir():
        file.unlink()
    with lmdb.open(str(path), lib_version=0):
        pass
    with pytest.raises(CorruptLog, match="never finished"):
        LmdbBackend.open(str(path), read_only=True)
    store = LmdbBackend.open(str(path))
    assert store.runs() == []
    store.close()


# -- damaged files ------------------------------------------------------------------------------------


def test_a_file_cut_at_any_page_is_reported_and_never_crashes(path: Path, tmp_path: Path) -> None:
    filled(path)
    whole = (path / "data.mdb").read_bytes()
    folder = tmp_path / "cut"
    folder.mkdir()
    cuts = [*range(0, len(whole), 4096), 1, 100, 4095, 4097, len(whole) - 1]
    for cut in cuts:
        copy = folder / f"{cut:08d}"
        copy.mkdir()
        (copy / "data.mdb").write_bytes(whole[:cut])
        shutil.copy(path / "MANIFEST", copy / "MANIFEST")
    lines = said("open_each", f"lmdb:{folder}")
    assert lines.pop() == "end"
    assert len(lines) == len(cuts)
    outcomes = {line.split()[0]: line.split()[1:] for line in lines}
    assert {outcome[0] for outcome in outcomes.values()} <= {"CorruptLog", "read"}
    # A cut in free pages at the end loses nothing; any other is reported.
    for name, outcome in outcomes.items():
        assert outcome in (["CorruptLog"], ["read", "30"]), name
    assert sum(outcome == ["CorruptLog"] for outcome in outcomes.values()) > len(cuts) / 2


def test_an_empty_file_never_passes_for_an_empty_store(path: Path) -> None:
    filled(path)
    (path / "data.mdb").write_bytes(b"")
    for read_only in (True, False):
        with pytest.raises(CorruptLog, match="empty"):
            LmdbBackend.open(str(path), read_only=read_only)
    (path / "data.mdb").unlink()
    with pytest.raises(CorruptLog, match="gone"):
        LmdbBackend.open(str(path))
    assert not (path / "data.mdb").exists()


def test_a_file_that_is_not_lmdbs_is_reported(path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").write_bytes(b"hello" * 10_000)
    with pytest.raises(CorruptLog):
        LmdbBackend.open(str(path))


def test_flipped_bits_never_crash_a_store_opened_with_verify(path: Path, tmp_path: Path) -> None:
    filled(path)
    whole = (path / "data.mdb").read_bytes()
    rng = random.Random(7)
    folder = tmp_path / "flips"
    folder.mkdir()
    for number in range(60):
        copy = folder / f"flip{number:03d}"
        copy.mkdir()
        place, bit = rng.randrange(len(whole)), rng.randrange(8)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        (copy / "data.mdb").write_bytes(flipped)
        shutil.copy(path / "MANIFEST", copy / "MANIFEST")
    lines = said("open_each", f"lmdb:{folder}")
    assert lines.pop() == "end"
    assert len(lines) == 60
    # Bytes of a block are the codec's to check; the structure around them is checked here.
    assert {line.split()[1] for line in lines} <= {"CorruptLog", "read", "StorageError", "UnknownFormat"}


def test_pages_that_are_damaged_are_named_by_the_check(path: Path) -> None:
    filled(path)
    data = bytearray((path / "data.mdb").read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 + 10] ^= 0xFF  # The flags of a page.
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(CorruptLog):
        LmdbBackend.open(str(path), verify=True)


def test_rows_that_do_not_fit_together_are_named_by_the_check(path: Path) -> None:
    filled(path)
    with lmdb.open(str(path), max_dbs=16) as env:
        tables = {name: env.open_db(name) for name in (b"log", b"bidx", b"snap", b"runs")}
        with env.begin(write=True) as txn:
            txn.delete((7).to_bytes(8, "big"), db=tables[b"log"])
            txn.delete((1).to_bytes(4, "big") + (12).to_bytes(8, "big"), db=tables[b"bidx"])
            txn.put((1).to_bytes(4, "big") + (99).to_bytes(8, "big"), b"state", db=tables[b"snap"])
    store = LmdbBackend.open(str(path))
    with pytest.raises(CorruptLog) as caught:
        list(store.blocks(1, 1, ALL))
    assert caught.value.seq == 7
    found = list(store.problems())
    assert [problem.seq for problem in found if problem.run == "a"] == [7, 12, 99]
    assert any("commit 12" in problem.place for problem in found)
    assert len(found) == 4
    store.close()


def test_a_fork_without_its_parent_is_named_by_the_check(path: Path) -> None:
    store = LmdbBackend.open(str(path))
    parent = store.create_run("parent").id
    store.append(parent, 0, 1, [Block(1, 5, b"x")])
    store.create_run("fork", parent=parent, forked_at=3)
    store.close()
    with lmdb.open(str(path), max_dbs=16) as env:
        runs = env.open_db(b"runs")
        with env.begin(write=True) as txn:
            txn.delete(parent.to_bytes(4, "big"), db=runs)
    store = LmdbBackend.open(str(path))
    found = list(store.problems())
    assert any(problem.run == "fork" and "is gone" in problem.message for problem in found)
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
