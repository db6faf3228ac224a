"""Searches that must succeed, judged by what a training ends with (the spaces are in `spaces.py`)."""

from __future__ import annotations

import pytest

from tests.optimizers import spaces


def test_few_shot_examples_that_work_are_found_in_ten_of_ten_seeds() -> None:
    assert (len(spaces.SETS), len(spaces.GOOD)) == (30, 16)
    assert spaces.few_shot_ends(10) == [1.0] * 10


@pytest.mark.slow
def test_a_pair_that_was_right_together_is_what_a_training_ends_with() -> None:
    ends = spaces.pair_ends(20)
    assert all(final_was_evaluated for _, final_was_evaluated, _ in ends)
    met = [score for was_met, _, score in ends if was_met]
    assert len(met) >= 10
    assert met == [1.0] * len(met)


@pytest.mark.campaign
def test_the_best_of_sixteen_is_chosen_in_spite_of_noisy_small_samples() -> None:
    chosen = spaces.noisy_ends(20)
    assert chosen.count(spaces.BEST) >= 18, chosen


def test_forty_candidates_are_embedded_once_each() -> None:
    candidates, requests, texts = spaces.embedding_requests()
    assert candidates >= 40
    assert requests <= 4, "one for each epoch, for what is not known yet"
    assert len(texts) == len(set(texts)) <= candidates
