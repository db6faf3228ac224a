"""What a check is: a name, a sentence saying what it protects, and a count of what it exercised.

A check that exercised nothing has failed: a suite that passes because it looked at nothing is the worst kind.
What a check needs and its subject does not have (a module without trainable variables, say) is a fact about
the subject, reported as `not applicable`. Each check runs in a process of its own, forked from this one, so that no
check sees what another left behind, and one that hangs or ends its process is a failed check. This module knows
nothing of modules, optimizers or backends.
"""

from __future__ import annotations

import difflib
import functools
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

from eventcore.errors import InvalidValue
from eventcore.replay.reuse import tape_here
from eventcore.testing.isolation import Told, can_isolate, told_in_a_fork
from eventcore.testing.own_lines import own_line_of, own_line_of_stacks
from eventcore.testing.signals import DoesNotApply as DoesNotApply
from eventcore.testing.whereabouts import NotThere, being_started

S = TypeVar("S")

PASSED = "passed"
FAILED = "failed"
EXPECTED = "failed as expected"
SURPRISING = "passed, though it was expected to fail"
VACUOUS = "exercised nothing"
NOT_APPLICABLE = "not applicable"

_GOOD = frozenset({PASSED, EXPECTED, NOT_APPLICABLE})

LIMIT = 120.0
"""Seconds a check may take unless it is told otherwise."""


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
        where: The last line of the user's own code in it: "file.py:12, in call: return x / 0"; "" without one.
    """

    check: str
    protects: str
    status: str
    exercised: int
    seconds: float
    message: str = ""
    details: str = ""
    where: str = ""

    @property
    def good(self) -> bool:
        """Whether the subject need not be worked on for this."""
        return self.status in _GOOD


class Report:
    """What every check found, readable as text.

    Attributes:
        subject: What was checked, in words.
        outcomes: One per check, in order.
        again: How one check is repeated: a call, with `NAME` for the name of the check; "" if nobody said.
    """

    def __init__(self, subject: str, outcomes: Iterable[Outcome], again: str = "") -> None:
        self.subject = subject
        self.outcomes = tuple(outcomes)
        self.again = again

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return bool(self.outcomes) and all(outcome.good for outcome in self.outcomes)

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
        said: dict[str, str] = {}
        for outcome in self.outcomes:
            mark = "ok  " if outcome.good else "FAIL"
            lines.append(
                f"  {mark} {outcome.check:<{width}}  {outcome.status}, exercised {outcome.exercised} times, "
                f"{outcome.seconds:.2f} s"
            )
            lines += [f"         {line}" for line in _findings(outcome, said)]
        if wrong and self.again:
            lines.append(f"one check again: {self.again.replace('NAME', self.failed[0])}")
        return "\n".join(lines)

    __repr__ = __str__


def _findings(outcome: Outcome, said: dict[str, str]) -> Iterator[str]:
    """Yield the lines below a check: what it found, unless another has said the same, and what that endangers."""
    before = said.setdefault(outcome.message + outcome.where, outcome.check)
    if before != outcome.check and not outcome.good and outcome.message:
        yield f"as {before}"
    else:
        yield from outcome.message.splitlines()
        if outcome.where:
            yield f"in {outcome.where}"
    if not outcome.good:
        yield f"protects: {outcome.protects}"


class BoundCheck(Generic[S]):
    """One check with its subject: call it, and it raises what is wrong. Made for `pytest.mark.parametrize`."""

    def __init__(
        self, check: Check[S], subject: S, expected: str | None, way: Way, ready: Callable[[], None]
    ) -> None:
        self.check = check
        self.subject = subject
        self.expected = expected
        self.way = way
        self._ready = ready
        self.__name__ = check.name

    @property
    def name(self) -> str:
        """Name of the check."""
        return self.check.name

    @property
    def subject_name(self) -> str:
        """What is checked, in a word or two."""
        return getattr(self.subject, "name", None) or repr(self.subject)

    def __call__(self) -> Outcome:
        """Run the check.

        Raises:
            CheckFailed: It found something wrong, exercised nothing, or passed although it was expected to fail.
            InvalidValue: The subject cannot be checked at all.
        """
        self._ready()
        raised: list[BaseException] = []
        outcome = outcome_of(self.check, self.subject, self.expected, self.way, raised)
        if not outcome.good:
            found = [outcome.message or outcome.status, outcome.where and f"in {outcome.where}"]
            found.append(f"protects: {self.check.protects}")
            again = again_of(self.subject, self.way).replace("NAME", self.check.name)
            found.append(again and f"again: {again}")
            text = f"{self.check.name}: " + "\n".join(filter(None, found))
            if raised and not isinstance(raised[0], CheckFailed):
                # In this process, so that a debugger stands where it was raised.
                raised[0].add_note(text)
                raise raised[0]
            raise CheckFailed(text) from None
        return outcome

    def __repr__(self) -> str:
        return self.check.name


class Way(msgspec.Struct, frozen=True):
    """How checks are run.

    Attributes:
        function: The function that was called, for what is said about running a check again.
        limit: Seconds each may take; None for no limit.
        isolated: Whether each has a process of its own, where the system allows that.
    """

    function: str = ""
    limit: float | None = LIMIT
    isolated: bool = True

    def __post_init__(self) -> None:
        """Refuse a limit that is none."""
        number = isinstance(self.limit, (int, float)) and not isinstance(self.limit, bool)
        if self.limit is not None and not (number and self.limit > 0):
            raise InvalidValue(
                f"cannot check with limit={self.limit!r}: pass seconds above 0, or None for no limit"
            )

    @property
    def forks(self) -> bool:
        """Whether checks are run in processes of their own here; not where a cassette has to hear of their calls."""
        return self.isolated and can_isolate() and tape_here() is None


Expected = Mapping[str, str | None] | Collection[str] | None
"""Names of checks that are known to fail, perhaps with the reason why."""


USUAL = Way()
"""Each in its process."""


def run_checks(
    title: str,
    checks: Iterable[Check[S]],
    subject: S,
    expected: Expected = None,
    only: Collection[str] | None = None,
    way: Way = USUAL,
) -> Report:
    """Run checks on a subject.

    Args:
        title: What is checked, for the report.
        checks: The checks, in order.
        subject: Handed to each; its `prepare()` says what cannot be checked at all.
        expected: Names of checks that are known to fail, perhaps with reasons.
        only: Run only these; None for all.
        way: How.

    Raises:
        InvalidValue: `expected` or `only` names no check, or the subject cannot be checked.
        ChecksFailed: Something is wrong; the message is the report.
    """
    chosen = list(checks)
    reasons = reasons_of(expected, chosen)
    if only is not None:
        names = reasons_of(only, chosen, "only")
        chosen = [check for check in chosen if check.name in names]
        if not chosen:
            raise InvalidValue(f"cannot check {title}: only={only!r} names no check; leave it out for all")
    prepare(subject, way)
    outcomes = [outcome_of(check, subject, reasons.get(check.name), way) for check in chosen]
    report = Report(title, outcomes, again_of(subject, way))
    if not report.ok:
        raise ChecksFailed(report)
    return report


def bound(
    checks: Iterable[Check[S]], subject: S, expected: Expected = None, way: Way = USUAL
) -> list[BoundCheck[S]]:
    """Bind each check to a subject, to be called later one by one."""
    chosen = list(checks)
    reasons = reasons_of(expected, chosen)
    # Once for all of them; what raises is asked again by the next.
    ready = functools.cache(functools.partial(prepare, subject, way))
    return [BoundCheck(check, subject, reasons.get(check.name), way, ready) for check in chosen]


def prepare(subject: Any, way: Way) -> None:
    """Have a subject say once what every check would stumble over, and adopt what it has prepared for all of them.

    Raises:
        InvalidValue: It cannot be checked: what was given is no such thing, or there is nothing to try it with.
    """
    if being_started():
        raise NotThere(
            'the script checks its parts when another process runs it again: put that under if __name__ == "__main__":'
        )
    work: Callable[[], Any] | None = getattr(subject, "prepare", None)
    if work is None:
        return
    if not way.forks:
        work()
        return
    told = told_in_a_fork(work, way.limit)
    if told.raised == f"{InvalidValue.__module__}.{InvalidValue.__qualname__}":
        raise InvalidValue(told.message)
    adopt: Callable[[Any], None] | None = getattr(subject, "adopt", None)
    if adopt is not None and not told.raised:
        adopt(told.value)


def again_of(subject: Any, way: Way) -> str:
    """Return the call that repeats one check, with `NAME` for its name; "" where the function is not known."""
    if not way.function:
        return ""
    name, number = getattr(subject, "name", "…"), getattr(subject, "number", 0)
    name = "…" if "<" in name else name
    return f'ec.testing.{way.function}({name}, …, only=["NAME"], seed={number})'


def reasons_of(
    expected: Expected, checks: Iterable[Check[Any]], what: str = "expected_failed_checks"
) -> dict[str, str]:
    """Return why each named check may fail.

    Args:
        expected: Names of checks, perhaps with reasons.
        checks: The checks there are.
        what: The argument they were passed as, for messages.

    Raises:
        InvalidValue: Those are no names, or no check has one of them.
    """
    if expected is None:
        return {}
    reasons: Mapping[Any, Any] = {}
    if isinstance(expected, Mapping):
        reasons = expected
    elif isinstance(expected, Iterable) and not isinstance(expected, (str, bytes)):  # pyright: ignore[reportUnnecessaryIsInstance]
        reasons = dict.fromkeys(expected)
    else:
        raise InvalidValue(
            f"cannot take {what}={expected!r}: pass a list of the names of checks, or a dict of names and reasons"
        )
    known = [check.name for check in checks]
    for name, reason in reasons.items():
        if name not in known:
            raise InvalidValue(f"no check is called {name!r} ({what}); {_which(name, known)}")
        if reason is not None and not isinstance(reason, str):
            raise InvalidValue(f"cannot take {reason!r} for the reason of {name!r} ({what}): pass a str")
    return {name: reason or "" for name, reason in reasons.items()}


def _which(name: Any, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), known, 3)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {', '.join(known)}"


def outcome_of(
    check: Check[S],
    subject: S,
    expected: str | None = None,
    way: Way = USUAL,
    raised: list[BaseException] | None = None,
) -> Outcome:
    """Run one check and say what it found; what it raised in this process is also put into `raised`."""
    began = time.perf_counter()
    if way.forks:
        told = told_in_a_fork(lambda: msgspec.to_builtins(found_by(check, subject)), way.limit)
        outcome = _unfinished(check, told) if told.raised else msgspec.convert(told.value, Outcome)
    else:
        outcome = found_by(check, subject, raised)
    status, message = outcome.status, outcome.message
    if expected is not None and status in (FAILED, VACUOUS):
        status, message = EXPECTED, expected or message
    elif expected is not None and status == PASSED:
        status, message = SURPRISING, "take it off expected_failed_checks"
    seconds = time.perf_counter() - began
    return msgspec.structs.replace(outcome, status=status, message=message, seconds=seconds)


def _unfinished(check: Check[Any], told: Told) -> Outcome:
    """What is said of a check whose process did not come to its end."""
    message = (
        told.message if told.raised != "builtins.SystemExit" else f"the check did not end: {told.message}"
    )
    return Outcome(
        check.name, check.protects, FAILED, 0, 0.0, message, told.details, own_line_of_stacks(told.details)
    )


def found_by(check: Check[S], subject: S, raised: list[BaseException] | None = None) -> Outcome:
    """Run one check in this process; arguments as in `outcome_of`."""
    tally = Tally()
    status, message, details, where = PASSED, "", "", ""
    try:
        check.run(subject, tally)
    except DoesNotApply as reason:
        status, message = NOT_APPLICABLE, str(reason)
    except (Exception, SystemExit) as error:
        status, message, where = FAILED, _said(error), own_line_of(error)
        details = "".join(traceback.format_exception(error))
        if raised is not None:
            raised.append(error)
    else:
        if not tally.exercised:
            status, message = VACUOUS, "the check exercised nothing, so it says nothing"
    message = "\n".join([*filter(None, [message]), *tally.notes])
    return Outcome(check.name, check.protects, status, tally.exercised, 0.0, message, details, where)


def _said(error: BaseException) -> str:
    if isinstance(error, CheckFailed):
        return str(error)
    if isinstance(error, SystemExit):
        return f"SystemExit: it ended the process with {error.code!r}"
    return f"{type(error).__name__}: {error}"
