"""A run: one line of history with a name, written by at most one process and read by any.

`Run.record` is the one write path: append the event to the log, apply it to the live state. Everything
else here reads, or brings the two together again after an interrupt. A run opened for reading has no
live state and no log; it sees what is durable.
"""

from __future__ import annotations

import gc
import heapq
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextvars import Token
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from eventcore.errors import DuplicateName, InvalidValue, NotFound, StorageError, StoreReadOnly
from eventcore.history import events as e
from eventcore.history.log import EVENT_OVERHEAD, Log
from eventcore.history.reading import Reader
from eventcore.history.scope import Scope, current, process_scope
from eventcore.history.snapshots import SNAPSHOT_FLOOR, due
from eventcore.history.sources import Sources, user_frame
from eventcore.history.state import State, VariableState, apply, encode_state, fold, size_of
from eventcore.history.timetravel import Change, Difference, changes, differences

if TYPE_CHECKING:
    import asyncio

    from eventcore.history.store import Store


class Record(NamedTuple):
    """One event with its place.

    Attributes:
        seq: Its position in the run, from 1.
        event: The event.
    """

    seq: int
    event: e.Event

    @property
    def kind(self) -> str:
        """Name of the event's class."""
        return type(self.event).__name__


class Guard(Protocol):
    """Something that checks itself at a barrier (a variable whose containers were handed out)."""

    def check(self) -> None:
        """Raise `UnrecordedMutation` if the value is not what the log says."""
        ...


class Run:
    """One run of a store.

    Use `Store.run` to start or resume one, `store[name]` to read one. As a context manager it is current
    inside the block; leaving the block makes everything durable and restores the run before.

    Attributes:
        name: Its name, unique in the store.
        store: The store it lives in.
        seed: Seed of its random streams.
        record_reads: Whether `get` appends an event.
        budget: What may be spent, or None.
        guards: Checked at every barrier.
    """

    def __init__(self, store: Store, reader: Reader, log: Log | None, live: State, seed: int) -> None:
        self.store = store
        self.seed = seed
        self.record_reads = True
        self.budget: Any = None
        self.guards: dict[int, Guard] = {}
        self.before: Run | None = None
        self._reader = reader
        self._log = log
        self._live = live
        self._folded = log.head if log else 0
        self._grown = 0
        self._state_size = 0
        self._snapshot_at = SNAPSHOT_FLOOR
        self._sources = Sources(live.sources)
        self._owners: dict[str, weakref.ref[Any]] = {}
        self._declared: set[str] = set()
        self._tokens: list[Token[Scope]] = []

    # --- identity ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._reader.name

    @property
    def number(self) -> int:
        """Number of the run in its store."""
        return self._reader.run

    @property
    def lock(self) -> threading.RLock:
        """The run's one lock; hold it where a place must not move between looking and writing."""
        return self._writing_log().lock

    def _writing_log(self) -> Log:
        if self._log is None:
            raise StoreReadOnly(
                f"cannot write to run {self.name!r}: it was opened for reading; "
                f"use store.run({self.name!r}, resume=True) to go on with it, or fork it"
            )
        return self._log

    @property
    def writable(self) -> bool:
        """Whether this object may append (it may still be refused if the store is closed)."""
        return self._log is not None and not self._log.closed

    @property
    def usable(self) -> bool:
        """Whether appends can succeed: no commit has failed."""
        return self._log is not None and self._log.failure is None

    @property
    def head(self) -> int:
        """Seq of the last appended event, durable or not."""
        return self._log.head if self._log is not None else self.store.reader(self.number).head()

    @property
    def durable(self) -> int:
        """Seq of the last acknowledged event: it survives a kill and a power cut (on a durable backend)."""
        return self._log.durable if self._log is not None else self.store.reader(self.number).head()

    @property
    def parent(self) -> Run | None:
        """The run this one was forked from, opened for reading; None without one."""
        row = self.store.row(self.number)
        return None if row.parent is None else self.store[self.store.row(row.parent).name]

    @property
    def forked_at(self) -> int | None:
        """Seq of the parent this run was forked at; None without a parent."""
        row = self.store.row(self.number)
        return None if row.parent is None else row.forked_at

    def __repr__(self) -> str:
        mode = "" if self._log is not None else ", read-only"
        return f"Run({self.name!r}, head={self.head}, durable={self.durable}, store={self.store.url!r}{mode})"

    # --- writing -------------------------------------------------------------------------------

    def stamp(self) -> tuple[int, str | None, int]:
        """Return the header (time, rollout, cause) for an event made here."""
        here = current.get(process_scope)
        return time.time_ns() // 1000, here.rollout, here.cause

    def record(self, event: e.Event, size: int = 0) -> int:
        """Append one event and apply it; the one write path.

        Args:
            event: The event.
            size: Bytes of its payloads, for the buffer's bound and the snapshot policy.

        Returns:
            Its seq. It is durable once `run.durable` reaches it.

        Raises:
            StoreReadOnly: The run was opened for reading.
            StorageError: Nothing can be appended any more; nothing was.
        """
        log = self._log
        if log is None:
            log = self._writing_log()
        if self._folded != log.head:
            self._catch_up(log)
        with log.lock:
            seq = log.append(event, size)
            apply(self._live, event)
            # Counted, not set to `seq`: after an interrupt elsewhere the state must stay known to be behind.
            self._folded += 1
        self._grown += size + EVENT_OVERHEAD
        if self._grown >= self._snapshot_at:
            self._grow(log)
        return seq

    def record_read(self, variable: int, field: str | None, rollout: str | None, cause: int) -> None:
        """Append that a variable was read: `record`, shorter, for the one event that changes nothing."""
        log = self._log
        if log is None or not self.record_reads or log.closed or log.failure is not None:
            return
        if self._folded != log.head:
            self._catch_up(log)
        event = e.FieldRead(time.time_ns() // 1000, rollout, cause, variable, field)
        with log.lock:
            log.append(event, 0)
            self._folded += 1
        self._grown += EVENT_OVERHEAD
        if self._grown >= self._snapshot_at:
            self._grow(log)

    def _grow(self, log: Log) -> None:
        """Take a snapshot when one is due, and hold the caller while the buffer is full."""
        with log.lock:
            if due(self._grown, self._state_size) and self._folded == log.head:
                encoded = encode_state(self._live)
                self._state_size = len(encoded)
                if due(self._grown, self._state_size):
                    log.offer_snapshot(encoded)
                    self._grown = 0
            self._snapshot_at = max(SNAPSHOT_FLOOR, self._state_size * 4)
        self.wait_for_room()

    def wait_for_room(self) -> None:
        """Block while the log's buffer is full, but never with the lock held: the committer needs it."""
        if self._log is not None and not self._log.is_locked_here():
            self._log.wait_for_room()

    def _catch_up(self, log: Log) -> None:
        """Make the live state agree with the log after an interrupt between append and apply."""
        with log.lock:
            if self._folded != log.head:
                self._live.absorb(self.folded())
                self._folded = log.head

    def folded(self) -> State:
        """Fold the state at the head from the log, durable and pending events alike. The caller holds `lock`."""
        assert self._log is not None
        durable, pending = self._log.recent()
        return fold(self.store.reader(self.number).state_at(durable), pending, durable + 1)

    @property
    def live(self) -> State:
        """The live state itself: only variables and the engine may hold it."""
        log = self._log
        if log is not None and self._folded != log.head:
            self._catch_up(log)
        return self._live

    def source(self) -> int:
        """Return the number of the user's source line, recording the line when it is new; -1 for unknown."""
        frame = user_frame(1)
        if frame is None:
            return -1
        number = self._sources.find(frame)
        if number is not None:
            return number
        with self.lock:
            number, line = self._sources.learn(frame)
            if line is not None:
                self.record(e.SourceSeen(*self.stamp(), source=number, line=line), len(line))
        return number

    def flush(self) -> int:
        """Make everything appended so far durable: a barrier.

        Returns:
            The head; every event up to it is acknowledged.

        Raises:
            UnrecordedMutation: A container was changed behind its recording view; the log's value is restored.
            StorageError: The commit failed; the message says what is durable.
        """
        try:
            for guard in list(self.guards.values()):
                guard.check()
        finally:
            head = self._settle()
        log = self._log
        if log is not None and log.failure is not None and log.durable < log.head:
            raise log.failure
        return head

    def _settle(self) -> int:
        """Make everything durable that still can be, and return the durable head: enough for reading."""
        if self._log is None:
            return self.head
        if self._log.closed or self._log.failure is not None:
            return self._log.durable
        return self._log.flush()

    async def settled(self, seq: int) -> None:
        """Return once `seq` is durable; waits of one loop and of several tasks share commits.

        Raises:
            StorageError: The commit failed.
        """
        log = self._log
        if log is None or log.durable >= seq:
            return
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        log.when_durable(seq, lambda: _resolve_soon(loop, future))
        await future
        if log.durable < seq and log.failure is not None:
            raise log.failure

    def snapshot(self) -> int:
        """Store a snapshot now and return the seq it stands at, durable."""
        log = self._writing_log()
        self.flush()
        with log.lock:
            log.offer_snapshot(encode_state(self.live))
            self._grown = 0
        return log.flush()

    # --- variables -----------------------------------------------------------------------------

    def declare(self, owner: Any, event: e.VariableDeclared) -> VariableState:
        """Record that `owner` lives here from now on and return its slot in the live state.

        Raises:
            DuplicateName: Another object that is still in use has the same path.
        """
        self.require_free(event.path, owner)
        with self.lock:
            if event.variable != self.live.next_number:  # another thread declared meanwhile
                event = msgspec.structs.replace(event, variable=self.live.next_number)
            self.record(event, size_of(event.schema) + size_of(event.value) + len(event.path))
            self._owners[event.path] = weakref.ref(owner)
            self._declared.add(event.path)
            return self.live.slot(event.path)

    def require_free(self, path: str, owner: Any = None) -> None:
        """Raise `DuplicateName` if an object that is still in use has this path."""
        if self._owner(path) in (None, owner):
            return
        gc.collect()  # a module and its variables refer to each other: they go with the collector, not before
        if self._owner(path) not in (None, owner):
            raise DuplicateName(
                f"cannot declare variable {path!r} in run {self.name!r}: another variable of this path is in use; "
                "give its module another name, delete the earlier object first, or call clear_session()"
            )

    def _owner(self, path: str) -> Any:
        reference = self._owners.get(path)
        return None if reference is None else reference()

    def inherited(self, path: str) -> VariableState | None:
        """Return what an earlier process, or the parent of a fork, left at a path nobody declared here yet."""
        if path in self._declared or path not in self.live.variables:
            return None
        return self.live.slot(path)

    def forget_owners(self, paths: Iterable[str] | None = None) -> None:
        """Let paths (None: all) be declared again whoever holds them: `clear_session`, and a load in their place."""
        for path in list(self._owners) if paths is None else paths:
            self._owners.pop(path, None)

    def owns(self, path: str, owner: Any) -> bool:
        """Whether `owner` is the object that lives at `path`."""
        return self._owner(path) is owner

    # --- reading -------------------------------------------------------------------------------

    def reader(self) -> Reader:
        """Return a reader of this run after making what was appended visible to it."""
        self._settle()
        return self.store.reader(self.number)

    def seq(self, position: int | str) -> int:
        """Resolve a seq given as a number or as a label.

        Raises:
            InvalidValue: Not a number from 0 to the head.
            NotFound: No such label.
        """
        if isinstance(position, str) and not position.isdigit():
            labels = self.state.labels
            if position not in labels:
                raise NotFound(
                    f"cannot find label {position!r} in run {self.name!r}; it has: {', '.join(labels) or 'none'}"
                )
            return labels[position]
        known = isinstance(position, (int, str)) and not isinstance(position, bool)
        found, head = int(position) if known else -1, self.head
        if not 0 <= found <= head:
            raise InvalidValue(
                f"cannot go to seq {position!r} of run {self.name!r}: its log ends at {head}; "
                f"pass a seq from 0 to {head}"
            )
        return found

    def events(
        self,
        start: int | str = 1,
        stop: int | str | None = None,
        variable: Any = None,
        kind: str | type[e.Event] | None = None,
    ) -> Iterator[Record]:
        """Return an iterator over events, oldest first, read lazily block by block.

        Args:
            start: First seq.
            stop: Last seq, included; None for the head at this moment.
            variable: Only events of this variable (a Variable, its path, or its name where unique).
            kind: Only events of this class, or of the class of this name.

        Raises:
            InvalidValue: A seq that is not there, or an unknown kind.
            NotFound: No such variable.
        """
        reader = self.reader()
        head = reader.head()
        first = max(1, self.seq(start)) if head else 1
        last = head if stop is None else min(self.seq(stop), head)
        wanted = _kind(kind)
        if variable is None:
            found = reader.events(first, last)
        else:
            found = self._concerning(reader, variable, first, last)
        return (Record(seq, event) for seq, event in found if wanted is None or isinstance(event, wanted))

    def _concerning(
        self, reader: Reader, variable: Any, first: int, last: int
    ) -> Iterator[tuple[int, e.Event]]:
        numbers = self.at(reader.head()).numbers(variable_path(variable))
        parts = [reader.concerning(number, first, last) for number in numbers]
        # An object whose place was taken may still be read, so the parts can overlap.
        yield from parts[0] if len(parts) == 1 else heapq.merge(*parts, key=_seq_of)

    def follow(self, from_seq: int = 1, timeout: float | None = None) -> Iterator[Record]:
        """Yield events from `from_seq` on, then wait for more: nothing skipped, doubled or reordered.

        Only durable events are seen. Works while another process, or this one, writes the run.

        Args:
            from_seq: Seq to begin at, 1 or more; it may lie beyond the head.
            timeout: Stop after this many seconds without a new event; None waits for ever.
        """
        if from_seq < 1:
            raise InvalidValue(f"cannot follow run {self.name!r} from seq {from_seq}: the first event is 1")
        self._settle()
        reader = self.store.reader(self.number)
        return (Record(seq, event) for seq, event in reader.follow(from_seq, timeout))

    def at(self, seq: int | str) -> State:
        """Return the state as of an event, an ordinary value. O(nearest snapshot + events after it).

        Raises:
            InvalidValue: A seq beyond the head or negative.
        """
        wanted = self.seq(seq)
        return self.reader().state_at(wanted)

    @property
    def state(self) -> State:
        """The state at the head, an ordinary value that does not change when the run goes on."""
        if self._log is None:
            reader = self.store.reader(self.number)
            return reader.state_at(reader.head())
        with self._log.lock:
            return self.live.copy()

    def history(self, variable: Any, pointer: str = "", start: int | str = 1) -> Iterator[Change]:
        """Yield every change of a variable, or of one place in it, oldest first.

        Args:
            variable: A Variable, its path, or its name where unique.
            pointer: JSON pointer into the value; `""` for the whole of it.
            start: Leave out changes before this seq.
        """
        reader = self.reader()
        records = self._concerning(reader, variable, 1, reader.head())
        first = self.seq(start) if self.head else 0
        return (change for change in changes(records, pointer, self._source_line) if change.seq >= first)

    def _source_line(self, number: int) -> str | None:
        sources = self._live.sources if self._log is not None else self.state.sources
        return sources[number] if 0 <= number < len(sources) else None

    def diff(self, a: int | str, b: int | str, variable: Any = None) -> list[Difference]:
        """Return what differs between two seqs: variable, JSON pointer, before, after; words for long strings."""
        path = None if variable is None else variable_path(variable)
        return differences(self.at(a), self.at(b), path)

    def fork(self, name: str | None = None, at: int | str | None = None) -> Run:
        """Start a run that shares this one's events up to a seq and never writes into this one.

        Args:
            name: Name of the new run; None for `<name>-fork`, numbered when taken.
            at: Seq to fork at; None for the head.

        Returns:
            The new run, open for writing, not current: use `with`.

        Raises:
            InvalidValue: `at` is beyond the head.
            DuplicateName: The name is taken.
        """
        self.flush()
        wanted = self.head if at is None else at
        if isinstance(wanted, int) and not 0 <= wanted <= self.head:
            raise InvalidValue(
                f"cannot fork run {self.name!r} at seq {wanted}: its log ends at {self.head}; "
                f"pass at <= {self.head}, or omit it to fork at the head"
            )
        return self.store.start_fork(self, name, self.seq(wanted))

    def program(self, at: int | str | None = None) -> Any:
        """Return the program this run declared, with the values it had, callable.

        In a run open for writing, and without `at`, the program lives in this run. Otherwise it is built in a
        scratch run in memory, so that it cannot write into the past.

        Args:
            at: Seq to go back to; None for the head.

        Raises:
            NotFound: No program was declared.
            UnknownClass: Its class is not among those the user's code has defined.
        """
        return program_factory(self, None if at is None else self.seq(at))

    # --- scope ---------------------------------------------------------------------------------

    def __enter__(self) -> Run:
        if process_scope.run is self:
            process_scope.run = self.before
        self._tokens.append(current.set(Scope(self)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self.flush()
            else:
                # The first error is the one to show; what a broken store says would only hide it.
                try:
                    self._settle()
                except StorageError as second:
                    if error is not None:
                        error.add_note(f"while leaving run {self.name!r}: {second}")
        finally:
            current.reset(self._tokens.pop())

    def abandon(self) -> None:
        """Refuse every write from now on: this is a child after `fork()`."""
        if self._log is not None:
            self._log.abandon()

    def close(self) -> None:
        """Make everything durable and give up writing. Reading goes on working. Idempotent."""
        if self._log is None or self._log.closed:
            return
        try:
            self.flush()
        finally:
            self._log.closed = True
            self.store.release(self)


def _no_programs(run: Run, at: int | None) -> Any:
    raise NotFound(
        f"cannot build the program of run {run.name!r}: import eventcore first, which knows programs"
    )


program_factory: Callable[[Run, int | None], Any] = _no_programs


def set_program_factory(factory: Callable[[Run, int | None], Any]) -> None:
    """Say how a program is built from a run; `eventcore.saving` does, since the engine knows no programs."""
    global program_factory
    program_factory = factory


def _resolve_soon(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        # The loop was closed while the commit was under way: nobody waits any more.
        return


def _seq_of(record: tuple[int, e.Event]) -> int:
    return record[0]


def variable_path(variable: Any) -> str:
    """Return the path of a Variable, or the string itself."""
    path = getattr(variable, "path", variable)
    if not isinstance(path, str):
        raise NotFound(f"cannot find a variable by {variable!r}: pass a Variable, its path or its name")
    return path


def _kind(kind: str | type[e.Event] | None) -> type[e.Event] | None:
    if kind is None or isinstance(kind, type):
        return kind
    if kind not in e.KINDS:
        raise InvalidValue(f"cannot filter by kind {kind!r}: the kinds are {', '.join(sorted(e.KINDS))}")
    return e.KINDS[kind]
