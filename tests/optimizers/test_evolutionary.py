"""`EvolutionaryOptimizer` as it is, without a model: crossover field by field, mutation by a function."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.optimizers import EvolutionaryOptimizer
from eventcore.saving import deserialize_object, register_serializable, serialize_object
from tests.optimizers.samples import Knob, fresh_run, train


class Outfit(ec.Trainable):
    """Two fields that are good apart from each other."""

    hat: str = ec.Field(default="none")
    shoes: str = ec.Field(default="none")


SEEDS = [{"hat": "fine", "shoes": "torn"}, {"hat": "torn", "shoes": "fine"}]


def well_dressed(number: int, says: dict[str, Any]) -> float:
    return float((says["outfit"]["hat"] == "fine") + (says["outfit"]["shoes"] == "fine")) / 2


@register_serializable()
def one_up(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    return {"value": fields["value"] + rng.choice([-1, 1])}


async def one_up_later(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    return one_up(fields, rng)


def near_seven(number: int, says: dict[str, Any]) -> float:
    return 1.0 - float(abs(says["knob"]["value"] - 7)) / 10


def test_crossover_unites_the_good_fields_of_two_parents() -> None:
    for seed in range(5):
        with fresh_run(seed) as run:
            optimizer = EvolutionaryOptimizer()
            train(well_dressed, optimizer, {"outfit": Outfit(seed_candidates=SEEDS)}, seen=20, epochs=2)
            value = run.state.variables["teller/outfit"]
            strategies = {event.strategy for _, event in run.events(kind="CandidateProposed")}  # type: ignore[attr-defined]
        assert (value["hat"], value["shoes"]) == ("fine", "fine")
        assert strategies == {"crossover"}
        assert all(
            {entry["hat"], entry["shoes"]} <= {"fine", "torn", "none"} for entry in value["best_candidates"]
        )


@pytest.mark.parametrize("held_out", [2, 0])
def test_every_seed_candidate_is_tried_once(held_out: int) -> None:
    numbers = [3, 1, 4, 5]
    tried: set[int] = set()

    def score(number: int, says: dict[str, Any]) -> float:
        tried.add(says["knob"]["value"])
        return near_seven(number, says)

    with fresh_run(1) as run:
        seeds = [{"value": number} for number in numbers]
        kinds = {"knob": Knob(seed_candidates=seeds)}
        train(score, EvolutionaryOptimizer(), kinds, seen=6, held_out=held_out, epochs=2)
        assert tried == {0, *numbers}
        assert run.state.variables["teller/knob"]["value"] in (4, 5)
        events: list[Any] = [event for _, event in run.events(kind="CandidateChosen")]
    assert sorted(event.index for event in events if event.reason == "seed candidate") == [0, 1, 2, 3]


@pytest.mark.parametrize("mutation", [one_up, one_up_later])
def test_mutation_climbs(mutation: Any) -> None:
    with fresh_run(4) as run:
        optimizer = EvolutionaryOptimizer(mutation=mutation, selection="best")
        train(near_seven, optimizer, {"knob": Knob}, seen=40, epochs=2)
        assert run.state.variables["teller/knob"]["value"] == 7


class Mutates(EvolutionaryOptimizer):
    """Mutates by itself, without a function."""

    async def mutate_candidate(
        self, step: int, variable: Any, selected: Any, x: Any, y: Any, y_pred: Any, rng: Random
    ) -> Any:
        return one_up(selected, rng)


def test_a_subclass_that_mutates_by_itself_needs_no_mutation_function() -> None:
    with fresh_run(4) as run:
        train(near_seven, Mutates(selection="best"), {"knob": Knob}, seen=40, epochs=2)
        assert run.state.variables["teller/knob"]["value"] == 7


def test_every_proposal_names_the_events_that_scored_its_parents() -> None:
    with fresh_run(2) as run:
        optimizer = EvolutionaryOptimizer(mutation=one_up, merging_rate=0.5)
        train(near_seven, optimizer, {"knob": Knob}, seen=12, epochs=4)
        proposals: list[Any] = [event for _, event in run.events(kind="CandidateProposed")]
        found = dict(iter(run.events(kind="CandidateAdded")))
        parents = [(event.strategy, event.parents) for event in proposals]
        values = {seq: run.at(seq).variables["teller/knob"]["value"] for seq in found}
    assert {(strategy, len(seqs)) for strategy, seqs in parents} == {("mutation", 1), ("crossover", 2)}
    assert all(seq in found for _, seqs in parents for seq in seqs)
    for event, (strategy, seqs) in zip(proposals, parents, strict=True):
        proposed = event.fields["value"]
        if strategy == "mutation":
            assert abs(proposed - values[seqs[0]]) == 1
        else:
            assert proposed in {values[seq] for seq in seqs}


def test_without_mutation_and_a_second_candidate_nothing_is_proposed() -> None:
    with fresh_run(0) as run:
        train(near_seven, EvolutionaryOptimizer(), {"knob": Knob}, seen=4, epochs=1)
        assert list(run.events(kind="CandidateProposed")) == []
        assert run.state.variables["teller/knob"]["value"] == 0


def giving(answer: Any, fields: dict[str, Any], rng: Random) -> Any:
    return answer


def test_a_mutation_that_changes_nothing_or_gives_up_proposes_nothing() -> None:
    answers: list[Any] = [None, {}]
    for answer in answers:
        with fresh_run(0) as run:
            optimizer = EvolutionaryOptimizer(mutation=partial(giving, answer))
            train(near_seven, optimizer, {"knob": Knob}, seen=3, epochs=1)
            assert list(run.events(kind="CandidateProposed")) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"selection": "worst"}, "cannot select by 'worst': pass one of softmax, best, random"),
        ({"selection_temperature": 0.0}, "selection_temperature=0.0"),
        ({"merging_rate": -1}, "merging_rate=-1"),
        ({"population_size": 0}, "cannot keep a population of 0"),
        ({"sampling_temperature": 0}, "cannot sample at temperature 0"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        EvolutionaryOptimizer(**arguments)
    assert words in str(caught.value)


def test_its_config_makes_it_again_with_its_mutation() -> None:
    optimizer = EvolutionaryOptimizer(mutation=one_up, selection="best", merging_rate=0.1, name="evolver")
    again = deserialize_object(serialize_object(optimizer))
    assert isinstance(again, EvolutionaryOptimizer)
    assert again.get_config() == optimizer.get_config() and again.mutation is one_up
