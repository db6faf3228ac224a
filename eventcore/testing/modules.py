"""`check_module`: everything the harness knows to ask of a module, in one line.

    import eventcore as ec
    ec.testing.check_module(MyModule, inputs=MyInput)

The checks are in the modules named `module_…` beside this one; each has a name and a sentence.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from eventcore.testing import (
    module_answers,
    module_checks,
    module_promises,
    module_repetition,
    module_saving,
    module_training,
)
from eventcore.testing.checks import LIMIT, BoundCheck, Check, Expected, Report, Way, bound, run_checks
from eventcore.testing.module_subject import Factory, ModuleSubject

MODULE_CHECKS: tuple[Check[ModuleSubject], ...] = (
    *module_checks.CHECKS,
    *module_promises.CHECKS,
    *module_training.CHECKS,
    *module_answers.CHECKS,
    *module_saving.CHECKS,
    *module_repetition.CHECKS,
)
"""Every check of modules, in order."""


def check_module(
    factory: Factory,
    inputs: Any = None,
    expected_failed_checks: Expected = None,
    *,
    only: Collection[str] | None = None,
    seed: int = 0,
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> Report:
    """Check a module: a bug that loses a reward, a record or state shows as a failed check with its name.

    Args:
        factory: Makes a fresh instance: the class, or a function without arguments.
        inputs: What to call it with: a list of data models, a data model class, a JSON schema or a hypothesis
            strategy; None to take it from the module (a program says what it takes, and so does a `call` whose
            arguments are annotated with data models). For a module of several inputs, each example is a tuple, list
            or dict of data models, and a tuple or dict of classes says what they are drawn from:

                check_module(Compare, inputs=[(Text(text="a"), Text(text="b")), (Text(text="c"), Text(text="c"))])
                check_module(Compare, inputs=(Text, Text))

        expected_failed_checks: Names of checks that are known to fail, best with the reason: `{name: reason}`.
        only: Run only these checks.
        seed: Decides what is drawn; the same seed does the same again while the same modules are imported.
        limit: Seconds each check may take; None for no limit but that of fresh processes, ten minutes.
        isolated: Each check in a process of its own, forked from this one, so that none sees what another left behind.
            False for a debugger, and where this process has to see what the module does; so does the environment
            variable `EVENTCORE_CHECKS_IN_PROCESS=1`. What is tried in fresh processes is tried there all the same: they
            read the files, and know nothing of what a test has replaced in this process.

    A module that asks a model asks it some hundreds of times: give it a `FakeLanguageModel`, or use a cassette.

    Returns:
        What every check found; printing it gives a table.

    Raises:
        ChecksFailed: Something is wrong (an AssertionError whose message is the report).
        InvalidValue: A check of that name does not exist, the factory makes no modules, or there are no inputs.
    """
    subject = ModuleSubject(factory, inputs, seed)
    way = Way("check_module", limit, isolated)
    return run_checks(f"module {subject.name}", MODULE_CHECKS, subject, expected_failed_checks, only, way)


def module_checks_of(
    factory: Factory,
    inputs: Any = None,
    expected_failed_checks: Expected = None,
    *,
    seed: int = 0,
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> list[BoundCheck[ModuleSubject]]:
    """Return the checks of a module one by one, for `parametrize_with_checks`; arguments as in `check_module`."""
    way = Way("check_module", limit, isolated)
    return bound(MODULE_CHECKS, ModuleSubject(factory, inputs, seed), expected_failed_checks, way)
