"""Running the code of a run again: what the engine must know of it, and no more.

A run that is replayed has a `Replaying` in the place of its log's end. A process that was started to run a
script again (`eventcore replay`, `eventcore fork`) has a `Rerun`, which says what its stores and runs stand
for. Both are made on a higher floor, in `eventcore.replay`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from eventcore.history import events as e

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.store import Store


class Replaying(Protocol):
    """Stands in for the end of the log while the code is run again: compares it with what is recorded."""

    @property
    def position(self) -> int:
        """Seq of the last recorded event the code has come to."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether the run is written again where its log ends; else nothing at all is to be changed anywhere."""
        ...

    @property
    def broken(self) -> bool:
        """Whether the code left the log: nothing is taken any more."""
        ...

    def record(self, event: e.Event, size: int = 0) -> int:
        """Take what the code does as the next recorded event and return that one's seq, or raise.

        `size` is for the log, should this be the first event behind what is recorded.
        """
        ...

    def read(self, event: e.FieldRead) -> bool:
        """Take note of a read; False if the log is at its end and the run goes on for real."""
        ...

    def blocked(self, dispatcher: Any) -> None:
        """Told that all tasks of the run wait and nothing is there to be delivered to them."""
        ...

    def given_up(self, waits: Iterable[int]) -> int | None:
        """Say which wait is to be cancelled next, of those for the effects with these seqs; None for none yet."""
        ...

    def stuck(self, error: Exception) -> None:
        """Told that a task of the run never waits."""
        ...

    def finish(self) -> None:
        """Told that the code has ended."""
        ...


class Rerun(Protocol):
    """What the stores and runs of a script stand for in a process that runs it again."""

    def open(self, url: str) -> Store | None:
        """Return the store to use instead of the one of this URL, None for that one."""
        ...

    def run(self, store: Store, name: str, seed: int | None) -> Run | None:
        """Return the run to use instead of a new one, None to go on as usual."""
        ...

    def default_run(self) -> Run | None:
        """Return the run that is current when nothing was opened, None for one in memory."""
        ...

    def fork(self, parent: Run, name: str | None, at: int) -> Run | None:
        """Return the run to use instead of a new fork, None to go on as usual."""
        ...


_rerun: Rerun | None = None


def rerun_here() -> Rerun | None:
    """What this process was started to run again, None for an ordinary process."""
    return _rerun


def set_rerun(rerun: Rerun | None) -> None:
    """Say that this process runs a script again."""
    global _rerun
    _rerun = rerun
