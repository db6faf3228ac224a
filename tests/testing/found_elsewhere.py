"""Things a fresh process is asked to find, for `test_whereabouts`, and what it is asked to say of them."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from eventcore.testing.elsewhere import tell_back
from eventcore.testing.isolation import in_a_fork
from eventcore.testing.whereabouts import found_at


class Outer:
    class Inner:
        pass

    def __init__(self, number: int = 1) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Outer({self.number})"


def plain() -> Outer:
    return Outer(2)


named: Callable[[], Outer] = lambda: Outer(3)  # noqa: E731  # a lambda is what is looked for
beside = (lambda: Outer(4), lambda: Outer(5))


def enclosing(number: int) -> Callable[..., Any]:
    return lambda *, other=plain: (Outer(number), other())


enclosed = enclosing(6)
partly = functools.partial(Outer, 7)


def tell_result(given: dict[str, Any]) -> None:
    """Call what is found, and tell its result."""
    tell_back(repr(found_at(given["where"])()))


def tell_for_ever(given: dict[str, Any]) -> None:
    """Fork, note who is there, and do not end."""

    def hang() -> None:
        with open(given["pids"], "w") as pids:
            pids.write(f"{os.getppid()} {os.getpid()}\n")
        threading.Event().wait()

    in_a_fork(hang)
