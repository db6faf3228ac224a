"""One variable's events, a stretch at a time and backwards: its index is unpacked once, not for every stretch."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter, itemgetter

import msgspec

from eventcore.errors import CorruptLog
from eventcore.history import codec, index
from eventcore.history import events as e
from eventcore.history.backend import Posting
from eventcore.history.reading import MAX_SEQ, Reader, Segment
from eventcore.history.touching import fields_of

_HEAD = itemgetter(slice(0, 2))
_FIRST, _LAST = attrgetter("first"), attrgetter("last")


class Marks(msgspec.Struct, frozen=True):
    """What events may have that change one of some fields.

    Attributes:
        fields: Names of the fields, None for any.
        names: Bytes anywhere in an event.
        heads: First two bytes of an event: the head of its array and its tag.
    """

    fields: frozenset[str] | None
    names: tuple[bytes, ...]
    heads: frozenset[bytes]


class _Chunk(msgspec.Struct, frozen=True):
    """A chunk of the index, for one variable.

    Attributes:
        first: First seq it covers.
        last: Last seq it covers.
        seqs: Of the variable's events; None where they must be looked for.
        touches: The record of the fields that may have changed in it, if there is one.
    """

    first: int
    last: int
    seqs: list[int] | None
    touches: Posting | None = None


class Trail:
    """Reads one variable's events, a stretch at a time, unpacking its index once.

    Where the index has no good posting, the log itself is read, as by `Reader.concerning`.

    Args:
        reader: The run.
        number: Number of the variable; `index.EVERY` for what a resumed run took back.
    """

    def __init__(self, reader: Reader, number: int) -> None:
        self._reader = reader
        self._number = number
        self._indexed: dict[int, list[_Chunk]] = {}

    def events(self, first: int, last: int) -> list[tuple[int, e.Event]]:
        """Return (seq, event) from `first` to `last`, oldest first."""
        found: list[tuple[int, e.Event]] = []
        for part in self._reader.segments(first, last):
            at = part.first
            for chunk in self._overlapping(part):
                stop = min(chunk.last, part.last)
                if chunk.seqs is None:
                    found += self._scanned(at, stop)
                else:
                    found += self._reader.events_at(_between(chunk.seqs, at, stop))
                at = stop + 1
            found += self._scanned(at, part.last)
        return found

    def any_of(self, first: int, last: int, marks: Marks, matters: Callable[[e.Event], bool]) -> bool:
        """Whether one of the events from `first` to `last` matters.

        Args:
            first: Oldest seq.
            last: Newest seq.
            marks: What every event that matters has one of; others are not decoded.
            matters: Says whether one does.
        """
        if codec.UPCASTERS:  # the bytes are those of another vocabulary
            return any(matters(event) for _, event in self.events(first, last))
        for part in self._reader.segments(first, last):
            at = part.first
            for chunk in [*self._overlapping(part), _Chunk(part.first, part.last, None)]:
                start, at = at, min(chunk.last, part.last) + 1
                if start >= at or self._passes_over(chunk, marks.fields):
                    continue
                mine = None if chunk.seqs is None else _between(chunk.seqs, start, at - 1)
                if mine is None or mine:
                    wanted = _Marked(self._number, mine, (mine[0], mine[-1]) if mine else (start, at - 1))
                    if any(matters(event) for event in wanted.events(self._reader, marks)):
                        return True
        return False

    def _passes_over(self, chunk: _Chunk, fields: frozenset[str] | None) -> bool:
        """Whether a chunk's record says that none of the fields changed in it; without a good one, any may have."""
        if chunk.touches is None or fields is None or not chunk.seqs:
            return False
        try:
            first, groups = index.touches(chunk.touches)
        except CorruptLog:
            return False
        touched = fields_of(groups or [], self._number)
        return first == chunk.first and touched is not None and fields.isdisjoint(touched)

    def _overlapping(self, part: Segment) -> list[_Chunk]:
        """Return the chunks that hold something of a segment, oldest first."""
        chunks = self._chunks(part.run)
        return chunks[
            bisect_left(chunks, part.first, key=_LAST) : bisect_right(chunks, part.last, key=_FIRST)
        ]

    def _chunks(self, run: int) -> list[_Chunk]:
        if run not in self._indexed:
            backend = self._reader.backend
            seqs = index.seqs_of(backend, run, self._number)
            touches = {posting.last_seq: posting for posting in backend.postings(run, index.TOUCHES)}
            own_first = next(part.first for part in self._reader.segments(1, MAX_SEQ) if part.run == run)
            self._indexed[run] = [
                _Chunk(
                    chunk.first,
                    chunk.last,
                    seqs.get(chunk.last, None if self._number in chunk.variables else []),
                    touches.get(chunk.last),
                )
                for chunk in index.chunks(backend, run, own_first)
            ]
        return self._indexed[run]

    def _scanned(self, first: int, last: int) -> Iterator[tuple[int, e.Event]]:
        for seq, event in self._reader.events(first, last) if first <= last else ():
            if getattr(event, "variable", None) == self._number or (
                self._number == index.EVERY and type(event) is e.StateRestored
            ):
                yield seq, event


class _Marked:
    """Events of a variable, of the blocks in which one of them has one of some marks in its bytes.

    Args:
        number: Number of the variable.
        seqs: Its seqs, None where they are not known.
        within: Oldest and newest seq.
    """

    def __init__(self, number: int, seqs: list[int] | None, within: tuple[int, int]) -> None:
        self._number = number
        self._seqs = seqs
        self._first, self._last = within

    def events(self, reader: Reader, marks: Marks) -> Iterator[e.Event]:
        """Yield them, oldest first."""
        names, heads = marks.names, marks.heads
        for block, header in reader.checked_blocks(self._first, self._last):
            raws = codec.split_block(block.data, header)
            mine = [raws[seq - block.first_seq] for seq in self._within(block.first_seq, block.last_seq)]
            data = list(map(bytes, mine))
            together = b"".join(data)  # one search in all of them
            if not heads.isdisjoint(map(_HEAD, data)) or any(name in together for name in names):
                for raw in data:
                    event = codec.decode_event(raw, header)
                    if getattr(event, "variable", None) == self._number:
                        yield event

    def _within(self, first: int, last: int) -> Sequence[int]:
        if self._seqs is None:
            return range(max(first, self._first), min(last, self._last) + 1)
        return _between(self._seqs, first, last)


def _between(seqs: list[int], first: int, last: int) -> list[int]:
    return seqs[bisect_left(seqs, first) : bisect_right(seqs, last)]
