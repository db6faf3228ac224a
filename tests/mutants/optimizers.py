"""Optimizers with one bug each, and sound ones beside them.

Most derive from `Climber`, which is sound and knows no field by name.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import eventcore as ec
from eventcore.history import events as e
from eventcore.history.population import candidate_fields, entry_fields
from eventcore.optimizers import OMEGA, EvolutionaryOptimizer, Optimizer, RandomFewShot
from eventcore.saving import register_serializable
from eventcore.testing.fake_model import FakeLanguageModel
from eventcore.testing.module_subject import own_fields
from tests.mutants.registry import Kind

KIND = Kind("optimizer")
mutant, good = KIND.mutant, KIND.good

good(RandomFewShot)


def other(schema: dict[str, Any], rng: Random) -> Any:
    """Another value of a field."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema["type"] == "integer":
        return rng.randint(schema["minimum"], schema["maximum"])
    return f"Variant {rng.randrange(9)}."


@good
class Climber(Optimizer):
    """Changes one field of one variable at a time."""

    def __init__(self, population_size: int = 4, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(population_size=population_size, name=name, **kwargs)

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Any],
        x: Any,
        y: Any,
        y_pred: Any,
        training: bool = True,
    ) -> None:
        """Propose."""
        variable = self.select_variable(step, trainable_variables)
        if variable is not None:
            self.climb(step, variable, self.random("climb", step, variable))

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """Change one field."""
        field = rng.choice(own_fields(variable))
        self.propose(variable, {field: other(variable.get_schema()["properties"][field], rng)}, "climbing")


@good
class Evolver(EvolutionaryOptimizer):
    """Evolves with a mutation of its own, which a subclass needs no function for."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(population_size=3, merging_rate=0.3, name=name)

    async def mutate_candidate(
        self, step: int, variable: Any, selected: Any, x: Any, y: Any, y_pred: Any, rng: Random
    ) -> Any:
        """Mutate."""
        field = rng.choice(own_fields(variable))
        return {field: other(variable.get_schema()["properties"][field], rng)}

    def get_config(self) -> dict[str, Any]:
        """Only its name."""
        return {"name": self.name}


@register_serializable()
def vectors(texts: list[str]) -> list[list[float]]:
    """Embeddings."""
    return [[float(len(text) % 7), float(sum(map(ord, text)) % 11), 1.0] for text in texts]


@good
def omega() -> Any:
    """OMEGA with a model made up."""
    return OMEGA(
        language_model=FakeLanguageModel(name="fake"),
        embedding_model=ec.EmbeddingModel(function=vectors, name="vectors"),
        population_size=3,
        name="omega",
    )


# --- nothing at all ---------------------------------------------------------------------------------


@mutant("joint_choice")
class ProposesNothing(Climber):
    """Waits for evidence of variables by a name they do not have, and so proposes nothing, ever."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """If it is the one."""
        if variable.path == "advice":
            super().climb(step, variable, rng)


@mutant("resumes_at_every_event")
class ProposesWhatIsThere(Climber):
    """Proposes the value a variable has."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """Once more."""
        field = rng.choice(own_fields(variable))
        self.propose(variable, {field: variable.get(field)}, "climbing")


# --- winners ---------------------------------------------------------------------------------------


@mutant("never_worse_than_the_best")
class LastWins(Climber):
    """Leaves what was proposed last."""

    def write_best(self, trainable_variables: Sequence[Any], reason: str) -> None:
        """Do not."""


@mutant("never_worse_than_the_best")
class BelievesSmallSamples(Climber):
    """Ignores what the whole validation set says, and believes small samples."""

    async def record_validation(self, trainable_variables: Sequence[Any], reward: float, count: int) -> None:
        """Forget it."""


@mutant("never_worse_than_the_best", "joint_choice")
class LikesTheWorst(Climber):
    """Sorts in the wrong direction."""

    async def record_validation(self, trainable_variables: Sequence[Any], reward: float, count: int) -> None:
        """Upside down."""
        await super().record_validation(trainable_variables, -reward, count)


@mutant("joint_choice")
class EachAlone(Climber):
    """Every variable takes its own best candidate."""

    def write_best(self, trainable_variables: Sequence[Any], reason: str) -> None:
        """One by one."""
        for variable in trainable_variables:
            pool = [*variable.get_json()["best_candidates"], *variable.get_json()["candidates"]]
            if pool:
                best = max(pool, key=lambda entry: entry["reward"])
                variable.update(entry_fields(best, variable.get_json()))


@mutant("joint_choice", "never_worse_than_the_best")
class OneLastMutation(Climber):
    """Changes the winner once more at the end."""

    async def on_train_end(self, trainable_variables: Sequence[Any]) -> None:
        """Once more."""
        await super().on_train_end(trainable_variables)
        for variable in trainable_variables:
            self.climb(999, variable, Random(7))


@mutant("bad_rewards_never_win", "never_worse_than_the_best", "joint_choice")
class KeepsWhatHasNoScore(Climber):
    """Leaves values alone that were never scored, as if that were a reason to keep them."""

    def write_best(self, trainable_variables: Sequence[Any], reason: str) -> None:
        """Unless untried."""
        if self.was_tried(trainable_variables):
            super().write_best(trainable_variables, reason)

    async def on_validation_begin(self, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """Validate what is there."""


# --- populations -----------------------------------------------------------------------------------


@mutant("population_is_capped")
class NeverSelects(Climber):
    """Forgets to choose a population: candidates pile up."""

    async def on_epoch_end(self, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """Only count."""
        self.write_best(trainable_variables, "winner")
        self.increment_epochs()


@mutant("population_is_capped")
class KeepsEverybody(Climber):
    """Keeps all candidates, whatever the size of the population."""

    async def on_epoch_end(self, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """All of them."""
        size, self.population_size = self.population_size, 10_000
        await super().on_epoch_end(epoch, trainable_variables)
        self.population_size = size


@mutant("population_is_capped")
class OneTooMany(Climber):
    """Off by one."""

    async def on_epoch_end(self, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """One more."""
        self.population_size += 1
        await super().on_epoch_end(epoch, trainable_variables)
        self.population_size -= 1


@mutant("population_is_capped")
class CountsTwins(Climber):
    """Adds a candidate anew each time it is evaluated."""

    async def maybe_add_candidate(self, step: int, trainable_variable: Any, *rest: Any, **named: Any) -> None:
        """Always new."""
        trainable_variable.record_step(e.CandidateAdded, float(named["reward"]), named["count"], -1)


@mutant("history_only_grows")
class SortsHistory(Climber):
    """Keeps its history sorted by reward."""

    async def on_epoch_end(self, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """Sorted."""
        await super().on_epoch_end(epoch, trainable_variables)
        for variable in trainable_variables:
            history = variable.get_json()["history"]
            variable.update(
                {"history": sorted(history, key=lambda entry: json.dumps(entry), reverse=epoch % 2 == 0)}
            )


@mutant("history_only_grows")
class RemembersTheLastOnly(Climber):
    """Keeps one entry of history."""

    async def on_epoch_end(self, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """One."""
        await super().on_epoch_end(epoch, trainable_variables)
        for variable in trainable_variables:
            variable.update({"history": [candidate_fields(variable.get_json())]})
            if epoch > 1:
                variable.update({"history": []})


@mutant("history_only_grows")
class RemembersEveryEpoch(Climber):
    """Writes an entry of history for an epoch that changed nothing."""

    async def on_epoch_end(self, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """Again."""
        await super().on_epoch_end(epoch, trainable_variables)
        for variable in trainable_variables:
            variable.get("history").append(dict(variable.get_json()["history"][-1]))


# --- counting and going on -------------------------------------------------------------------------


@mutant("counts_its_steps")
class ForgetsEpochs(Climber):
    """Overrides the end of an epoch and forgets to count it."""

    def increment_epochs(self) -> None:
        """Forget."""


@mutant("counts_its_steps")
class CountsTwice(Climber):
    """Counts a batch in two hooks."""

    async def on_batch_begin(self, step: int, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """One."""
        self.increment_iterations()
        await super().on_batch_begin(step, epoch, trainable_variables)


@mutant("second_fit_continues")
class BeginsAnew(Climber):
    """Empties the population at the beginning of every training."""

    async def on_train_begin(self, trainable_variables: Sequence[Any], reset: bool = False) -> None:
        """Anew."""
        await super().on_train_begin(trainable_variables, reset=True)


@mutant("second_fit_continues")
class CountsFromZero(Climber):
    """Sets its counter of epochs back at the beginning of every training."""

    async def on_train_begin(self, trainable_variables: Sequence[Any], reset: bool = False) -> None:
        """From zero."""
        await super().on_train_begin(trainable_variables, reset)
        assert self.state is not None
        self.state.update({"epochs": 0})


@mutant("state_survives_saving")
class CountsOnItself(Climber):
    """Counts in an attribute."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counted = 0

    @property
    def iterations(self) -> int:
        """From the attribute."""
        return self.counted

    def increment_iterations(self) -> None:
        """In the attribute."""
        self.counted += 1


@mutant("config_round_trip")
class ForgetsItsSize(Climber):
    """Leaves the size of the population out of its config."""

    def __init__(self, population_size: int = 4, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(population_size=population_size, name=name, **kwargs)
        self.population_size += 3

    def get_config(self) -> dict[str, Any]:
        """With what it made of the argument."""
        return super().get_config()


@mutant("config_round_trip")
class ForgetsTheTemperature(Climber):
    """A default in the constructor that the config overrides with nothing."""

    def __init__(self, name: str | None = None, description: str | None = None) -> None:
        super().__init__(population_size=4, name=name)
        self.description = f"A climber, {description or 'plain'}."

    def get_config(self) -> dict[str, Any]:
        """The description grows."""
        return {"name": self.name, "description": self.description}


# --- determinism -----------------------------------------------------------------------------------


@mutant("same_seed_same_run")
class GlobalRandom(Climber):
    """Draws from the global random numbers."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """Global."""
        super().climb(step, variable, Random(random.random()))


@mutant("same_seed_same_run")
class SeededByTheClock(Climber):
    """Seeds its random numbers with the time."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """By the clock."""
        super().climb(step, variable, Random(int(time.time()) // 3600))


_count = [0]


@mutant("same_seed_same_run")
class CountsInTheModule(Climber):
    """Numbers its proposals in a global of the module, which the training before has left where it stopped."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """The next."""
        _count[0] += 1
        super().climb(step, variable, Random(_count[0]))


@mutant("hash_seed_independence")
class OrdersByHash(Climber):
    """Chooses from a set."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """From a set."""
        field = next(iter({f"{name}" for name in own_fields(variable)}))
        self.propose(variable, {field: other(variable.get_schema()["properties"][field], rng)}, "climbing")


@mutant("hash_seed_independence")
class SeededByHash(Climber):
    """Seeds its random numbers with the hash of a path."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """By hash."""
        super().climb(step, variable, Random(hash((variable.path, step))))


@mutant("latency_independence")
class FirstCome(Climber):
    """Learns from the example that finished last."""

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Any],
        x: Any,
        y: Any,
        y_pred: Any,
        training: bool = True,
    ) -> None:
        """The last one in the log."""
        for variable in trainable_variables:
            records = list(variable.run.events(kind="PredictionAppended", variable=variable))
            self.propose(variable, {"examples": [records[-1].event.record]}, "last")


@mutant("latency_independence")
class CountsCalls(Climber):
    """Seeds its random numbers with the seq of whatever is in the log."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """By what came last."""
        last = [r.event.rollout for r in variable.run.events(kind="FieldRead") if r.event.rollout][-1]
        super().climb(step, variable, Random(str(last)))


# --- what it writes --------------------------------------------------------------------------------


@mutant("only_trainable_variables_touched")
class WritesFrozenOnes(Climber):
    """Asks the program for its variables, frozen ones and all."""

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Any],
        x: Any,
        y: Any,
        y_pred: Any,
        training: bool = True,
    ) -> None:
        """All that could be."""
        for variable in self.program.variables:
            if variable.eligible:
                self.climb(step, variable, self.random("climb", step, variable))


@mutant("only_trainable_variables_touched")
class ResetsCounters(Climber):
    """Sets the program's counters back between batches."""

    async def on_batch_begin(self, step: int, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """To nothing."""
        await super().on_batch_begin(step, epoch, trainable_variables)
        self.program.get_variable(name="asked").update({"count": 0})


class Diary(ec.DataModel):
    """All there ever was."""

    entries: list[Any] = []  # noqa: RUF012


@mutant("cost_is_linear")
class KeepsADiary(Climber):
    """Writes its whole diary again at every batch."""

    diary: Any = None

    def build(self, trainable_variables: Sequence[Any]) -> None:
        """With a diary."""
        super().build(trainable_variables)
        if self.diary is None:
            self.diary = ec.Variable(data_model=Diary, trainable=False, name="diary")

    async def on_batch_end(self, step: int, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """Everything again."""
        await super().on_batch_end(step, epoch, trainable_variables)
        entries = self.diary.get_json()["entries"]
        self.diary.update({"entries": [*entries, {"step": step, "text": "what happened " * 8}]})


@mutant("cost_is_linear")
class ProposesAllRecords(Climber):
    """Proposes all predictions so far as examples."""

    def climb(self, step: int, variable: Any, rng: Random) -> None:
        """All of them."""
        self.propose(variable, {"examples": variable.get_json()["predictions"]}, "everything")


@mutant("cost_is_linear")
class ReadsEverythingAgain(Climber):
    """Reads every record of the epoch through recorded reads, at every batch."""

    async def on_batch_end(self, step: int, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """Each again."""
        await super().on_batch_end(step, epoch, trainable_variables)
        for variable in trainable_variables:
            for place in range(len(variable.peek("predictions"))):
                variable.get("predictions")[place].get("reward")
