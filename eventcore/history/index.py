"""The per-variable index: which seqs concern which variable, in chunks of a few thousand events.

The committer feeds every block it writes; a full chunk becomes one posting per variable, one more that lists the
chunk's variables, and one that says which of their fields may have changed, committed with the block that
completes it. The list is what makes a missing posting noticed. The index is a cache like snapshots: what it does
not cover, or covers with damaged bytes, is scanned, and history is right without any index at all.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from operator import sub
from typing import Any, TypeVar

import msgspec

from eventcore.errors import CorruptLog
from eventcore.history.backend import Backend, Posting
from eventcore.history.codec import DECODE_ERRORS, compressor, decompress
from eventcore.history.events import Event, StateRestored
from eventcore.history.touching import RULES, Groups, Touches

CHUNK = 4096
"""Events a chunk of postings covers, at least."""

DIRECTORY = 2**32 - 1
"""The variable number under which a chunk's list of variables stands; no variable has it."""

EVERY = 2**32 - 2
"""The variable number under which events stand that concern every variable; no variable has it."""

TOUCHES = 2**32 - 3
"""The variable number under which stands which fields may have changed in a chunk; no variable has it."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, int, int, int, bytes])
_numbers = msgspec.msgpack.Decoder(list[int])
_touches = msgspec.msgpack.Decoder(tuple[int, Groups])
_PLACE = struct.Struct("<IQQIB")


T = TypeVar("T")


class Chunk(msgspec.Struct, frozen=True):
    """A stretch of a run that is indexed.

    Attributes:
        first: First seq it covers.
        last: Last seq it covers.
        variables: Numbers of the variables with events in it.
    """

    first: int
    last: int
    variables: frozenset[int]


def concerned(event: Event) -> int | None:
    """Return the number under which an event stands in the index, None for one that concerns no variable."""
    return EVERY if type(event) is StateRestored else getattr(event, "variable", None)


class Indexer:
    """Collects the seqs of each variable until a chunk is full."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._count = 0
        self._seqs: dict[int, list[int]] = {}
        self._touches = Touches()

    def feed(self, first_seq: int, events: Sequence[Event]) -> None:
        """Take note of events whose seqs begin at `first_seq`."""
        seqs = self._seqs
        try:
            variables: list[int | None] = [event.variable for event in events]  # type: ignore[attr-defined]
        except AttributeError:  # some concern none; to ask each is slower
            variables = list(map(concerned, events))
        self._touches.feed(variables, events)
        only = variables[0] if variables else None
        if only is not None and variables.count(only) == len(variables):
            seqs.setdefault(only, []).extend(range(first_seq, first_seq + len(events)))
            variables = []
        for seq, variable in enumerate(variables, first_seq):
            try:
                seqs[variable].append(seq)  # type: ignore[index]
            except KeyError:
                if variable is not None:
                    seqs[variable] = [seq]
        self._count += len(events)

    def take(self, last_seq: int) -> list[Posting]:
        """Return the postings of a full chunk that ends at `last_seq`, else nothing."""
        if self._count < CHUNK:
            return []
        variables = sorted(self._seqs)
        first, shifted = self._first, [self._first + number for number in variables]
        postings = [
            _posting(variable, last_seq, first, _deltas(first, self._seqs[variable]))
            for variable in variables
        ]
        postings.append(_posting(DIRECTORY, last_seq, first, _deltas(first, shifted)))
        postings.append(_posting(TOUCHES, last_seq, first, (RULES, self._touches.groups())))
        self._first, self._count, self._seqs, self._touches = last_seq + 1, 0, {}, Touches()
        return postings


def _deltas(first: int, ascending: list[int]) -> list[int]:
    if ascending and ascending[-1] - ascending[0] == len(ascending) - 1:  # without a gap
        return [ascending[0] - first, *[1] * (len(ascending) - 1)]
    return list(map(sub, ascending, [first, *ascending]))


def _posting(variable: int, last_seq: int, first: int, content: Any) -> Posting:
    raw = _encoder.encode(content)
    packed = compressor().compress(raw) if len(raw) >= 64 else raw
    flag = int(len(packed) < len(raw))
    stored = packed if flag else raw
    crc = _checksum(variable, last_seq, first, len(raw), flag, stored)
    return Posting(variable, last_seq, _encoder.encode((first, flag, len(raw), crc, stored)))


def _checksum(variable: int, last_seq: int, first: int, size: int, flag: int, stored: bytes) -> int:
    return zlib.crc32(stored, zlib.crc32(_PLACE.pack(variable, last_seq, first, size, flag)))


def unpack(posting: Posting) -> tuple[int, list[int]]:
    """Return (first seq the chunk covers, the variable's seqs in it, ascending).

    Raises:
        CorruptLog: The bytes are not what was written for this variable and place.
    """
    first, deltas = _content(posting, _numbers)
    before = first
    seqs: list[int] = []
    for delta in deltas:
        before += delta
        seqs.append(before)
    return first, seqs


def touches(posting: Posting) -> tuple[int, Groups | None]:
    """Return (first seq the chunk covers, which fields may have changed in it, None if that cannot be told).

    Raises:
        CorruptLog: The bytes are not what was written for this place.
    """
    first, (rules, groups) = _content(posting, _touches)
    return first, groups if rules == RULES else None


def _content(posting: Posting, decoder: msgspec.msgpack.Decoder[T]) -> tuple[int, T]:
    try:
        first, flag, size, crc, stored = _decoder.decode(posting.data)
        if crc != _checksum(posting.variable, posting.last_seq, first, size, flag, stored):
            raise CorruptLog(
                f"cannot read the index of variable {posting.variable}: its checksum does not match"
            )
        return first, decoder.decode(decompress(flag, stored, size))
    except (*DECODE_ERRORS, struct.error) as error:  # the latter for numbers no writer ever wrote
        raise CorruptLog(f"cannot read the index of variable {posting.variable}: {error}") from error


def chunks(backend: Backend, run: int, first: int) -> list[Chunk]:
    """Return the indexed stretches of a run whose own seqs begin at `first`, up to the first gap or damage."""
    found: list[Chunk] = []
    for posting in backend.postings(run, DIRECTORY):
        try:
            start, shifted = unpack(posting)
        except CorruptLog:
            break
        if start != first:
            break
        found.append(Chunk(start, posting.last_seq, frozenset(number - start for number in shifted)))
        first = posting.last_seq + 1
    return found


def seqs_of(backend: Backend, run: int, variable: int) -> dict[int, list[int]]:
    """Return a variable's seqs by the last seq of their chunk; damaged postings are left out."""
    found: dict[int, list[int]] = {}
    for posting in backend.postings(run, variable):
        try:
            found[posting.last_seq] = unpack(posting)[1]
        except CorruptLog:
            continue
    return found
