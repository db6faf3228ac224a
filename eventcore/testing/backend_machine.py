"""A state machine that drives a storage backend through random histories against a model of plain dicts.

The model shares no code with any backend: it says in dictionaries and lists what the contract
says in words. Bind it with hypothesis:

    class MyMachine(BackendMachine):
        def open(self, place):
            return MyBackend.open(place)

    TestMine = MyMachine.TestCase

or with `machine_of`. The shortest failing history is printed as a program, and saved as a log of what should have
happened that `eventcore show` opens. What it cannot do is kill the process or fill the disk: `check_backend` does.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventcore.errors import ConcurrentAppend, DuplicateName, InvalidValue, NotFound
from eventcore.history.backend import Backend, Block, Posting, StoredSnapshot
from eventcore.testing.backend_case import origin, save
from eventcore.testing.backend_model import SEQS, Edge, ModelRun
from eventcore.testing.backend_subject import BackendSubject, UrlFactory
from eventcore.testing.cases import SavingTestCase, StepTaken, program, recorded
from eventcore.testing.interposed import a_fast_folder

T = TypeVar("T")
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "ü"])
SIZES = st.integers(1, 40)
PAYLOADS = st.one_of(st.binary(max_size=40), st.integers(1, 60_000).map(lambda size: b"\xab" * size))


class BackendMachine(RuleBasedStateMachine):
    """Creates, forks, claims, appends, reads, deletes and reopens; compares everything after each step.

    Attributes:
        factory: What `machine_of` was given; None in a class that defines `open`.
        latest: The machine that was made last: after a failure, the one with the shortest history.
        taken: What was done, by rules that are `recorded`.
    """

    factory: ClassVar[Any] = None
    latest: ClassVar[BackendMachine | None] = None
    TestCase = SavingTestCase()

    def __init__(self) -> None:
        super().__init__()
        type(self).latest = self
        self.taken: list[StepTaken] = []
        self.folder = Path(tempfile.mkdtemp(prefix="eventcore-machine-", dir=a_fast_folder()))
        self.place = str(self.folder / "store")
        self.model: dict[int, ModelRun] = {}
        self.given: set[int] = set()
        self.backend: Backend | None = None

    # -- what a subclass gives ----------------------------------------------------------------

    def open(self, place: str) -> Backend:
        """Open the backend at `place`, creating the store if there is none."""
        raise TypeError("cannot run the machine: define `open(self, place)` in the subclass")

    # -- a failing history ------------------------------------------------------------------------

    @classmethod
    def case(cls) -> str:
        """Save the history of the latest machine as a log; returns its program and how to look at the log."""
        steps = cls.latest.taken if cls.latest is not None else []
        return f"{program(origin(cls), steps)}\n\n{save(cls, steps)}"

    def take(self, rule: str, **arguments: Any) -> None:
        """Take one step of a program: a rule, and what always holds after it."""
        getattr(self, rule)(**arguments)
        self.the_store_is_what_the_model_says()

    # -- helpers of the rules -------------------------------------------------------------------

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

    @initialize()
    def begin(self) -> None:
        """Open an empty store."""
        self.backend = self.open(self.place)

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
        assert not taken, f"the name {name!r} was given twice"
        assert row.id not in self.given, "a number was given twice"
        self.given.add(row.id)
        self.model[row.id] = ModelRun(row.id, name, parent, forked_at, writer, meta)

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
        assert not off, "a claim at a wrong epoch was accepted"
        run.epoch += bool(writer)
        run.writer = writer
        assert (row.epoch, row.writer, row.head) == (run.epoch, writer, run.head)

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
        blocks = _blocks(run.head, sizes, payload)
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
        if expected < 0 or (head_off == 0 and epoch_off == 0):
            return
        try:
            self.store.append(
                run.id,
                expected,
                run.epoch + epoch_off,
                [Block(expected + 1, expected + 1, b"never")],
                StoredSnapshot(expected, b"never"),
                [Posting(0, expected, b"never")],
            )
        except ConcurrentAppend as error:
            assert (error.expected, error.actual) == (expected, run.head)
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
            assert all(name in str(error) for name in forks)
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
        assert list(self.store.blocks(run.id, first, last)) == run.overlapping(first, last)
        assert self.store.snapshot(run.id, last) == run.snapshot(last)

    @precondition(lambda self: self.backend is not None and self.backend.durable)
    @rule()
    @recorded
    def reopen(self) -> None:
        """Close and open again: a durable store is unchanged."""
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
        self._reopen()

    def _reopen(self) -> None:
        log_id = self.store.log_id
        self.store.close()
        self.backend = self.open(self.place)
        assert self.backend.log_id == log_id

    # -- what always holds -------------------------------------------------------------------------

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        """Compare rows, heads, blocks, snapshots and postings of every run."""
        if self.backend is None:
            return
        rows = self.store.runs()
        assert [row.id for row in rows] == sorted(self.model)
        for row in rows:
            run = self.model[row.id]
            assert (row.name, row.parent, row.forked_at) == (run.name, run.parent, run.forked_at)
            assert (row.head, row.epoch, row.writer, row.meta) == (run.head, run.epoch, run.writer, run.meta)
            assert self.store.run(run.name) == self.store.run(run.id) == row
            assert self.store.head(run.id) == run.head
            assert list(self.store.blocks(run.id, 0, 2**60)) == run.blocks
            assert self.store.snapshot_seqs(run.id) == sorted(run.snapshots)
            assert self.store.indexed_to(run.id) == max((seq for _, seq in run.postings), default=0)
            for variable in range(3):
                assert self.store.postings(run.id, variable) == run.postings_of(variable)
            self._edges_are_what_the_model_says(run)

    def _edges_are_what_the_model_says(self, run: ModelRun) -> None:
        """Read up to and from the edges of the newest block and snapshot, and of another, another at each step."""
        number = len(self.taken)
        for block in _newest_and_another(run.blocks, number):
            self._read(run, 0, block.first_seq)
            self._read(run, block.last_seq, block.last_seq)
            self._read(run, block.last_seq + 1, block.last_seq + 1)
        for seq in _newest_and_another(sorted(run.snapshots), number):
            for asked in (seq, seq - 1):
                assert self.store.snapshot(run.id, asked) == run.snapshot(asked)

    def teardown(self) -> None:
        """Check the store as a whole and remove it."""
        if self.backend is not None:
            assert list(self.backend.problems()) == []
            self.backend.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _newest_and_another(things: list[T], number: int) -> list[T]:
    return [things[place] for place in sorted({len(things) - 1, number % len(things)})] if things else []


def _blocks(head: int, sizes: list[int], payload: bytes) -> list[Block]:
    """Blocks of so many seqs each, from a head on."""
    blocks: list[Block] = []
    for number, size in enumerate(sizes):
        blocks.append(Block(head + 1, head + size, payload + bytes([number])))
        head += size
    return blocks


def machine_of(url_factory: UrlFactory) -> type[BackendMachine]:
    """Return a state machine of one backend; its `TestCase` is a test.

    Args:
        url_factory: As in `check_backend`: f(place) -> URL, or the backend's class.
    """
    subject = BackendSubject(url_factory)

    def opened(self: BackendMachine, place: str) -> Backend:
        return subject.open(place)

    name = "MachineOf" + "".join(character for character in subject.name if character.isalnum())
    return type(name[:60], (BackendMachine,), {"open": opened, "factory": staticmethod(url_factory)})
