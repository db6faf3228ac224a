"""Checking a stored run: that every byte is what was written and every cache equals the fold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec

from eventcore.errors import CorruptLog, EventcoreError
from eventcore.history import index
from eventcore.history.backend import Backend, Posting, RunRow
from eventcore.history.events import Event
from eventcore.history.reading import Reader
from eventcore.history.snapshots import unpack
from eventcore.history.state import State, fold
from eventcore.history.touching import Touches


class Finding(msgspec.Struct, frozen=True):
    """Something wrong in a store.

    Attributes:
        run: Name of the run, or None when it concerns the store.
        seq: First seq that cannot be trusted, 0 when it is not about one.
        message: What is wrong, in words.
    """

    run: str | None
    seq: int
    message: str


def verify_run(backend: Backend, row: RunRow) -> list[Finding]:
    """Check one run: CRC, gaps, decoding, folding, every snapshot's digest, the index.

    Only what the run itself stores is checked cache by cache; its ancestors' events are read on the way.
    """
    try:
        reader = Reader(backend, row.id)
        return [Finding(row.name, seq, message) for seq, message in _check(reader, row)]
    except EventcoreError as error:
        return [Finding(row.name, 0, str(error))]


def _check(reader: Reader, row: RunRow) -> Iterator[tuple[int, str]]:
    first = reader.first_stored()
    waiting = reader.backend.snapshot_seqs(row.id)
    state = State() if first == 1 else reader.nearest_snapshot(row.head)[1]
    position = first - 1 if first == 1 else reader.nearest_snapshot(row.head)[0] - 1
    seqs: dict[int, list[int]] = {}
    touches = _Touches(index.chunks(reader.backend, row.id, row.forked_at + 1))
    try:
        for low, events in reader.chunks(position + 1, row.head):
            start = 0
            while waiting and waiting[0] < low + len(events):
                stop = max(start, waiting[0] - low + 1)
                fold(state, events[start:stop], low + start)
                yield from _check_snapshot(reader, waiting.pop(0), state)
                start = stop
            fold(state, events[start:], low + start)
            for seq, event in enumerate(events, low):
                variable = index.concerned(event)
                if variable is not None and seq > row.forked_at:
                    seqs.setdefault(variable, []).append(seq)
            touches.feed(low, events)
            position = low + len(events) - 1
    except EventcoreError as error:
        yield getattr(error, "seq", 0) or position + 1, str(error)
        return
    for seq in waiting:
        yield seq, f"a snapshot stands at seq {seq}, beyond the head {row.head}"
    if first == 1:
        yield from _check_index(reader, row, seqs)
        yield from touches.check(reader.backend, row.id)


def _check_snapshot(reader: Reader, seq: int, state: State) -> Iterator[tuple[int, str]]:
    stored = reader.backend.snapshot(reader.run, seq)
    if stored is None or stored.seq != seq:
        yield seq, f"the snapshot at seq {seq} is listed and cannot be read"
        return
    try:
        digest = unpack(reader.run, stored).digest
    except CorruptLog as error:
        yield seq, f"the snapshot at seq {seq} is damaged ({error}); the log itself is not affected"
        return
    if digest != state.digest:
        yield (
            seq,
            f"the snapshot at seq {seq} has digest {digest[:16]}, the fold of the log {state.digest[:16]}",
        )


def _check_index(reader: Reader, row: RunRow, seqs: dict[int, list[int]]) -> Iterator[tuple[int, str]]:
    """Compare the index with what the log holds, by variable."""
    first, covered = row.forked_at + 1, reader.backend.indexed_to(row.id)
    chunks = index.chunks(reader.backend, row.id, first)
    reach = chunks[-1].last if chunks else first - 1
    if covered > reach:
        yield reach + 1, f"the index is damaged from seq {reach + 1} on; the log itself is not affected"
    elif covered < reach and covered:
        yield covered, f"the index reaches to seq {reach} and says {covered}; the log itself is not affected"
    listed = {number for chunk in chunks for number in chunk.variables}
    for variable in sorted(listed | seqs.keys()):
        indexed = index.seqs_of(reader.backend, row.id, variable)
        for chunk in chunks:
            every = seqs.get(variable, [])
            wanted = every[bisect_left(every, chunk.first) : bisect_right(every, chunk.last)]
            if indexed.get(chunk.last, []) != wanted or (variable in chunk.variables) != bool(wanted):
                yield (
                    chunk.first,
                    f"the index of variable {variable} is damaged between seq {chunk.first} and {chunk.last}; "
                    "the log itself is not affected",
                )


class _Touches:
    """Compares what the index says of fields that may have changed with the events themselves."""

    def __init__(self, chunks: list[index.Chunk]) -> None:
        self._lasts = [chunk.last for chunk in chunks]
        self._firsts = [chunk.first for chunk in chunks]
        self._met = [Touches() for _ in chunks]

    def feed(self, low: int, events: list[Event]) -> None:
        """Take note of a block's events; a chunk ends where a block ends."""
        at = bisect_left(self._lasts, low)
        if at < len(self._met) and low >= self._firsts[at]:
            self._met[at].feed(list(map(index.concerned, events)), events)

    def check(self, backend: Backend, run: int) -> Iterator[tuple[int, str]]:
        """Find records that leave something out. Chunks written by an older eventcore have none."""
        records = {posting.last_seq: posting for posting in backend.postings(run, index.TOUCHES)}
        for first, last, met in zip(self._firsts, self._lasts, self._met, strict=True):
            if last in records and not _covers(records[last], first, met):
                yield (
                    first,
                    f"the index does not say which fields changed between seq {first} and {last}; "
                    "the log itself is not affected",
                )


def _covers(record: Posting, first: int, met: Touches) -> bool:
    try:
        start, groups = index.touches(record)
    except CorruptLog:
        return False
    if groups is None:  # by rules of another eventcore: it is not used
        return True
    said = {number: names for names, numbers in groups for number in numbers}
    for names, numbers in met.groups():
        for number in numbers:
            told = said.get(number)  # without an entry any field may have changed
            if told is not None and (names is None or not set(names) <= set(told)):
                return False
    return start == first
