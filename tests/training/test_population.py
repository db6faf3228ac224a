"""What a training leaves behind: candidates and their means, the history, and one state however it is come by."""

from __future__ import annotations

import asyncio
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore import optimizers
from eventcore.history.events import AnyEvent
from eventcore.history.scope import process_scope
from eventcore.history.state import apply
from tests.training.programs import Answer, Echo, Question, Speaker, program_of


@pytest.fixture(autouse=True)
def run() -> Iterator[Any]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("population", seed=1) as run:
        yield run


def questions(count: int) -> tuple[list[Question], list[Answer]]:
    return [Question(key=str(n)) for n in range(count)], [Answer(key=str(n)) for n in range(count)]


def events(run: Any, kind: str, variable: Any = None) -> list[Any]:
    return list(run.events(kind=kind, variable=variable))


class Words(optimizers.Optimizer):
    """Proposes the next of some words at every step."""

    def __init__(self, words: Any = ("a", "b", "c"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = list(words)

    async def propose_new_candidates(
        self, step: int, trainable_variables: Any, x: Any, y: Any, y_pred: Any, training: bool = True
    ) -> None:
        """Propose."""
        for variable in trainable_variables:
            self.propose(variable, {"word": self.words[self.iterations % len(self.words)]}, "next word")

    def get_config(self) -> dict[str, Any]:
        """Words too."""
        return {**super().get_config(), "words": self.words}


def noise(*parts: Any) -> float:
    """A number from 0 to 1 that depends on nothing else."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


async def noisy(y_true: Any, y_pred: Any) -> float:
    """What a word is worth for one example."""
    return noise(y_true.get("key"), y_pred.get("key"))


def test_a_candidates_score_is_the_mean_over_all_rollouts_it_ever_had() -> None:
    """L5: against the rewards in the log, word by word, whatever the order."""
    x, y = questions(20)
    program = program_of(Speaker(name="speaker"))
    program.compile(reward=noisy, optimizer=Words())
    ec.wait(program.fit(x, y, batch_size=2, epochs=3, validation_split=0.5, minibatch_size=3, verbose=0))
    variable = program.trainable_variables[0]
    run = variable.run
    by_word: dict[str, list[float]] = defaultdict(list)
    word, evaluated = "start", None
    for record in run.events():
        event: Any = record.event
        kind = type(event).__name__
        if kind == "CandidateProposed":
            word = event.fields["word"]
        elif kind == "CandidateChosen":
            word = run.at(record.seq).variables[variable.path]["word"]
        elif kind == "RolloutsScored" and event.phase in ("training", "minibatch"):
            evaluated = (word, [reward for _, reward in event.rewards])
        elif kind == "CandidateAdded":
            # a batch is counted after it was proposed on, the sample at once: both as the variable stood then
            assert evaluated is not None
            assert evaluated[0] == word
            by_word[word] += evaluated[1]
    kept = {entry["word"]: entry for entry in variable.get_json()["best_candidates"]}
    assert set(kept) == set(by_word) == {"start", "a", "b", "c"}
    for name, rewards in by_word.items():
        assert kept[name]["evaluations"] == len(rewards)
        assert kept[name]["reward"] == pytest.approx(statistics.fmean(rewards))


def test_few_shot_examples_make_a_candidate_of_their_own() -> None:
    """L5: candidates that differ in examples alone are kept apart."""
    x, y = questions(12)
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer=optimizers.RandomFewShot(nb_max_examples=2))
    ec.wait(program.fit(x, y, batch_size=2, validation_split=0.25, verbose=0))
    best = program.trainable_variables[0].get_json()["best_candidates"]
    assert {entry["word"] for entry in best} == {"start"}
    sets = [[record["inputs"]["key"] for record in entry["examples"]] for entry in best]
    assert len(sets) == len({tuple(keys) for keys in sets}) > 2


def test_the_population_event_names_entries_of_best_candidates_and_then_candidates(run: Any) -> None:
    x, y = questions(20)
    program = program_of(Speaker(name="speaker"))
    program.compile(reward=noisy, optimizer=Words(words="abcdefg", population_size=3))
    ec.wait(program.fit(x, y, batch_size=4, epochs=3, validation_split=0.2, verbose=0))
    variable = program.trainable_variables[0]
    chosen = events(run, "PopulationSelected", variable)
    assert len(chosen) == 3
    for record in chosen:
        before = run.at(record.seq - 1).variables[variable.path]
        after = run.at(record.seq).variables[variable.path]
        pool = [*before["best_candidates"], *before["candidates"]]
        assert after["best_candidates"] == [pool[index] for index in record.event.kept]
        assert after["candidates"] == []
        rewards = [entry["reward"] for entry in after["best_candidates"]]
        assert rewards == sorted(rewards, reverse=True)
        assert len(rewards) <= 3


class Odd(ec.Trainable):
    """Own fields that are called like bookkeeping, and like keys of entries."""

    reward: float = ec.Field(default=0.5, description="Own.")
    evaluations: int = ec.Field(default=3, description="Own.")
    example: str = ec.Field(default="x", description="Own.")
    prediction_2: str = ec.Field(default="y", description="Own.")


class Telling(ec.Module):
    """Answers with its own field `reward`."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(Odd().get_json(), Odd, name="odd")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Tell."""
        if training:
            self.state.get("current_predictions").append({"inputs": {}, "outputs": {}, "reward": None})
        return Answer(key=str(self.state.get("reward")))


def test_own_fields_called_reward_evaluations_or_example_survive_selection() -> None:
    """L12."""

    def mutated(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
        value = round(rng.random(), 3)
        return {"reward": value, "example": f"made for {value}"}

    async def reward(y_true: Any, y_pred: Any) -> float:
        return float(y_pred.get("key"))

    program = program_of(Telling(name="telling"))
    program.compile(
        reward=reward, optimizer=optimizers.EvolutionaryOptimizer(mutation=mutated, merging_rate=0.0)
    )
    ec.wait(program.fit(*questions(24), batch_size=4, epochs=4, validation_split=0.25, verbose=0))
    value = program.trainable_variables[0].get_json()
    for entry in value["best_candidates"]:
        assert entry["reward"] == entry["reward_1"]
        assert entry["evaluations"] == 3
        assert entry["evaluations_1"] >= 4
        assert entry["prediction_2"] == "y"
        assert entry["example"] == ("x" if entry["reward"] == 0.5 else f"made for {entry['reward']}")
    assert value["reward"] == max(entry["reward"] for entry in value["best_candidates"])
    assert value["history"][-1]["example"] == value["example"]


def test_the_history_is_the_sequence_of_winners_without_repetition(run: Any) -> None:
    """L11."""
    x, y = questions(20)
    program = program_of(Speaker(name="speaker"))
    program.compile(reward=noisy, optimizer=Words(words="abcdefg"))
    ec.wait(program.fit(x, y, batch_size=4, epochs=5, validation_split=0.2, verbose=0))
    variable = program.trainable_variables[0]
    ends = [record.seq for record in events(run, "EpochEnded")]
    winners = [run.at(seq).variables[variable.path]["word"] for seq in ends]
    held = [entry["word"] for entry in variable.get_json()["history"]]
    assert held == [word for place, word in enumerate(winners) if place == 0 or winners[place - 1] != word]


def test_a_variable_frozen_between_epochs_is_left_alone_from_then_on(run: Any) -> None:
    first, second = Echo(name="first"), Echo(name="second")
    x = ec.Input(data_model=Question)
    program = ec.Program(inputs=x, outputs=[ec.wait(first(x)), ec.wait(second(x))], name="both")
    program.compile(reward=["exact_match", "exact_match"], optimizer="random_few_shot")

    class Freezing(ec.callbacks.Callback):
        """Freezes after the first epoch."""

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            """Freeze."""
            first.trainable = False

    x_train, y_train = questions(12)
    targets = [[answer, answer] for answer in y_train]
    ec.wait(program.fit(x_train, targets, batch_size=4, epochs=3, verbose=0, callbacks=[Freezing()]))
    (frozen,) = [r.seq for r in events(run, "TrainabilityChanged", first.state) if not r.event.trainable]
    later = {type(r.event).__name__ for r in run.events(frozen, variable=first.state)}
    assert later == {"TrainabilityChanged", "FieldRead", "PredictionAppended", "PredictionsClosed"}
    assert "CandidateAdded" in {type(r.event).__name__ for r in run.events(frozen, variable=second.state)}


def test_after_freezing_and_thawing_the_final_values_were_evaluated_together() -> None:
    """L7, when the trainable variables are others than those of the first fit."""
    first, second = Speaker(name="first"), Speaker(name="second")
    x = ec.Input(data_model=Question)
    program = ec.Program(inputs=x, outputs=[ec.wait(first(x)), ec.wait(second(x))], name="both")

    async def reward(y_true: Any, y_pred: Any) -> float:
        return noise(y_pred.get("key")) / 2

    program.compile(reward=[reward, reward], optimizer=Words(words="abcdefg"))
    x_train, y_train = questions(20)
    targets = [[answer, answer] for answer in y_train]
    for trainable in (False, True):
        first.trainable = trainable
        ec.wait(program.fit(x_train, targets, batch_size=4, validation_split=0.25, verbose=0))
    run = first.state.run
    tried = set()
    for record in run.events():
        if type(record.event).__name__ == "RolloutsScored":
            state = run.at(record.seq).variables
            tried.add((state[first.state.path]["word"], state[second.state.path]["word"]))
    assert (first.state.get_json()["word"], second.state.get_json()["word"]) in tried


def test_proposals_evaluations_and_choices_point_at_the_batch_or_epoch_that_caused_them(run: Any) -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    ec.wait(program.fit(*questions(20), batch_size=4, epochs=2, validation_split=0.2, verbose=0))
    kinds = {record.seq: type(record.event).__name__ for record in run.events()}
    causes: dict[str, set[str]] = defaultdict(set)
    for record in run.events():
        causes[kinds[record.seq]].add(kinds.get(record.event.cause, "nothing"))
    for kind in (
        "CandidateProposed",
        "CandidateAdded",
        "RewardsAttributed",
        "BatchEnded",
        "PredictionAppended",
    ):
        assert causes[kind] == {"BatchBegan"}, kind
    for kind in ("PopulationSelected", "BestRemembered", "PredictionsCleared", "BatchBegan", "EpochEnded"):
        assert causes[kind] == {"EpochBegan"}, kind
    assert causes["EpochBegan"] == causes["TrainEnded"] == {"TrainBegan"}
    for record in events(run, "CandidateProposed"):
        rewarded = {r for e in events(run, "RewardsAttributed") for r, _ in e.event.rewards}
        assert set(record.event.sources) <= rewarded


def test_a_rollout_is_named_by_phase_epoch_example_and_ordinal_whatever_the_batch_size() -> None:
    def names(batch_size: int) -> set[str]:
        ec.clear_session()
        with ec.open("memory:") as store, store.run("named", seed=3) as run:
            program = program_of(Echo(name="echo"))
            program.compile(reward="exact_match", optimizer="random_few_shot")
            x, y = questions(6)
            ec.wait(program.fit([*x, x[0]], [*y, y[0]], batch_size=batch_size, validation_split=0, verbose=0))
            return {name for record in events(run, "RolloutsScored") for name, _ in record.event.rewards}

    assert names(1) == names(3) == names(7)
    assert len(names(2)) == 7


class Lost(ec.Module):
    """Appends its records where the example is not known any more."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.own = Speaker(name="own")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Append from a thread of an executor."""
        record: dict[str, Any] = {"inputs": {}, "outputs": {}, "reward": None}
        records = self.own.state.get("current_predictions")
        if training:
            await asyncio.get_running_loop().run_in_executor(None, lambda: records.append(record))
        return await self.own(inputs, training=False)


@pytest.mark.parametrize("current", ["the training's", "none"])
def test_a_record_appended_outside_any_example_is_closed_and_said(
    run: Any, current: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The thread is outside the block too, so the process's run is current there, and not what other tests left.
    monkeypatch.setattr(process_scope, "run", None if current == "none" else run)
    program = program_of(Lost(name="lost"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    with pytest.warns(UserWarning, match=r"outside any example .* use asyncio\.to_thread"):
        ec.wait(program.fit(*questions(6), batch_size=3, validation_split=0, verbose=0, max_concurrency=1))
    variable = program.trainable_variables[0]
    assert variable.get_json()["predictions"] == variable.get_json()["current_predictions"] == []


# --- the fold ----------------------------------------------------------------------------------

TRAINING_KINDS = {
    "DataSetSeen", "TrainBegan", "TrainEnded", "EpochBegan", "EpochEnded", "BatchBegan", "BatchEnded", "RolloutFailed",
    "RolloutsScored", "RewardsAttributed", "PredictionsArchived", "PredictionsClosed", "PredictionsCleared",
    "CandidateProposed", "CandidateAdded", "PopulationSelected", "CandidateChosen", "BestRemembered",
}  # fmt: skip
seen_kinds: set[str] = set()

trainings = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(["few-shot", "evolution", "words"]),
        "seed": st.integers(0, 5),
        "batch_size": st.integers(1, 5),
        "epochs": st.integers(1, 3),
        "validation_split": st.sampled_from([0, 0.25]),
        "minibatch_size": st.sampled_from([None, 1, 3]),
        "validation_freq": st.sampled_from([1, 2]),
        "reset": st.booleans(),
        "fits": st.integers(1, 2),
        "freeze": st.booleans(),
    }
)
examples = st.lists(
    st.builds(
        Question, key=st.integers(0, 6).map(str), uses=st.integers(0, 2), turns=st.integers(0, 3),
        fails=st.sampled_from([False, False, False, True]),
    ),
    min_size=8,
    max_size=14,
)  # fmt: skip


def optimizer_of(kind: str) -> Any:
    if kind == "few-shot":
        return optimizers.RandomFewShot(nb_min_examples=0, population_size=3)
    if kind == "words":
        return Words(population_size=2)
    return optimizers.EvolutionaryOptimizer(
        mutation=lambda fields, rng: {"word": fields["word"] + rng.choice("xy")}, merging_rate=0.5
    )


def train(plan: dict[str, Any], x: list[Question]) -> Any:
    """Train as planned; a training in which all fail is a training too."""
    question = ec.Input(data_model=Question)
    echo, speaker = Echo(name="echo"), Speaker(name="speaker")
    program = ec.Program(
        inputs=question, outputs=[ec.wait(echo(question)), ec.wait(speaker(question))], name="law"
    )

    async def reward(y_true: Any, y_pred: Any) -> float:
        return noise(y_true.get("key"), y_pred.get("key"))

    program.compile(reward=[reward, reward], optimizer=optimizer_of(plan["optimizer"]), metrics=["f1_score"])
    names = ("batch_size", "epochs", "validation_split", "minibatch_size", "validation_freq")
    targets = [[Answer(key=q.key), Answer(key=q.key)] for q in x]
    for number in range(plan["fits"]):
        echo.trainable = not (plan["freeze"] and number == 0)
        try:
            ec.wait(
                program.fit(
                    x, targets, verbose=0, reset=plan["reset"], **{name: plan[name] for name in names}
                )
            )
        except ec.errors.TrainingFailed:
            pass
    return program


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=trainings, x=examples)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_live_fold_and_snapshot_with_tail_are_one_state_after_any_training(
    plan: dict[str, Any], x: list[Question]
) -> None:
    """I1 and I2; the same training again is the same state."""
    digests = []
    for _ in range(2):
        ec.clear_session()
        with ec.open("memory:") as store, store.run("law", seed=plan["seed"]) as run:
            train(plan, x)
            run.flush()
            live = run.state.digest
            digests.append(live)
            assert run.at(run.head).digest == live
            middle = run.head // 2
            part = run.at(middle)
            seen_kinds.update(type(record.event).__name__ for record in run.events())
            for record in run.events(middle + 1):
                apply(part, record.event)
            assert part.digest == live
            assert store.verify() == []
    assert digests[0] == digests[1]


def test_the_law_has_met_every_event_of_training() -> None:
    """Runs after the law: an event it never met would be held by nothing."""
    known = {cls.__name__ for cls in AnyEvent.__args__}
    assert known >= TRAINING_KINDS
    if seen_kinds:
        assert TRAINING_KINDS - seen_kinds == set()


@pytest.mark.parametrize("form", ["runs.lmdb", "runs.db"])
def test_a_training_read_from_the_disk_is_the_state_it_had(form: str, tmp_path: Path) -> None:
    ec.clear_session()
    with ec.open(tmp_path / form) as store, store.run("trained", seed=1) as run:
        program = program_of(Echo(name="echo"))
        program.compile(reward="exact_match", optimizer="random_few_shot", metrics=["accuracy"])
        ec.wait(program.fit(*questions(60), batch_size=4, epochs=3, validation_split=0.2, verbose=0))
        live = run.state.digest
        marks = {record.seq: run.at(record.seq).digest for record in events(run, "EpochEnded")}
    with ec.open(tmp_path / form, read_only=True) as store:
        opened = store["trained"]
        assert opened.at(opened.head).digest == live
        assert {seq: opened.at(seq).digest for seq in marks} == marks
        assert store.verify() == []
