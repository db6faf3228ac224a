"""Rollouts: one example going through the program once, with an identity of its own.

The identity is made of what the example is, never of its place in a batch, so a batch size, a shuffle or a
dropped example changes nobody else's. It lives in the scope (`eventcore.history.scope`) while the example
is under way; everything recorded then carries it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from eventcore.history.state import digest_of

PHASES = ("training", "minibatch", "validation", "test", "prediction")


def example_digest(value: Any) -> str:
    """Digest (32 hex digits) of an example: of its canonical JSON, or of several in order."""
    if isinstance(value, (list, tuple)) and all(hasattr(part, "get_json") for part in value):
        parts = [part.get_json() for part in value]
        return digest_of(parts)[:32]
    given: Any = value
    return digest_of(given.get_json() if hasattr(given, "get_json") else given)[:32]


class RolloutNames:
    """Gives rollouts their identities within one phase of one epoch."""

    def __init__(self, phase: str, epoch: int, step: int | None = None) -> None:
        short = hashlib.blake2b(phase.encode(), digest_size=2).hexdigest() if phase not in PHASES else phase
        self._prefix = f"{short}:{epoch}" if step is None else f"{short}:{epoch}.{step}"
        self._seen: Counter[str] = Counter()

    def name(self, digest: str) -> str:
        """Return the identity of the next rollout of an example: phase, epoch, digest, ordinal among equals."""
        ordinal = self._seen[digest]
        self._seen[digest] += 1
        return f"{self._prefix}/{digest[:16]}/{ordinal}"
