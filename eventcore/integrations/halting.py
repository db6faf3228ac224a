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

from eventcore.errors import BudgetExceeded, Diverged, InvalidValue, StorageError, TracingError

P = ParamSpec("P")
R = TypeVar("R")

_OF_THE_RUN = (BudgetExceeded, Diverged, InvalidValue, StorageError, TracingError)


class Halted(BaseException):
    """Carries an error of the run past code that catches every `Exception`.

    Attributes:
        error: The error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def halting(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose errors of the run are carried."""

    def through(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except _OF_THE_RUN as error:
            raise Halted(error) from error

    return through


@contextmanager
def arriving() -> Generator[None]:
    """Context manager: what was carried comes out as itself."""
    try:
        yield
    except Halted as halted:
        raise halted.error from halted.error.__cause__
