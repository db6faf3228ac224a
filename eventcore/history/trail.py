"""One variable's events, a stretch at a time and backwards: its index is unpacked once, not for every stretch."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from eventcore.history import events as e
from eventcore.history import index
from eventcore.history.reading import MAX_SEQ, Reader


class Trail:
    """Reads one variable's events, a stretch at a time, unpacking its index once.

    Where the index has no good posting, the log itself is read, as by `Reader.concerning`.
    """

    def __init__(self, reader: Reader, number: int) -> None:
        self._reader = reader
        self._number = number
        self._indexed: dict[int, list[tuple[int, int, list[int] | None]]] = {}

    def events(self, first: int, last: int) -> list[tuple[int, e.Event]]:
        """Return (seq, event) from `first` to `last`, oldest first."""
        found: list[tuple[int, e.Event]] = []
        for part in self._reader.segments(first, last):
            at = part.first
            for low, high, seqs in self._chunks(part.run):
                if high < at or low > part.last:
                    continue
                stop = min(high, part.last)
                if seqs is None:
                    found += self._scanned(at, stop)
                else:
                    found += self._reader.events_at(seqs[bisect_left(seqs, at) : bisect_right(seqs, stop)])
                at = stop + 1
            found += self._scanned(at, part.last)
        return found

    def _chunks(self, run: int) -> list[tuple[int, int, list[int] | None]]:
        """Return (first seq, last seq, the variable's seqs) of a run's chunks; None where they must be looked for."""
        if run not in self._indexed:
            backend = self._reader.backend
            seqs = index.seqs_of(backend, run, self._number)
            own_first = next(part.first for part in self._reader.segments(1, MAX_SEQ) if part.run == run)
            self._indexed[run] = [
                (
                    chunk.first,
                    chunk.last,
                    seqs.get(chunk.last, None if self._number in chunk.variables else []),
                )
                for chunk in index.chunks(backend, run, own_first)
            ]
        return self._indexed[run]

    def _scanned(self, first: int, last: int) -> Iterator[tuple[int, e.Event]]:
        for seq, event in self._reader.events(first, last) if first <= last else ():
            if getattr(event, "variable", None) == self._number:
                yield seq, event
