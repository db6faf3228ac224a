"""History by the per-variable index equals a full scan (I17), whatever became of the index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventcore.errors import CorruptLog
from eventcore.history import events as e
from eventcore.history import index
from eventcore.history import store as stores
from eventcore.history.backend import Posting
from eventcore.history.run import Run
from eventcore.history.store import Store

Events = list[tuple[int, e.Event]]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "CHUNK", 16)


def read(run: Run, variable: int | None) -> int:
    if variable is None:
        return run.record(e.MetricLogged(0, None, 0, "nobody's", 1.0))
    return run.record(e.FieldRead(0, None, 0, variable, "x"))


def scan(run: Run, variable: int, first: int = 1, last: int | None = None) -> Events:
    """What the index must say, by looking at every event."""
    last = run.head if last is None else last
    run.flush()
    return [
        (seq, event)
        for seq, event in run.events()
        if first <= seq <= last and getattr(event, "variable", None) == variable
    ]


def by_index(run: Run, variable: int, first: int = 1, last: int | None = None) -> Events:
    run.flush()
    return list(run.reader().concerning(variable, first, run.head if last is None else last))


def filled(run: Run, count: int = 200) -> Run:
    """A run whose variables are rare, common, clustered and absent."""
    for n in range(count):
        read(run, 0 if n % 50 == 7 else 1 if n % 2 else 2 if 60 <= n < 90 else None)
        if n % 9 == 0:
            run.flush()
    run.flush()
    return run


VARIABLES = range(4)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.booleans()), max_size=120),
    st.integers(1, 130),
    st.integers(1, 130),
)
def test_by_the_index_equals_a_full_scan(steps: list[tuple[int | None, bool]], first: int, last: int) -> None:
    with stores.open("memory:") as store:
        run = store.run("any")
        for variable, barrier in steps:
            read(run, variable)
            if barrier:
                run.flush()
        first, last = min(first, run.head), min(last, run.head)
        for variable in VARIABLES:
            assert by_index(run, variable) == scan(run, variable)
            assert by_index(run, variable, first, last) == scan(run, variable, first, last)
        assert store.verify() == []


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(0, 100)), max_size=4))
def test_by_the_index_equals_a_full_scan_through_forks_of_forks(forks: list[tuple[int, int, int]]) -> None:
    with stores.open("memory:") as store:
        runs = [filled(store.run("root"), 60)]
        for which, events, at in forks:
            parent = runs[which % len(runs)]
            fork = parent.fork(at=at % (parent.head + 1))
            for n in range(events):
                read(fork, n % 3)
            runs.append(fork)
            for n in range(20):
                read(parent, n % 4)
        for run in runs:
            for variable in VARIABLES:
                assert by_index(run, variable) == scan(run, variable)
        assert store.verify() == []


def test_the_index_goes_on_where_it_was_after_reopening(disk: str, reopen: Callable[[Store], Store]) -> None:
    store = stores.open(disk)
    run = filled(store.run("long"), 37)
    for _ in range(5):
        store = reopen(store)
        run = filled(store.reopen("long"), 23)
    for variable in VARIABLES:
        assert by_index(run, variable) == scan(run, variable)
    chunks = index.chunks(store.backend, run.number, 1)
    assert [chunk.first for chunk in chunks] == [1, *(chunk.last + 1 for chunk in chunks[:-1])]
    assert run.head - chunks[-1].last < 32
    assert store.verify() == []


def test_reading_a_rare_variable_reads_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    run = stores.open("memory:").run("rare")
    for n in range(2_000):
        read(run, 0 if n in (500, 501, 1_500) else 1)
        if n % 20 == 0:
            run.flush()
    run.flush()
    touched: list[int] = []
    blocks = run.store.backend.blocks

    def counted(number: int, first: int, last: int) -> Any:
        for block in blocks(number, first, last):
            touched.append(block.first_seq)
            yield block

    monkeypatch.setattr(run.store.backend, "blocks", counted)
    assert [seq for seq, _ in run.reader().concerning(0, 1, run.head)] == [502, 503, 1_502]
    assert len(touched) < 10


def spoil(store: Store, run: Run, change: Callable[[bytes], bytes], variable: int, which: int) -> Posting:
    """Store something else in place of one posting."""
    row = store.row(run.number)
    old = store.backend.postings(run.number, variable)[which]
    new = Posting(variable, old.last_seq, change(old.data))
    store.backend.append(run.number, row.head, row.epoch, (), None, (new,))
    return old


@pytest.mark.parametrize("variable", [0, 1, index.DIRECTORY])
@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_damaged_posting_costs_time_and_never_truth_and_verify_reports_it(
    disk: str, variable: int, which: int
) -> None:
    store = stores.open(disk)
    run = filled(store.run("damaged"))
    expected = {number: scan(run, number) for number in VARIABLES}
    postings = store.backend.postings(run.number, variable)
    for bit in range(0, len(postings[which if which < len(postings) else 0].data) * 8, 3):

        def flip(data: bytes, bit: int = bit) -> bytes:
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            return bytes(flipped)

        place = which if which < len(postings) else 0
        old = spoil(store, run, flip, variable, place)
        assert {number: by_index(run, number) for number in VARIABLES} == expected
        if bit == 0:
            assert any("index" in finding.message for finding in store.verify())
        spoil(store, run, lambda _, data=old.data: data, variable, place)  # type: ignore[misc]
    assert store.verify() == []


def test_a_posting_of_another_variable_or_place_is_not_believed(disk: str) -> None:
    store = stores.open(disk)
    run = filled(store.run("mixed"))
    expected = {number: scan(run, number) for number in VARIABLES}
    others = store.backend.postings(run.number, 1)
    spoil(store, run, lambda _: others[0].data, 0, 0)
    spoil(store, run, lambda _: others[2].data, 1, 1)
    assert {number: by_index(run, number) for number in VARIABLES} == expected
    assert store.verify()


def test_a_posting_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open("memory:")
    run = filled(store.run("lost"))
    expected = {number: scan(run, number) for number in VARIABLES}
    postings = store.backend.postings

    def without_one(number: int, variable: int) -> list[Posting]:
        found = postings(number, variable)
        return found[1:] if variable in (0, 1) else found

    monkeypatch.setattr(store.backend, "postings", without_one)
    assert {number: by_index(run, number) for number in VARIABLES} == expected
    assert store.verify()
    monkeypatch.setattr(store.backend, "postings", lambda *_: [])
    assert {number: by_index(run, number) for number in VARIABLES} == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\x95\x01\x00\x01\x00\xc4\x01\x00",
        b"\x95" + b"\xcf" + b"\xff" * 8 + b"\x00\x01\x00\xc4\x00",
    ],
)
def test_bytes_that_are_no_posting_raise_what_is_declared(data: bytes) -> None:
    with pytest.raises(CorruptLog):
        index.unpack(Posting(3, 10, data))


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_random_bytes_are_no_posting(data: bytes) -> None:
    with pytest.raises(CorruptLog):
        index.unpack(Posting(3, 10, data))
