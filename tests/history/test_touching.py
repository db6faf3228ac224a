"""A record of which fields changed in a stretch saves blame time and never costs truth.

The model is a plain walk over the events, from the first to the last, that knows nothing of an index: it keeps for
every place of a variable's value the event that wrote it. Every value is written once and never again, so there is
no doubt whose it is. Chunks of the index are small here, and snapshots many, so that there is much to pass over.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import CorruptLog
from eventcore.history import codec, index, touching
from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history import store as stores
from eventcore.history.backend import Backend, Posting
from eventcore.history.provenance import COPYING
from eventcore.history.run import Run
from eventcore.history.scope import process_scope
from eventcore.history.state import encode_state
from eventcore.history.store import Store
from tests.history.test_blame_laws import Gardener

NAMES = ("a", "b", "c", "d")
SCHEMA = {
    "type": "object",
    "properties": {**{name: {"type": "integer"} for name in NAMES}, "items": {"type": "array"}},
}
Owners = dict[str, int]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "CHUNK", 8)


class Writer:
    """Writes numbers nobody has written before into two variables, in every way there is."""

    def __init__(self, seed: int, url: str) -> None:
        self.random = Random(seed)
        self.store: Store = stores.open(url)
        self.run: Run = self.store.run("main")
        self.last = 0
        self.forks = 0
        self.variables = [
            ec.Variable({**dict.fromkeys(NAMES, 0), "items": [0]} | self.numbers(), SCHEMA, name=name)
            for name in ("left", "right")
        ]

    def number(self) -> int:
        self.last += 1
        return self.last

    def numbers(self) -> dict[str, Any]:
        return {**{name: self.number() for name in NAMES}, "items": [self.number()]}

    def record(self, kind: type[e.Event], *fields: Any) -> None:
        make: Any = kind
        self.run.record(make(*self.run.stamp(), self.random.randrange(2), *fields))

    def update(self) -> None:
        names = self.random.sample(NAMES, self.random.randint(1, 2))
        self.record(e.VariableUpdated, {name: self.number() for name in names}, -1)

    def keep_busy(self) -> None:
        """What most of a log is: one field that is written again and again."""
        variable = self.random.randrange(2)
        for _ in range(self.random.randint(1, 40)):
            stamp = self.run.stamp()
            self.run.record(e.VariableUpdated(*stamp, variable, {"a": self.number()}, -1))
            if self.random.random() < 0.2:
                self.run.record(e.FieldRead(*stamp, variable, "b"))
            if self.random.random() < 0.2:
                self.run.record(e.MetricLogged(*stamp, "nobody's", 1.0))

    def assign(self) -> None:
        self.record(e.VariableAssigned, self.numbers(), -1)

    def edit_a_list(self) -> None:
        op, args = self.random.choice([(p.APPEND, [self.number()]), (p.SET, [0, self.number()])])
        self.record(e.ValuePatched, ["items"], op, args, -1)

    def merge_at_the_top(self) -> None:
        self.record(e.ValuePatched, [], p.MERGE, [{self.random.choice(NAMES): self.number()}], -1)

    def edit_from_outside(self) -> None:
        name = self.random.choice(NAMES)
        self.record(e.EditedFromOutside, [name], self.number(), "by hand")

    def replace_from_outside(self) -> None:
        self.record(e.EditedFromOutside, [], self.numbers(), "by hand")

    def take_back(self) -> None:
        declared = max(seq for seq, event in self.run.events() if isinstance(event, e.VariableDeclared))
        kept = self.random.randint(max(declared, self.run.head - 30), self.run.head)
        state = encode_state(self.run.at(kept))
        self.run.record(e.StateRestored(*self.run.stamp(), kept, state), len(state))

    def fork(self) -> None:
        declared = max(seq for seq, event in self.run.events() if isinstance(event, e.VariableDeclared))
        self.forks += 1
        at = self.random.randint(max(declared, self.run.head - 30), self.run.head)
        self.run = self.run.fork(f"fork{self.forks}", at=at)

    def snapshot(self) -> None:
        self.run.snapshot()

    def commit(self) -> None:
        self.run.flush()

    STEPS = (
        update, keep_busy, keep_busy, keep_busy, assign, edit_a_list, edit_a_list, merge_at_the_top,
        edit_from_outside, replace_from_outside, take_back, fork, snapshot, snapshot, commit, commit, commit,
    )  # fmt: skip

    def write(self, steps: int) -> None:
        for _ in range(steps):
            self.random.choice(self.STEPS)(self)
        self.run.flush()

    def close(self) -> None:
        self.store.close()
        process_scope.run = None


def walked(run: Run, number: int, last: int) -> Owners:
    """Go through all events, oldest first, and note who wrote what."""
    found: dict[int, dict[str, Any]] = {}
    owners: dict[str, Any] = {}
    for seq, event in run.events():
        if seq > last:
            break
        if isinstance(event, e.StateRestored):
            owners = copy.deepcopy(found[event.back_to])
        elif getattr(event, "variable", None) == number:
            if isinstance(event, (e.VariableDeclared, e.VariableAssigned)):
                owners = _all(event.value, seq)
            elif isinstance(event, e.VariableUpdated):
                owners |= _all(event.payload, seq)
            elif isinstance(event, e.EditedFromOutside):
                owners = owners | {str(event.path[0]): seq} if event.path else _all(event.value, seq)
            elif isinstance(event, e.ValuePatched) and event.op == p.MERGE:
                owners |= _all(event.args[0], seq)
            elif isinstance(event, e.ValuePatched) and event.op == p.SET:
                owners["items"][event.args[0]] = seq
            elif isinstance(event, e.ValuePatched):
                owners["items"].append(seq)
        found[seq] = copy.deepcopy(owners)
    return {f"/{name}": owners[name] for name in NAMES} | {
        f"/items/{at}": owner for at, owner in enumerate(owners["items"])
    }


def _all(value: dict[str, Any], seq: int) -> dict[str, Any]:
    return {name: [seq] * len(item) if isinstance(item, list) else seq for name, item in value.items()}


def blamed(run: Run, name: str, last: int) -> Owners:
    return {piece.pointer: piece.seq for piece in run.blame(name, at=last).pieces}


def one_by_one(run: Run, name: str, last: int, pointers: Owners) -> Owners:
    """Ask for each place alone: a question about one field passes over the most."""
    return {pointer: run.blame(name, pointer, at=last).pieces[0].seq for pointer in pointers}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_blame_is_what_a_plain_walk_over_all_events_says(seed: int, steps: int) -> None:
    writer = Writer(seed, "memory:")
    try:
        writer.write(steps)
        run = writer.run
        first = max(seq for seq, event in run.events() if isinstance(event, e.VariableDeclared))
        for last in (run.head, writer.random.randint(first, run.head)):
            for number, name in enumerate(("left", "right")):
                expected = walked(run, number, last)
                assert blamed(run, name, last) == expected
                assert one_by_one(run, name, last, expected) == expected
        assert writer.store.verify() == []
    finally:
        writer.close()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60))
def test_words_have_the_owners_they_have_without_a_record(seed: int, steps: int) -> None:
    gardener = Gardener(seed)
    try:
        gardener.STEPS = (*Gardener.STEPS, *[lambda self: self.run.flush()] * 4)  # type: ignore[assignment]
        gardener.grow(steps)
        gardener.check(gardener.run.head)
        pointers = ("", "/text", "/notes", "/examples", "/predictions", "/current_predictions", "/candidates")
        with_it = [gardener.run.blame("v", pointer).pieces for pointer in pointers]
        forget(gardener.store.backend)
        assert [gardener.run.blame("v", pointer).pieces for pointer in pointers] == with_it
    finally:
        gardener.store.close()
        process_scope.run = None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60))
def test_what_an_event_changes_it_is_said_to_touch(seed: int, steps: int) -> None:
    gardener = Gardener(seed)
    try:
        gardener.grow(steps)
        run = gardener.run
        before: dict[str, Any] = {}
        for seq, event in run.events():
            state = run.at(seq)
            after = state.variables["v"] if "v" in state.names() else {}
            if getattr(event, "variable", None) == 0:
                touched = touching.touched(event)
                changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
                assert touched is None or changed <= set(touched)
                assert touched is None or not isinstance(
                    event, COPYING
                )  # they may change no value, but whose it is
            else:
                assert before == after
            before = after
    finally:
        gardener.store.close()
        process_scope.run = None


def forget(backend: Backend) -> None:
    """Make a store one that was written before there were records."""
    found = backend.postings
    without: Any = lambda run, variable: [] if variable == index.TOUCHES else found(run, variable)  # noqa: E731
    backend.postings = without  # type: ignore[method-assign]


# --- what is saved, and what is not believed -----------------------------------------------------

CHUNKS = 40


@pytest.fixture
def busy(disk: str) -> Iterator[Run]:
    """A run in which `b` of a busy variable is written twice: in the beginning, and long after."""
    with stores.open(disk) as store, store.run("main") as run:
        values = {**dict.fromkeys(NAMES, 0), "items": [0]}
        left, right = (ec.Variable(values, SCHEMA, name=name) for name in ("left", "right"))
        left.update({"b": 1})
        for number in range(CHUNKS):
            with run.lock:  # no commit comes in between: a chunk of the index is what stands here
                if number == CHUNKS // 4:
                    left.update({"b": 2})
                for _ in range(8):
                    left.update({"a": number})
                    right.update({"a": number, "b": number})
            run.flush()
            if number % 4 == 0:
                run.snapshot()
        yield run


def owner(run: Run, pointer: str = "/b") -> int:
    return run.blame("left", pointer).pieces[0].seq


def blocks_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> int:
    read: list[int] = []
    blocks = run.store.backend.blocks

    def counted(number: int, first: int, last: int) -> Iterator[Any]:
        for block in blocks(number, first, last):
            read.append(block.first_seq)
            yield block

    with monkeypatch.context() as patch:
        patch.setattr(run.store.backend, "blocks", counted)
        owner(run)
    return len(read)


def put(run: Run, change: Callable[[bytes], bytes], which: int = -1) -> Posting:
    """Store something else in place of one record."""
    backend, row = run.store.backend, run.store.row(run.name)
    old = backend.postings(run.number, index.TOUCHES)[which]
    new = Posting(index.TOUCHES, old.last_seq, change(old.data))
    backend.append(run.number, row.head, row.epoch, (), None, (new,))
    return old


def test_what_no_event_touched_is_passed_over_unread(busy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found, read = owner(busy), blocks_read(busy, monkeypatch)
    assert found == walked(busy, 0, busy.head)["/b"] > 100
    forget(busy.store.backend)
    assert owner(busy) == found
    assert blocks_read(busy, monkeypatch) > 2 * read


def test_a_damaged_record_costs_time_and_never_truth_and_verify_reports_it(busy: Run) -> None:
    expected = owner(busy)
    data = busy.store.backend.postings(busy.number, index.TOUCHES)[-1].data
    for bit in range(0, len(data) * 8, 13):
        put(busy, lambda data, bit=bit: _flipped(data, bit))  # type: ignore[misc]
        assert owner(busy) == expected
        assert any("which fields changed" in finding.message for finding in busy.store.verify())
        put(busy, lambda _: data)
    assert busy.store.verify() == []


def _flipped(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def test_a_record_of_another_place_is_not_believed(busy: Run) -> None:
    expected = owner(busy)
    records = busy.store.backend.postings(busy.number, index.TOUCHES)
    for which in range(len(records)):
        put(busy, lambda _: records[-1].data, which)
    assert owner(busy) == expected
    assert len(busy.store.verify()) == len(records) - 1


def test_a_record_of_a_part_of_a_chunk_is_not_believed(busy: Run) -> None:
    expected = owner(busy)
    first, last = next(
        (chunk.first, chunk.last)
        for chunk in index.chunks(busy.store.backend, busy.number, 1)
        if chunk.first <= expected <= chunk.last
    )
    assert expected + index.CHUNK < last
    indexer = index.Indexer(last - index.CHUNK + 1)
    for low, events in busy.reader().chunks(last - index.CHUNK + 1, last):
        indexer.feed(low, events)
    (part,) = [posting for posting in indexer.take(last) if posting.variable == index.TOUCHES]
    row = busy.store.row("main")
    busy.store.backend.append(busy.number, row.head, row.epoch, (), None, (part,))
    assert owner(busy) == expected
    assert [finding.seq for finding in busy.store.verify()] == [first]


def test_a_record_made_by_other_rules_is_not_believed(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with stores.open(disk) as store, store.run("main") as run:
        left = ec.Variable({"a": 0, "b": 0}, SCHEMA, name="left")
        with monkeypatch.context() as patch:
            patch.setattr(index, "RULES", touching.RULES + 1)
            patch.setattr(
                touching.Touches, "groups", lambda _: [([], [0])]
            )  # by them, nothing touches anything
            for number in range(50):
                left.update({"a": number} if number % 20 else {"a": number, "b": number})
                run.flush()
                if number % 10 == 0:
                    run.snapshot()
        events = [(seq, event) for seq, event in run.events() if isinstance(event, e.VariableUpdated)]
        assert owner(run) == next(seq for seq, event in events if event.payload.get("b") == 40)
        assert store.verify() == []


def test_a_record_that_leaves_something_out_is_found_by_verify(
    disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stores.open(disk) as store, store.run("main") as run:
        left = ec.Variable({"a": 0, "b": 0}, SCHEMA, name="left")
        with monkeypatch.context() as patch:
            patch.setattr(touching.Touches, "groups", lambda _: [(["a"], [0])])
            with run.lock:
                for number in range(8):
                    left.update({"a": number, "b": number})
            run.flush()
        assert [finding.message for finding in store.verify()] == [
            f"the index does not say which fields changed between seq 1 and {run.head}; "
            "the log itself is not affected"
        ]


def test_a_store_from_before_there_were_records_is_read_and_goes_on(
    disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = index.Indexer.take

    def without(self: index.Indexer, last_seq: int) -> list[Posting]:
        return [posting for posting in old(self, last_seq) if posting.variable != index.TOUCHES]

    values = {"a": 0, "b": 0}
    with monkeypatch.context() as patch:
        patch.setattr(index.Indexer, "take", without)
        with stores.open(disk) as store, store.run("main") as run:
            left = ec.Variable(values, SCHEMA, name="left")
            left.update({"b": 1})
            written = run.head
            for number in range(100):
                left.update({"a": number})
                run.flush()
                if number % 20 == 0:
                    run.snapshot()
            assert store.backend.postings(run.number, index.TOUCHES) == []
            assert store.verify() == []
            del left
    with stores.open(disk) as store, store.reopen("main") as run:
        left = ec.Variable(values, SCHEMA, name="left")
        for number in range(100):
            left.update({"a": -number})
            run.flush()
        assert store.backend.postings(run.number, index.TOUCHES)
        found = run.blame("left", "/b").pieces[0]
        assert found.seq == written
        assert store.verify() == []


def test_events_of_another_vocabulary_are_looked_at_themselves(
    busy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = owner(busy)
    monkeypatch.setitem(codec.UPCASTERS, (0, 5), lambda fields: fields)
    monkeypatch.setattr(index, "touches", lambda *_: pytest.fail("a record was looked at"))
    assert owner(busy) == expected


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_random_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(CorruptLog):
        index.touches(Posting(index.TOUCHES, 10, data))
