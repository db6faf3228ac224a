"""The per-variable index: which seqs concern which variable, in chunks of a few thousand events.

The committer feeds every block it writes; a full chunk becomes one posting per variable, and one more that
lists the chunk's variables, committed with the block that completes it. That list is what makes a missing
posting noticed. The index is a cache like snapshots: what it does not cover, or covers with damaged bytes,
is scanned, and history is right without any index at all.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from operator import sub

import msgspec

from eventcore.errors import CorruptLog
from eventcore.history.backend import Backend, Posting
from eventcore.history.codec import DECODE_ERRORS, compressor, decompress
from eventcore.history.events import Event, StateRestored

CHUNK = 4096
"""Events a chunk of postings covers, at least."""

DIRECTORY = 2**32 - 1
"""The variable number under which a chunk's list of variables stands; no variable has it."""

EVERY = 2**32 - 2
"""The variable number under which events stand that concern every variable; no variable has it."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, int, int, int, bytes])
_numbers = msgspec.msgpack.Decoder(list[int])
_PLACE = struct.Struct("<IQQIB")


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


class Indexer:
    """Collects the seqs of each variable until a chunk is full."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._count = 0
        self._seqs: dict[int, list[int]] = {}

    def feed(self, first_seq: int, events: Sequence[Event]) -> None:
        """Take note of events whose seqs begin at `first_seq`."""
        seqs = self._seqs
        try:
            variables: list[int | None] = [event.variable for event in events]  # type: ignore[attr-defined]
        except AttributeError:  # some concern none; to ask each is slower
            variables = [
                EVERY if type(event) is StateRestored else getattr(event, "variable", None)
                for event in events
            ]
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
        postings = [self._posting(variable, last_seq, self._seqs[variable]) for variable in variables]
        postings.append(self._posting(DIRECTORY, last_seq, [self._first + number for number in variables]))
        self._first, self._count, self._seqs = last_seq + 1, 0, {}
        return postings

    def _posting(self, variable: int, last_seq: int, ascending: list[int]) -> Posting:
        if ascending and ascending[-1] - ascending[0] == len(ascending) - 1:  # without a gap
            deltas = [ascending[0] - self._first, *[1] * (len(ascending) - 1)]
        else:
            deltas = list(map(sub, ascending, [self._first, *ascending]))
        raw = _encoder.encode(deltas)
        packed = compressor().compress(raw) if len(raw) >= 64 else raw
        flag = int(len(packed) < len(raw))
        stored = packed if flag else raw
        crc = _checksum(variable, last_seq, self._first, len(raw), flag, stored)
        return Posting(variable, last_seq, _encoder.encode((self._first, flag, len(raw), crc, stored)))


def _checksum(variable: int, last_seq: int, first: int, size: int, flag: int, stored: bytes) -> int:
    return zlib.crc32(stored, zlib.crc32(_PLACE.pack(variable, last_seq, first, size, flag)))


def unpack(posting: Posting) -> tuple[int, list[int]]:
    """Return (first seq the chunk covers, the variable's seqs in it, ascending).

    Raises:
        CorruptLog: The bytes are not what was written for this variable and place.
    """
    try:
        first, flag, size, crc, stored = _decoder.decode(posting.data)
        if crc != _checksum(posting.variable, posting.last_seq, first, size, flag, stored):
            raise CorruptLog(
                f"cannot read the index of variable {posting.variable}: its checksum does not match"
            )
        before = first
        seqs: list[int] = []
        for delta in _numbers.decode(decompress(flag, stored, size)):
            before += delta
            seqs.append(before)
    except (*DECODE_ERRORS, struct.error) as error:  # the latter for numbers no writer ever wrote
        raise CorruptLog(f"cannot read the index of variable {posting.variable}: {error}") from error
    return first, seqs


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
