"""Logs written by every released format open and fold to the same digests for ever (I16).

The folders `format-N` were written by `make.py` when that format was released. Nothing here is computed from the
present code: what is expected was written down beside the stores.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventcore.errors import UnknownFormat
from eventcore.history import codec
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.backend import Block
from eventcore.history.state import State, fold

FOLDERS = sorted(Path(__file__).parent.glob("format-*"))
NEWER = 65_535
"""A vocabulary no release will ever reach."""


def expected(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a golden folder: opening a store makes lock files."""
    source: Path = request.param
    copy = tmp_path / source.name
    shutil.copytree(source, copy)
    return copy


def test_there_is_a_golden_log_of_the_present_format() -> None:
    assert codec.FORMAT in [expected(folder)["format"] for folder in FOLDERS]


@pytest.mark.parametrize("kind", ["lmdb", "sqlite"])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_golden_store_opens_and_every_state_has_the_digest_it_had(
    folder: Path, kind: str, read_only: bool
) -> None:
    with stores.open(f"{kind}:{folder / ('store.' + kind)}", read_only=read_only) as store:
        assert store.runs() == ["main", "fork"]
        for name, truth in expected(folder)["runs"].items():
            run = store[name]
            assert run.head == truth["head"]
            assert [record.kind for record in run.events()] == truth["kinds"]
            for seq, digest in truth["digests"].items():
                assert run.at(seq).digest == digest
            assert dict(run.state.variables) == truth["values"]
        assert store["main"].seed == 7
        assert store.verify() == []


@pytest.mark.parametrize("kind", ["lmdb", "sqlite"])
def test_a_golden_run_can_be_gone_on_with(folder: Path, kind: str) -> None:
    with stores.open(f"{kind}:{folder / ('store.' + kind)}") as store:
        run = store.reopen("main")
        assert run.record(e.FieldRead(0, None, 0, 1, "count")) == expected(folder)["runs"]["main"]["head"] + 2
        run.flush()
        assert store.verify() == []


def test_golden_blocks_decode_and_fold_without_any_store(folder: Path) -> None:
    truth = expected(folder)["runs"]["main"]
    data = (folder / "main.blocks").read_bytes()
    state, seq, place = State(), 0, 0
    while place < len(data):
        (size,) = struct.unpack_from("<I", data, place)
        events = codec.decode_block(data[place + 4 : place + 4 + size])
        place += 4 + size
        for event in events:
            seq += 1
            fold(state, [event], seq)
            if str(seq) in truth["digests"]:
                assert state.digest == truth["digests"][str(seq)]
    assert seq == truth["head"]


def test_a_log_of_an_unknown_newer_vocabulary_is_refused_by_name() -> None:
    """The bytes were sealed by hand, as an eventcore of the far future would write them."""
    data = (Path(__file__).parent / "newer-vocabulary.block").read_bytes()
    with pytest.raises(UnknownFormat, match=f"vocabulary {NEWER} of a newer eventcore.*upgrade"):
        codec.decode_block(data)
    store = stores.open("memory:")
    run = store.run("future")
    run.flush()
    row = store.row("future")
    newer = codec.pack_block(row.id, 2, 1, row.epoch, NEWER, msgspec.msgpack.encode([[9_999, "new", {}]]))
    store.backend.append(row.id, 1, row.epoch, [Block(2, 2, newer)])
    run.close()
    assert len(list(store["future"].events(stop=1))) == 1
    for read in (lambda: list(store["future"].events()), lambda: store["future"].state):
        with pytest.raises(UnknownFormat, match=f"vocabulary {NEWER}"):
            read()
    (finding,) = store.verify()
    assert "newer eventcore" in finding.message
