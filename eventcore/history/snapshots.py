"""Snapshots: stored states that make opening and time travel fast, and nothing else.

A snapshot is a cache of the fold. It is checked when read; a bad one is ignored, reported by
`verify`, and the log wins. Deleting all of them changes nothing but time.
"""

from __future__ import annotations

import struct
import zlib

from eventcore.errors import CorruptLog
from eventcore.history.codec import MAX_PAYLOAD, compressor, decompress
from eventcore.history.state import State, decode_state, encode_state

SNAPSHOT_RATIO = 4
"""A snapshot is due when the log has grown by this many times the size of the state since the last one."""

SNAPSHOT_FLOOR = 256 * 1024
"""… and by at least this many bytes, so that small states are not stored over and over."""

MAX_STATE = 1024 * 1024 * 1024
"""Largest state that is stored or read back, in bytes before compression."""

_HEADER = struct.Struct("<4sBQI")
_MAGIC = b"EVCS"
_VERSION = 1


def due(grown: int, state_size: int) -> bool:
    """Whether a snapshot should be taken after the log grew by `grown` bytes; keeps their total O(log)."""
    return grown >= SNAPSHOT_FLOOR and grown >= SNAPSHOT_RATIO * state_size


def pack(encoded: bytes) -> bytes:
    """Compress an encoded state and put a checked header before it."""
    stored = compressor().compress(encoded)
    return _HEADER.pack(_MAGIC, _VERSION, len(encoded), zlib.crc32(stored)) + stored


def unpack(data: bytes) -> State:
    """Check and decode a stored snapshot.

    Raises:
        CorruptLog: It is not what was written.
    """
    if len(data) < _HEADER.size:
        raise CorruptLog("cannot read a snapshot: it is shorter than its header")
    magic, version, size, crc = _HEADER.unpack_from(data)
    stored = memoryview(data)[_HEADER.size :]
    if magic != _MAGIC or version != _VERSION or zlib.crc32(stored) != crc:
        raise CorruptLog("cannot read a snapshot: its bytes do not match its checksum")
    return decode_state(decompress(1, stored, size) if size <= MAX_PAYLOAD else _large(stored, size))


def _large(stored: memoryview, size: int) -> bytes:
    """Decompress a state above the limit for blocks."""
    import zstandard

    if size > MAX_STATE or zstandard.frame_content_size(stored) != size:
        raise CorruptLog(
            f"cannot read a snapshot that promises {size} bytes: at most {MAX_STATE} are ever stored"
        )
    return zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)


def snapshot_bytes(state: State) -> bytes:
    """Encode and pack a state in one go."""
    return pack(encode_state(state))
