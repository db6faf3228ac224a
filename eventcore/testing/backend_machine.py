"""A state machine that drives a storage backend through random histories against a model of plain dicts.

The model shares no code with any backend: it says in dictionaries and lists what the contract
says in words. Bind it with hypothesis:

    class MyMachine(BackendMachine):
        def open(self, place):
            return MyBackend.open(place)

    TestMine = MyMachine.TestCase

or with `machine_of`. A second handle follows, other processes append and claim, and some are killed while they do.
The shortest failing history is printed as a program, and saved as a log of what should have happened that `eventcore
show` opens. What it cannot do is fill the disk or cut the power: `check_backend` does.
"""

from __future__ import annotations

import functools
import shutil
import signal
from typing import Any, ClassVar, TypeVar

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from eventcore.errors import InvalidValue
from eventcore.history.backend import Backend, Posting, StoredSnapshot
from eventcore.testing.backend_case import origin, save
from eventcore.testing.backend_model import ModelRun, agree, blocks_of
from eventcore.testing.backend_processes import (
    Append,
    Asked,
    Claim,
    Create,
    EndingTestCase,
    Said,
    Task,
    asked_of,
    elsewhere,
    why_not,
)
from eventcore.testing.backend_rules import NAMES, PAYLOADS, SIZES, OneProcess
from eventcore.testing.backend_subject import BackendSubject, UrlFactory, abilities
from eventcore.testing.cases import hold_invariants, program, recorded
from eventcore.testing.checks import DoesNotApply
from eventcore.testing.whereabouts import whereabouts
from eventcore.testing.whereabouts import why_not as why_not_found

T = TypeVar("T")

OTHERS = 4
"""How often other processes take part in one history."""


class BackendMachine(OneProcess):
    """Creates, forks, claims, appends, reads, follows, deletes, reopens and kills; compares after each step.

    Attributes:
        alone: Why no other process takes part; "" where others do, None until that is found out.
        shuts_out: Whether the backend refuses other processes while it is open: then it is closed for them.
        factory: What `machine_of` was given; None in a class that defines `open`.
        latest: The machine that was made last: after a failure, the one with the shortest history.
    """

    alone: ClassVar[str | None] = None
    shuts_out: ClassVar[bool] = False
    factory: ClassVar[Any] = None
    latest: ClassVar[BackendMachine | None] = None
    TestCase = EndingTestCase()

    def __init__(self) -> None:
        super().__init__()
        type(self).latest = self
        self.fates: list[int] = []

    def opener(self, place: str) -> dict[str, Any]:
        """Return how another process opens a store: as this class does.

        Raises:
            DoesNotApply: It cannot.
        """
        where = whereabouts(type(self))
        if where is None:
            raise DoesNotApply(why_not_found(type(self)))
        return {"machine": where, "place": place}

    @initialize()
    def begin(self) -> None:
        """Open an empty store."""
        cls, opened = type(self), self.open(self.place)
        if not isinstance(opened, Backend):  # pyright: ignore[reportUnnecessaryIsInstance] - users' code
            raise InvalidValue(
                f"cannot run {cls.__name__}: its `open` returned {opened!r}, which is no Backend; return an open "
                "one, such as `MyBackend.open(place)`, or use machine_of(lambda place: url)"
            )
        self.backend = opened
        if cls.alone is None:
            cls.alone = self._why_alone()
        if cls.alone and currently_in_test_context():
            event(f"no other process takes part: {cls.alone}")

    def _why_alone(self) -> str:
        if not self.store.durable:
            return "the backend says that it is not durable"
        try:
            return why_not(self.opener(str(self.folder / "probe")))
        except DoesNotApply as reason:
            return str(reason)

    # -- a failing history ------------------------------------------------------------------------

    @classmethod
    def case(cls) -> str:
        """Save the history of the latest machine as a log; returns its program and how to look at the log."""
        steps = cls.latest.taken if cls.latest is not None else []
        return f"{program(origin(cls), steps)}\n\n{save(cls, steps)}"

    def take(self, rule: str, **arguments: Any) -> None:
        """Take one step of a program: a rule, and what always holds after it."""
        getattr(self, rule)(**arguments)
        hold_invariants(self)

    @property
    def others_left(self) -> bool:
        """Whether another process may take part once more: some milliseconds each time, so not at every step."""
        return not self.alone and sum("process" in rule for rule, _ in self.taken) < OTHERS

    # -- other processes ---------------------------------------------------------------------------

    @precondition(lambda self: self.model and self.others_left)
    @rule(
        name=NAMES,
        choice=st.integers(0, 9),
        writer=st.sampled_from(["", "w4"]),
        off=st.sampled_from([None, 0, 0, -1, 1]),
    )
    @recorded
    def another_process_creates_and_claims(
        self, name: str, choice: int, writer: str, off: int | None
    ) -> None:
        """Have another process claim a run written here, having made another: this one's epoch is refused then."""
        run = self._pick(choice)
        self._append_one(run, 1)
        expected = None if off is None else run.epoch + off
        created, claimed = self._by_another_process([Create(name), Claim(run.id, writer, expected)])
        assert (created.error == "DuplicateName") == (self._named(name) is not None), created
        if created.row is not None:
            self._created(created.row, ModelRun(created.row.id, name, None, 0, "", b""))
        if claimed.error:
            assert claimed.error == "ConcurrentAppend", claimed
            assert off, "a claim at the right epoch was refused"
            return
        self._claimed(claimed.row, run, writer, off)
        if writer:
            self._refused(run, run.head, run.epoch - 1)

    @precondition(lambda self: self.model and self.others_left)
    @rule(
        choice=st.integers(0, 9),
        sizes=st.lists(SIZES, min_size=1, max_size=3),
        payload=PAYLOADS,
        head_off=st.sampled_from([0, 0, 0, -1, 1]),
        epoch_off=st.sampled_from([0, 0, 0, -1, 1]),
    )
    @recorded
    def another_process_appends(
        self, choice: int, sizes: list[int], payload: bytes, head_off: int, epoch_off: int
    ) -> None:
        """Have another process append, as one that is at the head or as one that is behind."""
        run = self._pick(choice)
        expected = max(0, run.head + head_off)
        asked = appended(run, sizes, payload, expected, run.epoch + epoch_off)
        [said] = self._by_another_process([asked])
        if said.error:
            assert said.error == "ConcurrentAppend", said
            assert expected != run.head or epoch_off, "an append at the right head and epoch was refused"
            assert said.numbers == (expected, run.head), said
            return
        assert expected == run.head and not epoch_off, "a writer that is behind was let in"
        run.add(asked.blocks, asked.snapshot, asked.postings)

    @precondition(lambda self: self.model and self.others_left)
    @rule(
        choice=st.integers(0, 9),
        whole=st.integers(0, 2),
        sizes=st.lists(SIZES, min_size=1, max_size=3),
        payload=PAYLOADS,
        calls=st.integers(0, 150),
    )
    @recorded
    def a_process_is_killed(
        self, choice: int, whole: int, sizes: list[int], payload: bytes, calls: int
    ) -> None:
        """Kill a process at some call of its last append: what it acknowledged is there, the last whole or not."""
        run = self._pick(choice)
        after = ModelRun(run.id, run.name, run.parent, run.head, run.writer, run.meta, run.epoch)
        asked: list[Append] = []
        for _ in range(whole + 1):
            asked.append(appended(after, sizes, payload, after.head, after.epoch))
            after.add(asked[-1].blocks)
        for each in asked[: self._by_a_process_that_is_killed(asked, calls)]:
            run.add(each.blocks, each.snapshot, each.postings)

    def _by_another_process(self, asked: list[Asked]) -> list[Said]:
        """What another process is answered, which then ends."""
        if self.alone:
            return [asked_of(self.store, each) for each in asked]
        said = self._elsewhere(Task(self.opener(self.place), asked))
        assert len(said) == len(asked) + 1 and not said[-1].code, f"another process ended early: {said}"
        return said[:-1]

    def _by_a_process_that_is_killed(self, asked: list[Append], calls: int) -> int:
        """How many appends are there after a process was killed; where there are no others, those it is told."""
        if self.alone:
            fate = self.fates.pop(0) if self.fates else len(asked)
            for each in asked[:fate]:
                asked_of(self.store, each)
            return fate
        said = self._elsewhere(Task(self.opener(self.place), [*asked], True, calls))
        assert said[-1].code == -signal.SIGKILL, f"it was not the kill that ended it: {said}"
        assert not any(one.error for one in said), (
            f"an append at the right head and epoch was refused: {said}"
        )
        fate = len(said) - 1
        if fate < len(asked) and self.store.head(asked[0].run) == asked[fate].blocks[-1].last_seq:
            fate += 1
        self.fates.append(fate)
        return fate

    def _elsewhere(self, task: Task) -> list[Said]:
        """Have another process do something; where it is shut out, everything here is closed meanwhile."""
        said = [] if self.shuts_out else elsewhere(task)
        if not said or said[0].what == "busy":
            type(self).shuts_out = True
            log_id = self.store.log_id
            self._close_reader()
            self.store.close()
            said = elsewhere(task)
            self._open_again(log_id)
        assert all(one.what != "failed" for one in said), f"it failed in another process: {said}"
        return said

    # -- what always holds -------------------------------------------------------------------------

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        """Compare rows, heads, blocks, snapshots and postings of every run."""
        if self.backend is None:
            return
        rows = self.store.runs()
        agree("the numbers of the runs", [row.id for row in rows], sorted(self.model))
        for row in rows:
            run = self.model[row.id]
            agree(f"the row of {run}", row, run.row(row.created))
            agree(f"the row of {run}, by its name", self.store.run(run.name), row)
            agree(f"the row of {run}, by its number", self.store.run(run.id), row)
            agree(f"the head of {run}", self.store.head(run.id), run.head)
            self._reads_from(self.store, run, 0)
            agree(f"the snapshots of {run}", self.store.snapshot_seqs(run.id), sorted(run.snapshots))
            indexed = max((seq for _, seq in run.postings), default=0)
            agree(f"how far {run} is indexed", self.store.indexed_to(run.id), indexed)
            for variable in range(3):
                found = self.store.postings(run.id, variable)
                agree(f"postings of variable {variable} in {run}", found, run.postings_of(variable))
            self._edges_are_what_the_model_says(run)

    def _edges_are_what_the_model_says(self, run: ModelRun) -> None:
        """Read up to and from the edges of the newest block and snapshot, and of another, another at each step."""
        number = len(self.taken)
        for block in _newest_and_another(run.blocks, number):
            self._read(run, 0, block.first_seq)
            self._read(run, 0, block.last_seq)
            self._read(run, block.last_seq, block.last_seq)
            self._read(run, block.last_seq + 1, block.last_seq + 1)
        for seq in _newest_and_another(sorted(run.snapshots), number):
            for asked in (seq, seq - 1):
                found = self.store.snapshot(run.id, asked)
                agree(f"the snapshot of {run} at {asked}", found, run.snapshot(asked))

    def teardown(self) -> None:
        """Check the store as a whole and remove it."""
        try:
            self._close_reader()
            if self.backend is not None:
                agree("what the store finds wrong with itself", list(self.backend.problems()), [])
        finally:
            if self.backend is not None:
                self.backend.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def _newest_and_another(things: list[T], number: int) -> list[T]:
    return [things[place] for place in sorted({len(things) - 1, number % len(things)})] if things else []


def appended(run: ModelRun, sizes: list[int], payload: bytes, head: int, epoch: int) -> Append:
    """An append with a snapshot and two postings, which share its fate."""
    blocks = blocks_of(head, sizes, payload)
    last = blocks[-1].last_seq
    postings = [Posting(variable, last, payload[:9]) for variable in (0, 1)]
    return Append(run.id, head, epoch, blocks, StoredSnapshot(last, payload), postings)


def machine_of(url_factory: UrlFactory) -> type[BackendMachine]:
    """Return a state machine of one backend; its `TestCase` is a test.

    Args:
        url_factory: As in `check_backend`: f(place) -> URL, or the backend's class.
    """
    subject = BackendSubject(url_factory)

    able = functools.cache(lambda: abilities(subject))

    def opened(self: BackendMachine, place: str) -> Backend:
        return subject.open(place)

    def opened_to_read(self: BackendMachine, place: str) -> Backend:
        return subject.open(place, **({"read_only": True} if able()[0] else {}))

    def opener(self: BackendMachine, place: str) -> dict[str, Any]:
        return subject.opener_of(place)

    name = "MachineOf" + "".join(character for character in subject.name if character.isalnum())
    names = {"open": opened, "open_reader": opened_to_read, "opener": opener}
    return type(name[:60], (BackendMachine,), {**names, "factory": staticmethod(url_factory)})
