"""What one process does to a store, rule by rule: each held against what the model of plain dicts says of it.

`OneProcess` creates, forks, claims, appends, reads, follows, deletes and reopens. Other processes, what always holds,
and what becomes of a history that fails, are `BackendMachine`'s.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from eventcore.errors import ConcurrentAppend, DuplicateName, EventcoreError, InvalidValue, NotFound
from eventcore.history.backend import Backend, Block, Posting, RunRow, StoredSnapshot
from eventcore.testing.backend_model import SEQS, Edge, ModelRun, agree, blocks_of
from eventcore.testing.cases import StepTaken, recorded
from eventcore.testing.interposed import a_fast_folder

NAMES = st.sampled_from(["a", "b", "c", "d", "e", "ü"])
SIZES = st.integers(1, 40)
PAYLOADS = st.one_of(st.binary(max_size=40), st.integers(1, 60_000).map(lambda size: b"\xab" * size))


class OneProcess(RuleBasedStateMachine):
    """Drives an open backend and a second handle that follows it, and the model beside them.

    Attributes:
        taken: What was done, by rules that are `recorded`.
        model: What the contract says of each run, by its number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[StepTaken] = []
        self.folder = Path(tempfile.mkdtemp(prefix="eventcore-machine-", dir=a_fast_folder()))
        self.place = str(self.folder / "store")
        self.model: dict[int, ModelRun] = {}
        self.given: set[int] = set()
        self.backend: Backend | None = None
        self.reader: Backend | None = None
        self.seen: dict[int, int] = {}

    def open(self, place: str) -> Backend:
        """Open the backend at `place`, creating the store if there is none."""
        raise TypeError("cannot run the machine: define `open(self, place)` in the subclass")

    def open_reader(self, place: str) -> Backend:
        """Open the store a second time, to follow it; where that fails, the first handle follows."""
        return self.open(place)

    @property
    def store(self) -> Backend:
        """The open backend."""
        assert self.backend is not None
        return self.backend

    def _pick(self, choice: int) -> ModelRun:
        ids = sorted(self.model)
        return self.model[ids[choice % len(ids)]]

    def _named(self, name: str) -> ModelRun | None:
        return next((run for run in self.model.values() if run.name == name), None)

    # -- rules ------------------------------------------------------------------------------------

    @rule(name=NAMES, meta=st.binary(max_size=20), writer=st.sampled_from(["", "w1", "w2"]))
    @recorded
    def create(self, name: str, meta: bytes, writer: str) -> None:
        """Create a run, unless the name is taken."""
        self._create(name, None, 0, meta, writer)

    @precondition(lambda self: self.model)
    @rule(name=NAMES, choice=st.integers(0, 9), seq=SEQS, writer=st.sampled_from(["", "w3"]))
    @recorded
    def fork(self, name: str, choice: int, seq: Edge, writer: str) -> None:
        """Fork a run at one of its seqs, or beyond its head, which is refused."""
        parent = self._pick(choice)
        at = max(0, parent.seq(seq))
        if at > parent.head:
            try:
                self.store.create_run("never", parent=parent.id, forked_at=at)
            except NotFound:
                return
            raise AssertionError("a fork beyond the head was accepted")
        self._create(name, parent.id, at, b"", writer)

    def _create(self, name: str, parent: int | None, forked_at: int, meta: bytes, writer: str) -> None:
        taken = self._named(name) is not None
        try:
            row = self.store.create_run(name, parent=parent, forked_at=forked_at, meta=meta, writer=writer)
        except DuplicateName:
            assert taken, f"the name {name!r} was free"
            return
        self._created(row, ModelRun(row.id, name, parent, forked_at, writer, meta))

    def _created(self, row: RunRow, run: ModelRun) -> None:
        assert self._named(run.name) is None, f"the name {run.name!r} was given twice"
        assert row.id not in self.given, "a number was given twice"
        self.given.add(row.id)
        self.model[row.id] = run

    @precondition(lambda self: self.model)
    @rule(
        choice=st.integers(0, 9),
        writer=st.sampled_from(["", "w1", "w2"]),
        off=st.sampled_from([None, 0, 0, -1, 1]),
    )
    @recorded
    def claim(self, choice: int, writer: str, off: int | None) -> None:
        """Claim or release a run, expecting the right epoch, a wrong one, or none."""
        run = self._pick(choice)
        expected = None if off is None else run.epoch + off
        try:
            row = self.store.claim(run.id, writer, expected)
        except ConcurrentAppend:
            assert off, "a claim at the right epoch was refused"
            return
        self._claimed(row, run, writer, off)

    def _claimed(self, row: RunRow | None, run: ModelRun, writer: str, off: int | None) -> None:
        assert not off, "a claim at a wrong epoch was accepted"
        assert row is not None, f"a claim of {run} by {writer!r} gave no row"
        run.epoch += bool(writer)
        run.writer = writer
        agree(f"what a claim of {run} gave", (row.epoch, row.writer, row.head), (run.epoch, writer, run.head))

    @precondition(lambda self: self.model)
    @rule(
        choice=st.integers(0, 9),
        sizes=st.lists(SIZES, max_size=3),
        payload=PAYLOADS,
        snapshot=st.one_of(st.none(), SEQS),
        postings=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.binary(max_size=9)), max_size=3),
    )
    @recorded
    def append(
        self,
        choice: int,
        sizes: list[int],
        payload: bytes,
        snapshot: Edge | None,
        postings: list[tuple[int, int, bytes]],
    ) -> None:
        """Append blocks, perhaps none, perhaps with a snapshot and postings."""
        run = self._pick(choice)
        blocks = blocks_of(run.head, sizes, payload)
        head = blocks[-1].last_seq if blocks else run.head
        stored = None
        if snapshot is not None:
            stored = StoredSnapshot(min(max(0, run.seq(snapshot)), head), payload)
        chunks = [Posting(variable, max(0, head - back), data) for variable, back, data in postings]
        self.store.append(run.id, run.head, run.epoch, blocks, stored, chunks)
        run.add(blocks, stored, chunks)

    @precondition(lambda self: self.model)
    @rule(
        choice=st.integers(0, 9), head_off=st.sampled_from([-1, 0, 1]), epoch_off=st.sampled_from([-1, 0, 1])
    )
    @recorded
    def append_as_a_writer_that_is_behind(self, choice: int, head_off: int, epoch_off: int) -> None:
        """Append with a wrong head or epoch: nothing of it may become visible."""
        run = self._pick(choice)
        expected = run.head + head_off
        if expected >= 0 and (head_off or epoch_off):
            self._refused(run, expected, run.epoch + epoch_off)

    def _refused(self, run: ModelRun, expected: int, epoch: int) -> None:
        try:
            self.store.append(
                run.id,
                expected,
                epoch,
                [Block(expected + 1, expected + 1, b"never")],
                StoredSnapshot(expected, b"never"),
                [Posting(0, expected, b"never")],
            )
        except ConcurrentAppend as error:
            agree("what the refusal says", (error.expected, error.actual), (expected, run.head))
            return
        raise AssertionError("a writer that is behind was let in")

    @precondition(lambda self: self.model)
    @rule(choice=st.integers(0, 9), seq=SEQS)
    @recorded
    def drop_snapshot(self, choice: int, seq: Edge) -> None:
        """Drop a snapshot that may or may not be there."""
        run = self._pick(choice)
        self.store.drop_snapshot(run.id, run.seq(seq))
        run.snapshots.pop(run.seq(seq), None)

    @precondition(lambda self: self.model)
    @rule(choice=st.integers(0, 9))
    @recorded
    def delete(self, choice: int) -> None:
        """Delete a run, unless a fork reads through it."""
        run = self._pick(choice)
        forks = [other.name for other in self.model.values() if other.parent == run.id]
        try:
            self.store.delete_run(run.id)
        except InvalidValue as error:
            assert forks, "a run nobody reads through was kept"
            assert all(name in str(error) for name in forks), f"the refusal names not all of {forks}: {error}"
            return
        assert not forks, "a run others read through was deleted"
        del self.model[run.id]

    @precondition(lambda self: self.model)
    @rule(choice=st.integers(0, 9), first=SEQS, last=SEQS)
    @recorded
    def read_a_range(self, choice: int, first: Edge, last: Edge) -> None:
        """Read the blocks that overlap a range, and the snapshot before its end."""
        run = self._pick(choice)
        self._read(run, run.seq(first), run.seq(last))

    def _read(self, run: ModelRun, first: int, last: int) -> None:
        self._reads_from(self.store, run, first, last)
        agree(f"the snapshot of {run} at {last}", self.store.snapshot(run.id, last), run.snapshot(last))

    @precondition(lambda self: self.backend is not None and self.backend.durable)
    @rule()
    @recorded
    def reopen(self) -> None:
        """Close all and open again: a durable store is unchanged."""
        self._close_reader()
        self._reopen()

    @precondition(lambda self: self.reader is not None and self.store.durable)
    @rule()
    @recorded
    def reopen_beside_the_reader(self) -> None:
        """Close and open again while the one that follows goes on."""
        self._reopen()

    @precondition(lambda self: self.backend is not None and self.backend.durable and self.model)
    @rule()
    @recorded
    def leave(self) -> None:
        """Release every run that is held, close, and open again: what the end of a program does."""
        for run in self.model.values():
            if run.writer:
                self.store.claim(run.id, "")
                run.writer = ""
        self._close_reader()
        self._reopen()

    def _reopen(self) -> None:
        log_id = self.store.log_id
        self.store.close()
        self._open_again(log_id)

    def _open_again(self, log_id: str) -> None:
        self.backend = self.open(self.place)
        agree("the log's id after opening again", self.backend.log_id, log_id)

    # -- one that follows --------------------------------------------------------------------------

    @precondition(lambda self: self.model)
    @rule(choice=st.integers(0, 9), size=SIZES)
    @recorded
    def follow(self, choice: int, size: int) -> None:
        """Read on where the reader stands, append, and read on: it sees what was appended, and nothing else."""
        self._read_on()
        run = self._pick(choice)
        self._append_one(run, size)
        self._read_on()

    def _append_one(self, run: ModelRun, size: int) -> None:
        blocks = blocks_of(run.head, [size], b"mine")
        self.store.append(run.id, run.head, run.epoch, blocks)
        run.add(blocks)

    def _read_on(self) -> None:
        reader = self._opened_reader()
        for run in self.model.values():
            seen = self.seen.get(run.id, run.forked_at)
            agree(f"the head of {run}, followed", reader.head(run.id), run.head)
            self._reads_from(reader, run, seen + 1)
            self.seen[run.id] = run.head

    def _reads_from(self, backend: Backend, run: ModelRun, first: int, last: int = 2**60) -> None:
        read, held = list(backend.blocks(run.id, first, last)), run.overlapping(first, last)
        agree(f"what is read of {run} from {first} to {last}", read, held)

    def _opened_reader(self) -> Backend:
        """The handle that follows, which stays open; the store's own where it does not open twice."""
        if self.reader is None:
            with contextlib.suppress(EventcoreError, TypeError):
                self.reader = self.open_reader(self.place)
        if self.reader is not None and self.reader.log_id != self.store.log_id:
            self._close_reader()
        return self.reader or self.store

    def _close_reader(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()
