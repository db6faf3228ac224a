"""What makes the thing under test: a class, or a function without arguments, so that every check has a fresh one.

Here is what can be said of a factory without calling it; what it makes is the business of each kind of subject.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from eventcore.errors import InvalidValue


def named(factory: Any) -> str:
    """Return what a factory is called in messages."""
    return getattr(factory, "__qualname__", None) or repr(factory)


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments a function or class cannot be called without."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some that are written in C do not tell
        return []
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in free]


def require_factory(factory: Any, kind: type[Any], what: str, otherwise: str = "") -> None:
    """Refuse what cannot be called without arguments to make a fresh thing.

    Args:
        factory: What was passed.
        kind: The class of what it should make.
        what: The same in words: "a module".
        otherwise: What else may be passed, for the message.

    Raises:
        InvalidValue: It is such a thing itself, or cannot be called so; the message says what to pass instead.
    """
    if isinstance(factory, kind):
        cls = type(factory).__name__
        raise InvalidValue(
            f"cannot check one instance of {cls}, which all checks would share: pass what makes one, the class {cls} "
            f"or `lambda: {cls}(...)`"
        )
    if not callable(factory):
        raise InvalidValue(
            f"cannot make {what} with {factory!r}: pass the class, or a function without arguments that returns "
            f"one{otherwise}"
        )
    needed = required_arguments(factory)
    if needed:
        raise InvalidValue(
            f"cannot make {what} with {named(factory)}, which needs {', '.join(needed)}: pass a function without "
            f"arguments, `lambda: {named(factory)}(...)`"
        )
