"""What an effect comes back with, and how it is made of an event again. Errors are the business of `raised`."""

from __future__ import annotations

from typing import Any

import msgspec

from eventcore.history import events as e

CANCELLED = "CancelledError"
"""Error of an effect whose wait was cancelled: it is the program that ended it, not the call."""


class Outcome(msgspec.Struct, frozen=True):
    """What an effect came back with.

    Attributes:
        answer: A JSON value.
        model: Which model answered, "" if that means nothing.
        input_tokens: Tokens of the request, 0 if unknown.
        output_tokens: Tokens of the answer, 0 if unknown.
        cost: US dollars, 0.0 if unknown.
        attempts: Requests sent, retries included.
    """

    answer: Any
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    attempts: int = 1


class Ticket(msgspec.Struct, frozen=True):
    """An effect under way.

    Attributes:
        seq: Seq of its `EffectStarted`.
        key: Stable identity: rollout, digest, ordinal. Providers that take one get it as idempotency key.
    """

    seq: int
    key: str


def outcome_of(event: e.EffectCompleted | e.EffectReused) -> Outcome:
    """Make the outcome an event records."""
    attempts = event.attempts if isinstance(event, e.EffectCompleted) else 0
    return Outcome(event.answer, event.model, event.input_tokens, event.output_tokens, event.cost, attempts)
