"""What an effect comes back with, and the way from there to an event and back.

A program that is replayed gets values and errors of the same kinds as when the calls were made: an outcome is
made from its event again, an error by the class that had been raised.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import msgspec

from eventcore.errors import EventcoreError, ModelFailed
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


class RecordedFailure(EventcoreError, RuntimeError):
    """A recorded failure whose class is not known in this process."""


def outcome_of(event: e.EffectCompleted | e.EffectReused) -> Outcome:
    """Make the outcome an event records."""
    attempts = event.attempts if isinstance(event, e.EffectCompleted) else 0
    return Outcome(event.answer, event.model, event.input_tokens, event.output_tokens, event.cost, attempts)


def class_name(error: BaseException) -> str:
    """Name an error's class so that `raised_by` finds it."""
    return f"{type(error).__module__}:{type(error).__qualname__}"


def raised_by(event: e.EffectFailed) -> Exception:
    """Make the error an event records: of the same class, if this process has it, saying the same."""
    if event.raised == class_name(ModelFailed("")) or not event.raised:
        failed = ModelFailed(event.message, event.error, event.attempts)
        failed.input_tokens, failed.output_tokens = event.input_tokens, event.output_tokens
        failed.cost = event.cost
        return failed
    found = _classes().get(event.raised)
    for cls in () if found is None else found.__mro__[: found.__mro__.index(Exception)]:
        error = _saying(event.message, cls)
        if error is not None:
            return error
    return RecordedFailure(event.message)


def _saying(message: str, cls: type[Any]) -> Exception | None:
    """Make an error of a class that says `message`, without what its own `__init__` asks for; None if it refuses."""
    try:
        error: Exception = _made(message, cls)
        if _text(error) != message:
            error = _made(message, _stand_in(cls))
        return error if str(error) == message else None
    except Exception:
        # Its own construction may do anything: what it inherits from is tried next.
        return None


def _made(message: str, cls: type[Any]) -> Exception:
    new: Any = cls.__new__
    error: Exception = new(cls, message)
    error.args = (message,)
    return error


def _text(error: Exception) -> str | None:
    try:
        return str(error)
    except Exception:
        return None  # it speaks of attributes its own `__init__` would have set


def _stand_in(cls: type[Any]) -> type[Any]:
    """A class caught as `cls` is, and named like it, that says its first argument and nothing else."""
    names = {
        "__str__": lambda error: error.args[0],
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
    }
    made = type(cls.__name__, (cls,), names)
    _stand_ins.add(made)
    return made


_stand_ins: WeakSet[type[Any]] = WeakSet()


def _classes() -> dict[str, type[Exception]]:
    """The classes of errors this process knows, by name. Nothing is imported because a log says so."""
    found: dict[str, type[Exception]] = {}
    waiting: list[type[Exception]] = [Exception]
    while waiting:
        cls = waiting.pop()
        if cls not in _stand_ins:
            found[f"{cls.__module__}:{cls.__qualname__}"] = cls
            waiting += cls.__subclasses__()
    return found
