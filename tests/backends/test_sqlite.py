"""The traps of SQLite, one test each: what would lose commits or mislead is an error of ours instead."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from eventcore.backends import filesystem, sqlite_database
from eventcore.backends.sqlite import SqliteBackend
from eventcore.backends.sqlite_database import has_wal_reset_bug, lock_path
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
    return tmp_path / "store.sqlite"


def filled(path: Path, blocks: int = 30, size: int = 3000) -> None:
    """Make a store with one run of blocks whose bytes are known."""
    store = SqliteBackend.open(str(path))
    run = store.create_run("a", writer="me").id
    for seq in range(1, blocks + 1):
        store.append(run, seq - 1, 1, [Block(seq, seq, payload(seq, size))])
    store.close()


# -- opening ---------------------------------------------------------------------------------------


def test_all_files_of_a_store_are_private_to_their_owner(path: Path) -> None:
    store = SqliteBackend.open(str(path))
    store.create_run("a")
    files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
    assert len(files) == 4
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    store.close()


def test_a_closed_store_is_one_file_beside_its_lock(path: Path) -> None:
    filled(path)
    assert sorted(os.listdir(path.parent)) == [path.name, path.name + ".lock"]


def test_a_link_to_an_open_store_opens_the_same_store(path: Path, tmp_path: Path) -> None:
    store = SqliteBackend.open(str(path))
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    through_link = SqliteBackend.open(str(link))
    assert through_link.url == store.url
    run = store.create_run("a").id
    through_link.append(run, 0, 1, [Block(1, 1, b"x")])
    store.close()
    assert through_link.head(run) == 1
    through_link.close()


def test_a_store_is_found_whatever_characters_its_path_has(tmp_path: Path) -> None:
    path = tmp_path / "ein Ordner ü" / "名 %20 ?mode=ro#y&x.sqlite"
    store = SqliteBackend.open(str(path))
    store.create_run("a")
    store.close()
    again = SqliteBackend.open(str(path), create=False)
    assert len(again.runs()) == 1
    again.close()
    assert sorted(os.listdir(path.parent)) == [path.name, path.name + ".lock"]


def test_a_missing_store_is_not_made_when_reading(path: Path) -> None:
    with pytest.raises(NotFound, match="no store"):
        SqliteBackend.open(str(path), read_only=True)
    with pytest.raises(NotFound, match="no store"):
        SqliteBackend.open(str(path), create=False)
    assert os.listdir(path.parent) == []


def test_a_path_that_is_a_folder_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StorageError, match="it is a directory"):
        SqliteBackend.open(str(path))
    (path / "data.mdb").touch()
    with pytest.raises(StorageError, match="lmdb:"):
        SqliteBackend.open(str(path))


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        SqliteBackend.open(str(path))
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(CorruptLog):
        SqliteBackend.open(str(path))
    assert path.read_text() == "Dear diary, " * 1000


def test_bad_options_are_refused(path: Path) -> None:
    with pytest.raises(InvalidValue, match="timeout"):
        SqliteBackend.open(str(path), map_size=1)
    for timeout in (-1, "5", True, 1e9, float("nan")):
        with pytest.raises(InvalidValue):
            SqliteBackend.open(str(path), timeout=timeout)
    for bad in ("", ":memory:", "a\0b"):
        with pytest.raises(InvalidValue):
            SqliteBackend.open(bad)
    assert os.listdir(path.parent) == []


def test_a_newer_format_is_refused_by_name(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(UnknownFormat, match="99"):
        SqliteBackend.open(str(path))


def test_two_processes_making_one_store_make_one(path: Path) -> None:
    with Child("hold", f"sqlite:{path}") as one:
        assert one.read() == "open"
        two = SqliteBackend.open(str(path), read_only=True)
        assert two.runs() == []
        two.close()
        one.go()
        assert one.read() == "closed"


# -- damaged files ------------------------------------------------------------------------------------


def test_a_file_cut_at_any_page_is_reported_and_never_read_wrongly(path: Path, tmp_path: Path) -> None:
    filled(path)
    whole = path.read_bytes()
    folder = tmp_path / "cut"
    folder.mkdir()
    cuts = [*range(0, len(whole), 4096), 1, 100, 4095, 4097, len(whole) - 1]
    for cut in cuts:
        (folder / f"{cut:08d}").write_bytes(whole[:cut])
    lines = said("open_each", f"sqlite:{folder}")
    assert lines.pop() == "end"
    assert len(lines) == len(cuts)
    assert {line.split()[1] for line in lines} == {"CorruptLog"}


def test_an_empty_file_never_passes_for_an_empty_store(path: Path) -> None:
    path.touch()
    for read_only in (True, False):
        with pytest.raises(CorruptLog, match="empty"):
            SqliteBackend.open(str(path), read_only=read_only)
    assert path.stat().st_size == 0


def test_a_log_left_without_its_file_is_not_replayed_into_a_new_store(path: Path) -> None:
    store = SqliteBackend.open(str(path))
    store.create_run("a")
    wal = path.with_name(path.name + "-wal")
    kept = wal.read_bytes()
    assert kept
    store.close()
    path.unlink()
    wal.write_bytes(kept)
    with pytest.raises(CorruptLog, match="write-ahead log"):
        SqliteBackend.open(str(path))
    assert not path.exists()


def test_flipped_bits_give_only_errors_of_ours(path: Path, tmp_path: Path) -> None:
    filled(path)
    whole = path.read_bytes()
    rng = random.Random(7)
    folder = tmp_path / "flips"
    folder.mkdir()
    for number in range(60):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (folder / f"flip{number:03d}").write_bytes(flipped)
    lines = said("open_each", f"sqlite:{folder}")
    assert lines.pop() == "end"
    assert len(lines) == 60


def test_damaged_pages_are_named_by_the_check(path: Path) -> None:
    filled(path)
    data = bytearray(path.read_bytes())
    for page in range(20, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(data)
    store = SqliteBackend.open(str(path))
    found = list(store.problems())
    assert found
    assert all(str(path) in problem.place for problem in found)
    store.close()


def test_rows_that_do_not_fit_together_are_named_by_the_check(path: Path) -> None:
    store = SqliteBackend.open(str(path))
    run = store.create_run("a").id
    for seq in range(1, 31):
        store.append(run, seq - 1, 1, [Block(seq, seq, b"x")])
    fork = store.create_run("fork", parent=run, forked_at=20).id
    store.append(fork, 20, 1, [Block(21, 22, b"x")])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM blocks WHERE run = 1 AND last_seq IN (7, 12)")
        connection.execute("INSERT INTO snapshots (run, seq, data) VALUES (1, 99, x'00')")
        connection.execute("UPDATE runs SET forked_at = 40 WHERE name = 'fork'")
    connection.close()
    store = SqliteBackend.open(str(path))
    found = list(store.problems())
    assert [problem.seq for problem in found if problem.run == "a"] == [7, 12, 99]
    assert [problem.run for problem in found].count("fork") == 2
    store.close()


# -- where it lies ---------------------------------------------------------------------------------------


def test_a_network_file_system_is_refused_unless_forced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "statfs_type", lambda _: 0x6969)
    with pytest.raises(UnsafeFileSystem, match="NFS"):
        SqliteBackend.open(str(path))
    store = SqliteBackend.open(str(path), force=True)
    assert any("NFS" in str(warning) for warning in store.facts()["warnings"])  # type: ignore[attr-defined]
    store.close()


def test_a_read_only_disk_is_readable_and_says_so_when_written(path: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    filled(tmp_path / "folder" / "store")
    with read_only_disk(tmp_path / "folder", tmp_path / "disk") as disk:
        with pytest.raises(StoreReadOnly):
            SqliteBackend.open(str(disk / "store"))
        with pytest.raises(StoreReadOnly):
            SqliteBackend.open(str(disk / "other"))
        store = SqliteBackend.open(str(disk / "store"), read_only=True)
        assert len(list(store.blocks(1, 1, ALL))) == 30
        with pytest.raises(StoreReadOnly):
            store.append(1, 30, 1, [Block(31, 31, b"x")])
        assert list(store.problems()) == []
        store.close()


def test_a_file_size_limit_loses_nothing_and_writing_goes_on_when_it_is_raised(path: Path) -> None:
    kind, full, after = said("fill", f"sqlite:{path}", 2**19)
    assert kind in ("StorageError", "OutcomeUnknown")
    acknowledged, head, blocks = map(int, full.split())
    assert 10 < acknowledged <= head == blocks <= acknowledged + 1
    assert after == f"{head + 1} {head + 1} 0"


def test_a_full_disk_loses_nothing_and_writing_goes_on_when_space_is_back(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=3m", "none") as disk:
        store = SqliteBackend.open(str(disk / "store"))
        run = store.create_run("a").id
        ballast = disk / "ballast"
        seq = 0
        for _ in range(3):
            free = os.statvfs(disk)
            ballast.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - 500_000))
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
        again = SqliteBackend.open(str(disk / "store"))
        assert again.head(run) == seq + 1
        again.close()


def test_a_backup_taken_while_the_store_is_written_is_whole(path: Path, tmp_path: Path) -> None:
    filled(path)
    with Child("append_for_ever", f"sqlite:{path}") as child:
        child.read()
        store = SqliteBackend.open(str(path), read_only=True)
        for number in range(3):
            acknowledged = int(child.read())
            target = tmp_path / f"copy{number}.sqlite"
            store.backup(str(target))
            assert stat.S_IMODE(target.stat().st_mode) == 0o600
            copy = SqliteBackend.open(str(target), read_only=True)
            head = copy.head(1)
            assert head >= acknowledged
            assert [block.first_seq for block in copy.blocks(1, 1, ALL)] == list(range(1, head + 1))
            assert list(copy.problems()) == []
            copy.close()
        store.close()


# -- one process writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 44, 9), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_the_versions_with_the_wal_reset_bug_are_known(version: tuple[int, int, int], affected: bool) -> None:
    assert has_wal_reset_bug(version) is affected


def test_on_an_affected_version_a_second_writing_process_is_refused_and_told_who_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    filled(path)
    with Child("hold", f"sqlite:{path}") as child:
        assert child.read() == "open"
        if not has_wal_reset_bug(sqlite3.sqlite_version_info):
            pytest.skip("this SQLite is sound")
        with pytest.raises(StoreBusy):
            SqliteBackend.open(str(path))
        reader = SqliteBackend.open(str(path), read_only=True)
        assert reader.head(1) == 30
        reader.close()
        child.go()
        assert child.read() == "closed"
    writer = SqliteBackend.open(str(path))
    said_by_child = said("try_to_write", f"sqlite:{path}")[0]
    if not said_by_child.startswith("wrote"):
        assert said_by_child.startswith("StoreBusy")
        assert f"process {os.getpid()} on" in said_by_child
        assert "3.51.3" in said_by_child
    writer.close()


def test_on_a_sound_version_several_processes_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is then shared, and SQLite's own holds the commits apart."""
    monkeypatch.setattr(sqlite_database, "has_wal_reset_bug", lambda _: False)
    filled(path)
    first = sqlite_database._lock(path)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(sqlite_database._lock(path))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(first)


def test_the_lock_of_a_killed_writer_is_free(path: Path) -> None:
    with Child("append_for_ever", f"sqlite:{path}") as child:
        acknowledged = [int(child.read()) for _ in range(5)]
        child.kill()
    store = SqliteBackend.open(str(path))
    assert store.head(1) >= acknowledged[-1]
    store.close()


def test_the_lock_outlives_a_look_at_its_file_and_ends_with_its_holder_though_a_child_lives_on(
    path: Path,
) -> None:
    filled(path)
    with Child("hold_and_fork", f"sqlite:{path}") as child:
        assert child.read() == "open"
        assert said("try_to_write", f"sqlite:{path}")[0].startswith(("StoreBusy", "wrote"))
        child.kill()
        store = SqliteBackend.open(str(path))
        store.close()


def test_a_damaged_lock_file_still_locks(path: Path) -> None:
    filled(path)
    lock_path(path).write_text("not json")
    store = SqliteBackend.open(str(path))
    assert said("try_to_write", f"sqlite:{path}")[0].startswith(("StoreBusy", "wrote"))
    store.close()


def test_facts_warn_of_the_wal_reset_bug(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteBackend.open(str(path))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    warnings = store.facts()["warnings"]
    assert isinstance(warnings, list)
    assert "WAL-reset" in warnings[0]
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert store.facts()["warnings"] == []
    store.close()


def test_readers_can_neither_write_nor_checkpoint(path: Path) -> None:
    store = SqliteBackend.open(str(path))
    store.create_run("a")
    with store._database.reader() as connection:
        assert connection.execute("PRAGMA query_only").fetchone() == (1,)
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("DELETE FROM runs")
    writer = store._database._writer
    assert writer is not None
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_the_log_is_folded_into_the_file_by_the_writer(path: Path) -> None:
    store = SqliteBackend.open(str(path))
    run = store.create_run("a").id
    for seq in range(1, 201):
        store.append(run, seq - 1, 1, [Block(seq, seq, payload(seq, 50_000))], StoredSnapshot(seq, b"s"))
        list(store.blocks(run, seq, seq))
    size = store.facts()["wal_bytes"]
    assert isinstance(size, int)
    assert size < 8_000_000
    store.close()
    assert not path.with_name(path.name + "-wal").exists()


def test_a_child_made_by_fork_can_neither_use_nor_reopen_its_parents_store(path: Path) -> None:
    filled(path)
    store = SqliteBackend.open(str(path))
    store.head(1)
    got, put = os.pipe()
    child = os.fork()
    if child == 0:
        verdict = b"?"
        try:
            refused = 0
            for use in (
                lambda: store.head(1),
                lambda: store.append(1, 30, 1, [Block(31, 31, b"x")]),
                lambda: SqliteBackend.open(str(path), read_only=True),
            ):
                try:
                    use()
                except StoreClosed as error:
                    refused += "fork" in str(error)
            store.close()
            verdict = b"%d" % refused
        finally:
            os.write(put, verdict)
            os._exit(0)
    os.close(put)
    with os.fdopen(got, "rb") as pipe:
        assert pipe.read() == b"3"
    os.waitpid(child, 0)
    assert said("try_to_write", f"sqlite:{path}")[0].startswith(("StoreBusy", "wrote"))
    head = store.head(1)
    store.append(1, head, 1, [Block(head + 1, head + 1, b"x")])
    store.close()


def test_a_ctrl_c_between_two_statements_leaves_nothing_behind(path: Path) -> None:
    store = SqliteBackend.open(str(path))
    run = store.create_run("a").id
    writer = store._database._writer
    assert writer is not None
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM runs")
    store.append(run, 0, 1, [Block(1, 1, b"x")])
    assert store.head(run) == 1
    store.close()


def test_many_threads_read_with_few_connections(path: Path) -> None:
    filled(path)
    store = SqliteBackend.open(str(path))
    barrier = threading.Barrier(20)
    errors: list[BaseException] = []

    def read() -> None:
        try:
            barrier.wait()
            for _ in range(5):
                assert len(list(store.blocks(1, 1, ALL))) == 30
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store._database._idle) <= sqlite_database.IDLE_READERS
    store.close()


def test_a_store_copied_while_closed_is_the_same_store(path: Path, tmp_path: Path) -> None:
    filled(path)
    shutil.copy(path, tmp_path / "copy.sqlite")
    store = SqliteBackend.open(str(tmp_path / "copy.sqlite"))
    assert store.head(1) == 30
    store.close()
