"""The writer's end of one run: append in microseconds, commit in the background.

`Log.append` puts an event into a buffer; a committer thread, one per store, cuts the buffer into blocks
and commits them (256 events, 64 KB, 10 ms, or at once when somebody waits in `flush`). Only the committer
ever commits, so a Ctrl-C in the main thread cannot tear a commit apart. What an event does to the state is
not this module's business.

Acknowledged means durable: `Log.durable` moves only after the backend's commit returned. After a commit
failed, nothing more is appended: everything pending raises, and the run must be opened again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue

from eventcore.errors import EventTooLarge, OutcomeUnknown, StorageError, StoreClosed
from eventcore.history.backend import Backend, Block, Posting, RunRow
from eventcore.history.codec import compress_all, encoder, seal_block
from eventcore.history.events import VOCABULARY, Event
from eventcore.history.index import Indexer
from eventcore.history.snapshots import pack_all

BLOCK_EVENTS = 256
BLOCK_BYTES = 64 * 1024
SMALL = BLOCK_BYTES // BLOCK_EVENTS
"""256 events of payloads up to this size stay below 64 KB, or nearly so: only larger ones are looked at one by one."""
LINGER = 0.010
"""Seconds an event waits for company before it is committed."""
BUFFER_BYTES = 4 * 1024 * 1024
"""An append blocks while this many bytes wait to be committed: they are what a kill may cost, and in memory events
take several times as much. A larger buffer makes nothing faster."""
SNAPSHOTS_APART = 8 * 1024
"""Events between two snapshots of one commit; so many fold in about 5 ms."""
MAX_EVENT = 8 * 1024 * 1024
EVENT_OVERHEAD = 48
"""Bytes counted for an event besides its payload."""


class Log:
    """Appends events to one run and knows what is durable. Safe to use from several threads.

    Attributes:
        lock: Held while an event is appended and applied; the run's one lock.
        head: Seq of the last appended event.
        durable: Seq of the last event that a power cut cannot take back.
        buffer: Seq before the first pending event, and the pending events.
        grown: About how many bytes were appended so far, here.
    """

    def __init__(self, backend: Backend, row: RunRow, committer: Committer, indexer: Indexer) -> None:
        self.backend = backend
        self.row = row
        self.lock = threading.RLock()
        self.durable = row.head
        self.failure: Exception | None = None
        self.closed = self.forked = False
        self._committer = committer
        self._indexer = indexer
        # One attribute, replaced as a whole: whoever reads it without the lock sees a consistent pair.
        self.buffer: tuple[int, list[Event]] = (row.head, [])
        self._writing: tuple[int, list[Event]] = (row.head + 1, [])
        self.grown = self._taken = 0
        self._snapshots: list[tuple[int, bytes]] = []
        self._blocked: list[SimpleQueue[None]] = []
        self._waiters: list[tuple[int, Callable[[], None]]] = []

    @property
    def head(self) -> int:
        """Seq of the last appended event."""
        base, pending = self.buffer
        return base + len(pending)

    def append(self, event: Event, size: int) -> int:
        """Append one event and return its seq. The caller holds `lock`.

        Args:
            event: Immutable; encoded later.
            size: Bytes of its payloads.

        Raises:
            EventTooLarge: Above 8 MB.
            StoreClosed, OutcomeUnknown: Nothing can be appended any more.
        """
        base, pending = self.buffer
        count = len(pending)
        if not count or size > SMALL or self.failure is not None or self.closed:
            self.make_ready(size)
        pending.append(event)
        self.grown += size + EVENT_OVERHEAD
        if count % BLOCK_EVENTS == BLOCK_EVENTS - 1 or size > SMALL:
            self.urge()
        return base + count + 1

    def make_ready(self, size: int) -> None:
        """Do what `append` does before the first event of a buffer, before a large one, or when it must refuse."""
        self.require_fit(size)
        if not self.buffer[1]:
            # Before the append: an interrupt in between must not leave an event that nobody will commit.
            self._committer.arm(self)

    def urge(self) -> None:
        """Have the buffer committed at once if it holds a block; asked after 256 events and after a large one."""
        if len(self.buffer[1]) >= BLOCK_EVENTS or self.grown - self._taken >= BLOCK_BYTES:
            self._committer.urge()

    def require_fit(self, size: int) -> None:
        """Raise what `append` would raise for an event of this size."""
        if size > MAX_EVENT or self.failure is not None or self.closed:
            self._refuse(size)

    def _refuse(self, size: int) -> None:
        if self.failure is not None:
            raise OutcomeUnknown(
                f"cannot append to run {self.row.name!r}: an earlier commit failed ({self.failure}); "
                f"events up to {self.durable} are durable; close the store and open it again"
            ) from self.failure
        if self.forked:
            raise StoreClosed(
                f"cannot append to run {self.row.name!r}: this process was made by fork() while its parent had the "
                "store open; open it in processes started otherwise"
            )
        if self.closed or size <= MAX_EVENT:
            raise StoreClosed(
                f"cannot append to run {self.row.name!r}: its store was closed; open it again, or another, and start "
                "a run there with store.run(...): it becomes the current one, in which variables live"
            )
        raise EventTooLarge(
            f"cannot append an event of {size} bytes: at most {MAX_EVENT} fit; "
            "keep the data elsewhere and store a reference to it"
        )

    def wait_for_room(self) -> None:
        """Block while the buffer is full. Called without `lock`."""
        if self._is_full():
            self._wait(self._is_full)

    def _is_full(self) -> bool:
        return self.grown - self._taken >= BUFFER_BYTES and self.failure is None and not self.closed

    def offer_snapshot(self, encoded: bytes) -> None:
        """Hand over an encoded state that stands at the present head. The caller holds `lock`."""
        self._snapshots.append((self.head, encoded))

    def flush(self) -> int:
        """Return the head once everything appended so far is durable.

        Raises:
            StorageError: The commit failed; the message says what is durable.
        """
        target = self.head
        if self.durable < target or self._snapshots:
            self._committer.arm(self)
            self._wait(lambda: self._unsettled(target))
        if self.failure is not None and self.durable < target:
            raise self.failure
        return target

    def _unsettled(self, target: int) -> bool:
        if self.failure is not None:
            return False
        if not self._committer.running():
            self._refuse(0)
        return self.durable < target or bool(self._snapshots)

    def _wait(self, needed: Callable[[], bool]) -> None:
        """Wait from commit to commit while `needed`.

        By a queue, not a Condition: a Ctrl-C inside a Condition can leave its lock taken for ever.
        """
        commits: SimpleQueue[None] = SimpleQueue()
        self._blocked.append(commits)
        try:
            while needed():
                self._committer.urge()
                try:
                    commits.get(timeout=1.0)
                except Empty:
                    pass
        finally:
            self._blocked.remove(commits)

    def recent(self) -> tuple[int, list[Event]]:
        """Return (durable, all events appended after it). The caller holds `lock`."""
        first, batch = self._writing
        durable = self.durable  # read after `_writing`: the committer moves them in the other order
        return durable, [*batch[max(0, durable + 1 - first) :], *self.buffer[1]]

    def is_locked_here(self) -> bool:
        """Whether this thread holds `lock`."""
        owned: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]
        return owned()

    def abandon(self) -> None:
        """Give up without touching anything: in a child after `fork()`, where the lock's holder may not exist."""
        self.lock = threading.RLock()
        self.closed = self.forked = True

    def commit(self) -> None:
        """Commit everything pending. Called by the committer thread only."""
        with self.lock:
            if self.failure is not None:
                return self._tell()
            base, batch = self.buffer
            first = base + 1
            self._writing = (first, batch)
            self.buffer = (base + len(batch), [])
            self._taken = self.grown
            snapshots = list(self._snapshots)
        self._wake()  # there is room again
        if batch or snapshots:
            try:
                self._write(first, batch, snapshots)
                self.durable = max(self.durable, first + len(batch) - 1)
                self._writing = (self.durable + 1, [])
            except Exception as error:
                self._fail(error)
        del self._snapshots[: len(snapshots)]
        self._tell()

    def when_durable(self, seq: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `seq` is durable or never will be, from any thread. Commits at once."""
        waiter = (seq, callback)
        self._waiters.append(waiter)
        if self._is_settled(seq):
            self._answer(waiter)
        else:
            self._committer.arm(self)
            self._committer.urge()

    def _is_settled(self, seq: int) -> bool:
        return self.durable >= seq or self.failure is not None or not self._committer.running()

    def _answer(self, waiter: tuple[int, Callable[[], None]]) -> None:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return  # another thread was faster
        waiter[1]()

    def _tell(self) -> None:
        for waiter in [waiter for waiter in self._waiters if self._is_settled(waiter[0])]:
            self._answer(waiter)
        self._wake()

    def _wake(self) -> None:
        for blocked in list(self._blocked):
            blocked.put(None)

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, StorageError)
        self.failure = (
            error if known else OutcomeUnknown(f"cannot commit to run {self.row.name!r}: {error!r}")
        )

    def _write(self, first: int, batch: Sequence[Event], snapshots: list[tuple[int, bytes]]) -> None:
        blocks: list[Block] = []
        postings: list[Posting] = []
        seq = first
        cut = list(_cut(batch))
        stored = compress_all([payload for _, payload in cut])
        for (part, payload), (flags, packed) in zip(cut, stored, strict=True):
            data = seal_block(
                self.row.id, seq, len(part), self.row.epoch, VOCABULARY, len(payload), flags, packed
            )
            blocks.append(Block(seq, seq + len(part) - 1, data))
            self._indexer.feed(seq, part)
            seq += len(part)
            postings += self._indexer.take(seq - 1)
        states = pack_all(self.row.id, _thinned(snapshots))
        newest = states.pop() if states else None
        if blocks or newest or postings:
            self.backend.append(self.row.id, first - 1, self.row.epoch, blocks, newest, postings)
        for older in states:  # a commit carries one
            self.backend.append(self.row.id, seq - 1, self.row.epoch, (), older)


def _thinned(snapshots: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Leave out snapshots that lie close before a later one: each is a commit, and a slow disk gets many at once."""
    kept: list[tuple[int, bytes]] = []
    for snapshot in reversed(snapshots):
        if not kept or kept[-1][0] - snapshot[0] >= SNAPSHOTS_APART:
            kept.append(snapshot)
    return kept[::-1]


def _cut(batch: Sequence[Event]) -> Iterator[tuple[Sequence[Event], bytes]]:
    """Cut a batch into parts of at most 256 events and about 64 KB, each with its encoded payload."""
    for start in range(0, len(batch), BLOCK_EVENTS):
        yield from _halved(batch[start : start + BLOCK_EVENTS])


def _halved(part: Sequence[Event]) -> Iterator[tuple[Sequence[Event], bytes]]:
    """Halve a part until its payload is small or it is a single event."""
    payload = encoder.encode(part)
    if len(payload) <= BLOCK_BYTES or len(part) == 1:
        yield part, payload
        return
    middle = len(part) // 2
    yield from _halved(part[:middle])
    yield from _halved(part[middle:])


class Committer:
    """One background thread per store that commits the buffers of all its runs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._armed: list[Log] = []
        self._arming = threading.Lock()
        # Not an Event: a Ctrl-C inside its `set` can leave its lock taken for ever; this queue is one C call.
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._urged = False
        self._stopping = False
        self._dead = False
        self._thread: threading.Thread | None = None
        # Not `is_alive` and `join`: a Ctrl-C inside them makes Python believe that a running thread has ended.
        self._alive = False
        self._ended: SimpleQueue[None] = SimpleQueue()

    def arm(self, log: Log) -> None:
        """Have a log committed within `LINGER` seconds."""
        with self._arming:
            if log not in self._armed:
                self._armed.append(log)
            if self._thread is None and not self._dead:
                self._alive = True
                self._thread = threading.Thread(
                    target=self._work, name=f"eventcore-{self._name}", daemon=True
                )
                self._thread.start()
        self._calls.put(False)

    def urge(self) -> None:
        """Have everything armed committed at once."""
        if not self._urged:
            self._urged = True
            self._calls.put(True)

    def running(self) -> bool:
        """Whether anything will ever be committed again."""
        return self._alive and not self._dead

    def stop(self) -> None:
        """Commit what is armed and end the thread. Idempotent."""
        self._stopping = True
        self._calls.put(True)
        if self._thread is not None and self._thread is not threading.current_thread() and not self._dead:
            self._ended.get()
            self._ended.put(None)  # for whoever else waits
        self._dead = True

    def retire(self) -> None:
        """Commit what is armed and end the thread, without waiting for it: nobody holds the store any more."""
        self._stopping = True
        self._calls.put(True)

    def abandon(self) -> None:
        """Forget the thread: this is a child after `fork()`, where it does not exist."""
        self._dead = True
        self._arming = threading.Lock()

    def _work(self) -> None:
        try:
            self._run()
        finally:
            self._alive = False
            self._ended.put(None)

    def _run(self) -> None:
        while not (self._stopping and not self._armed):
            self._sleep()
            # Cleared before the buffers are taken: whoever calls later is heard the next time.
            self._urged = False
            while not self._calls.empty():
                self._calls.get()
            with self._arming:
                logs, self._armed = self._armed, []
            for log in logs:
                log.commit()

    def _sleep(self) -> None:
        """Wait until something is armed, then until it is urgent or has waited `LINGER`."""
        if self._stopping:
            return
        urgent, until = self._calls.get(), time.monotonic() + LINGER
        while not urgent and (left := until - time.monotonic()) > 0:
            try:
                urgent = self._calls.get(timeout=left)
            except Empty:
                return
