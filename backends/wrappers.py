"""Backends around backends: one that refuses writes, one that fails when told to.

They change what a call may do and nothing else; what the inner backend can do besides the
contract (back itself up, drop its front) the wrapper can do too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from eventcore.backends import rules
from eventcore.errors import InvalidValue
from eventcore.history.backend import (
    Backend,
    Block,
    Bounded,
    Posting,
    Problem,
    RunRow,
    StoredSnapshot,
    SupportsBackup,
)


class Wrapper(Backend):
    """Pass every call on. Subclasses override what they change.

    Attributes:
        inner: The backend that does the work.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.url = inner.url
        self.log_id = inner.log_id
        self.read_only = inner.read_only
        self.durable = inner.durable
        # Set on the instance: whether a backend has an optional ability is asked of its attributes.
        if isinstance(inner, SupportsBackup):
            self.backup = inner.backup
        if isinstance(inner, Bounded):
            self.first_seq = inner.first_seq

    def runs(self) -> list[RunRow]:
        """Return all runs, oldest first."""
        return self.inner.runs()

    def run(self, name_or_id: str | int) -> RunRow | None:
        """Return one run by name or by id, or None."""
        return self.inner.run(name_or_id)

    def head(self, run: int) -> int:
        """Return the durable head of a run."""
        return self.inner.head(run)

    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, meta: bytes = b"", writer: str = ""
    ) -> RunRow:
        """Create a run."""
        return self.inner.create_run(name, parent=parent, forked_at=forked_at, meta=meta, writer=writer)

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Begin a new writer epoch, or release the present one."""
        return self.inner.claim(run, writer, expected_epoch)

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """Append blocks, a snapshot and postings in one commit."""
        self.inner.append(run, expected_head, epoch, blocks, snapshot, postings)

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Yield the run's own blocks that overlap `first..last`."""
        return self.inner.blocks(run, first, last)

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Return the newest snapshot at `seq` or before it."""
        return self.inner.snapshot(run, seq)

    def snapshot_seqs(self, run: int) -> list[int]:
        """Return the seqs of the run's snapshots."""
        return self.inner.snapshot_seqs(run)

    def drop_snapshot(self, run: int, seq: int) -> None:
        """Delete one snapshot."""
        self.inner.drop_snapshot(run, seq)

    def postings(self, run: int, variable: int) -> list[Posting]:
        """Return the index chunks of one variable."""
        return self.inner.postings(run, variable)

    def indexed_to(self, run: int) -> int:
        """Return how far the index of a run reaches."""
        return self.inner.indexed_to(run)

    def delete_run(self, run: int) -> None:
        """Delete a run with all it owns."""
        self.inner.delete_run(run)

    def close(self) -> None:
        """Close the inner backend."""
        self.inner.close()

    def problems(self) -> Iterator[Problem]:
        """Check the inner backend."""
        return self.inner.problems()

    def facts(self) -> dict[str, object]:
        """Describe the inner backend."""
        return self.inner.facts()


class ReadOnly(Wrapper):
    """Refuse every write to a backend, whatever it was opened for."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.read_only = True

    def _refuse(self, action: str) -> NoReturn:
        self.inner.runs()  # A closed store says that it is closed.
        raise rules.read_only(self.url, action)

    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, meta: bytes = b"", writer: str = ""
    ) -> RunRow:
        """Raise `StoreReadOnly`."""
        self._refuse("create a run")

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Raise `StoreReadOnly`."""
        self._refuse("claim a run")

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """Raise `StoreReadOnly`."""
        self._refuse("append")

    def drop_snapshot(self, run: int, seq: int) -> None:
        """Raise `StoreReadOnly`."""
        self._refuse("drop a snapshot")

    def delete_run(self, run: int) -> None:
        """Raise `StoreReadOnly`."""
        self._refuse("delete a run")


class Fault(NamedTuple):
    """One failure to inject.

    Attributes:
        method: Name of the backend's method.
        call: Which call of that method fails, 1 for the first.
        error: Makes the error, e.g. `lambda: StorageError("disk full")`, or an exception class.
        after: Do the work first, then fail: a commit that is durable and yet reported as failed.
        times: How many calls in a row fail.
    """

    method: str
    call: int
    error: Callable[[], BaseException]
    after: bool = False
    times: int = 1


_METHODS = (
    "runs",
    "run",
    "head",
    "create_run",
    "claim",
    "append",
    "blocks",
    "snapshot",
    "snapshot_seqs",
    "drop_snapshot",
    "postings",
    "indexed_to",
    "delete_run",
    "close",
)


class Faulty(Wrapper):
    """Fail at chosen calls, for tests of what stands above a backend.

    Attributes:
        calls: How often each method was called so far.
    """

    def __init__(self, inner: Backend, fail_on: Sequence[Fault] = ()) -> None:
        super().__init__(inner)
        unknown = sorted({fault.method for fault in fail_on} - set(_METHODS))
        if unknown:
            raise InvalidValue(
                f"cannot fail on {', '.join(unknown)}; a backend's methods are {', '.join(_METHODS)}"
            )
        self.faults = list(fail_on)
        self.calls: Counter[str] = Counter()
        for name in _METHODS:
            setattr(self, name, self._failing(name, getattr(inner, name)))

    def fail(
        self, method: str, error: Callable[[], BaseException], *, after: bool = False, times: int = 1
    ) -> None:
        """Make the next `times` calls of a method fail."""
        self.faults.append(Fault(method, self.calls[method] + 1, error, after, times))

    def _fault(self, method: str) -> Fault | None:
        self.calls[method] += 1
        count = self.calls[method]
        for fault in self.faults:
            if fault.method == method and fault.call <= count < fault.call + fault.times:
                return fault
        return None

    def _failing(self, name: str, method: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            fault = self._fault(name)
            if fault is None:
                return method(*args, **options)
            if fault.after:
                method(*args, **options)
            raise fault.error()

        return call
