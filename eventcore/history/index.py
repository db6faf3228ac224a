"""The per-variable index: which seqs concern which variable, in chunks of a few thousand events.

The committer feeds every block it writes; a full chunk becomes one posting per variable and is
committed with the block that completes it. The index is a cache like snapshots: the tail that is not
indexed yet is scanned, and history is right without any index at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventcore.errors import CorruptLog
from eventcore.history.backend import Posting
from eventcore.history.codec import DECODE_ERRORS, compressor, decompress
from eventcore.history.events import Event

CHUNK = 4096
"""Events a chunk of postings covers, at least."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, int, int, bytes])
_deltas = msgspec.msgpack.Decoder(list[int])


class Indexer:
    """Collects the seqs of each variable until a chunk is full."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._count = 0
        self._seqs: dict[int, list[int]] = {}

    def feed(self, first_seq: int, events: Sequence[Event]) -> None:
        """Take note of events whose seqs begin at `first_seq`."""
        seqs = self._seqs
        for seq, event in enumerate(events, first_seq):
            variable: int | None = getattr(event, "variable", None)
            if variable is not None:
                if variable in seqs:
                    seqs[variable].append(seq)
                else:
                    seqs[variable] = [seq]
        self._count += len(events)

    def take(self, last_seq: int) -> list[Posting]:
        """Return the postings of a full chunk that ends at `last_seq`, else nothing."""
        if self._count < CHUNK or not self._seqs:
            return []
        postings = [
            Posting(variable, last_seq, _pack(self._first, seqs))
            for variable, seqs in sorted(self._seqs.items())
        ]
        self._first, self._count, self._seqs = last_seq + 1, 0, {}
        return postings


def _pack(first: int, seqs: list[int]) -> bytes:
    before = first
    deltas: list[int] = []
    for seq in seqs:
        deltas.append(seq - before)
        before = seq
    raw = _encoder.encode(deltas)
    packed = compressor().compress(raw) if len(raw) >= 64 else raw
    flag = int(len(packed) < len(raw))
    return _encoder.encode((first, flag, len(raw), packed if flag else raw))


def unpack(posting: Posting) -> tuple[int, list[int]]:
    """Return (first seq the chunk covers, the variable's seqs in it, ascending).

    Raises:
        CorruptLog: The bytes are no posting.
    """
    try:
        first, flag, size, packed = _decoder.decode(posting.data)
        before = first
        seqs: list[int] = []
        for delta in _deltas.decode(decompress(flag, packed, size)):
            before += delta
            seqs.append(before)
    except DECODE_ERRORS as error:
        raise CorruptLog(f"cannot read the index of variable {posting.variable}: {error}") from error
    return first, seqs
