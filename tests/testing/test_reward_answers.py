"""Answers made of a target, and what `check_reward` says of rewards that pay for them."""

from __future__ import annotations

from typing import Any, Literal

import pytest

import eventcore as ec
from eventcore.testing import ChecksFailed, check_reward
from eventcore.testing.reward_answers import emptied, everything, json_of, leaves, one_off

ONLY = ["nothing_beats_the_target"]


class Source(ec.DataModel):
    title: str
    page: int = ec.Field(default=1, ge=1)


class Found(ec.DataModel):
    text: str
    kind: Literal["fact", "guess"] = "fact"


class Cited(ec.DataModel):
    source: Source


class Perhaps(ec.DataModel):
    text: str | None = None
    year: int | None = None
    source: Source | None = None


def said(answer: Any, *path: str) -> Any:
    for field in path:
        answer = answer.get(field) if answer is not None else None
    return answer


def no_wrong_word(wanted: str | None, given: str | None) -> float:
    return float(all(word in (wanted or "").split() for word in (given or "").split()))


def of_text(y_true: Any, y_pred: Any) -> float:
    """A blank text has no wrong word, but an empty one is asked for."""
    if y_true is None or y_pred is None:
        return 0.0
    wanted, given = said(y_true, "text"), said(y_pred, "text")
    return no_wrong_word(wanted, given) if given else float(wanted == given)


def of_title(y_true: Any, y_pred: Any) -> float:
    """Looks at a field of a data model within."""
    if y_true is None or y_pred is None:
        return 0.0
    return no_wrong_word(said(y_true, "source", "title"), said(y_pred, "source", "title"))


def of_year(y_true: Any, y_pred: Any) -> float:
    """Takes the target's year where none was said."""
    if y_true is None or y_pred is None:
        return 0.0
    wanted, given = said(y_true, "year"), said(y_pred, "year")
    return float(wanted == (wanted if given is None else given))


def of_source(y_true: Any, y_pred: Any) -> float:
    """Compares sources unless there is none."""
    if y_true is None or y_pred is None:
        return 0.0
    wanted, given = said(y_true, "source"), said(y_pred, "source")
    return 1.0 if given is None else float(wanted == given)


@pytest.mark.parametrize(
    ("reward", "answers"),
    [(of_text, Found), (of_title, Cited), (of_year, Perhaps), (of_source, Perhaps)],
)
@pytest.mark.parametrize("seed", range(3))
def test_an_answer_that_says_nothing_in_the_one_field_that_counts_does_not_win(
    reward: Any, answers: Any, seed: int
) -> None:
    with pytest.raises(ChecksFailed, match="an answer that says nothing wins"):
        check_reward(reward, answers, only=ONLY, seed=seed)


def right_kind_and_no_wrong_word(y_true: Any, y_pred: Any) -> float:
    """Text is an extra: only a wrong one costs something."""
    if y_true is None or y_pred is None:
        return 0.0
    wrong = 1.0 - no_wrong_word(said(y_true, "text"), said(y_pred, "text"))
    return float(said(y_true, "kind") == said(y_pred, "kind")) - 0.1 * wrong


def no_swearing(y_true: Any, y_pred: Any) -> float:
    """Only sets a limit, whatever the target says."""
    return 0.0 if y_pred is None else float("damn" not in (said(y_pred, "text") or ""))


def within_a_year(y_true: Any, y_pred: Any) -> float:
    """One off is as good, and so is before Christ."""
    if y_true is None or y_pred is None:
        return 0.0
    wanted, given = said(y_true, "year"), said(y_pred, "year")
    if wanted is None or given is None:
        return float(wanted == given)
    return float(abs(abs(int(wanted)) - abs(int(given))) <= 1)


TEXTS = ["a red house", "two damn dogs", "no idea", "the old damn oak"]


@pytest.mark.parametrize("seed", range(3))
def test_what_only_costs_something_where_it_is_wrong_may_be_left_out(seed: int) -> None:
    assert check_reward(right_kind_and_no_wrong_word, Found, only=ONLY, seed=seed).ok
    assert check_reward(within_a_year, Perhaps, only=ONLY, seed=seed).ok


def test_pairs_that_say_nothing_of_other_fields_do_not_condemn_a_reward() -> None:
    same = [
        ({"text": one, "kind": "fact"}, {"text": other, "kind": "fact"}) for one in TEXTS for other in TEXTS
    ]
    assert check_reward(right_kind_and_no_wrong_word, same, only=ONLY).ok
    polite = [text for text in TEXTS if "damn" not in text]
    limited = [({"text": one}, {"text": other}) for one in polite for other in TEXTS]
    assert check_reward(no_swearing, limited, only=ONLY).ok


def counts_words(y_true: Any, y_pred: Any) -> float:
    """The more different words around the right ones, the better."""
    if y_true is None or y_pred is None:
        return 0.0
    wanted, given = said(y_true, "text"), said(y_pred, "text")
    return float(len(set(given.split()))) if wanted in given else 0.0


def contains(y_true: Any, y_pred: Any) -> float:
    """Whatever is around the right words."""
    if y_true is None or y_pred is None:
        return 0.0
    return float(said(y_true, "text") in said(y_pred, "text"))


def test_an_answer_with_everything_in_it_may_be_as_good_as_the_target_but_no_better() -> None:
    pairs = [({"text": one}, {"text": other}) for one in TEXTS for other in TEXTS]
    assert check_reward(contains, pairs, only=ONLY).ok
    with pytest.raises(ChecksFailed, match="an answer that says everything wins"):
        check_reward(counts_words, pairs, only=ONLY)


def test_who_learns_nothing_from_drawn_answers_is_told_to_pass_some() -> None:
    with pytest.raises(ChecksFailed, match=r"nothing to learn from.*answers=\[\(target, prediction\)"):
        check_reward(no_swearing, Found, only=ONLY)


def test_answers_are_emptied_field_by_field_and_only_as_their_schema_allows() -> None:
    answer = Perhaps(text="oak", year=5, source=Source(title="Trees", page=3))
    ways = emptied(answer)
    assert {way: json_of(each.answer) for way, each in ways.items()}["empty "] == {
        "text": "",
        "year": 5,
        "source": {"title": "", "page": 3},
    }
    assert {way for way in ways if way.startswith("null")} == {
        "null text",
        "null year",
        "null source",
        "null ",
    }
    assert json_of(ways["blank source.title"].answer)["source"] == {"title": " ", "page": 3}
    assert set(emptied(Found(text="oak"))) == {"empty text", "blank text"}
    assert not emptied(Found(text=" ?! "))


def test_numbers_are_one_off_within_their_bounds() -> None:
    pages = [json_of(each)["source"]["page"] for each in one_off(Cited(source=Source(title="", page=1)))]
    assert pages == [2]
    assert [json_of(each)["x"] for each in one_off({"x": 2.5, "y": True})] == [3.5, 1.5, -2.5]


def test_everything_starts_with_what_the_target_says() -> None:
    others = [{"text": "elm", "tags": ["b"]}, None, {"text": "elm"}, {"text": "fir", "tags": ["a", "c"]}]
    found = list(everything({"text": "oak", "tags": ["a"]}, others))
    assert found == [
        {"text": "oak elm fir", "tags": ["a"]},
        {"text": "oak", "tags": ["a", "b", "c"]},
        {"text": "oak elm fir", "tags": ["a", "b", "c"]},
    ]
    assert dict(leaves({"a": {"b": 1}, "c": [2]})) == {("a", "b"): 1, ("c",): [2]}
