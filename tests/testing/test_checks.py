"""The framework of checks: what counts as passed, what a report says, and that nothing passes by doing nothing."""

from __future__ import annotations

import pytest

from eventcore.errors import InvalidValue
from eventcore.testing.checks import Check, CheckFailed, ChecksFailed, DoesNotApply, Tally, bound, run_checks


def fine(subject: int, tally: Tally) -> None:
    tally.require(subject > 0, "the number is not positive")


def idle(subject: int, tally: Tally) -> None:
    pass


def foreign(subject: int, tally: Tally) -> None:
    if subject == 7:
        raise DoesNotApply("seven is special")
    tally.count(subject)
    tally.note("a note")


CHECKS = (Check("fine", "Positive.", fine), Check("foreign", "Not seven.", foreign))


def test_a_report_says_what_was_exercised_and_why_something_does_not_apply() -> None:
    report = run_checks("the number 7", CHECKS, 7)
    assert report.ok
    assert (report["fine"].exercised, report["foreign"].status) == (1, "not applicable")
    text = str(report)
    assert "the number 7: 2 checks, nothing wrong" in text and "seven is special" in text
    assert "a note" in str(run_checks("3", CHECKS, 3))
    with pytest.raises(KeyError, match="there are fine, foreign"):
        report["other"]


def test_a_failed_check_raises_the_whole_report_with_what_it_protects() -> None:
    with pytest.raises(
        ChecksFailed, match=r"1 of 2 checks found something wrong(?s:.*)protects: Positive"
    ) as caught:
        run_checks("the number 0", CHECKS, -1)
    assert caught.value.report.failed == ["fine"]
    assert isinstance(caught.value, AssertionError)


def test_a_check_that_exercises_nothing_fails() -> None:
    with pytest.raises(ChecksFailed, match="exercised nothing"):
        run_checks("anything", [Check("idle", "Nothing.", idle)], 1)


def test_an_expected_failure_passes_and_a_surprising_success_does_not() -> None:
    report = run_checks("-1", CHECKS, -1, expected={"fine": "negative on purpose"})
    assert report["fine"].status == "failed as expected" and "negative on purpose" in str(report)
    with pytest.raises(ChecksFailed, match="take it off expected_failed_checks"):
        run_checks("1", CHECKS, 1, expected=["fine"])
    with pytest.raises(InvalidValue, match="no check is called 'finr'; there are fine, foreign"):
        run_checks("1", CHECKS, 1, expected=["finr"])


def test_only_the_chosen_checks_run() -> None:
    assert [outcome.check for outcome in run_checks("7", CHECKS, 7, only=["foreign"]).outcomes] == ["foreign"]
    with pytest.raises(InvalidValue, match="no check is called 'x'"):
        run_checks("7", CHECKS, 7, only=["x"])


def test_bound_checks_are_called_one_by_one() -> None:
    first, second = bound(CHECKS, -1, expected=["foreign"])
    assert (repr(first), repr(second)) == ("fine", "foreign")
    with pytest.raises(CheckFailed, match=r"fine: the number is not positive(?s:.*)protects: Positive"):
        first()
    with pytest.raises(CheckFailed, match="take it off"):
        second()
