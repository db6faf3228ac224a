"""Reading a run: its events through all its ancestors, its states, and new events as they come.

A fork stores only its own events; whoever reads it reads the parent up to the fork, and that one's
parent before it. This is the only module that knows so. Everything here works on durable bytes and
needs no writer: any number of readers, in any process, may use it while the run is written.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from eventcore.errors import CorruptLog, EventcoreError, InvalidValue, NotFound
from eventcore.history import index, lineage
from eventcore.history.backend import Backend, Block, Bounded, RunRow
from eventcore.history.codec import BlockHeader, decode_block, decode_event, read_header, split_block
from eventcore.history.events import Event, StateRestored
from eventcore.history.snapshots import unpack
from eventcore.history.state import State, fold

MAX_SEQ = 2**63 - 1

NEAR = 512
"""Seqs at most this far apart are read in one go, until the size of the blocks met says otherwise."""

POLL = (0.001, 0.010)
"""Shortest and longest pause between two looks for new events, in seconds."""


class Segment(msgspec.Struct, frozen=True):
    """A stretch of history stored in one run: seqs `first..last`."""

    run: int
    first: int
    last: int


class Reader:
    """Reads one run of a store.

    Args:
        backend: Where it is.
        run: Its number.
    """

    def __init__(self, backend: Backend, run: int) -> None:
        self.backend = backend
        self.run = run
        row = self._row(run)
        self.name = row.name
        self._ancestors: list[Segment] = []
        self._own_firsts = {run: row.forked_at + 1}
        self.own_first = row.forked_at + 1
        limit = row.forked_at
        while row.parent is not None:
            row = self._row(row.parent)
            self._own_firsts[row.id] = row.forked_at + 1
            self._ancestors.append(Segment(row.id, row.forked_at + 1, limit))
            limit = min(limit, row.forked_at)
        self._ancestors.reverse()

    def _row(self, run: int) -> RunRow:
        row = self.backend.run(run)
        if row is None:
            raise NotFound(
                f"cannot read run {run}: it is not in {self.backend.url}; it may have been deleted"
            )
        lineage.seed_of(row)
        return row

    def head(self) -> int:
        """The durable head."""
        return self.backend.head(self.run)

    def segments(self, first: int, last: int) -> list[Segment]:
        """Cut `first..last` into stretches by the run that stores them, oldest first."""
        cut = []
        for part in [*self._ancestors, Segment(self.run, self.own_first, last)]:
            low, high = max(first, part.first), min(last, part.last)
            if low <= high:
                cut.append(Segment(part.run, low, high))
        return cut

    def first_stored(self) -> int:
        """First seq that is still stored; more than 1 only in a bounded in-memory run."""
        if isinstance(self.backend, Bounded) and not self._ancestors:
            return self.backend.first_seq(self.run)
        return 1

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """Yield the stored blocks that overlap `first..last`, oldest first, checking that none is missing.

        Raises:
            CorruptLog: There is a gap, with the first missing seq.
        """
        expected = first
        for part in self.segments(first, last):
            for block in self.backend.blocks(part.run, part.first, part.last):
                if not block.first_seq <= expected <= block.last_seq:
                    raise self._gap(expected, max(expected, block.first_seq - 1))
                yield block
                expected = min(block.last_seq, part.last) + 1
            if expected <= part.last:
                raise self._gap(expected, part.last)

    def checked_blocks(self, first: int, last: int) -> Iterator[tuple[Block, BlockHeader]]:
        """Yield (block, its header) of the blocks that overlap `first..last` after checking each, as `blocks` does."""
        for part in self.segments(first, last):
            for block in self.blocks(part.first, part.last):
                yield block, self._header(block, part.run)

    def _gap(self, first: int, last: int) -> EventcoreError:
        kept = self.first_stored()
        if first < kept:
            return NotFound(
                f"cannot read events {first} to {last} of run {self.name!r}: they were folded into a snapshot to "
                f"bound the memory of an in-memory run; read from {kept} on, or open a store on disk"
            )
        return CorruptLog(
            f"cannot read events {first} to {last} of run {self.name!r}: they are missing", seq=first
        )

    def chunks(self, first: int, last: int) -> Iterator[tuple[int, list[Event]]]:
        """Yield (first seq, decoded events) block by block, trimmed to `first..last`."""
        for part in self.segments(first, last):
            expected = part.first
            for block in self.backend.blocks(part.run, part.first, part.last):
                if not block.first_seq <= expected <= block.last_seq:
                    raise self._gap(expected, max(expected, block.first_seq - 1))
                events = self._decode(block, part.run)
                low, high = expected, min(part.last, block.last_seq)
                if low > block.first_seq or high < block.last_seq:
                    events = events[low - block.first_seq : high - block.first_seq + 1]
                yield low, events
                expected = high + 1
            if expected <= part.last:
                raise self._gap(expected, part.last)

    def _decode(self, block: Block, run: int) -> list[Event]:
        return decode_block(block.data, self._header(block, run))

    def _header(self, block: Block, run: int) -> BlockHeader:
        """Check a block, and that it is the one asked for."""
        try:
            header = read_header(block.data)
        except CorruptLog as error:  # it may say another seq: its own header is what is damaged
            raise CorruptLog(
                f"cannot read run {self.name!r} at seq {block.first_seq}: {error}", seq=block.first_seq
            ) from error
        if (header.first_seq, header.last_seq, header.run) != (block.first_seq, block.last_seq, run):
            raise CorruptLog(
                f"cannot read run {self.name!r} at seq {block.first_seq}: the block stored there says it holds "
                f"seq {header.first_seq} to {header.last_seq} of run number {header.run}",
                seq=block.first_seq,
            )
        return header

    def events(self, first: int, last: int) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event), oldest first."""
        for low, events in self.chunks(first, last):
            yield from enumerate(events, low)

    def events_at(self, seqs: Sequence[int]) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) for ascending seqs, decoding nothing else.

        Blocks between seqs that lie close together are read in one go, since finding a block costs more than
        reading a small one.
        """
        at, near = 0, NEAR
        while at < len(seqs):
            part = self.segments(seqs[at], seqs[at])[0]
            # A block of a parent may go on behind the fork.
            limit = self._last_of(part.run)
            end = at + 1
            while end < len(seqs) and seqs[end] - seqs[end - 1] <= near and seqs[end] <= limit:
                end += 1
            for block in self.backend.blocks(part.run, seqs[at], seqs[end - 1]):
                if at == end or block.first_seq > seqs[at]:
                    break
                stop = bisect_right(seqs, block.last_seq, at, end)
                if stop > at:
                    header = self._header(block, part.run)
                    raws = split_block(block.data, header)
                    for seq in seqs[at:stop]:
                        yield seq, decode_event(raws[seq - block.first_seq], header)
                    at = stop
                near = 2 * (block.last_seq - block.first_seq + 1)
            if at < end:
                raise self._gap(seqs[at], seqs[at])

    def _last_of(self, run: int) -> int:
        return next((part.last for part in self._ancestors if part.run == run), MAX_SEQ)

    def concerning(self, variable: int, first: int, last: int) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) of one variable by the index; stretches without a good one are scanned."""
        for part in self.segments(first, last):
            indexed = index.seqs_of(self.backend, part.run, variable)
            at = part.first
            for chunk in index.chunks(self.backend, part.run, self._own_firsts[part.run]):
                if chunk.last < part.first or chunk.first > part.last:
                    continue
                high = min(chunk.last, part.last)
                if chunk.last in indexed:
                    yield from self.events_at([seq for seq in indexed[chunk.last] if at <= seq <= high])
                elif variable in chunk.variables:  # its posting is lost or damaged; `verify` reports it
                    yield from self._scan(variable, at, high)
                at = high + 1
            yield from self._scan(variable, at, part.last)

    def restorations(self, first: int, last: int) -> Iterator[tuple[int, StateRestored]]:
        """Yield (seq, event) where a resumed run took back what was done last, by the index."""
        for part in self.segments(first, last):
            indexed = index.seqs_of(self.backend, part.run, index.EVERY)
            at = part.first
            for chunk in index.chunks(self.backend, part.run, self._own_firsts[part.run]):
                if chunk.last < part.first or chunk.first > part.last:
                    continue
                high = min(chunk.last, part.last)
                if chunk.last in indexed:
                    found = self.events_at([seq for seq in indexed[chunk.last] if at <= seq <= high])
                else:
                    found = self.events(at, high) if index.EVERY in chunk.variables else iter(())
                yield from _restoring(found)
                at = high + 1
            yield from _restoring(self.events(at, part.last) if at <= part.last else ())

    def _scan(self, variable: int, first: int, last: int) -> Iterator[tuple[int, Event]]:
        for seq, event in self.events(first, last):
            if getattr(event, "variable", None) == variable:
                yield seq, event

    def state_at(self, seq: int) -> State:
        """Fold the state as of `seq`: the nearest good snapshot, then the events after it.

        Raises:
            InvalidValue: `seq` is negative or beyond the head.
            NotFound: A bounded in-memory run has dropped the events.
            CorruptLog: Events are missing or damaged.
        """
        head = self.head()
        if not 0 <= seq <= head:
            raise InvalidValue(
                f"cannot read run {self.name!r} at seq {seq}: its log ends at {head}; pass a seq from 0 to {head}"
            )
        first, state = self.nearest_snapshot(seq)
        for low, events in self.chunks(first, seq):
            fold(state, events, low)
        return state

    def nearest_snapshot(self, seq: int) -> tuple[int, State]:
        """Return (first seq to fold, state before it); bad snapshots are passed over."""
        for part in reversed(self.segments(1, seq)):
            limit = part.last
            while True:
                stored = self.backend.snapshot(part.run, limit)
                if stored is None or stored.seq < part.first - 1:
                    break
                try:
                    return stored.seq + 1, unpack(part.run, stored)
                except CorruptLog:
                    limit = stored.seq - 1
        return 1, State()

    def follow(self, first: int, timeout: float | None = None) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) from `first` on, then wait for more.

        Args:
            first: Seq to begin at; it may lie beyond the present head.
            timeout: Stop after this many seconds without a new event; None waits for ever.
        """
        pause, quiet_since = POLL[0], time.monotonic()
        while True:
            head = self.head()
            if head >= first:
                yield from self.events(first, head)
                first = head + 1
                pause, quiet_since = POLL[0], time.monotonic()
            elif timeout is not None and time.monotonic() - quiet_since >= timeout:
                return
            else:
                time.sleep(pause)
                pause = min(pause * 2, POLL[1])


def _restoring(found: Iterable[tuple[int, Event]]) -> Iterator[tuple[int, StateRestored]]:
    return ((seq, event) for seq, event in found if isinstance(event, StateRestored))
