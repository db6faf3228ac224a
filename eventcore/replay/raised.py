"""Errors of effects: what of them a log holds, and the error made of that again.

A program that is run again catches the same class, reads the same text and the same attributes. An attribute that
JSON cannot hold is not there; reading it says so. Nothing is imported because a log says so: a class this process
does not know becomes the nearest one it does know, or a `RecordedFailure`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, cast
from weakref import WeakSet

from eventcore.errors import AttributeNotRecorded, EventcoreError, ModelFailed
from eventcore.history import events as e
from eventcore.history.state import size_of
from eventcore.history.values import JsonDict, canonical, copy_json, describe
from eventcore.replay.secrets import redacted, redacted_text

MOST = 64 * 1024
"""Bytes of an error's attributes that are kept; beyond it the rest is not."""

_LONGEST_MESSAGE = 2000
_BASES = frozenset({object, BaseException, Exception, BaseExceptionGroup, ExceptionGroup})


class RecordedFailure(EventcoreError, RuntimeError):
    """A recorded failure whose class is not known in this process."""


def class_name(error: BaseException) -> str:
    """Name an error's class so that `raised_by` finds it."""
    return f"{type(error).__module__}:{type(error).__qualname__}"


def message_of(error: BaseException) -> str:
    """What an error says, as a log may hold it: without secrets, not endless."""
    text = _text(error)
    text = redacted_text(type(error).__name__ if text is None else text)
    return text[:_LONGEST_MESSAGE].encode("utf-8", "replace").decode()


def held_by(error: BaseException, room: int = MOST) -> JsonDict:
    """What an error holds besides its text, as `EffectFailed.held`: JSON, without secrets, of at most `room` bytes."""
    if type(error) is ModelFailed:
        return {}  # the event has a field for each
    attributes: JsonDict = {}
    lost: JsonDict = {}
    for name, value in _attributes(error):
        plain, why = _plain(name, value)
        size = size_of(plain) + len(name)
        if not why and size > room:
            why = f"{describe(value)}, more than the log has room for"
        if why:
            lost[name] = why
        else:
            attributes[name] = plain
            room -= size
    held: JsonDict = {"attributes": attributes, "lost": lost}
    args, why = _plain("", list(error.args))
    if not why and args != [message_of(error)] and size_of(args) <= room:
        held["args"] = args
    if isinstance(error, BaseExceptionGroup):
        held |= _group(cast("BaseExceptionGroup[BaseException]", error), room)
    return {name: value for name, value in held.items() if value or name == "args"}


def _group(error: BaseExceptionGroup[BaseException], room: int) -> JsonDict:
    """What a group of errors consists of."""
    parts: list[JsonDict] = []
    for part in error.exceptions:
        held = held_by(part, max(0, room))
        parts.append({"raised": class_name(part), "message": message_of(part), "held": held})
        room -= size_of(parts[-1])
    return {"parts": parts, "text": redacted_text(error.message)} if room > 0 else {}


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of an error: its own, its slots', and those its class keeps in C (`errno`)."""
    yield from sorted(vars(error).items())
    for cls in type(error).__mro__:
        for name, member in () if cls in _BASES else vars(cls).items():
            if not isinstance(member, (MemberDescriptorType, GetSetDescriptorType)) or name.startswith("__"):
                continue
            try:
                value = getattr(error, name)
            except Exception:
                continue  # not set
            # What Python's own errors keep and JSON does not hold is None where they are made again.
            if value is not None and not (cls.__module__ == "builtins" and _plain(name, value)[1]):
                yield name, value


def _plain(name: str, value: Any) -> tuple[Any, str]:
    """Return an attribute as JSON, or why it is none: it must be equal when it comes back."""
    try:
        plain = canonical(value)
        if bool(plain == value):
            return redacted({name: plain})[name], ""
    except Exception:
        pass  # a foreign object may do anything when it is looked at
    return None, f"{describe(value)}, which JSON cannot hold"


def raised_by(event: e.EffectFailed) -> Exception:
    """Make the error an event records: of the same class, if this process has it, saying and holding the same."""
    if event.raised == class_name(ModelFailed("")) or not event.raised:
        failed = ModelFailed(event.message, event.error, event.attempts)
        failed.input_tokens, failed.output_tokens = event.input_tokens, event.output_tokens
        failed.cost = event.cost
        return failed
    return _remade(event.raised, event.message, copy_json(event.held))


def _remade(raised: str, message: str, held: JsonDict) -> Exception:
    found = _classes().get(raised)
    for cls in () if found is None else found.__mro__[: found.__mro__.index(Exception)]:
        error = _saying(message, held, cls)
        if error is not None:
            return error
    return _saying(message, held, RecordedFailure) or RecordedFailure(message)


def _saying(message: str, held: JsonDict, cls: type[Any]) -> Exception | None:
    """Make an error of a class that says `message`, without what its own `__init__` asks for; None if it refuses."""
    lost: JsonDict = held.get("lost", {})
    try:
        error = _made(message, held, cls)
        told = _text(error) == message
        if lost or not told:
            error = _made(message, held, _stand_in(cls, None if told else message, lost))
        return error if str(error) == message else None
    except Exception:
        # Its own construction may do anything: what it inherits from is tried next.
        return None


def _made(message: str, held: JsonDict, cls: type[Any]) -> Exception:
    new: Any = cls.__new__
    error: Exception
    if "parts" in held and issubclass(cls, BaseExceptionGroup):
        error = new(cls, held["text"], [_remade(*_described(part)) for part in held["parts"]])
    else:
        error = new(cls, message)
        error.args = tuple(held.get("args", (message,)))
    for name, value in held.get("attributes", {}).items():
        try:
            object.__setattr__(error, name, value)
        except (AttributeError, TypeError):
            continue  # read-only: its class makes it of something else
    return error


def _described(part: JsonDict) -> tuple[str, str, JsonDict]:
    return part["raised"], part["message"], part["held"]


def _text(error: BaseException) -> str | None:
    try:
        return str(error)
    except Exception:
        return None  # it speaks of attributes its own `__init__` would have set


class _Unrecorded:
    """Stands where an attribute was that the log does not hold."""

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what

    def __get__(self, error: Exception | None, cls: type[Any]) -> Any:
        if error is None:
            return self
        raise AttributeNotRecorded(
            f"cannot read {self._name!r} of this {cls.__name__}: the error was answered from the log, and attribute "
            f"{self._name!r} was not recorded: it was {self._what}; have the effect raise an error that holds what is "
            "needed of it as JSON"
        )


def _stand_in(cls: type[Any], message: str | None, lost: JsonDict) -> type[Any]:
    """A class caught as `cls` is, and named like it, that says `message` and what it has lost."""
    names: dict[str, Any] = {name: _Unrecorded(name, what) for name, what in lost.items()}
    names |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    if message is not None:
        names["__str__"] = lambda error: message
    made = type(cls.__name__, (cls,), names)
    _stand_ins.add(made)
    return made


_stand_ins: WeakSet[type[Any]] = WeakSet()


def _classes() -> dict[str, type[Exception]]:
    """The classes of errors this process knows, by name."""
    found: dict[str, type[Exception]] = {}
    waiting: list[type[Exception]] = [Exception]
    while waiting:
        cls = waiting.pop()
        if cls not in _stand_ins:
            found[f"{cls.__module__}:{cls.__qualname__}"] = cls
            waiting += cls.__subclasses__()
    return found
