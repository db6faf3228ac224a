"""Search spaces small enough to know the best, and what trainings on them end with.

The tests judge the ends; `benchmarks/bench_search.py` prints them.
"""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import eventcore as ec
from eventcore.optimizers import OMEGA, EvolutionaryOptimizer, RandomFewShot
from tests.optimizers.samples import Knob, chance, fresh_run, questions, train

# --- sets of few-shot examples -------------------------------------------------------------------

SETS = list(itertools.permutations(range(6), 2))
GOOD = frozenset(Random(5).sample(SETS, 16))


def good_set(number: int, says: dict[str, Any]) -> float:
    """16 of the 30 ordered pairs of examples make every answer right, the others none."""
    return 1.0 if tuple(says["knob"]["examples"]) in GOOD else 0.0


def final(program: ec.Program) -> float:
    """The mean reward on questions never seen before."""
    return float(ec.wait(program.evaluate(questions(range(2000, 2020)), verbose=0))["reward"])


def few_shot_ends(seeds: int) -> list[float]:
    """The final score of each seed."""
    scores: list[float] = []
    for seed in range(seeds):
        with fresh_run(seed):
            optimizer = RandomFewShot(nb_min_examples=2, nb_max_examples=2)
            scores.append(final(train(good_set, optimizer, {"knob": Knob}, batch_size=2, epochs=4)))
    return scores


# --- two variables that are only good together ---------------------------------------------------


def fit_together(left: int, right: int) -> float:
    """Only 2 and 2 are right; 0 looks best in the left one, 3 in the right one, whatever the other is."""
    return 1.0 if left == right == 2 else 0.2 + 0.3 * (left == 0) + 0.3 * (right == 3)


def any_of_four(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Another number below four."""
    return {"value": rng.randrange(4)}


def pair_ends(seeds: int) -> list[tuple[bool, bool, float]]:
    """For each seed: whether 2 and 2 was evaluated, whether the final pair was, and the final score."""
    ends: list[tuple[bool, bool, float]] = []
    for seed in range(seeds):
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
            pair = (state["teller/left"]["value"], state["teller/right"]["value"])
            ends.append(((2, 2) in evaluated, pair in evaluated, final(program)))
    return ends


# --- sixteen candidates under noise --------------------------------------------------------------

BEST = 9
QUALITY = [0.30 + 0.02 * place for place in range(15)]
QUALITY.insert(BEST, 0.72)


def noisy(number: int, says: dict[str, Any]) -> float:
    """Right or wrong, as often right as the candidate is good."""
    value = says["knob"]["value"]
    return float(chance("noise", number, value) < QUALITY[value])


def any_of_sixteen(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Another of the candidates."""
    return {"value": rng.randrange(16)}


def noisy_ends(seeds: int) -> list[int]:
    """The candidate each seed chose, after twelve epochs with a full validation each."""
    chosen: list[int] = []
    for seed in range(seeds):
        with fresh_run(seed) as run:
            optimizer = EvolutionaryOptimizer(mutation=any_of_sixteen, population_size=16)
            train(noisy, optimizer, {"knob": Knob}, seen=40, held_out=100, batch_size=4, epochs=12)
            chosen.append(run.state.variables["teller/knob"]["value"])
    return chosen


# --- embeddings ----------------------------------------------------------------------------------


def by_value(number: int, says: dict[str, Any]) -> float:
    """Some number for each value."""
    return round(chance(says["knob"]["value"]), 3)


def embedding_requests() -> tuple[int, int, list[str]]:
    """Train with `OMEGA`; return how many candidates there were, how many requests, and the texts embedded."""
    requests: list[list[str]] = []

    def answer(messages: Any, **arguments: Any) -> dict[str, Any]:
        return {"thinking": "…", "value": int(chance(messages[-1]["content"]) * 1000)}

    def vectors(texts: list[str]) -> list[list[float]]:
        requests.append(list(texts))
        return [[chance(text, axis) - 0.5 for axis in range(3)] for text in texts]

    with fresh_run(1) as run:
        optimizer = OMEGA(language_model=answer, embedding_model=vectors, population_size=5)
        train(by_value, optimizer, {"knob": Knob}, seen=10, epochs=4)
        events: list[Any] = [event for _, event in run.events(kind="CandidateAdded")]
    candidates = sum(event.equal_to < 0 for event in events)
    return candidates, len(requests), [text for request in requests for text in request]
