"""Failing histories of state machines, kept: printed as programs that fail again, and saved where one can look.

What is in a saved case, and how its machine is made in a program, is the machine's own business.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis.errors import HypothesisException
from hypothesis.stateful import INITIALIZE_RULE_MARKER, INVARIANT_MARKER, RULE_MARKER, TestCaseProperty

from eventcore.testing.whereabouts import whereabouts, why_not

CASES = "EVENTCORE_CASES"
"""Environment variable: the folder failing cases are saved in; `.eventcore-cases` without it."""


StepTaken: TypeAlias = "tuple[str, dict[str, Any]]"
"""Name of a rule, and what it was given."""


def recorded(step: Callable[..., None]) -> Callable[..., None]:
    """Note in `taken` what a rule of a machine is given, for the program; stands below `rule`."""

    @functools.wraps(step)
    def noted(self: Any, **arguments: Any) -> Any:
        self.taken.append((step.__name__, arguments))
        return step(self, **arguments)

    vars(noted)[_NOTED] = True
    return noted


_NOTED = "eventcore_noted"


def record_rules(machine: type[Any]) -> None:
    """Have the rules that a subclass of a machine adds noted as well."""
    for name in dir(machine):
        method = inspect.getattr_static(machine, name, None)
        for marker in (RULE_MARKER, INITIALIZE_RULE_MARKER):
            rule: Any = getattr(method, marker, None)
            if rule is not None and name != "begin" and _NOTED not in vars(rule.function):
                object.__setattr__(rule, "function", recorded(rule.function))


def hold_invariants(machine: Any) -> None:
    """Check what always holds of a machine, as hypothesis does after each step."""
    for name in dir(type(machine)):
        invariant: Any = getattr(inspect.getattr_static(type(machine), name, None), INVARIANT_MARKER, None)
        if invariant is not None and all(condition(machine) for condition in invariant.preconditions):
            invariant.function(machine)


def program(origin: Iterable[str], steps: Iterable[StepTaken]) -> str:
    """Return a program that takes the steps of a machine again; it runs when it is pasted.

    Args:
        origin: The lines that import and make the machine, as `state`.
        steps: What was done.
    """
    lines = ["import eventcore", *origin, "try:", "    state.begin()"]
    for rule, arguments in steps:
        given = "".join(f", {name}={value!r}" for name, value in arguments.items())
        lines.append(f'    state.take("{rule}"{given})')
    return "\n".join([*lines, "finally:", "    state.teardown()"])


def imported(thing: Any, otherwise: str) -> tuple[list[str], str]:
    """Return the lines of a program that import something, and its name there.

    Args:
        thing: What is needed.
        otherwise: What to call it where it has no name; where it cannot be found at all, a comment says why.
    """
    where = whereabouts(thing)
    if where is None:
        return [f"# define {otherwise} here: {' '.join(why_not(thing).split())}"], otherwise
    if "name" not in where or "module" not in where["home"]:
        found = "from eventcore.testing.whereabouts import found_at"
        return [found, f"{otherwise} = found_at({where!r})"], otherwise
    name: str = where["name"]
    return [f"from {where['home']['module']} import {name.split('.')[0]}"], name


def case_path(name: str) -> Path:
    """Return where a case may be saved: nothing is there yet, perhaps not even its folder."""
    folder = Path(os.environ.get(CASES) or ".eventcore-cases")
    path, number = folder / f"{name}.lmdb", 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.lmdb"
    return path


def why_not_saved(path: Path, error: Exception) -> str:
    """Return the sentence that says why a case was not saved, and what to do."""
    return (
        f"its log could not be saved at {path} ({type(error).__name__}: {error}); set ${CASES} to a folder that can be "
        "written"
    )


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
            record_rules(machine)
            self._made[machine] = _saving(super().__get__(None, machine), machine)
        return self._made[machine]


def _saving(test: Any, machine: Any) -> Any:
    def run_test(self: Any) -> None:
        # Values are drawn inside of rules, whatever settings the test was given.
        known = self.settings.suppress_health_check
        self.settings = settings(self.settings, suppress_health_check={*known, HealthCheck.nested_given})
        try:
            test.runTest(self)
        except HypothesisException:
            raise  # what hypothesis finds fault with is no failing history
        except Exception as failure:
            if machine.latest is not None:
                failure.add_note(machine.case())
            raise

    names = {"runTest": run_test, "__module__": test.__module__, "__qualname__": test.__qualname__}
    return type(test.__name__, (test,), names)
