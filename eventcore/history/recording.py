"""The recording half of a run: how events get into its log and its live state, and when they are durable.

`RecordingRun.record` is the one write path: append the event to the log, apply it to the live state. Everything
else here is a shorter form of it, a barrier, or brings the two together again after an interrupt. What users
do with a run stands in `eventcore.history.run`.
"""

from __future__ import annotations

import math
import sys
import threading
import weakref
from collections.abc import Callable
from numbers import Real
from time import time_ns
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from eventcore.errors import InvalidValue, StoreReadOnly
from eventcore.history import events as e
from eventcore.history.log import BLOCK_EVENTS, EVENT_OVERHEAD, SMALL, Log
from eventcore.history.positions import Position, check_label
from eventcore.history.reading import Reader
from eventcore.history.rerun import Replaying
from eventcore.history.run_reader import RunReader
from eventcore.history.scope import Scope, current, process_scope
from eventcore.history.slots import VariableState
from eventcore.history.snapshots import SNAPSHOT_FLOOR, due
from eventcore.history.sources import Sources, user_frame
from eventcore.history.startup import run_facts
from eventcore.history.state import State, apply, encode_state, fold, merge

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


class RecordingRun(RunReader):
    """A run as what takes events. Use `Run`.

    Attributes:
        store: The store it lives in.
        seed: Seed of its random streams.
        record_reads: Whether `get` appends an event.
        guards: Checked at every barrier.
        replaying: While the run's code is run again over its log, what compares the two; else None.
        host_tasks: Tasks of the program around the run, none of its own.
        dispatchers: Who delivers the outcomes of its effects, by event loop.
    """

    def __init__(self, store: Store, reader: Reader, log: Log | None, live: State, seed: int) -> None:
        self.store = store
        self.seed = seed
        self.record_reads = True
        self.guards: dict[int, Guard] = {}
        self._reader = reader
        self._log = log
        self._live = live
        self._folded = log.head if log else 0
        self._snapshot_at = 0
        self._state_size = 0
        self._grow_at = SNAPSHOT_FLOOR
        self._sources = Sources(live.sources)
        self.replaying: Replaying | None = None
        self.opened_at = 0  # seq the code began at; random streams differ from those of the code before it
        self.host_tasks: weakref.WeakSet[Any] = weakref.WeakSet()
        self.dispatchers: dict[Any, Any] = {}  # by event loop: who delivers outcomes there

    @property
    def lock(self) -> threading.RLock:
        """The run's one lock; hold it where a place must not move between looking and writing."""
        return self._writing_log().lock

    def _writing_log(self) -> Log:
        if self._log is None:
            raise StoreReadOnly(
                f"cannot write to run {self.name!r}: it was opened for reading; "
                f"use store.reopen({self.name!r}) to go on at its end, store.run({self.name!r}, resume=True) in the "
                "script that wrote it, or fork it"
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

    def readable(self, reader: Reader) -> int:
        """Return the last seq that is read: code that is run again sees what it has come to."""
        return reader.head() if self.replaying is None else self.replaying.position

    @property
    def durable(self) -> int:
        """Seq of the last acknowledged event: it survives a kill and a power cut (on a durable backend)."""
        if self.replaying is not None:
            return self.replaying.position
        return self._log.durable if self._log is not None else self.store.reader(self.number).head()

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
                return self.replaying.record(event, size)
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
        code, at, source = self._sources.latest
        if frame.f_code is not code or frame.f_lasti != at:
            found = self._sources.find(frame)
            source = self.source(size) if found is None else found
        log = self._log
        if log is None:
            log = self._writing_log()
        event = e.VariableUpdated(time_ns() // 1000, here.rollout, here.cause, slot.number, scalars, source)
        try:  # does what `with log.lock` does, in half the time: no interrupt comes between the end and `release`
            log.lock.acquire()
            base, pending = log.buffer
            count = len(pending)
            if self._folded != base + count and self._rerun_update(log, event, size):
                count = size = 0  # nothing was appended, nor is anything to be done below
            else:
                if not count or size > SMALL or log.failure is not None or log.closed:
                    log.make_ready(size)
                pending.append(event)
                merge(slot.value, scalars)
                self._folded += 1
                log.grown += size + EVENT_OVERHEAD
        except BaseException:
            try:  # first of all: a second interrupt must find it done
                log.lock.release()
            except RuntimeError:
                pass  # an interrupt came before this thread had the lock
            raise
        log.lock.release()
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
        try:  # does what `with log.lock` does, in half the time: no interrupt comes between the end and `release`
            log.lock.acquire()
            base, pending = log.buffer
            count = len(pending)
            compared = False
            if self._folded != base + count:
                compared = self._rerun_read(log, variable, field, rollout, cause)
                pending = log.buffer[1]
                count = len(pending)
            if compared or not self.record_reads or log.closed or log.failure is not None:
                count = 0  # nothing is appended, nor is anything to be done below
            else:
                if not count:
                    log.make_ready(0)
                pending.append(e.FieldRead(time_ns() // 1000, rollout, cause, variable, field))
                self._folded += 1
                log.grown += EVENT_OVERHEAD
        except BaseException:
            try:  # first of all: a second interrupt must find it done
                log.lock.release()
            except RuntimeError:
                pass  # an interrupt came before this thread had the lock
            raise
        log.lock.release()
        if count % BLOCK_EVENTS == BLOCK_EVENTS - 1:
            log.urge()
            if log.grown >= self._grow_at:
                self._grow(log)

    def _rerun_update(self, log: Log, event: e.VariableUpdated, size: int) -> bool:
        """Set the state right; whether the event was compared with the log instead, in a replay."""
        if self.replaying is None:
            self._catch_up(log)
            return False
        self.replaying.record(event, size)
        return True

    def _rerun_read(
        self, log: Log, variable: int, field: str | None, rollout: str | None, cause: int
    ) -> bool:
        """Set the state right; whether there is nothing to append since the run's code is run again."""
        if self.replaying is not None and (
            not self.record_reads
            or self.replaying.read(e.FieldRead(time_ns() // 1000, rollout, cause, variable, field))
        ):
            return True
        self._catch_up(log)
        return False

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

    def record_start(self, resumed: bool, **more: Any) -> int:
        """Record that the run is open for writing from here on."""
        facts = {**run_facts(), "id": uuid4().hex, "resumed": resumed, **more}
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
        if self.replaying is not None:
            return self.head  # the log is further than the live state
        with log.lock:
            log.offer_snapshot(encode_state(self.live))
            self._snapshot_at = log.grown
        return log.flush()

    def label(self, name: str, position: Position | None = None) -> int:
        """Set a label, or move it; it stands for its seq wherever a seq is taken.

        Args:
            name: A word that is no number, no time (a date, "15m") and not "head" or "now", does not begin with
                "epoch:" or "-" and has no "@" in it.
            position: Where it points at: a seq or whatever stands for one; None for the newest event.

        Returns:
            The seq it points at now.

        Raises:
            InvalidValue: A name that cannot be a label, or a seq that is not there.
            StoreReadOnly: The run was opened for reading.
        """
        check_label(name)
        seq = self.head if position is None else self.seq(position)
        self.record(e.LabelSet(*self.stamp(), label=name, seq=seq), len(name))
        return seq

    def log_metric(self, name: str, value: float) -> int:
        """Record a number worth keeping that no `fit` logs: a score on data of your own, a price, a length.

        `run.events(kind="MetricLogged")`, `eventcore log --kind MetricLogged` and exports have it.

        Args:
            name: What was measured: text without line breaks or control characters.
            value: A finite number; it is kept as a float.

        Returns:
            Seq of the event.

        Raises:
            InvalidValue: A name or a value that cannot be; nothing was recorded then.
            StoreReadOnly: The run was opened for reading.
        """
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InvalidValue(f"cannot log a number as {name!r}: pass a name in words, such as 'accuracy'")
        number = _finite(value)
        if number is None:
            raise InvalidValue(f"cannot log {name!r} as {value!r}: pass a finite number")
        return self.record(e.MetricLogged(*self.stamp(), name, number), len(name) + 9)

    @property
    def state(self) -> State:
        """The state at the head, an ordinary value that does not change when the run goes on."""
        if self._log is None:
            reader = self.store.reader(self.number)
            return reader.state_at(reader.head())
        with self._log.lock:
            return self.live.copy()


def _finite(value: Any) -> float | None:
    """Return a number, NumPy's included, as a float; None for anything else, NaN, an infinity or one too large."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _resolve_soon(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        # The loop was closed while the commit was under way: nobody waits any more.
        return
