"""Records are drawn by reward as defined, however many there are and however the epoch came to them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.optimizers.sampling import Rewarded

rewards = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def records_of(values: list[float]) -> list[dict[str, float]]:
    return [{"reward": value} for value in values]


def grown(values: list[float], temperature: float, best: int = 5) -> Rewarded:
    """Learn the records one by one."""
    records: list[dict[str, float]] = []
    made = Rewarded(temperature, best)
    for record in records_of(values):
        records.append(record)
        made.follow(records)
    return made


@given(values=rewards, temperature=st.floats(1e-3, 1e3), seed=st.integers(0, 99), count=st.integers(1, 40))
def test_what_is_drawn_does_not_depend_on_when_the_records_came(
    values: list[float], temperature: float, seed: int, count: int
) -> None:
    count = min(count, len(values))
    at_once = Rewarded(temperature, 5)
    at_once.follow(records_of(values))
    drawn = at_once.draw(Random(seed), count)
    assert drawn == grown(values, temperature).draw(Random(seed), count)
    assert len(set(drawn)) == count
    assert set(drawn) <= set(range(len(values)))


@given(values=rewards, count=st.integers(1, 5))
def test_the_best_are_the_highest_rewards_and_of_equal_ones_the_older(
    values: list[float], count: int
) -> None:
    expected = sorted(range(len(values)), key=lambda index: -values[index])[:count]
    assert grown(values, 0.3).best(count) == expected


@pytest.mark.parametrize("temperature", [0.3, 2.0, 0.02])
def test_pairs_are_drawn_as_often_as_a_softmax_without_replacement_says(temperature: float) -> None:
    """0.02 draws the second from what is left; the others by trying again."""
    values = [0.0, 0.5, 1.0, 0.9]
    weights = [math.exp(value / temperature) for value in values]
    made, rng, tries = grown(values, temperature), Random(1), 20_000
    found = Counter(tuple(made.draw(rng, 2)) for _ in range(tries))
    for first, second in itertools.permutations(range(4), 2):
        chance = weights[first] / sum(weights) * weights[second] / (sum(weights) - weights[first])
        spread = 5 * math.sqrt(chance * (1 - chance) / tries) + 1e-4
        assert found[first, second] / tries == pytest.approx(chance, abs=spread)


def test_a_new_epoch_is_learnt_from_its_beginning() -> None:
    made = grown([1.0, 0.0, 0.0], 0.3)
    made.follow(records_of([0.0, 0.0, 0.0, 1.0]))
    assert made.best(1) == [3]
    assert made.draw(Random(1), 4).count(3) == 1


def test_a_missing_reward_counts_as_nothing() -> None:
    made = Rewarded(0.3, 5)
    made.follow([{"reward": None}, {"reward": 0.5}, {}])
    assert made.best(3) == [1, 0, 2]
