"""Doing the same at another time and in another process: what shows that something depends on neither.

The clock is put forward where users' code looks for it (`time.time`, `datetime.now`, `date.today`); a fresh process
is one that finds the same factory by its whereabouts.
"""

from __future__ import annotations

import contextlib
import datetime as datetime_module
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from typing import Any
from unittest import mock

from eventcore.replay.reuse import tape_here
from eventcore.testing.isolation import INSIDE, end_with_parent
from eventcore.testing.signals import DoesNotApply
from eventcore.testing.whereabouts import NotThere

LATER = 400 * 24 * 3600 + 5 * 3600
"""Seconds the clock is put forward."""

NOT_THERE = "cannot be found"
PATIENCE = 600.0
"""Seconds a fresh process may take."""


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


def require_no_cassette() -> None:
    """Refuse to go on in other processes while a cassette is used.

    Raises:
        DoesNotApply: One is: calls made there would be made past it.
    """
    if tape_here() is not None:
        raise DoesNotApply("a cassette answers the calls of this process, and of no other")


def told_elsewhere(teller: Callable[[dict[str, Any]], None], given: dict[str, Any], hash_seed: int) -> Any:
    """Have a function of ours called in a fresh process, and return the JSON value it `tells`.

    Args:
        teller: The function; found there by its name.
        given: Its argument, JSON.
        hash_seed: `PYTHONHASHSEED` there.

    Raises:
        DoesNotApply: What is checked cannot be found there, or a cassette answers the calls of this process alone.
        AssertionError: It failed there; the message is what that process said.
    """
    require_no_cassette()
    code = "import sys, json; g = json.load(sys.stdin); sys.path[:] = g['path']; "
    code += f"from {__name__} import answer; from {teller.__module__} import {teller.__name__}; "
    code += f"answer({teller.__name__}, g)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps({**given, "path": sys.path}), capture_output=True, text=True,
        timeout=PATIENCE, check=False, env={**os.environ, "PYTHONHASHSEED": str(hash_seed), INSIDE: "1"},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"it does not work in a fresh process:\n{done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    if isinstance(told, dict) and NOT_THERE in told:
        raise DoesNotApply(f"a fresh process cannot find what is checked: {told[NOT_THERE]}")
    return told


def answer(teller: Callable[[dict[str, Any]], None], given: dict[str, Any]) -> None:
    """Do in this process what another has asked for; it does not outlive that one."""
    end_with_parent()
    try:
        teller(given)
    except NotThere as reason:
        tell_back({NOT_THERE: str(reason)})


def tell_back(value: Any) -> None:
    """Say something to the process that waits in `told_elsewhere`."""
    sys.stdout.write(f"\n{json.dumps(value)}\n")
