"""What `check_reward` accepts, and the one sentence it says of what cannot be checked."""

from __future__ import annotations

from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.saving import register_serializable
from eventcore.testing import check_reward, reward_checks_of
from eventcore.testing.reward_subject import RewardSubject
from eventcore.training.rewards import Reward


class Answer(ec.DataModel):
    answer: str


class Weighted(Reward):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight


@register_serializable()
async def share(y_true: Any, y_pred: Any) -> float:
    if y_true is None or y_pred is None:
        return 0.0
    one, other = str(y_true.get("answer")), str(y_pred.get("answer"))
    return sum(a == b for a, b in zip(one, other, strict=False)) / max(len(one), len(other), 1) + (
        one == other
    )


def broken() -> Any:
    raise RuntimeError("no key")


def exact_of(answer: Answer) -> Any:
    return ec.ExactMatch


@pytest.mark.campaign
def test_a_reward_function_is_accepted_as_it_is_and_from_a_lambda() -> None:
    report = check_reward(share, Answer)
    assert {outcome.status for outcome in report.outcomes} == {"passed"}
    report = check_reward(lambda: share, Answer, only=["hash_seed_independence", "config_round_trip"])
    assert report["hash_seed_independence"].exercised > 0


PAIR = (Answer(answer="a"), Answer(answer="b"))


@pytest.mark.parametrize(
    ("factory", "answers", "said"),
    [
        (share, [], "without answers: pass a data model, or pairs"),
        (share, 5, "from 5: pass a data model class, a JSON schema, or a list of pairs"),
        (share, int, "pass a data model class"),
        (share, {"type": "strin"}, "received type str 'strin'"),
        (share, {"type": "object", "properties": {"a": False}, "required": ["a"]}, "pass a data model class"),
        (share, [5], r"with 5 \(item 0 of the answers\): pass pairs"),
        (share, [PAIR, (1, 2)], "in pair 1 of the answers"),
        (share, [(*PAIR, None)], "pass pairs"),
        (
            share,
            [(None, None)],
            "of which each lacks a side: pass at least one with a target and a prediction",
        ),
        (share, [(PAIR[0], None), (None, PAIR[1])], "of which each lacks a side"),
        (lambda: 5, Answer, "makes: received 5; return a Reward or a function"),
        (5, Answer, "with 5: pass the class, or a function without arguments"),
        ("exact_match", Answer, "with 'exact_match': pass the class"),
        (Weighted, Answer, "Weighted, which needs weight: pass a function without arguments"),
        (exact_of, Answer, "exact_of, which needs answer"),
        (Weighted(2.0), Answer, "one instance of Weighted, which all checks would share"),
    ],
)
def test_what_cannot_be_checked_is_said_once_before_the_first_check(
    factory: Any, answers: Any, said: str
) -> None:
    subject = RewardSubject(factory, answers)
    with pytest.raises(InvalidValue, match=said):
        subject.prepare()
    assert reward_checks_of(factory, answers)
    with pytest.raises(InvalidValue, match=said):
        check_reward(factory, answers)


def test_a_failure_names_the_pair_and_what_was_seen_instead() -> None:
    pairs = [PAIR, (Answer(answer=""), Answer(answer="x"))]

    def by_length(y_true: Any, y_pred: Any) -> float:
        return 0.0 if y_true is None or y_pred is None else 1 / len(y_true.get("answer"))

    with pytest.raises(ec.testing.ChecksFailed) as failed:
        check_reward(by_length, pairs, only=["gives_finite_numbers"])
    assert "target {'answer': ''} with prediction {'answer': 'x'} raises ZeroDivisionError" in str(
        failed.value
    )
    assert "1 / len(y_true.get" in failed.value.report["gives_finite_numbers"].where


def test_a_factory_that_raises_is_found_by_the_checks() -> None:
    RewardSubject(broken, Answer).prepare()
    with pytest.raises(ec.testing.ChecksFailed, match="RuntimeError: no key") as failed:
        check_reward(broken, Answer)
    assert "in broken" in failed.value.report["missing_sides"].where
