"""The contract a storage backend fulfils: it moves bytes and knows nothing of events.

A backend keeps *runs*. A run is a row of metadata and a sequence of *blocks*, each an
opaque byte string that covers a contiguous range of seqs. Blocks, snapshots and postings
of one call to `append` become durable together or not at all. Everything above (what an
event means, forks reading through their parents, folding) lives in `eventcore.history`.

Implementers: subclass `Backend`, fill in the abstract primitives, give the class a classmethod
`open(rest, *, read_only=False, create=True, force=False, **options)` where `rest` is the URL
without its scheme, register it under the entry-point group `eventcore.backends` with the scheme
as its name, and bind `eventcore.testing.backends.BackendConformance` to it in your tests.
Optional abilities are the runtime protocols at the end of this file. In every method that
takes a run, a run that is not there is `NotFound`, and after `close` everything is `StoreClosed`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import msgspec


class Block(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One stored record: the bytes of the events `first_seq..last_seq` of one run.

    Attributes:
        first_seq: Seq of the first event in `data`; 1 is the first event of a run.
        last_seq: Seq of the last event in `data`.
        data: Opaque bytes; integrity is checked by the codec, not by the backend.
    """

    first_seq: int
    last_seq: int
    data: bytes


class Posting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One chunk of a per-variable index.

    Attributes:
        variable: Number of the variable in its run.
        last_seq: Last seq the chunk speaks of.
        data: Opaque bytes.
    """

    variable: int
    last_seq: int
    data: bytes


class StoredSnapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stored state. A cache of the fold, never the truth.

    Attributes:
        seq: The seq the state stands at.
        data: Opaque bytes.
    """

    seq: int
    data: bytes


class RunRow(msgspec.Struct, frozen=True):
    """What a backend knows about one run.

    Attributes:
        id: Number of the run in its store, never reused.
        name: Unique among the runs of the store.
        parent: `id` of the run it was forked from, or None.
        forked_at: Seq it was forked at; its own blocks start at `forked_at + 1`. 0 without a parent.
        head: Last durable seq; equals `forked_at` while the run has no block of its own.
        epoch: Writer epoch: how often the run was claimed for writing.
        writer: Who claimed it last, in words, e.g. "process 4711 on host-a, eventcore 0.1.0"; "" for nobody.
        created: Seconds since 1970, informational.
        meta: Opaque bytes of the layer above.
    """

    id: int
    name: str
    parent: int | None
    forked_at: int
    head: int
    epoch: int
    writer: str
    created: float
    meta: bytes


class Problem(msgspec.Struct, frozen=True):
    """Something a check of the stored bytes found.

    Attributes:
        place: Where, in words ("run 'a', seq 12-40").
        message: What is wrong.
        run: Name of the run concerned, or None.
        seq: First seq concerned, or 0.
    """

    place: str
    message: str
    run: str | None = None
    seq: int = 0


class Backend(ABC):
    """Where runs are kept. All methods are safe to call from any thread.

    Attributes:
        url: What it was opened by.
        log_id: Random identity of the store (hex), fixed when it was created.
        read_only: True when nothing may be written.
        durable: True when `append` returning means a power cut cannot undo it.
    """

    url: str
    log_id: str
    read_only: bool = False
    durable: bool = True

    @abstractmethod
    def runs(self) -> list[RunRow]:
        """Return all runs, oldest first."""

    @abstractmethod
    def run(self, name_or_id: str | int) -> RunRow | None:
        """Return one run by name or by id, or None. Always reads the present head."""

    @abstractmethod
    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, meta: bytes = b"", writer: str = ""
    ) -> RunRow:
        """Create a run, durably, already claimed by `writer` (epoch 1).

        Raises:
            DuplicateName: The name is taken.
            NotFound: The parent does not exist, or `forked_at` lies beyond its head.
        """

    @abstractmethod
    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Begin a new writer epoch (`epoch + 1`), durably, so that an older writer is refused from now on.

        With `expected_epoch`, the claim happens only if the epoch still is that one. `writer=""` releases:
        the epoch stays and the run is marked as held by nobody.

        Raises:
            NotFound: No such run.
            ConcurrentAppend: The epoch is not `expected_epoch`; the message names both writers.
        """

    @abstractmethod
    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """Append blocks (contiguous, from `expected_head + 1`) in one atomic, durable commit.

        `blocks` may be empty (only a snapshot or postings). A snapshot of the same seq, or a posting of the
        same variable and last_seq, is replaced; neither may stand beyond the new head. When it returns,
        everything is durable; when it raises, nothing is visible, except for `OutcomeUnknown`.

        Raises:
            InvalidValue: The blocks leave a gap or overlap, or a number is out of range.
            ConcurrentAppend: The run's head is not `expected_head`, or `epoch` is not its epoch.
            NotFound: The run was deleted.
            StorageError: Disk full, I/O error; `OutcomeUnknown` when it cannot be told what is durable.
            StoreClosed, StoreReadOnly: As they say.
        """

    @abstractmethod
    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Yield the run's own blocks (never a parent's) that overlap seqs `first..last`, in order.

        Lazy, with short read transactions, and safe while the run is written or the iterator is abandoned.
        Blocks committed after the call may or may not be seen; none is skipped or doubled. A run deleted
        meanwhile ends in `NotFound`, never as if it were complete.

        Raises:
            NotFound: No such run, told at the first block asked for.
            CorruptLog: What is stored does not fit together; `seq` is the first that cannot be trusted.
        """

    @abstractmethod
    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Return the newest of the run's own snapshots standing at `seq` or before it, or None."""

    @abstractmethod
    def snapshot_seqs(self, run: int) -> list[int]:
        """Return the seqs of the run's own snapshots, ascending."""

    @abstractmethod
    def drop_snapshot(self, run: int, seq: int) -> None:
        """Delete one snapshot if it is there. Changes nothing but time."""

    @abstractmethod
    def postings(self, run: int, variable: int) -> list[Posting]:
        """Return the run's own index chunks of one variable, by ascending last_seq."""

    @abstractmethod
    def indexed_to(self, run: int) -> int:
        """Return the largest `last_seq` over all postings of the run, 0 without any."""

    @abstractmethod
    def delete_run(self, run: int) -> None:
        """Delete a run with all it owns, atomically.

        Raises:
            NotFound: No such run.
            InvalidValue: A fork reads through it; the message names the forks.
        """

    @abstractmethod
    def close(self) -> None:
        """Release files and locks. Idempotent; later calls raise `StoreClosed`."""

    def head(self, run: int) -> int:
        """Return the durable head of a run. Cheap: it is polled by followers.

        Raises:
            NotFound: No such run.
        """
        from eventcore.errors import NotFound

        row = self.run(run)
        if row is None:
            raise NotFound(
                f"cannot read the head of run {run}: it is not in {self.url}; it may have been deleted"
            )
        return row.head

    def problems(self) -> Iterator[Problem]:
        """Check what lies below the blocks (files, pages, rows) and yield what is wrong. Default: nothing to check."""
        return iter(())

    def facts(self) -> dict[str, object]:
        """Describe the storage in JSON values for `eventcore doctor`: library versions, sizes, warnings (a list)."""
        return {}


@runtime_checkable
class SupportsBackup(Protocol):
    """A backend that can copy itself consistently while it is being written."""

    def backup(self, path: str) -> None:
        """Write a complete, compact copy to `path`, durably; the copy is a store with the same `log_id`.

        Raises:
            DuplicateName: Something is at `path` already.
            StorageError: It cannot be written; what was begun is removed.
        """
        ...


@runtime_checkable
class Bounded(Protocol):
    """A backend whose data may be dropped from the front to stay within a size."""

    def first_seq(self, run: int) -> int:
        """Return the first seq still stored in the run's own blocks; with all of them dropped, head + 1.

        When it is greater than `forked_at + 1`, a snapshot at `first_seq - 1` or later is kept too.
        """
        ...
