"""Dominated novelty: the published score, against a computation written out by hand, and its limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.optimizers.novelty import (
    Descriptors,
    cosine_distance,
    described,
    dominated_novelty,
    dominating_pairs,
)

NUMBERS = st.integers(-5, 5).map(float)
PLACES = st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 4)), max_size=9)
VECTORS = st.lists(st.floats(-10, 10), min_size=3, max_size=3)


@given(PLACES, st.integers(1, 4))
def test_the_score_is_the_mean_distance_to_the_nearest_fitter_candidates(
    places: list[tuple[float, float, int]], nearest: int
) -> None:
    rewards = [place[2] / 4 for place in places]

    def apart(one: int, other: int) -> float:
        return math.dist(places[one][:2], places[other][:2])

    distances = {pair: apart(*pair) for pair in dominating_pairs(rewards)}
    scores = dominated_novelty(rewards, distances, nearest)
    assert len(scores) == len(places)
    for one, score in enumerate(scores):
        fitter = [apart(one, other) for other in range(len(places)) if rewards[other] > rewards[one]]
        fitter.sort()
        closest = fitter[:nearest]
        expected = sum(closest) / len(closest) if closest else math.inf
        assert score == pytest.approx(expected)


@given(PLACES)
def test_only_what_nobody_exceeds_is_beyond_competition(places: list[tuple[float, float, int]]) -> None:
    rewards = [float(place[2]) for place in places]
    scores = dominated_novelty(rewards, dict.fromkeys(dominating_pairs(rewards), 1.0), 3)
    beyond = [reward for reward, score in zip(rewards, scores, strict=True) if score == math.inf]
    assert beyond == [reward for reward in rewards if reward == max(rewards)]


@given(VECTORS)
def test_nothing_is_away_from_itself(vector: list[float]) -> None:
    assert cosine_distance(vector, list(vector)) == 0.0


@given(VECTORS, VECTORS)
def test_a_distance_is_symmetric_and_from_zero_to_one(one: list[float], other: list[float]) -> None:
    distance = cosine_distance(one, other)
    assert 0.0 <= distance <= 1.0
    assert distance == pytest.approx(cosine_distance(other, one))


def test_the_direction_of_vectors_is_what_counts() -> None:
    assert cosine_distance([1.0, 0.0], [5.0, 0.0]) == 0.0
    assert cosine_distance([1.0, 0.0], [0.0, 2.0]) == 0.5
    assert cosine_distance([1.0, 0.0], [-1.0, 0.0]) == 1.0
    assert cosine_distance([0.0, 0.0], [1.0, 0.0]) == 0.5


def test_a_candidate_is_described_by_its_fields_and_examples_but_not_by_how_it_did() -> None:
    record = {"inputs": {"text": "Hi"}, "outputs": {"label": "a"}, "reward": 1.0}
    text = described({"persona": "A pirate.", "hints": ["be short", "é"], "examples": [record]})
    assert text == (
        'examples: [{"inputs": {"text": "Hi"}, "outputs": {"label": "a"}}]\n'
        'hints: ["be short", "é"]\n'
        "persona: A pirate."
    )
    assert described({"persona": "A pirate.", "examples": []}) == "persona: A pirate."


def test_vectors_are_kept_for_what_still_competes_and_asked_for_once() -> None:
    known = Descriptors()
    first = {"a": "text a", "b": "text b"}
    assert known.missing(first) == first
    known.learn({"a": [1.0], "b": [2.0]}, first)
    assert known.missing({"b": "text b", "c": "text c"}) == {"c": "text c"}
    known.learn({"c": [3.0]}, {"b": "text b", "c": "text c"})
    assert known.missing(first) == {"a": "text a"}
    assert known["b"] == [2.0]
