"""Where a resumed run took back what was done last is found by the index, and by a scan where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventcore.history import events as e
from eventcore.history import index
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.state import encode_state
from eventcore.variables import Variable

CHUNKS = 3


class Number(msgspec.Struct):
    """A number."""

    n: int = 0


@pytest.fixture(params=["runs.lmdb", "sqlite:runs.db"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    with stores.open(request.param) as store, store.run("main") as run:
        yield run


def write(run: Run, chunks: int) -> list[tuple[int, int]]:
    """Fill some chunks of the index, taking something back now and then; return (seq, back to) of that."""
    variable = Variable(data_model=Number, name="v")
    expected: list[tuple[int, int]] = []
    while run.head < chunks * index.CHUNK:
        for number in range(900):
            variable.update({"n": number})
        kept = run.head - 10
        state = encode_state(run.at(kept))
        expected.append((run.record(e.StateRestored(*run.stamp(), kept, state), len(state)), kept))
        variable.update({"n": 0})
    run.flush()
    return expected


def found(run: Run, first: int = 1, last: int | None = None) -> list[tuple[int, int]]:
    last = run.head if last is None else last
    return [(seq, event.back_to) for seq, event in run.reader().restorations(first, last)]


def test_every_one_is_found_whether_indexed_or_in_the_tail(run: Run) -> None:
    expected = write(run, CHUNKS)
    assert len(index.chunks(run.store.backend, run.number, 1)) >= CHUNKS - 1
    assert found(run) == expected
    assert len(expected) > 2 * CHUNKS
    assert run.store.verify() == []
    for first, last in [(1, 1000), (expected[2][0], expected[5][0]), (expected[0][0] + 1, run.head)]:
        assert found(run, first, last) == [pair for pair in expected if first <= pair[0] <= last]


def test_a_fork_finds_those_of_its_parent_up_to_the_fork(run: Run) -> None:
    expected = write(run, 2)
    at = expected[3][0] + 5
    with run.fork("fork", at) as fork:
        assert found(fork) == expected[:4]


def test_without_an_index_they_are_found_all_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write(run, 2)
    monkeypatch.setattr(index, "chunks", lambda *_: [])
    assert found(run) == expected


def test_variables_made_after_something_was_taken_back_are_there_when_it_is_read_again(run: Run) -> None:
    first = Variable(data_model=Number, name="first")
    kept = run.flush()
    first.update({"n": 1})
    state = encode_state(run.at(kept))
    run.record(e.StateRestored(*run.stamp(), kept, state), len(state))
    second = Variable(data_model=Number, name="second")
    second.update({"n": 2})
    first.update({"n": 3})
    read = run.at(run.flush())
    assert (read.variables["first"]["n"], read.variables["second"]["n"]) == (3, 2)
    assert read.digest == run.state.digest
    assert run.store.verify() == []
