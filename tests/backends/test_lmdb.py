"""The traps of opening an LMDB store: what would crash, corrupt or mislead is an error of ours instead."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
from pathlib import Path
from typing import Any

import lmdb
import pytest

from eventcore.backends.lmdb import LmdbBackend
from eventcore.errors import (
    CorruptLog,
    InvalidValue,
    NotFound,
    StorageError,
    StoreBusy,
    UnknownFormat,
)
from eventcore.history.backend import Block
from tests.backends.child import payload
from tests.backends.processes import said

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


def test_a_folder_in_which_a_creation_was_cut_off_becomes_a_store(path: Path) -> None:
    (path / ".draft.7.7").mkdir(parents=True)
    (path / ".draft.7.7" / "data.mdb").write_bytes(b"half of it")
    (path / "lock.mdb").touch()
    store = LmdbBackend.open(str(path))
    store.create_run("a")
    store.close()
    again = LmdbBackend.open(str(path))
    assert [row.name for row in again.runs()] == ["a"]
    again.close()


def test_an_environment_of_another_program_is_left_alone(path: Path) -> None:
    with lmdb.open(str(path), max_dbs=2) as env, env.begin(write=True) as txn:
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
    with lmdb.open(str(path)):
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


def test_a_key_no_store_writes_is_reported(path: Path) -> None:
    filled(path)
    with lmdb.open(str(path), max_dbs=16) as env, env.begin(write=True) as txn:
        txn.put(b"odd", b"1", db=env.open_db(b"runs", txn=txn))
    store = LmdbBackend.open(str(path))
    with pytest.raises(CorruptLog, match="no store writes"):
        store.runs()
    store.close()


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
