"""Doing the same at another time and in another process: what shows that something depends on neither.

The clock is put forward where users' code looks for it (`time.time`, `datetime.now`, `date.today`); a fresh process
is one that can import the same factory by name.
"""

from __future__ import annotations

import contextlib
import datetime as datetime_module
import importlib
import random
import sys
import time
from collections.abc import Generator
from typing import Any
from unittest import mock

LATER = 400 * 24 * 3600 + 5 * 3600
"""Seconds the clock is put forward."""


@contextlib.contextmanager
def elsewhen(seed: int, times: int) -> Generator[None]:
    """Inside, other global random numbers, and a clock that is ahead for all who ask it by its usual names.

    Args:
        seed: Of the global random numbers.
        times: How many times the clock is put forward; 0 leaves it alone.
    """
    later = times * LATER
    before = random.getstate()
    random.seed(seed)
    clock, real = time.time, datetime_module.datetime

    class Shifted(real):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + datetime_module.timedelta(seconds=later)

        @classmethod
        def utcnow(cls) -> Any:
            return real.fromtimestamp(clock() + later, datetime_module.UTC).replace(tzinfo=None)

    class ShiftedDate(datetime_module.date):
        @classmethod
        def today(cls) -> Any:
            return (real.now() + datetime_module.timedelta(seconds=later)).date()

    swapped = {
        datetime_module.datetime: Shifted,
        datetime_module.date: ShiftedDate,
        clock: lambda: clock() + later,
    }
    with contextlib.ExitStack() as stack:
        stack.callback(random.setstate, before)
        if later:
            stack.enter_context(mock.patch.object(time, "time", swapped[clock]))
            for module in [module for name, module in sys.modules.items() if _is_users(name)]:
                for name, value in list(vars(module).items()):
                    if isinstance(value, type) or value is clock:
                        for old, new in swapped.items():
                            if value is old:
                                stack.enter_context(mock.patch.object(module, name, new))
            stack.enter_context(mock.patch.object(datetime_module, "datetime", Shifted))
            stack.enter_context(mock.patch.object(datetime_module, "date", ShiftedDate))
        yield


_LIBRARIES = frozenset(sys.stdlib_module_names) | {
    "eventcore",
    "hypothesis",
    "msgspec",
    "orjson",
    "lmdb",
    "pytest",
}


def _is_users(name: str) -> bool:
    return name.split(".")[0] not in _LIBRARIES


def importable(factory: Any) -> tuple[str, str] | None:
    """Return (module, qualified name) of a factory if a fresh process can find it by them."""
    module, name = getattr(factory, "__module__", ""), getattr(factory, "__qualname__", "")
    if not module or not name or "<" in name or module == "__main__":
        return None
    try:
        found = by_name(module, name)
    except (ImportError, AttributeError):
        return None
    return (module, name) if found is factory else None


def by_name(module: str, name: str) -> Any:
    """Return what a process of ours was told to use: the factory its parent process was given."""
    found: Any = importlib.import_module(module)
    for step in name.split("."):
        found = getattr(found, step)
    return found
