"""What a function promises to return, as the JSON a log holds and back.

The program gets what is decoded by the return annotation whether the call was made or answered from the log, so both
are the same in value and type. An annotation that nothing recorded could keep is refused before a call is paid for.
What a function returns without an annotation stays JSON; nothing here looks at arguments.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

import msgspec
from msgspec import inspect as kinds

from eventcore.errors import InvalidValue, SchemaMismatch, WrongType
from eventcore.history.values import canonical, describe, is_dict, items_of, record_of
from eventcore.models.conversion import is_data_model, json_of
from eventcore.models.schema import is_model_class, is_pydantic_class

_AS_TEXT: dict[type[Any], type[Any]] = {
    kinds.BytesType: bytes,
    kinds.ByteArrayType: bytearray,
    kinds.DateTimeType: datetime,
    kinds.DateType: date,
    kinds.TimeType: time,
    kinds.TimeDeltaType: timedelta,
    kinds.UUIDType: UUID,
    kinds.DecimalType: Decimal,
    kinds.SetType: set,
    kinds.FrozenSetType: frozenset,
}
"""Types that JSON has no values of, and the annotation brings back."""

_KEYS = (
    kinds.AnyType, kinds.StrType, kinds.IntType, kinds.EnumType, kinds.LiteralType,
    kinds.DateTimeType, kinds.DateType, kinds.TimeType, kinds.UUIDType,
)  # fmt: skip
"""Annotations of a dict's keys that text brings back."""

_NEVER = (kinds.MemoryViewType, kinds.ExtType, kinds.RawType)

_INSTEAD = (
    "annotate JSON, a data model, a dataclass, a Struct, datetime, bytes, set[...], or containers of them"
)


class Returned:
    """What one function returns.

    Args:
        function: The function, whose `return` annotation counts.
        name: How messages call it.

    Raises:
        InvalidValue: Its annotation says already that no log can hold what it returns.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._name = name
        self._kind: Any = None
        self._exotic: tuple[type[Any], ...] = ()
        self._other_keys = False
        self._known = False
        try:
            self._learn(_annotation(function))
        except NameError:  # of a class that comes later: asked again at the first call
            self._known = False

    def require(self) -> None:
        """Make sure before a call that its result can be recorded, where that could not be told when decorating.

        Raises:
            InvalidValue: It cannot.
        """
        if self._known:
            return
        try:
            self._learn(_annotation(self._function))
        except NameError:
            # An annotation that cannot be resolved promises nothing that could be kept.
            self._kind, self._known = Any, True

    def encode(self, value: Any) -> Any:
        """Return what came back as JSON.

        Raises:
            SchemaMismatch: JSON cannot hold it, and the annotation does not bring it back.
        """
        where = f"the result of {self._name}"
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise SchemaMismatch(
                f"cannot record {where}: it is {describe(value)}, which nobody awaited; declare the function with "
                "`async def` and await inside"
            )
        try:
            return as_json(value, where)
        except SchemaMismatch:
            if not self._exotic and not self._other_keys:
                raise
        try:
            return canonical(self._encoded(value), where)
        except RecursionError:
            return canonical(value, where)  # says so

    def decode(self, answer: Any) -> Any:
        """Return what the annotation promises, of a recorded answer; without one it stays JSON.

        Raises:
            WrongType: It is something else.
        """
        kind = self._kind
        if kind in (Any, None, object, type(None)) or answer is None:
            return answer
        try:
            return msgspec.convert(answer, kind, str_keys=True, dec_hook=_made)
        except (TypeError, msgspec.ValidationError) as error:
            raise WrongType(
                f"cannot give what {self._name} returned as {_shown(kind)}: {error}; annotate what it returns"
            ) from error

    def _learn(self, kind: Any) -> None:
        if is_data_model(kind):
            raise InvalidValue(
                f"cannot record what {self._name} returns: `|` between data models is the module ec.Or and no type; "
                "return one data model with a field that says which it is"
            )
        if kind not in (Any, object):
            try:
                found = list(_parts(kinds.type_info(kind), set()))
            except TypeError as error:
                raise self._refusal(kind, str(error)) from None
            for part in found:
                self._look_at(kind, part)
        self._kind, self._known = kind, True

    def _look_at(self, kind: Any, part: kinds.Type) -> None:
        if isinstance(part, _NEVER):
            raise self._refusal(kind, f"{type(part).__name__.removesuffix('Type')} has no place in JSON")
        if type(part) in _AS_TEXT:
            self._exotic += (_AS_TEXT[type(part)],)
        elif isinstance(part, kinds.CustomType):
            if not _can_make(part.cls):
                raise self._refusal(kind, f"{part.cls.__qualname__} cannot be made again of JSON")
            if issubclass(part.cls, PurePath):
                self._exotic += (PurePath,)
        elif isinstance(part, kinds.DictType):
            if not isinstance(part.key_type, _KEYS):
                raise self._refusal(kind, "such keys cannot be told from the text they become in JSON")
            self._other_keys |= not isinstance(part.key_type, (kinds.AnyType, kinds.StrType))

    def _refusal(self, kind: Any, why: str) -> InvalidValue:
        hint = _INSTEAD
        origin = typing.get_origin(kind) or kind
        if isinstance(origin, type) and hasattr(origin, "__await__"):
            hint = "declare it with `async def` and annotate what awaiting it gives"
        return InvalidValue(f"cannot record what {self._name} returns, {_shown(kind)}: {why}; {hint}")

    def _encoded(self, value: Any) -> Any:
        """Turn what the annotation brings back into JSON; the rest stays, for `canonical` to judge."""
        if isinstance(value, self._exotic):
            if isinstance(value, (set, frozenset)):
                return sorted(
                    (self._encoded(item) for item in cast("set[Any]", value)), key=msgspec.json.encode
                )
            return str(value) if isinstance(value, PurePath) else msgspec.to_builtins(value)
        if is_dict(value):
            return {self._key(key): self._encoded(item) for key, item in items_of(value)}
        if isinstance(value, (list, tuple)):
            return [self._encoded(item) for item in cast("list[Any]", value)]
        record = None if isinstance(value, type) else record_of(value)
        return value if record is None else self._encoded(record)

    def _key(self, key: Any) -> Any:
        if isinstance(key, str) or not self._other_keys:
            return key
        try:
            (text,) = msgspec.to_builtins({key: None}, str_keys=True)
        except TypeError:
            return key  # refused below, with its place
        return text


def as_json(value: Any, where: str) -> Any:
    """Return an argument or a result as JSON of its own.

    Raises:
        SchemaMismatch: JSON cannot hold it.
    """
    return json_of(value, where) if is_data_model(value) else canonical(value, where)


def _annotation(function: Callable[..., Any]) -> Any:
    """The resolved `return` annotation; `Any` for none.

    Raises:
        NameError: It names what does not exist, or not yet.
    """
    target: Any = function
    while isinstance(target, functools.partial):
        target = cast("functools.partial[Any]", target).func
    if isinstance(target, type):
        return Any
    if not hasattr(target, "__annotations__"):
        target = target.__call__
    given = getattr(target, "__annotations__", {}).get("return", Any)
    # By itself: an argument's annotation that only a type checker can resolve is no reason to know nothing.
    alone = types.SimpleNamespace(__annotations__={"return": given})
    try:
        return typing.get_type_hints(alone, getattr(inspect.unwrap(target), "__globals__", {}))["return"]
    except (TypeError, SyntaxError, AttributeError):
        return Any  # no type at all


def _parts(part: Any, seen: set[int]) -> Iterator[kinds.Type]:
    """Walk over a type and all it is made of, each once."""
    if isinstance(part, (tuple, list)):
        for item in cast("list[Any]", part):
            yield from _parts(item, seen)
    elif isinstance(part, (kinds.Type, kinds.Field)) and id(part) not in seen:
        seen.add(id(part))
        if isinstance(part, kinds.Type):
            yield part
        for name in part.__struct_fields__:
            yield from _parts(getattr(part, name), seen)


def _can_make(cls: type[Any]) -> bool:
    """Whether `_made` makes objects of a class that msgspec does not know."""
    return (
        cls is object
        or is_model_class(cls)
        or is_pydantic_class(cls)
        or issubclass(cls, (PurePath, str, int, float))
    )


def _made(kind: Any, answer: Any) -> Any:
    """Make an object of a class that msgspec does not know."""
    cls: Any = typing.get_origin(kind) or kind
    if cls is object:
        return answer
    if is_model_class(cls):
        return cls.from_config(answer)
    return kind.model_validate(answer) if is_pydantic_class(cls) else cls(answer)


def _shown(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) and typing.get_origin(kind) is None else str(kind)
