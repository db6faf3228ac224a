"""Several backends driven as one: whatever is asked of it is asked of all, and all have to answer alike.

What may differ (when a run was made, what a store is called) is made equal before answers are compared. The state
machine of backends holds each against a model; this holds them against each other, errors included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from eventcore.errors import EventcoreError
from eventcore.history.backend import Backend, Block, Posting, Problem, RunRow, StoredSnapshot


class Different(AssertionError):
    """Two backends gave different answers."""


class Lockstep(Backend):
    """Backends that must not differ.

    Attributes:
        asked: How often anything was asked.
    """

    durable = True

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.backends = list(backends)
        self.url = "lockstep:" + ",".join(backend.url for backend in backends)
        self.log_id = self.backends[0].log_id
        self.read_only = False
        self.asked = 0

    def _all(self, name: str, *args: Any, **named: Any) -> Any:
        self.asked += 1
        answers = [_answer(getattr(backend, name), args, named) for backend in self.backends]
        for backend, (answer, _) in zip(self.backends, answers, strict=True):
            if _equal(answer) != _equal(answers[0][0]):
                raise Different(
                    f"{name}{args}: {self.backends[0].url} answers {answers[0][0]!r}, {backend.url} {answer!r}"
                )
        answer, error = answers[0]
        if error is not None:
            raise error
        return answer

    def runs(self) -> list[RunRow]:
        """Return all runs."""
        found: list[RunRow] = self._all("runs")
        return found

    def run(self, name_or_id: str | int) -> RunRow | None:
        """Return one run."""
        found: RunRow | None = self._all("run", name_or_id)
        return found

    def head(self, run: int) -> int:
        """Return a head."""
        found: int = self._all("head", run)
        return found

    def create_run(
        self, name: str, *, parent: int | None = None, forked_at: int = 0, meta: bytes = b"", writer: str = ""
    ) -> RunRow:
        """Create a run."""
        found: RunRow = self._all(
            "create_run", name, parent=parent, forked_at=forked_at, meta=meta, writer=writer
        )
        return found

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        """Claim a run."""
        found: RunRow = self._all("claim", run, writer, expected_epoch)
        return found

    def append(
        self,
        run: int,
        expected_head: int,
        epoch: int,
        blocks: Sequence[Block],
        snapshot: StoredSnapshot | None = None,
        postings: Sequence[Posting] = (),
    ) -> None:
        """Append."""
        self._all("append", run, expected_head, epoch, blocks, snapshot, postings)

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Yield blocks."""
        return iter(self._all("blocks", run, first, last))

    def snapshot(self, run: int, seq: int) -> StoredSnapshot | None:
        """Return a snapshot."""
        found: StoredSnapshot | None = self._all("snapshot", run, seq)
        return found

    def snapshot_seqs(self, run: int) -> list[int]:
        """Return the seqs of snapshots."""
        found: list[int] = self._all("snapshot_seqs", run)
        return found

    def drop_snapshot(self, run: int, seq: int) -> None:
        """Drop a snapshot."""
        self._all("drop_snapshot", run, seq)

    def postings(self, run: int, variable: int) -> list[Posting]:
        """Return postings."""
        found: list[Posting] = self._all("postings", run, variable)
        return found

    def indexed_to(self, run: int) -> int:
        """Return how far the index reaches."""
        found: int = self._all("indexed_to", run)
        return found

    def delete_run(self, run: int) -> None:
        """Delete a run."""
        self._all("delete_run", run)

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with any."""
        for backend in self.backends:
            yield from backend.problems()

    def close(self) -> None:
        """Close all."""
        for backend in self.backends:
            backend.close()


def _answer(method: Callable[..., Any], args: Any, named: Any) -> tuple[Any, EventcoreError | None]:
    try:
        answer = method(*args, **named)
        return (list(answer) if isinstance(answer, Iterator) else answer), None
    except EventcoreError as error:
        return type(error).__name__, error


def _equal(answer: Any) -> Any:
    if isinstance(answer, RunRow):
        return msgspec.structs.replace(answer, created=0.0)
    if isinstance(answer, list):
        return [_equal(item) for item in answer]
    return answer
