"""A power cut takes nothing that was acknowledged (I5). `make powercut` does the same 20,000 times."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from eventcore.testing.interposed import RECORDER, compiled
from eventcore.testing.powercut_disk import SECTOR, Call, Disk, Kind, read_trace
from tests.backends.powercut import campaign, record

TRIES = range(60)


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that records, compiled once."""
    if not sys.platform.startswith("linux"):
        pytest.skip("calls are recorded on Linux only")
    library = compiled(RECORDER, tmp_path_factory.mktemp("recorder"))
    if library is None:
        pytest.skip("there is no C compiler that compiles the recorder")
    return library


# -- the backends ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("backend", ["lmdb", "sqlite"])
def test_nothing_acknowledged_is_lost_by_a_power_cut(recorder: Path, backend: str) -> None:
    told: list[str] = []
    seed = 1 if os.environ.get("CI") else os.getpid()
    figures = campaign(recorder, backend, 250, seed=seed, say=told.append)
    assert told == []
    assert (figures["lost"], figures["damaged"], figures["died"]) == (0, 0, 0)
    assert figures["states"] == 250
    # Else it would prove nothing.
    assert figures["acknowledged"] > 50_000
    assert figures["took"] > 60


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize(
    ("backend", "spoilt", "at_least"),
    [
        ("lmdb", "lmdb-sync", 45),
        ("lmdb", "lmdb-metasync", 8),
        ("lmdb", "names", 15),
        ("lmdb", "hasty", 5),
        ("sqlite", "sqlite-off", 45),
        ("sqlite", "sqlite-normal", 15),
        ("sqlite", "names", 15),
        ("sqlite", "hasty", 5),
    ],
)
def test_a_backend_that_does_not_sync_is_caught(
    recorder: Path, backend: str, spoilt: str, at_least: int
) -> None:
    figures = campaign(recorder, backend, 60, spoilt=spoilt)
    assert figures["lost"] + figures["damaged"] + figures["died"] >= at_least, figures
    assert figures["lost"] > 0


# -- the recording ---------------------------------------------------------------------------------------


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["lmdb", "sqlite"])
@pytest.mark.parametrize("seed", [1, 3])
def test_the_recorded_calls_are_all_that_made_the_files(
    recorder: Path, tmp_path: Path, backend: str, seed: int
) -> None:
    record(recorder, tmp_path / "writer", backend, seed)
    calls = read_trace(tmp_path / "writer" / "trace")
    disk = Disk(tmp_path / "writer" / "root")
    for call in calls:
        disk.follow(call)
    (tmp_path / "again").mkdir()
    disk.whole(tmp_path / "again")
    real, again = files_below(tmp_path / "writer" / "root"), files_below(tmp_path / "again")
    assert real.keys() == again.keys()
    differing = [name for name in real if real[name] != again[name]]
    assert [name for name in differing if not name.endswith(("lock.mdb", "-shm"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["lmdb", "sqlite"])
def test_the_recorded_writer_does_everything_there_is_to_lose(
    recorder: Path, tmp_path: Path, backend: str
) -> None:
    record(recorder, tmp_path, backend, 1)
    calls = read_trace(tmp_path / "trace")
    said = {msgspec.json.decode(call.data)[0] for call in calls if call.kind is Kind.MARK}
    assert said == {
        "creating", "created", "events", "durable", "state", "deleting", "deleted", "copied",
    }  # fmt: skip
    durable_writes = sum(call.kind is Kind.WRITE and call.size for call in calls)
    cut_off = sum(call.kind is Kind.TRUNCATE for call in calls)
    if backend == "lmdb":
        assert durable_writes > 50  # each commit's meta page
        assert any(call.kind is Kind.RENAME for call in calls) or any(
            call.kind is Kind.LINK for call in calls
        )
    else:
        assert cut_off > 2  # checkpoints end with the write-ahead log cut off
        syncs = {call.inode for call in calls if call.kind is Kind.SYNC}
        assert len(syncs) > 3  # the file, its log, their folder


# -- the disk --------------------------------------------------------------------------------------------


def write(inode: int, offset: int, data: bytes, durable: bool = False) -> Call:
    return Call(Kind.WRITE, inode, offset, int(durable), "", "", data)


def named(kind: Kind, path: Path, inode: int = 0, other: Path | str = "") -> Call:
    return Call(kind, inode, 0, 0, str(path), str(other), b"")


def sync(inode: int) -> Call:
    return Call(Kind.SYNC, inode, 0, 0, "", "", b"")


def remains(root: Path, calls: Sequence[Call], flying: Call | None = None) -> list[dict[str, bytes]]:
    """Follow calls and cut the power many times."""
    disk = Disk(root)
    for call in calls:
        disk.follow(call)
    found: list[dict[str, bytes]] = []
    for number in TRIES:
        place = root.parent / f"cut {len(list(root.parent.iterdir()))} {number}"
        place.mkdir()
        disk.cut(random.Random(number), place, flying)
        found.append(files_below(place))
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def the_inode(root: Path) -> int:
    return root.stat().st_ino


def test_what_was_synced_with_its_name_is_always_there(root: Path) -> None:
    calls = [named(Kind.CREATE, root / "a", 1), write(1, 0, b"kept"), sync(1), sync(the_inode(root))]
    assert all(left == {"a": b"kept"} for left in remains(root, calls))


def test_a_synced_file_whose_directory_was_not_synced_may_be_gone(root: Path) -> None:
    calls = [named(Kind.CREATE, root / "a", 1), write(1, 0, b"kept"), sync(1)]
    left = remains(root, calls)
    assert {} in left
    assert {"a": b"kept"} in left
    assert all(one in ({}, {"a": b"kept"}) for one in left)


def test_a_file_is_gone_with_a_directory_that_was_never_synced_into_its_own(root: Path) -> None:
    calls = [
        named(Kind.MKDIR, root / "folder", 2),
        named(Kind.CREATE, root / "folder" / "a", 1),
        sync(1),
        sync(2),
    ]
    assert {} in remains(root, calls)
    assert {} not in remains(root, [*calls, sync(the_inode(root))])


def test_unsynced_writes_are_lost_by_sectors_and_in_any_order(root: Path) -> None:
    base = [named(Kind.CREATE, root / "a", 1), write(1, 0, bytes(2 * SECTOR)), sync(1), sync(the_inode(root))]
    left = {one["a"] for one in remains(root, [*base, write(1, 0, b"x" * 2 * SECTOR)])}
    parts = {(one[:SECTOR], one[SECTOR:]) for one in left}
    old, new = bytes(SECTOR), b"x" * SECTOR
    assert parts == {(old, old), (old, new), (new, old), (new, new)}
    two = [write(1, 0, b"x" * SECTOR), write(1, SECTOR, b"y" * SECTOR)]
    assert old + b"y" * SECTOR in {one["a"] for one in remains(root, base + two)}


def test_a_durable_write_stays_though_the_one_before_it_need_not(root: Path) -> None:
    calls = [
        named(Kind.CREATE, root / "a", 1),
        sync(the_inode(root)),
        write(1, 0, b"x" * SECTOR),
        write(1, SECTOR, b"y" * SECTOR, durable=True),
    ]
    left = {one["a"] for one in remains(root, calls)}
    assert left == {bytes(SECTOR) + b"y" * SECTOR, b"x" * SECTOR + b"y" * SECTOR}


def test_a_durable_write_that_was_under_way_is_there_or_not(root: Path) -> None:
    calls = [named(Kind.CREATE, root / "a", 1), sync(the_inode(root))]
    left = remains(root, calls, write(1, 0, b"y" * SECTOR, durable=True))
    assert {one["a"].strip(b"\0") for one in left} == {b"", b"y" * SECTOR}


def test_an_unsynced_rename_happened_or_did_not(root: Path) -> None:
    calls = [
        named(Kind.CREATE, root / "old", 1),
        named(Kind.CREATE, root / "new", 2),
        write(1, 0, b"old"),
        write(2, 0, b"new"),
        sync(1),
        sync(2),
        sync(the_inode(root)),
        named(Kind.RENAME, root / "new", other=root / "old"),
    ]
    before, after = {"old": b"old", "new": b"new"}, {"old": b"new"}
    left = remains(root, calls)
    assert before in left
    assert after in left
    assert all(one in (before, after) for one in left)
    assert all(one == after for one in remains(root, [*calls, sync(the_inode(root))]))


def test_a_file_that_was_removed_without_a_sync_may_be_back(root: Path) -> None:
    calls = [
        named(Kind.CREATE, root / "a", 1),
        sync(the_inode(root)),
        named(Kind.UNLINK, root / "a"),
    ]
    assert {"a": b""} in remains(root, calls)
    assert {} in remains(root, calls)


def test_a_size_that_was_cut_down_without_a_sync_may_be_the_old_one(root: Path) -> None:
    calls = [
        named(Kind.CREATE, root / "a", 1),
        write(1, 0, b"x" * 9),
        sync(1),
        sync(the_inode(root)),
        Call(Kind.TRUNCATE, 1, 0, 4, "", "", b""),
    ]
    assert {one["a"] for one in remains(root, calls)} == {b"x" * 4, b"x" * 9}


def test_a_file_written_through_a_map_may_hold_anything(root: Path) -> None:
    calls = [
        named(Kind.CREATE, root / "a", 1),
        sync(the_inode(root)),
        Call(Kind.TRUNCATE, 1, 0, 64, "", "", b""),
        Call(Kind.MAPPED, 1, 0, 0, "", "", b""),
    ]
    assert len({one["a"] for one in remains(root, calls)}) > 3


def test_a_call_on_a_file_whose_creation_was_not_seen_is_an_error(root: Path) -> None:
    with pytest.raises(ValueError, match="creation was not seen"):
        Disk(root).follow(write(5, 0, b"x"))


def test_a_call_of_an_unknown_kind_is_an_error(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_bytes(bytes([12]) + bytes(39))
    with pytest.raises(ValueError, match="unknown kind"):
        read_trace(trace)
