"""What a run says of itself beside its events: name, parent, fork seq and seed, under a checksum.

A backend's row of a run decides which events a fork reads and what its seed is, and a backend need not check
its rows. The same facts are therefore sealed in the row's `meta`, which is this layer's own.
"""

from __future__ import annotations

import zlib

import msgspec

from eventcore.errors import CorruptLog
from eventcore.history.backend import RunRow

DEFAULT_SEED = 0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, int]).decode


def seal(name: str, parent: int | None, forked_at: int, seed: int) -> bytes:
    """Return the `meta` of a new run."""
    return _encode((seed, _checksum(name, parent, forked_at, seed)))


def seed_of(row: RunRow) -> int:
    """Check a row against its seal and return the run's seed.

    Raises:
        CorruptLog: The row is not what was written.
    """
    if not row.meta:  # made by somebody who uses the backend alone
        return DEFAULT_SEED
    try:
        seed, checksum = _decode(row.meta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        seed, checksum = 0, -1
    if checksum != _checksum(row.name, row.parent, row.forked_at, seed):
        raise CorruptLog(
            f"cannot read run {row.name!r}: its row in the store is damaged (name, parent, fork seq or seed); "
            "restore the store from a backup"
        )
    return seed


def _checksum(name: str, parent: int | None, forked_at: int, seed: int) -> int:
    return zlib.crc32(_encode((name, parent, forked_at, seed)))
