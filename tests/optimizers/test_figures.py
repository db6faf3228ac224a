"""Searches that must succeed: spaces small enough to know the best, judged by what a training ends with."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

import eventcore as ec
from eventcore.optimizers import EvolutionaryOptimizer, RandomFewShot
from tests.optimizers.samples import Knob, chance, fresh_run, questions, train

SETS = list(itertools.permutations(range(6), 2))
GOOD = set(Random(5).sample(SETS, 16))


def good_set(number: int, says: dict[str, Any]) -> float:
    return 1.0 if tuple(says["knob"]["examples"]) in GOOD else 0.0


def final(program: ec.Program) -> float:
    return float(ec.wait(program.evaluate(questions(range(2000, 2020)), verbose=0))["reward"])


def test_few_shot_examples_that_work_are_found_in_ten_of_ten_seeds() -> None:
    assert (len(SETS), len(GOOD)) == (30, 16)
    scores: list[float] = []
    for seed in range(10):
        with fresh_run(seed):
            optimizer = RandomFewShot(nb_min_examples=2, nb_max_examples=2)
            scores.append(final(train(good_set, optimizer, {"knob": Knob}, batch_size=2, epochs=4)))
    assert scores == [1.0] * 10


def any_of_four(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    return {"value": rng.randrange(4)}


def fit_together(left: int, right: int) -> float:
    """Only 2 and 2 are right; 0 looks best in the left one, 3 in the right one, whatever the other is."""
    return 1.0 if left == right == 2 else 0.2 + 0.3 * (left == 0) + 0.3 * (right == 3)


def test_a_pair_that_was_right_together_is_what_a_training_ends_with() -> None:
    ended: list[float] = []
    for seed in range(20):
        evaluated: set[tuple[int, int]] = set()

        def score(number: int, says: dict[str, Any], seen: set[tuple[int, int]] = evaluated) -> float:
            pair = (says["left"]["value"], says["right"]["value"])
            if 1000 <= number < 2000:
                seen.add(pair)
            return fit_together(*pair)

        with fresh_run(seed) as run:
            optimizer = EvolutionaryOptimizer(mutation=any_of_four, sampling_temperature=10.0)
            kinds = {"left": Knob, "right": Knob}
            program = train(score, optimizer, kinds, seen=32, batch_size=2, epochs=3)
            state = run.state.variables
            assert (state["teller/left"]["value"], state["teller/right"]["value"]) in evaluated
            if (2, 2) in evaluated:
                ended.append(final(program))
    assert len(ended) >= 10
    assert ended == [1.0] * len(ended)


QUALITY = [0.30 + 0.02 * place for place in range(15)]
QUALITY.insert(9, 0.72)
BEST = 9


def noisy(number: int, says: dict[str, Any]) -> float:
    value = says["knob"]["value"]
    return float(chance("noise", number, value) < QUALITY[value])


def any_of_sixteen(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    return {"value": rng.randrange(16)}


@pytest.mark.slow
def test_the_best_of_sixteen_is_chosen_in_spite_of_noisy_small_samples() -> None:
    chosen: list[int] = []
    for seed in range(20):
        with fresh_run(seed) as run:
            optimizer = EvolutionaryOptimizer(mutation=any_of_sixteen, population_size=16)
            train(noisy, optimizer, {"knob": Knob}, seen=40, held_out=100, batch_size=4, epochs=12)
            chosen.append(run.state.variables["teller/knob"]["value"])
    assert chosen.count(BEST) >= 18, chosen
