"""What every optimizer keeps (laws L5 to L12): identity, scores, winners, populations, bookkeeping."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.optimizers import OMEGA, EvolutionaryOptimizer, GreedyOptimizer, Optimizer, RandomFewShot
from eventcore.optimizers.trials import COMPETING, Trials
from tests.optimizers.samples import Knob, chance, fresh_run, program_of, questions, train


def any_of_three(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    return {"value": rng.randrange(3)}


def graded(number: int, says: dict[str, Any]) -> float:
    return round(chance(number, says["knob"]["value"]), 3)


# --- L5: what a candidate is, and what it scored -------------------------------------------------


def test_a_candidate_seen_again_has_the_mean_of_all_its_evaluations() -> None:
    with fresh_run(1) as run:
        optimizer = EvolutionaryOptimizer(mutation=any_of_three, selection="random")
        train(graded, optimizer, {"knob": Knob}, seen=12, held_out=9, minibatch_size=2, epochs=2)
        scores: dict[int, list[float]] = defaultdict(list)
        for seq, event in run.events(kind="CandidateAdded"):
            value = run.at(seq).variables["teller/knob"]["value"]
            scores[value] += [event.reward] * event.count  # type: ignore[attr-defined]
        entries = run.state.variables["teller/knob"]["best_candidates"]
    assert {entry["value"] for entry in entries} == set(scores) == {0, 1, 2}
    for entry in entries:
        found = scores[entry["value"]]
        assert entry["evaluations"] == len(found) > 2
        assert entry["reward"] == pytest.approx(math.fsum(found) / len(found))


def test_the_same_fields_with_other_examples_are_another_candidate() -> None:
    with fresh_run(1) as run:
        optimizer = RandomFewShot(nb_min_examples=2, nb_max_examples=2)
        train(lambda number, says: 1.0, optimizer, {"knob": Knob}, seen=10, batch_size=2, epochs=1)
        entries = run.state.variables["teller/knob"]["best_candidates"]
    shown = [tuple(record["inputs"]["number"] for record in entry["examples"]) for entry in entries]
    assert {entry["value"] for entry in entries} == {0}
    assert len(set(shown)) == len(shown) > 2


# --- L6 and L7: winners --------------------------------------------------------------------------

TABLES = st.lists(st.integers(0, 10), min_size=9, max_size=9)


@settings(max_examples=15)
@given(table=TABLES, seed=st.integers(0, 1000), population=st.integers(1, 4))
def test_a_training_ends_with_the_combination_of_the_best_validation_score(
    table: list[int], seed: int, population: int
) -> None:
    def score(number: int, says: dict[str, Any]) -> float:
        pair: tuple[int, int] = (says["left"]["value"], says["right"]["value"])
        return round(table[pair[0] * 3 + pair[1]] / 10 * chance(number, *pair), 3)

    with fresh_run(seed):
        optimizer = EvolutionaryOptimizer(mutation=any_of_three, population_size=population)
        kinds = {"left": Knob, "right": Knob}
        program = train(score, optimizer, kinds, seen=8, held_out=8, minibatch_size=2, batch_size=2, epochs=4)
        again = ec.wait(program.evaluate(questions(range(1000, 1008)), verbose=0))["reward"]
        assert again == pytest.approx(max(program.history.history["val_reward"]))


def test_a_winner_is_not_forgotten_however_many_lucky_samples_come() -> None:
    trials = Trials()
    trials.add({"a": "winner"}, 0.5, 8, 0)
    trials.validate({"a": "winner"}, 0.6, 100, 0)
    for number in range(3 * COMPETING):
        trials.add({"a": f"lucky {number}"}, 1.0, 4, 0)
    best = trials.best(lambda trial: True)
    assert best is not None and best.parts == {"a": "winner"}
    assert trials.kept(5, lambda trial: True)[0].parts == {"a": "winner"}
    assert len(trials.kept(5, lambda trial: True)) == 5


def test_a_trial_whose_parts_are_gone_is_neither_started_from_nor_validated() -> None:
    trials = Trials()
    for number in range(4):
        trials.add({"a": str(number)}, number / 4, 50, 0)

    def at_hand(trial: Any) -> bool:
        return trial.parts["a"] in "01"

    chosen = trials.to_validate(at_hand)
    assert chosen is not None and chosen.parts == {"a": "1"}
    assert [trial.parts["a"] for trial in trials.kept(4, at_hand)] == ["1", "0"]
    assert Trials().best(at_hand) is None and Trials().to_validate(at_hand) is None


def test_without_held_out_data_training_rewards_decide() -> None:
    with fresh_run(3) as run:
        optimizer = EvolutionaryOptimizer(mutation=any_of_three)
        train(lambda number, says: says["knob"]["value"] / 2, optimizer, {"knob": Knob}, held_out=0, epochs=4)
        assert run.state.variables["teller/knob"]["value"] == 2


def test_freezing_a_variable_and_thawing_it_does_not_bring_back_trials_of_others() -> None:
    def score(number: int, says: dict[str, Any]) -> float:
        value = int(says["left"]["value"])
        return (1 + value) / 3 if value == says["right"]["value"] else 0.0

    async def work() -> ec.Program:
        optimizer = EvolutionaryOptimizer(mutation=any_of_three)
        program = await program_of(score, optimizer, {"left": Knob, "right": Knob})
        held = (questions(range(1000, 1002)), None)
        left = program.get_variable(name="left")
        for frozen in (True, False):
            left.trainable = not frozen
            await program.fit(questions(range(20)), verbose=0, validation_data=held, epochs=3)
        return program

    with fresh_run(5):
        program = ec.wait(work())
        best = ec.wait(program.evaluate(questions(range(1000, 1002)), verbose=0))["reward"]
        assert best == pytest.approx(max(program.history.history["val_reward"]))


# --- L8: who gets the next proposal --------------------------------------------------------------


def proposed_for(run: ec.Run) -> list[int]:
    return [event.variable for _, event in run.events(kind="CandidateProposed")]  # type: ignore[attr-defined]


def test_each_variable_is_proposed_for_once_before_any_is_proposed_for_again() -> None:
    with fresh_run(2) as run:
        names: list[str] = ["one", "two", "three", "four"]
        kinds = dict.fromkeys(names, Knob)
        optimizer = EvolutionaryOptimizer(mutation=any_of_three)
        train(lambda number, says: says["one"]["value"] / 2, optimizer, kinds, seen=8, epochs=1)
        numbers = proposed_for(run)
    assert len(set(numbers[:4])) == 4 and len(numbers) == 8


def test_a_variable_without_evidence_is_left_alone_and_named_in_a_warning() -> None:
    with fresh_run(2) as run:
        optimizer = EvolutionaryOptimizer(mutation=any_of_three)
        with pytest.warns(UserWarning, match="'teller/idle' was read .* no record"):
            program = train(
                lambda number, says: says["busy"]["value"] / 2, optimizer, {"idle": Knob, "busy": Knob}, epochs=1,
                used=lambda name, number: name == "busy",
            )  # fmt: skip
        numbers = {variable.name: variable.number for variable in program.trainable_variables}
        assert set(proposed_for(run)) == {numbers["busy"]}
        assert run.state.variables["teller/idle"]["value"] == 0


# --- L9: rewards that are no numbers -------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, "good"])
def test_a_reward_that_is_no_finite_number_never_wins(bad: Any) -> None:
    def score(number: int, says: dict[str, Any]) -> Any:
        return bad if says["knob"]["value"] == 2 else says["knob"]["value"] / 2

    with fresh_run(1) as run:
        optimizer = EvolutionaryOptimizer(mutation=any_of_three, selection="random")
        with pytest.warns(UserWarning, match="failed in epoch"):
            train(score, optimizer, {"knob": Knob}, seen=12, epochs=2)
        value = run.state.variables["teller/knob"]
        failed = [event for _, event in run.events(kind="RolloutFailed")]
    assert value["value"] == 1
    assert {entry["value"] for entry in value["best_candidates"]} == {0, 1}
    assert all(math.isfinite(entry["reward"]) for entry in value["best_candidates"])
    assert failed and all(event.stage == "reward" for event in failed)  # type: ignore[attr-defined]


# --- L11: what every optimizer keeps -------------------------------------------------------------


def answer(messages: Any, schema: Any = None, **arguments: Any) -> dict[str, Any]:
    said = messages[-1]["content"]
    return {"thinking": "…", "value": int(chance(said) * 3)}


def vectors(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), chance(text), 1.0] for text in texts]


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "base": Optimizer,
    "greedy": GreedyOptimizer,
    "few-shot": lambda: RandomFewShot(population_size=2),
    "evolutionary": lambda: EvolutionaryOptimizer(mutation=any_of_three, population_size=2),
    "omega": lambda: OMEGA(language_model=answer, embedding_model=vectors, population_size=2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_counts_remembers_its_winners_and_caps_its_population(name: str) -> None:
    def score(number: int, says: dict[str, Any]) -> float:
        return round(0.3 * chance(len(says["knob"]["examples"])) + int(says["knob"]["value"]) / 4, 3)

    optimizer = OPTIMIZERS[name]()
    with fresh_run(6) as run:
        train(score, optimizer, {"knob": Knob}, seen=9, batch_size=3, epochs=3)
        states = [run.at(seq) for seq, _ in run.events(kind="PopulationSelected")]
        value = run.state.variables["teller/knob"]
    assert (optimizer.iterations, optimizer.epochs) == (9, 3)
    assert len(states) == 3
    for state in states:
        kept = state.variables["teller/knob"]
        assert 1 <= len(kept["best_candidates"]) <= optimizer.population_size
        assert kept["candidates"] == []
    history = value["history"]
    assert history and all(one != other for one, other in pairwise(history))
    assert {key: history[-1][key] for key in ("value", "examples")} == {
        key: value[key] for key in ("value", "examples")
    }


def test_a_seed_that_had_left_the_population_and_wins_is_remembered_and_kept() -> None:
    def score(number: int, says: dict[str, Any]) -> float:
        # In training the highest value is the best; the whole validation set prefers the first.
        value = int(says["knob"]["value"])
        return value / 3 if number < 1000 else 1 - value / 3

    def any_but_the_first(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
        return {"value": 1 + rng.randrange(3)}

    optimizer = EvolutionaryOptimizer(mutation=any_but_the_first, population_size=1)
    with fresh_run(0) as run:
        train(score, optimizer, {"knob": Knob}, seen=9, batch_size=3, epochs=4)
        ends = [run.at(seq).variables["teller/knob"] for seq, _ in run.events(kind="EpochEnded")]
    winners = [end["value"] for end in ends]
    assert winners[0] > 0 and winners[-1] == 0
    for end in ends:
        assert end["history"][-1]["value"] == end["value"]
        assert end["value"] in [entry["value"] for entry in end["best_candidates"]]


# --- L12: names ----------------------------------------------------------------------------------


class Odd(ec.Trainable):
    """Fields with names like those of the bookkeeping."""

    example: str = ec.Field(default="first")
    reward: float = ec.Field(default=0.0)
    evaluations: int = ec.Field(default=-1)
    prediction_2: list[str] = ec.Field(default=[])
    histories: dict[str, str] = ec.Field(default={})


def richer(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    return {"reward": fields["reward"] + 1, "example": "better", "histories": {"reward": "kept"}}


def test_own_fields_with_names_like_the_bookkeepings_survive_in_candidates() -> None:
    with fresh_run(0) as run:
        optimizer = EvolutionaryOptimizer(mutation=richer, selection="best")
        train(lambda number, says: says["odd"]["reward"] / 100, optimizer, {"odd": Odd}, seen=6, epochs=2)
        value = run.state.variables["teller/odd"]
    (best,) = [entry for entry in value["best_candidates"] if entry["reward"] == value["reward"]]
    assert value["reward"] >= 4
    assert (best["example"], best["evaluations"], best["histories"]) == ("better", -1, {"reward": "kept"})
    assert best["reward_1"] == pytest.approx(best["reward"] / 100) and best["evaluations_1"] >= 1


# --- nobody else's state -------------------------------------------------------------------------


def test_only_trainable_variables_are_touched() -> None:
    async def work() -> tuple[ec.Program, dict[str, Any]]:
        kinds = {"free": Knob, "frozen": Knob}
        program = await program_of(
            lambda number, says: says["free"]["value"] / 2,
            EvolutionaryOptimizer(mutation=any_of_three),
            kinds,
        )
        frozen = program.get_variable(name="frozen")
        frozen.trainable = False
        before = frozen.get_json()
        await program.fit(questions(range(10)), verbose=0, epochs=2)
        return program, before

    with fresh_run(0) as run:
        program, before = ec.wait(work())
        frozen = program.get_variable(name="frozen")
        assert frozen.get_json() == before
        touched = {
            event.variable  # type: ignore[attr-defined]
            for _, event in run.events()
            if type(event).__name__
            in ("CandidateProposed", "CandidateAdded", "CandidateChosen", "PopulationSelected")
        }
        assert touched == {program.get_variable(name="free").number}


def test_a_proposal_for_bookkeeping_is_refused() -> None:
    with fresh_run(0):
        optimizer = Optimizer()
        optimizer.build([])
        variable = ec.Variable(data_model=Knob, name="knob")
        with pytest.raises(ValueError, match="cannot propose candidates, history: these are bookkeeping"):
            optimizer.propose(variable, {"history": [], "candidates": [], "value": 1}, "cheating")
        with pytest.raises(ValueError, match="value"):
            optimizer.propose(variable, {"value": "three"}, "wrong")
        assert variable.get("value") == 0
