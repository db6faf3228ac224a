"""The functions fake language models were given, by names that can be saved.

A script is often a lambda of a test, which no file can name. Within the process, though, it is enough to say which of
the functions given so far is meant; so a program with a fake in it can be saved, loaded and forked in its test. A name
only ever finds what a fake was given: nothing is imported or executed because a file says so.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable, Iterator
from typing import Any

from eventcore.errors import UnknownClass

_given: dict[str, types.FunctionType] = {}
_PLAIN = (str, bytes, int, float, bool, type(None))


def remembered(function: Any) -> str | None:
    """Remember a function, and return the name it is found by from now on.

    Equal functions, with equal plain values enclosed, have one name, whenever and wherever they are made.

    Returns:
        None for what is no plain function, and for one that encloses more than plain values or changes what it
        encloses: no other would be like it.
    """
    name = _name(function)
    if name is None:
        return None
    free, number = name, 1
    while free in _given and not _same_code(_given[free], function):
        number += 1
        free = f"{name}#{number}"
    _given[free] = function
    return free


def function_named(name: str) -> Callable[..., Any]:
    """Return the function of that name.

    Raises:
        UnknownClass: No fake of this process was given it.
    """
    if name not in _given:
        raise UnknownClass(
            f"cannot make a fake model again that answers by {name}: no FakeLanguageModel of this process was given "
            "that function so far. Make one with it first, or write the function under "
            "@eventcore.saving.register_serializable(), by which any process finds it"
        )
    return _given[name]


def _name(function: Any) -> str | None:
    if not isinstance(function, types.FunctionType) or _rebinds(function):
        return None
    keywords = function.__kwdefaults__ or {}
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a name that has no value yet
        return None
    enclosed = dict(zip(function.__code__.co_freevars, cells, strict=True)) | keywords
    for place, value in enumerate(function.__defaults__ or ()):
        enclosed[str(place)] = value
    told = [f"{key}={_value(value)}" for key, value in enclosed.items() if _value(value) is not None]
    if len(told) < len(enclosed):
        return None
    module = "__main__" if function.__module__ == "__mp_main__" else function.__module__
    return f"{module}.{function.__qualname__}" + (f"({', '.join(told)})" if told else "")


def _value(value: Any) -> str | None:
    if type(value) in _PLAIN:
        return repr(value)
    if isinstance(value, tuple):
        parts = [_value(part) for part in value]
        return None if None in parts else f"({', '.join(map(str, parts))})"
    if isinstance(value, types.ModuleType):
        return value.__name__
    return f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else _name(value)


def _rebinds(function: types.FunctionType) -> bool:
    """Whether calls of a function change a name of the function around it, such as a count."""
    own = set(function.__code__.co_freevars)
    return any(step.opname == "STORE_DEREF" and step.argval in own for step in _steps(function.__code__))


def _steps(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _steps(constant)


def _same_code(one: types.FunctionType, other: types.FunctionType) -> bool:
    at_top = "<" not in one.__qualname__  # one defined again takes the place of the one before
    return at_top or one.__code__ == other.__code__
