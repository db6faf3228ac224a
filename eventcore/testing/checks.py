"""What a check is: a name, a sentence saying what it protects, and a count of what it exercised.

A check that exercised nothing has failed: a suite that passes because it looked at nothing is the worst kind.
What a check needs and its subject does not have (a module without trainable variables, say) is a fact about
the subject, reported as `not applicable`. This module knows nothing of modules, optimizers or backends.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

from eventcore.errors import InvalidValue

S = TypeVar("S")

PASSED = "passed"
FAILED = "failed"
EXPECTED = "failed as expected"
SURPRISING = "passed, though it was expected to fail"
VACUOUS = "exercised nothing"
NOT_APPLICABLE = "not applicable"

_GOOD = frozenset({PASSED, EXPECTED, NOT_APPLICABLE})


class CheckFailed(AssertionError):
    """A check found what it protects against."""


class ChecksFailed(AssertionError):
    """Some checks failed; the message is the report.

    Attributes:
        report: What every check found.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


class DoesNotApply(Exception):
    """The subject has nothing a check could be about; an inner signal."""


class Tally:
    """Counts what a check exercised, and says what it found.

    Attributes:
        exercised: How many times the thing the check protects was put to the test.
        notes: What was left out and why, for the report.
    """

    def __init__(self) -> None:
        self.exercised = 0
        self.notes: list[str] = []

    def count(self, times: int = 1) -> None:
        """Say that the protected thing was put to the test."""
        self.exercised += times

    def require(self, fine: object, message: str) -> None:
        """Count one test, and fail unless it went well.

        Raises:
            CheckFailed: `fine` is false.
        """
        self.exercised += 1
        if not fine:
            raise CheckFailed(message)

    def fail(self, message: str) -> NoReturn:
        """Fail.

        Raises:
            CheckFailed: Always.
        """
        raise CheckFailed(message)

    def note(self, text: str) -> None:
        """Say in the report what could not be tried."""
        self.notes.append(text)


class Check(msgspec.Struct, Generic[S], frozen=True):
    """One check of one kind of subject.

    Attributes:
        name: Its name, an identifier: what `expected_failed_checks` and test ids use.
        protects: A sentence saying what a subject that passes can be trusted with.
        run: Does it, on a subject, counting into the tally; raises where something is wrong.
    """

    name: str
    protects: str
    run: Callable[[S, Tally], None]


class Outcome(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        check: Name of the check.
        protects: What it protects.
        status: One of the constants of this module.
        exercised: How many times the protected thing was put to the test.
        seconds: How long that took.
        message: What is wrong, or why it does not apply; "" otherwise.
        details: The traceback of a failure, "" without one.
    """

    check: str
    protects: str
    status: str
    exercised: int
    seconds: float
    message: str = ""
    details: str = ""

    @property
    def good(self) -> bool:
        """Whether the subject need not be worked on for this."""
        return self.status in _GOOD


class Report:
    """What every check found, readable as text.

    Attributes:
        subject: What was checked, in words.
        outcomes: One per check, in order.
    """

    def __init__(self, subject: str, outcomes: Iterable[Outcome]) -> None:
        self.subject = subject
        self.outcomes = tuple(outcomes)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(outcome.good for outcome in self.outcomes)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that found something wrong."""
        return [outcome.check for outcome in self.outcomes if not outcome.good]

    def __getitem__(self, check: str) -> Outcome:
        for outcome in self.outcomes:
            if outcome.check == check:
                return outcome
        raise KeyError(f"no check is called {check!r}; there are {', '.join(o.check for o in self.outcomes)}")

    def __str__(self) -> str:
        wrong = len(self.failed)
        title = f"{self.subject}: {wrong} of {len(self.outcomes)} checks found something wrong"
        if not wrong:
            title = f"{self.subject}: {len(self.outcomes)} checks, nothing wrong"
        width = max((len(outcome.check) for outcome in self.outcomes), default=0)
        lines = [title]
        for outcome in self.outcomes:
            mark = "ok  " if outcome.good else "FAIL"
            lines.append(
                f"  {mark} {outcome.check:<{width}}  {outcome.status}, exercised {outcome.exercised} times, "
                f"{outcome.seconds:.2f} s"
            )
            if outcome.message:
                lines += [f"         {line}" for line in outcome.message.splitlines()]
            if not outcome.good:
                lines.append(f"         protects: {outcome.protects}")
        return "\n".join(lines)

    __repr__ = __str__


class BoundCheck(Generic[S]):
    """One check with its subject: call it, and it raises what is wrong. Made for `pytest.mark.parametrize`."""

    def __init__(self, check: Check[S], subject: S, expected: str | None = None) -> None:
        self.check = check
        self.subject = subject
        self.expected = expected
        self.__name__ = check.name

    def __call__(self) -> Outcome:
        """Run the check.

        Raises:
            CheckFailed: It found something wrong, exercised nothing, or passed although it was expected to fail.
        """
        outcome = outcome_of(self.check, self.subject, self.expected)
        if not outcome.good:
            text = outcome.message or outcome.status
            raise CheckFailed(
                f"{self.check.name}: {text}\n(protects: {self.check.protects})\n{outcome.details}"
            )
        return outcome

    def __repr__(self) -> str:
        return self.check.name


Expected = Mapping[str, str] | Collection[str] | None
"""Names of checks that are known to fail, perhaps with the reason why."""


def run_checks(
    title: str,
    checks: Iterable[Check[S]],
    subject: S,
    expected: Expected = None,
    only: Collection[str] | None = None,
) -> Report:
    """Run checks on a subject.

    Args:
        title: What is checked, for the report.
        checks: The checks, in order.
        subject: Handed to each.
        expected: Names of checks that are known to fail, perhaps with reasons.
        only: Run only these; None for all.

    Raises:
        InvalidValue: `expected` or `only` names no check.
        ChecksFailed: Something is wrong; the message is the report.
    """
    chosen = list(checks)
    reasons = reasons_of(expected, chosen)
    if only is not None:
        reasons_of(only, chosen)
        chosen = [check for check in chosen if check.name in only]
    report = Report(title, [outcome_of(check, subject, reasons.get(check.name)) for check in chosen])
    if not report.ok:
        raise ChecksFailed(report)
    return report


def bound(checks: Iterable[Check[S]], subject: S, expected: Expected = None) -> list[BoundCheck[S]]:
    """Bind each check to a subject, to be called later one by one."""
    chosen = list(checks)
    reasons = reasons_of(expected, chosen)
    return [BoundCheck(check, subject, reasons.get(check.name)) for check in chosen]


def reasons_of(expected: Expected, checks: Iterable[Check[Any]]) -> dict[str, str]:
    """Return why each named check may fail.

    Raises:
        InvalidValue: A name that no check has.
    """
    if expected is None:
        return {}
    reasons = dict(expected) if isinstance(expected, Mapping) else dict.fromkeys(expected, "")
    known = [check.name for check in checks]
    unknown = sorted(set(reasons) - set(known))
    if unknown:
        raise InvalidValue(f"no check is called {unknown[0]!r}; there are {', '.join(known)}")
    return reasons


def outcome_of(check: Check[S], subject: S, expected: str | None = None) -> Outcome:
    """Run one check and say what it found; whatever it raises is an outcome."""
    tally = Tally()
    began = time.perf_counter()
    status, message, details = PASSED, "", ""
    try:
        check.run(subject, tally)
    except DoesNotApply as reason:
        status, message = NOT_APPLICABLE, str(reason)
    except Exception as error:
        status, message = FAILED, _said(error)
        details = "".join(traceback.format_exception(error))
    else:
        if not tally.exercised:
            status, message = VACUOUS, "the check exercised nothing, so it says nothing"
    if expected is not None and status in (FAILED, VACUOUS):
        status, message = EXPECTED, expected or message
    elif expected is not None and status == PASSED:
        status, message = SURPRISING, "take it off expected_failed_checks"
    message = "\n".join([*filter(None, [message]), *tally.notes])
    seconds = time.perf_counter() - began
    return Outcome(check.name, check.protects, status, tally.exercised, seconds, message, details)


def _said(error: Exception) -> str:
    if isinstance(error, CheckFailed):
        return str(error)
    return f"{type(error).__name__}: {error}"
