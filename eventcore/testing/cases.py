"""Failing histories of state machines, kept: printed as programs that fail again, and saved where one can look.

What is in a saved case, and how its machine is made in a program, is the machine's own business.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis.stateful import TestCaseProperty

from eventcore.testing.whereabouts import whereabouts

CASES = "EVENTCORE_CASES"
"""Environment variable: the folder failing cases are saved in; `.eventcore-cases` without it."""


StepTaken: TypeAlias = "tuple[str, dict[str, Any]]"
"""Name of a rule, and what it was given."""


def recorded(step: Callable[..., None]) -> Callable[..., None]:
    """Note in `taken` what a rule of a machine is given, for the program; stands below `rule`."""

    @functools.wraps(step)
    def noted(self: Any, **arguments: Any) -> None:
        self.taken.append((step.__name__, arguments))
        step(self, **arguments)

    return noted


def program(origin: Iterable[str], steps: Iterable[StepTaken]) -> str:
    """Return a program that takes the steps of a machine again; it runs when it is pasted.

    Args:
        origin: The lines that import and make the machine, as `state`.
        steps: What was done.
    """
    lines = ["import eventcore", *origin, "state.begin()"]
    for rule, arguments in steps:
        given = "".join(f", {name}={value!r}" for name, value in arguments.items())
        lines.append(f'state.take("{rule}"{given})')
    return "\n".join([*lines, "state.teardown()"])


def imported(thing: Any, otherwise: str) -> tuple[list[str], str]:
    """Return the lines of a program that import something, and its name there.

    Args:
        thing: What is needed.
        otherwise: What to call it where it cannot be imported; a comment says that it has to be defined.
    """
    where = whereabouts(thing) or {}
    if "name" not in where or "module" not in where["home"]:
        return [f"# define {otherwise} here: it cannot be imported by its name"], otherwise
    name: str = where["name"]
    return [f"from {where['home']['module']} import {name.split('.')[0]}"], name


def case_path(name: str) -> Path:
    """Return where a case may be saved: nothing is there yet, its folder is."""
    folder = Path(os.environ.get(CASES) or ".eventcore-cases")
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / f"{name}.lmdb", 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.lmdb"
    return path


def how_to_show(path: Path, run: str) -> str:
    """Return the sentence that says how to look at a saved case."""
    return f"its log is saved; look at it with: {Path(sys.executable).name} -m eventcore show {path} {run}"


class SavingTestCase(TestCaseProperty):
    """The `TestCase` of a machine whose class method `case` saves what failed and returns its program."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def __get__(self, obj: Any, typ: Any = None) -> Any:
        """Return the test of a machine; the same one each time, so that its settings may be changed."""
        machine = type(obj) if obj is not None else typ
        if machine not in self._made:
            self._made[machine] = _saving(super().__get__(None, machine), machine)
        return self._made[machine]


def _saving(test: Any, machine: Any) -> Any:
    def run_test(self: Any) -> None:
        try:
            test.runTest(self)
        except Exception as failure:
            failure.add_note(machine.case())
            raise

    names = {"runTest": run_test, "__module__": test.__module__, "__qualname__": test.__qualname__}
    return type(test.__name__, (test,), names)
