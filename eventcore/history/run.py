"""A run: one line of history with a name, written by at most one process and read by any.

`Run.record` is the one write path: append the event to the log, apply it to the live state. Everything
else here reads, or brings the two together again after an interrupt. A run opened for reading has no
live state and no log; it sees what is durable.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from time import time_ns
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from eventcore.errors import DuplicateName, InvalidValue, NotFound, StorageError, StoreReadOnly
from eventcore.history import events as e
from eventcore.history.log import BLOCK_EVENTS, EVENT_OVERHEAD, SMALL, Log
from eventcore.history.pieces import in_pieces
from eventcore.history.reading import Reader
from eventcore.history.rerun import Replaying
from eventcore.history.run_reader import Record as Record
from eventcore.history.run_reader import RunReader
from eventcore.history.run_reader import variable_path as variable_path
from eventcore.history.scope import Scope, current, process_scope
from eventcore.history.snapshots import SNAPSHOT_FLOOR, due
from eventcore.history.sources import Sources, user_frame
from eventcore.history.startup import run_facts
from eventcore.history.state import State, VariableState, apply, encode_state, fold, merge, size_of

if TYPE_CHECKING:
    import asyncio

    from eventcore.history.store import Store


class Guard(Protocol):
    """Something that checks itself at a barrier (a variable whose containers were handed out)."""

    def check(self) -> None:
        """Raise `UnrecordedMutation` if the value is not what the log says."""
        ...

    def intact(self) -> bool:
        """Whether the value is what the events noted say; cheaper than `check`, and restores nothing."""
        ...


class Run(RunReader):
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
        owners: The variable objects that live here, by path.
        replaying: While the run's code is run again over its log, what compares the two; else None.
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
        self._snapshot_at = 0
        self._state_size = 0
        self._grow_at = SNAPSHOT_FLOOR
        self._sources = Sources(live.sources)
        self.owners: dict[str, weakref.ref[Any]] = {}
        self._declared: set[str] = set()
        self.started_at = -1
        self.replaying: Replaying | None = None
        self.host_tasks: weakref.WeakSet[Any] = weakref.WeakSet()

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
        """Seq of the last appended event, durable or not; in a replay, of the last one the code has come to."""
        if self.replaying is not None:
            return self.replaying.position
        return self._log.head if self._log is not None else self.store.reader(self.number).head()

    @property
    def durable(self) -> int:
        """Seq of the last acknowledged event: it survives a kill and a power cut (on a durable backend)."""
        if self.replaying is not None:
            return self.replaying.position
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
        return time_ns() // 1000, here.rollout, here.cause

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
        base, pending = log.buffer
        if self._folded != base + len(pending):
            if self.replaying is not None:
                return self.replaying.record(event)
            self._catch_up(log)
        with log.lock:
            seq = log.append(event, size)
            apply(self._live, event)
            # Counted, not set to `seq`: after an interrupt elsewhere the state must stay known to be behind.
            self._folded += 1
        if log.grown >= self._grow_at:
            self._grow(log)
        return seq

    def record_update(
        self, slot: VariableState, scalars: dict[str, Any], size: int, here: Scope, frame: FrameType
    ) -> e.VariableUpdated:
        """Append and apply that a variable's scalars were updated: `record`, shorter, for the commonest event.

        Args:
            slot: The variable.
            scalars: Checked strings and numbers by field; they become the event's.
            size: Their bytes.
            here: The scope.
            frame: Whose line it is, unless it is this package's own.

        Returns:
            The event.
        """
        source = self._sources.places.get(id(frame.f_code) + frame.f_lasti)
        if source is None:
            source = self.source(size)
        log = self._log
        if log is None:
            log = self._writing_log()
        event = e.VariableUpdated(time_ns() // 1000, here.rollout, here.cause, slot.number, scalars, source)
        with log.lock:
            base, pending = log.buffer
            count = len(pending)
            if self._folded != base + count:
                if self.replaying is not None:
                    self.replaying.record(event)
                    return event
                self._catch_up(log)
            if not count or size > SMALL or log.failure is not None or log.closed:
                log.make_ready(size)
            pending.append(event)
            merge(slot.value, scalars)
            self._folded += 1
            log.grown += size + EVENT_OVERHEAD
        if count % BLOCK_EVENTS == BLOCK_EVENTS - 1 or size > SMALL:
            log.urge()
            if log.grown >= self._grow_at:
                self._grow(log)
        return event

    def record_read(self, variable: int, field: str | None, rollout: str | None, cause: int) -> None:
        """Append that a variable was read: `record`, shorter, for the one event that changes nothing."""
        log = self._log
        if log is None:
            return
        with log.lock:
            base, pending = log.buffer
            count = len(pending)
            if self._folded != base + count:
                if self.replaying is not None:
                    if not self.record_reads or self.replaying.read(
                        e.FieldRead(time_ns() // 1000, rollout, cause, variable, field)
                    ):
                        return
                    base, pending = log.buffer
                    count = len(pending)
                self._catch_up(log)
            if not self.record_reads or log.closed or log.failure is not None:
                return
            if not count:
                log.make_ready(0)
            pending.append(e.FieldRead(time_ns() // 1000, rollout, cause, variable, field))
            self._folded += 1
            log.grown += EVENT_OVERHEAD
        if count % BLOCK_EVENTS == BLOCK_EVENTS - 1:
            log.urge()
            if log.grown >= self._grow_at:
                self._grow(log)

    def _grow(self, log: Log) -> None:
        """Take a snapshot when one is due, and hold the caller while the buffer is full."""
        with log.lock:
            if not all(guard.intact() for guard in list(self.guards.values())):
                # Something went behind the views: no snapshot of that. The next barrier says so.
                self._snapshot_at = log.grown - (log.grown - self._snapshot_at) // 2
            elif due(log.grown - self._snapshot_at, self._state_size) and self._folded == log.head:
                encoded = encode_state(self._live)
                self._state_size = len(encoded)
                if due(log.grown - self._snapshot_at, self._state_size):
                    log.offer_snapshot(encoded)
                    self._snapshot_at = log.grown
            # Not later than this, since the buffer's bound is looked at here too.
            self._grow_at = log.grown + SNAPSHOT_FLOOR
        self.wait_for_room()

    def wait_for_room(self) -> None:
        """Block while the log's buffer is full, but never with the lock held: the committer needs it."""
        if self._log is not None and not self._log.is_locked_here():
            self._log.wait_for_room()

    def _catch_up(self, log: Log) -> None:
        """Make the live state agree with the log after an interrupt between append and apply."""
        with log.lock:
            if self._folded != log.head and self.replaying is None:
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

    def source(self, size: int = 0) -> int:
        """Return the number of the user's source line, recording the line when it is new; -1 for unknown.

        Args:
            size: Bytes of the event it is for: one that is too large is refused before its line is recorded.
        """
        frame = user_frame(1)
        if frame is None or self.replaying is not None:
            return -1
        number = self._sources.find(frame)
        if number is not None:
            return number
        self._writing_log().require_fit(size)
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
            StorageError: The commit failed; the message says what is durable. Or this is a child after `fork()`.
        """
        self.store.require_process()
        try:
            for guard in list(self.guards.values()):
                guard.check()
        finally:
            head = self.settle()
        log = self._log
        if log is not None and log.failure is not None and log.durable < log.head:
            raise log.failure
        return head

    def settle(self) -> int:
        """Make everything durable that still can be, and return the durable head: enough for reading."""
        if self._log is None:
            return self.head
        if self.replaying is not None:
            return self.replaying.position
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

    def settlement(self, seq: int) -> bool | Exception:
        """Whether `seq` is durable; the failure if it never will be."""
        log = self._log
        if log is None or log.durable >= seq:
            return True
        return log.failure or False

    def when_durable(self, seq: int, callback: Callable[[], None]) -> None:
        """Call `callback`, from any thread, once `seq` is durable or never will be."""
        self._writing_log().when_durable(seq, callback)

    async def barrier(self) -> int:
        """Make everything appended so far durable without blocking the event loop; otherwise like `flush`.

        The task goes on when all other tasks of the run are blocked, so that the order in which they go on does
        not depend on how long a commit takes.
        """
        from eventcore.replay.dispatcher import dispatcher_of

        for guard in list(self.guards.values()):
            guard.check()
        head = self.head
        await dispatcher_of(self).committed(head)
        return head

    def record_start(self, resumed: bool, **more: Any) -> int:
        """Record that the run is open for writing from here on."""
        facts = {**run_facts(), "resumed": resumed, **more}
        return self.record(e.RunStarted(time_ns() // 1000, None, 0, self.seed, facts), 512)

    def note_host_tasks(self) -> None:
        """Take note of the tasks that were there before the run: they are none of its own."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None and asyncio._get_running_loop() is not None:
            self.host_tasks.update(asyncio.all_tasks() - {asyncio.current_task()})

    # --- running the code again ----------------------------------------------------------------

    def begin_replay(self, replaying: Replaying, state: State) -> None:
        """Have the code compared with what is recorded, from `state` on, and nothing appended."""
        self.replaying = replaying
        self._live.absorb(state)
        self._folded = -1

    @property
    def replayed_state(self) -> State:
        """The live state while the code is run again: as of the event it has come to."""
        return self._live

    def end_replay(self, restored: e.StateRestored | None = None) -> None:
        """Go on at the end of the log. The caller holds `lock` and has folded all of it into the live state.

        Args:
            restored: Appended first: takes back what an interrupted process left behind last.
        """
        log = self._writing_log()
        if restored is not None:
            log.append(restored, len(restored.state))
        self.replaying = None
        self._folded = log.head
        self._sources = Sources(self._live.sources)

    def snapshot(self) -> int:
        """Store a snapshot now and return the seq it stands at, durable."""
        log = self._writing_log()
        log.require_fit(0)
        self.flush()
        with log.lock:
            log.offer_snapshot(encode_state(self.live))
            self._snapshot_at = log.grown
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
            besides = size_of(event.schema) + len(event.path)
            if event.origin is None:
                self.record(event, size_of(event.value) + besides)
            else:
                self.record_in_pieces(event, besides)
            self.owners[event.path] = weakref.ref(owner)
            self._declared.add(event.path)
            return self.live.slot(event.path)

    def record_in_pieces(self, event: e.VariableDeclared | e.VariableAssigned, besides: int = 0) -> None:
        """Record a whole value, in several events where it has grown too large for one.

        Args:
            event: The event with the whole value.
            besides: Bytes of its other payloads.
        """
        value, pieces = in_pieces(event.value)
        with self.lock:
            self.record(
                msgspec.structs.replace(event, value=value) if pieces else event, size_of(value) + besides
            )
            for path, op, args in pieces:
                filling = e.ValuePatched(*self.stamp(), event.variable, path, op, args, -1)
                self.record(filling, size_of(args))

    def is_taken(self, path: str, owner: Any = None, collect: bool = True) -> bool:
        """Whether another object that is still in use has this path; `collect` makes sure that it is."""
        if collect and self._owner(path) not in (None, owner):
            gc.collect()  # a module and its variables refer to each other: they go with the collector, not before
        return self._owner(path) not in (None, owner)

    def require_free(self, path: str, owner: Any = None) -> None:
        """Raise `DuplicateName` if an object that is still in use has this path."""
        if self.is_taken(path, owner):
            raise DuplicateName(
                f"cannot declare variable {path!r} in run {self.name!r}: another variable of this path is in use; "
                "give its module another name, delete the earlier object first, or call clear_session()"
            )

    def _owner(self, path: str) -> Any:
        reference = self.owners.get(path)
        return None if reference is None else reference()

    def inherited(self, path: str) -> VariableState | None:
        """Return what an earlier process, or the parent of a fork, left at a path nobody declared here yet."""
        if path in self._declared or path not in self.live.variables:
            return None
        return self.live.slot(path)

    def forget_owners(self) -> None:
        """Let paths be declared again whoever holds them (`clear_session`)."""
        self.owners.clear()

    def owns(self, path: str, owner: Any) -> bool:
        """Whether `owner` is the object that lives at `path`."""
        return self._owner(path) is owner

    # --- branching -----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state at the head, an ordinary value that does not change when the run goes on."""
        if self._log is None:
            reader = self.store.reader(self.number)
            return reader.state_at(reader.head())
        with self._log.lock:
            return self.live.copy()

    def fork(
        self,
        name: str | None = None,
        at: int | str | None = None,
        *,
        reuse: bool = True,
        resume: bool = False,
    ) -> Run:
        """Start a run that shares this one's events up to a seq and never writes into this one.

        Args:
            name: Name of the new run; None for `<name>-fork`, numbered when taken.
            at: Seq to fork at; None for the head.
            reuse: Whether requests that equal one this run made after `at` are answered from its log, unpaid.
            resume: Go on with the fork of that name if there is one, by a replay of the code from here on.

        Returns:
            The new run, open for writing, not current: use `with`.

        Raises:
            InvalidValue: `at` is beyond the head.
            DuplicateName: The name is taken.
        """
        head = self.flush()  # others may append meanwhile: those events are not of this fork
        wanted = head if at is None else at
        if isinstance(wanted, int) and not 0 <= wanted <= self.head:
            raise InvalidValue(
                f"cannot fork run {self.name!r} at seq {wanted}: its log ends at {self.head}; "
                f"pass at <= {self.head}, or omit it to fork at the head"
            )
        return self.store.start_fork(self, name, self.seq(wanted), reuse=reuse, resume=resume)

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
        # `with store.run(…)`: nothing happened since, so the block alone is meant. A run that was already at
        # work stays the process's current one after the block.
        if process_scope.run is self and self.head == self.started_at:
            process_scope.run = self.before
        new = Scope(self)
        new.token = current.set(new)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self.flush()
            else:
                # The first error is the one to show; what a broken store says would only hide it.
                try:
                    self.settle()
                except StorageError as second:
                    if error is not None:
                        error.add_note(f"while leaving run {self.name!r}: {second}")
        finally:
            here = current.get(process_scope)
            if here.run is self and here.token is not None:
                try:
                    current.reset(here.token)
                except ValueError:
                    pass  # left in another context than it was entered in: that one has gone its own way

    def abandon(self) -> None:
        """Refuse every write from now on: this is a child after `fork()`."""
        if self._log is not None:
            self._log.abandon()

    def close(self) -> None:
        """Make everything durable and give up writing. Reading goes on working. Idempotent."""
        if self._log is None or self._log.closed:
            return
        if self.replaying is not None:
            self.replaying.finish()
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
