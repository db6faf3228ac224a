"""What the call of an effect can learn and say while it is under way: its idempotency key, and what it spends.

Whoever pays a service by the request, or must not do a thing twice, needs a key that is the same when the call is made
again; whoever has a bill knows the figure only inside. Both are of the call that is under way here, in its tasks and
threads too. Nothing here decides whether a call is made.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history.run import Run
from eventcore.history.values import describe

_adding = threading.Lock()
_identities: WeakKeyDictionary[Run, str] = WeakKeyDictionary()


class UnderWay:
    """The call of one effect.

    Attributes:
        run: The run it belongs to.
        kind: What it is.
        key: Key of the effect in its run.
        input_tokens: What it said that it spent: tokens of requests.
        output_tokens: Tokens of answers.
        cost: US dollars.
        over: Whether its outcome is recorded.
    """

    __slots__ = ("cost", "input_tokens", "key", "kind", "output_tokens", "over", "run")

    def __init__(self, run: Run, kind: str) -> None:
        self.run = run
        self.kind = kind
        self.key = ""
        self.input_tokens = self.output_tokens = 0
        self.cost = 0.0
        self.over = False

    @contextmanager
    def entered(self) -> Generator[None]:
        """Context manager: what is done inside is done by this call."""
        token = _here.set(self)
        try:
            yield
        finally:
            _here.reset(token)


_here: ContextVar[UnderWay | None] = ContextVar("eventcore_under_way", default=None)


def idempotency_key() -> str:
    """Return the key by which a service recognises that this call is made again.

    Inside an `@ec.effect` function, to be sent along as the service asks for it (an `Idempotency-Key` header, say) or
    used as a name of one's own. A call in doubt that a resumed run makes again has it again, also after the store was
    moved. Every other call has another one: an equal one later, and one of another run, of a fork, or of a run of
    the same name in a new store.

    Raises:
        InvalidValue: No call of an effect is under way here.
    """
    here = _require("give an idempotency key")
    return key_for_service(here.run, here.key)


def spend(*, cost: float = 0.0, input_tokens: int = 0, output_tokens: int = 0) -> None:
    """Say what the call under way has spent: `run.cost()` and the run's budget count it.

    Inside an `@ec.effect` function, as often as there is something to say; it adds up, and counts for a call that fails
    as well. A call answered from a log spends nothing.

    Args:
        cost: US dollars.
        input_tokens: Tokens of requests.
        output_tokens: Tokens of answers.

    Raises:
        InvalidValue: A figure is negative, infinite or no number, or no call of an effect is under way here.
    """
    for name, value in (("cost", cost), ("input_tokens", input_tokens), ("output_tokens", output_tokens)):
        _require_amount(name, value, (int,) if name != "cost" else (int, float))
    here = _require("count what was spent")
    with _adding:
        here.cost += float(cost)
        here.input_tokens += input_tokens
        here.output_tokens += output_tokens


def key_for_service(run: Run, key: str, again: int = 0) -> str:
    """Return a key to send along with a request, to whoever answers it.

    Args:
        run: The run.
        key: Key of the effect in its run.
        again: How often it was asked anew on purpose: each is a request of its own.
    """
    text = f"{_identity(run)}\n{key}\n{again}"
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _identity(run: Run) -> str:
    """What tells a run from all others and stays with its log: drawn when it began."""
    known = _identities.get(run)
    if known is None:
        known = _identities[run] = _recorded_identity(run) or uuid4().hex
    return known


def _recorded_identity(run: Run) -> str | None:
    first = 1 if run.forked_at is None else run.forked_at + 1
    if run.first_stored > first:
        return None  # in memory only, and dropped
    for record in run.events(first, first, kind=e.RunStarted):
        if isinstance(record.event, e.RunStarted):
            return str(record.event.facts.get("id") or f"{record.event.time} {run.name}")
    return None


def _require(what: str) -> UnderWay:
    here = _here.get()
    if here is None:
        raise InvalidValue(
            f"cannot {what}: no call of an effect is under way here; call it inside an @ec.effect function"
        )
    if here.over:
        raise InvalidValue(
            f"cannot {what}: the call of effect {here.kind!r} is over and its outcome recorded; do it before it returns"
        )
    return here


def _require_amount(name: str, value: Any, kinds: tuple[type[Any], ...]) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, kinds)
        or not (0 <= value < 2**63)
        or math.isinf(value)
    ):
        asked = "a number of US dollars" if name == "cost" else "a whole number"
        raise InvalidValue(f"cannot count {name}={describe(value)} as spent: pass {asked}, 0 or more")
