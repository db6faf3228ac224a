"""The framework of checks: what counts as passed, what a report says, and that nothing passes by doing nothing."""

from __future__ import annotations

from typing import Any

import pytest

from eventcore.errors import InvalidValue
from eventcore.testing import parametrize_with_checks
from eventcore.testing.checks import (
    Check,
    CheckFailed,
    ChecksFailed,
    DoesNotApply,
    Report,
    Tally,
    Way,
    bound,
    run_checks,
)


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
    with pytest.raises(InvalidValue, match=r"'finr' \(expected_failed_checks\); did you mean 'fine'\?"):
        run_checks("1", CHECKS, 1, expected=["finr"])


def test_a_check_may_be_expected_to_fail_without_a_reason() -> None:
    report = run_checks("-1", CHECKS, -1, expected={"fine": None})
    assert report.ok and report["fine"].status == "failed as expected"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"only": []}, r"only=\[\] names no check; leave it out for all"),
        ({"only": "fine"}, r"cannot take only='fine': pass a list of the names of checks"),
        ({"only": ["other"]}, r"no check is called 'other' \(only\); there are fine, foreign"),
        ({"expected": 5}, r"cannot take expected_failed_checks=5: pass a list"),
        ({"expected": {"fine": 3}}, r"cannot take 3 for the reason of 'fine'"),
    ],
)
def test_names_that_are_none_are_refused_before_anything_is_checked(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        run_checks("1", CHECKS, 1, **arguments)


@pytest.mark.parametrize("limit", [0, -1, "1", True, float("nan")])
def test_a_limit_is_seconds_above_nothing(limit: Any) -> None:
    with pytest.raises(InvalidValue, match="pass seconds above 0, or None for no limit"):
        Way(limit=limit)


def test_a_report_of_nothing_is_no_good_report() -> None:
    assert not Report("nothing", []).ok


@pytest.mark.parametrize("wrong", [(), ([],), (run_checks,), ([fine],), (5,)])
def test_a_test_is_parametrised_with_checks_and_nothing_else(wrong: Any) -> None:
    with pytest.raises(InvalidValue, match="pass lists of checks, as module_checks_of"):
        parametrize_with_checks(*wrong)


def test_checks_may_be_given_as_any_iterable() -> None:
    mark: Any = parametrize_with_checks(iter(bound(CHECKS, 1)))
    assert [repr(check) for check in mark.args[1]] == ["fine", "foreign"]


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
