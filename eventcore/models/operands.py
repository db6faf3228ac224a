"""The operators as methods: on values, on variables, and on data model classes themselves.

What each operator means is written in `eventcore.models.operators`; here is only which operands it takes.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from eventcore.models import operators
from eventcore.models.conversion import is_data_model
from eventcore.models.schema import is_record_class

P = ParamSpec("P")
R = TypeVar("R")


class ForBoth(Generic[P, R]):
    """A method that works on the class as on an instance, each being an operand of its own kind."""

    def __init__(self, function: Callable[Concatenate[Any, P], R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, R]:
        bound: Any = types.MethodType(self._function, owner if instance is None else instance)
        return bound  # type: ignore[no-any-return]


def _can_combine(operand: Any) -> bool:
    return operand is None or is_data_model(operand) or is_record_class(operand)


class Operators:
    """The operators as methods, for anything with `get_schema()` and `get_json()`."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return operators.concat(self, other) if _can_combine(other) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return operators.concat(other, self) if _can_combine(other) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return operators.logical_and(self, other) if _can_combine(other) else NotImplemented

    def __rand__(self, other: Any) -> Any:
        return operators.logical_and(other, self) if _can_combine(other) else NotImplemented

    def __or__(self, other: Any) -> Any:
        return operators.logical_or(self, other) if _can_combine(other) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return operators.logical_or(other, self) if _can_combine(other) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return operators.logical_xor(self, other) if _can_combine(other) else NotImplemented

    def __rxor__(self, other: Any) -> Any:
        return operators.logical_xor(other, self) if _can_combine(other) else NotImplemented

    def __invert__(self) -> Any:
        return operators.logical_not(self)

    def __contains__(self, part: Any) -> bool:
        return operators.contains(self, part)

    @ForBoth
    def in_mask(
        self: Any,
        mask: Sequence[str] | None = None,
        pattern: str | None = None,
        recursive: bool = True,
        name: str | None = None,
    ) -> Any:
        """Keep only what the mask or pattern matches; without either, nothing. See `operators.in_mask`."""
        return operators.masked("in_mask", self, mask, pattern, recursive, name)

    @ForBoth
    def out_mask(
        self: Any,
        mask: Sequence[str] | None = None,
        pattern: str | None = None,
        recursive: bool = True,
        name: str | None = None,
    ) -> Any:
        """Remove what the mask or pattern matches; without either, nothing. See `operators.out_mask`."""
        return operators.masked("out_mask", self, mask, pattern, recursive, name)

    @ForBoth
    def prefix(self: Any, prefix: str | None = None, name: str | None = None) -> Any:
        """Put a prefix before every key. See `operators.prefix`."""
        return operators.prefix(self, prefix, name)

    @ForBoth
    def suffix(self: Any, suffix: str | None = None, name: str | None = None) -> Any:
        """Put a suffix behind every key. See `operators.suffix`."""
        return operators.suffix(self, suffix, name)

    @ForBoth
    def factorize(self: Any, name: str | None = None) -> Any:
        """Gather similar fields into lists. See `operators.factorize`."""
        return operators.factorize(self, name)


class ClassOperators(type):
    """The operators on data model classes themselves; the result is symbolic.

    `Model | None` and `Model | int` are left to typing, so that they can be annotations.
    """

    def __add__(cls, other: Any) -> Any:
        return operators.concat(cls, other) if _can_combine(other) else NotImplemented

    def __radd__(cls, other: Any) -> Any:
        return operators.concat(other, cls) if _can_combine(other) else NotImplemented

    def __and__(cls, other: Any) -> Any:
        return operators.logical_and(cls, other) if _can_combine(other) else NotImplemented

    def __rand__(cls, other: Any) -> Any:
        return operators.logical_and(other, cls) if _can_combine(other) else NotImplemented

    def __or__(cls, other: Any) -> Any:
        if other is None or not _can_combine(other):
            return type.__or__(cls, other)
        return operators.logical_or(cls, other)

    def __ror__(cls, other: Any) -> Any:
        if other is None or not _can_combine(other):
            return type.__ror__(cls, other)
        return operators.logical_or(other, cls)

    def __xor__(cls, other: Any) -> Any:
        return operators.logical_xor(cls, other) if _can_combine(other) else NotImplemented

    def __rxor__(cls, other: Any) -> Any:
        return operators.logical_xor(other, cls) if _can_combine(other) else NotImplemented

    def __invert__(cls) -> Any:
        return operators.logical_not(cls)

    def __contains__(cls, part: Any) -> bool:
        return operators.contains(cls, part)
