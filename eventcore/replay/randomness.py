"""Randomness that is derived, not stored: one stream per purpose, the same in every process.

A stream depends on the run's seed and on what it is for, never on `hash()`, on time, or on how often other
streams were used. The global `random` module is never touched.
"""

from __future__ import annotations

import hashlib
import random

from msgspec.msgpack import encode


def stream(seed: int, purpose: str, *places: int | str) -> random.Random:
    """Return a generator for one purpose at one place.

    Args:
        seed: Seed of the run.
        purpose: What the numbers are for ("shuffle", "few-shot").
        places: Where: epoch, step, path of a variable, in this order.
    """
    digest = hashlib.blake2b(encode([seed, purpose, *places]), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))
