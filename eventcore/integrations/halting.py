"""Errors of the run on their way through code that catches every `Exception`.

Optimizers go on when an example fails. That is right for a model that fails, and wrong for a log that cannot be
written, a budget that is spent or a script that left its log: what came after would be scored as a failure of the
candidate. Such errors travel as a `Halted`, which is no `Exception`, to the door the user called, and come out
of it as themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from eventcore.errors import (
    BudgetExceeded,
    CallNotRecorded,
    Diverged,
    InvalidValue,
    StorageError,
    TracingError,
)

P = ParamSpec("P")
R = TypeVar("R")

_OF_THE_RUN = (BudgetExceeded, CallNotRecorded, Diverged, InvalidValue, StorageError, TracingError)


class Halted(BaseException):
    """Carries an error of the run past code that catches every `Exception`.

    Attributes:
        error: The error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


_doors: list[object] = []
"""Doors that are open, the outermost first: what is raised elsewhere has none to arrive at. Seen by every thread,
because pools of threads inherit no context."""


def carried(error: Exception) -> BaseException:
    """Return what to raise in the place of an error: if it is one of the run and a door is open, its carrier."""
    return Halted(error) if _doors and isinstance(error, _OF_THE_RUN) else error


def halting(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose errors of the run are carried."""

    def through(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except _OF_THE_RUN as error:
            carrier = carried(error)
            if carrier is error:
                raise
            raise carrier from error

    return through


@contextmanager
def arriving() -> Generator[None]:
    """Context manager, a door: what was carried comes out of the outermost one as itself."""
    door = object()
    _doors.append(door)
    try:
        yield
    except Halted as halted:
        if _doors[0] is not door:
            raise
        raise halted.error from halted.error.__cause__
    finally:
        _doors.remove(door)
