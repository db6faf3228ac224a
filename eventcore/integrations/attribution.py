"""Which variable a foreign optimizer's calls are made for, so that cost can be told by candidate."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from eventcore.variables import Variable

_variable: ContextVar[Variable | None] = ContextVar("eventcore_attributed", default=None)


@contextmanager
def attributed(variable: Variable) -> Generator[None]:
    """Context manager: calls inside are made for what this variable holds."""
    token = _variable.set(variable)
    try:
        yield
    finally:
        _variable.reset(token)


def attributed_to() -> int | None:
    """Return the number of the variable calls are made for here, None for none."""
    variable = _variable.get()
    return None if variable is None else variable.number
