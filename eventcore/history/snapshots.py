"""Snapshots: stored states that make opening and time travel fast, and nothing else.

A snapshot is a cache of the fold. It is checked when read; a bad one is ignored, reported by
`verify`, and the log wins. Deleting all of them changes nothing but time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from eventcore.errors import CorruptLog
from eventcore.history.backend import StoredSnapshot
from eventcore.history.codec import decompress, frames
from eventcore.history.state import State, decode_state, encode_state

SNAPSHOT_RATIO = 4
"""A snapshot is due when the log has grown by this many times the size of the state since the last one."""

SNAPSHOT_FLOOR = 512 * 1024
"""… and by at least this many bytes, so that small states are not stored over and over."""

MAX_STATE = 1024 * 1024 * 1024
"""Largest state that is stored or read back, in bytes before compression."""

_HEADER = struct.Struct("<4sBIQQ")
_CRC = struct.Struct("<I")
_SIZE = _HEADER.size + _CRC.size
_MAGIC = b"EVCS"
_VERSION = 1


def due(grown: int, state_size: int) -> bool:
    """Whether a snapshot should be taken after the log grew by `grown` bytes; keeps their total O(log)."""
    return grown >= SNAPSHOT_FLOOR and grown >= SNAPSHOT_RATIO * state_size


def pack(run: int, seq: int, encoded: bytes) -> bytes:
    """Compress an encoded state and put a checked header before it that says whose it is and where it stands."""
    return pack_all(run, [(seq, encoded)])[0].data


def pack_all(run: int, snapshots: Sequence[tuple[int, bytes]]) -> list[StoredSnapshot]:
    """Do what `pack` does for several encoded states, each with its seq."""
    packed: list[StoredSnapshot] = []
    stored = frames([encoded for _, encoded in snapshots])
    for (seq, encoded), frame in zip(snapshots, stored, strict=True):
        header = _HEADER.pack(_MAGIC, _VERSION, run, seq, len(encoded))
        crc = _CRC.pack(zlib.crc32(frame, zlib.crc32(header)))
        packed.append(StoredSnapshot(seq, b"".join((header, crc, frame))))
    return packed


def unpack(run: int, stored: StoredSnapshot) -> State:
    """Check and decode a stored snapshot.

    Raises:
        CorruptLog: It is not what was written, or was written for another run or seq.
    """
    data = stored.data
    if len(data) < _SIZE:
        raise CorruptLog("cannot read a snapshot: it is shorter than its header")
    magic, version, owner, seq, size = _HEADER.unpack_from(data)
    packed = memoryview(data)[_SIZE:]
    crc = zlib.crc32(packed, zlib.crc32(memoryview(data)[: _HEADER.size]))
    if magic != _MAGIC or version != _VERSION or _CRC.unpack_from(data, _HEADER.size)[0] != crc:
        raise CorruptLog("cannot read a snapshot: its bytes do not match its checksum")
    if (owner, seq) != (run, stored.seq):
        raise CorruptLog(f"cannot read a snapshot: it is of run number {owner} at seq {seq}")
    return decode_state(decompress(1, packed, size, MAX_STATE))


def snapshot_bytes(run: int, seq: int, state: State) -> bytes:
    """Encode and pack a state in one go."""
    return pack(run, seq, encode_state(state))
