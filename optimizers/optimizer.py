"""`Optimizer`: the part of training that proposes values for trainable variables and keeps the good ones.

A subclass says how a new candidate is made (`propose_new_candidates`). Everything else is here: which
variable to work on, what was evaluated together and how well, which combination is best, the population of
each variable. All of it is events and event-sourced variables; nothing is kept on the side, so a run says what
was tried, and resuming or forking a run finds the population as it was.

A *trial* is one combination of candidates, one per variable, evaluated together. Winners are trials, so the
values a training ends with were scored as they stand, never put together from parts that did well apart.

An optimizer of your own, in full (`tests/optimizers/test_hill_climber.py` trains with it):

    class HillClimber(Optimizer):
        '''Changes one word of one variable at a time.'''

        def __init__(self, field, words, name=None, **kwargs):
            super().__init__(name=name, **kwargs)
            self.field, self.words = field, words

        async def propose_new_candidates(self, step, trainable_variables, x, y, y_pred, training=True):
            variable = self.select_variable(step, trainable_variables)
            if variable is None:
                return
            rng = self.random("climb", step, variable)
            text = variable.get(self.field).split()
            text[rng.randrange(len(text))] = rng.choice(self.words)
            self.propose(variable, {self.field: " ".join(text)}, strategy="hill-climbing")

        def get_config(self):
            return {**super().get_config(), "field": self.field, "words": self.words}
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history.population import BOOKKEEPING, candidate_fields, entry_fields, score_names
from eventcore.history.scope import current_run
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.models.naming import auto_name, snake_case
from eventcore.optimizers.candidates import Candidates, part_of, present_part
from eventcore.optimizers.trials import Trial, Trials
from eventcore.replay.randomness import stream
from eventcore.saving.registry import register_class
from eventcore.variables import Variable, name_scope


class OptimizerState(DataModel):
    """What an optimizer remembers."""

    iterations: int = Field(default=0, description="Batches optimized so far.")
    epochs: int = Field(default=0, description="Epochs finished so far.")
    trials: list[Any] = Field(
        default_factory=list, description="Combinations evaluated together, oldest first."
    )
    proposals: dict[str, int] = Field(
        default_factory=dict, description="Proposals made so far, by variable path."
    )
    seeds: dict[str, int] = Field(
        default_factory=dict, description="Seed candidates tried so far, by variable path."
    )


class Optimizer:
    """Base of all optimizers.

    Attributes:
        state: Its variable, None before `compile`.
        tries_in_training: Set by `fit` when nothing is held out: a proposal is tried on the next batch.
        elite: How many of the best trials keep their parts in the population whatever `compete` says; None
            for as many as fit.

    Args:
        population_size: How many candidates of a variable survive an epoch; at least 1.
        sampling_temperature: Temperature of the choice of the variable to work on; above 0.
        name: Its name; None for the class's, numbered.
        description: In words; None for the class's docstring.

    Raises:
        InvalidValue: A size or temperature that cannot be.
    """

    elite: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_class(cls)

    def __init__(
        self,
        population_size: int = 10,
        sampling_temperature: float = 0.3,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        if not isinstance(population_size, int) or population_size < 1:
            raise InvalidValue(
                f"cannot keep a population of {population_size!r}: pass an integer of at least 1"
            )
        if not sampling_temperature > 0:
            raise InvalidValue(
                f"cannot sample at temperature {sampling_temperature!r}: pass a number above 0"
            )
        self.population_size = population_size
        self.sampling_temperature = sampling_temperature
        self.name = name if name is not None else auto_name(snake_case(type(self).__name__))
        lines = (type(self).__doc__ or "").strip().splitlines()
        self.description = description if description is not None else (lines[0] if lines else "")
        self._program: weakref.ref[Any] | None = None
        self.state: Variable | None = None
        self._trials = Trials()
        self._candidates: dict[str, Candidates] = {}
        self.tries_in_training = False
        self._untried = False
        self._starting = False

    # --- what a subclass writes ----------------------------------------------------------------

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Variable],
        x: Sequence[Any],
        y: Sequence[Any] | None,
        y_pred: Sequence[Any],
        training: bool = True,
    ) -> None:
        """Propose new values with `self.propose`. The base proposes nothing: it only scores what is there.

        Args:
            step: Batch of the epoch, from 0.
            trainable_variables: Variables it may propose for, in the program's order.
            x: Inputs of the batch, in order.
            y: Targets of the batch, or None.
            y_pred: Outputs of the batch, None where the example failed.
            training: Always True in `fit`.
        """

    # --- configuration -------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {
            "population_size": self.population_size,
            "sampling_temperature": self.sampling_temperature,
            "name": self.name,
            "description": self.description,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """Make an optimizer from its config."""
        return cls(**config)

    @property
    def program(self) -> Any:
        """The program that is trained, None without one. An optimizer keeps no program alive."""
        return None if self._program is None else self._program()

    def set_program(self, program: Any) -> None:
        """Say which program is trained."""
        self._program = None if program is None else weakref.ref(program)

    def build(self, trainable_variables: Sequence[Variable]) -> None:
        """Declare its state, once."""
        if self.state is None:
            with name_scope(self.name):
                self.state = Variable(
                    OptimizerState().get_json(),
                    OptimizerState,
                    trainable=False,
                    name=f"iterations_{self.name}",
                )
        self.state.adopt()
        self._trials.load(self.state.get_json()["trials"])

    @property
    def variables(self) -> list[Variable]:
        """Its own variables."""
        return [] if self.state is None else [self.state]

    @property
    def trainable_variables(self) -> list[Variable]:
        """Its own variables that are trained with the program; none in the base."""
        return []

    @property
    def iterations(self) -> int:
        """Batches optimized so far."""
        return 0 if self.state is None else int(self.state.peek("iterations"))

    @property
    def epochs(self) -> int:
        """Epochs finished so far."""
        return 0 if self.state is None else int(self.state.peek("epochs"))

    def increment_iterations(self) -> None:
        """Count a batch."""
        self._built().update({"iterations": self.iterations + 1})

    def increment_epochs(self) -> None:
        """Count an epoch."""
        self._built().update({"epochs": self.epochs + 1})

    def _built(self) -> Variable:
        if self.state is None:
            self.build([])
        assert self.state is not None
        return self.state

    # --- tools for subclasses ------------------------------------------------------------------

    def random(self, purpose: str, step: int, variable: Variable | None = None) -> Random:
        """Return the random stream of one purpose at one step: the same in every run with this seed."""
        path = "" if variable is None else variable.path
        return stream(current_run().seed, f"{self.name}/{purpose}", self.epochs, step, path)

    def propose(
        self,
        variable: Variable,
        fields: Mapping[str, Any],
        strategy: str,
        parents: Sequence[int] = (),
        sources: Sequence[str] = (),
    ) -> int:
        """Write proposed fields into a variable, as an event that names what they came from.

        Args:
            variable: The variable.
            fields: Own fields of the variable, or `examples`; the other bookkeeping fields are refused.
            strategy: How they were made, in a word.
            parents: Seqs of the events its parents come from.
            sources: Rollouts whose records went into it.

        Returns:
            Seq of the event.

        Raises:
            SchemaMismatch: A field does not fit; nothing is written then.
        """
        forbidden = sorted(set(fields) & set(BOOKKEEPING) - {"examples"})
        if forbidden:
            raise InvalidValue(
                f"cannot propose {', '.join(forbidden)}: these are bookkeeping; propose own fields"
            )
        seq = variable.record_proposal(dict(fields), strategy, list(parents), list(sources))
        self._untried = True
        count = self._built().peek("proposals").get(variable.path, 0) + 1
        self._built().record_patch(["proposals"], p.SET, [variable.path, count])
        return seq

    def select_variable(self, step: int, trainable_variables: Sequence[Variable]) -> Variable | None:
        """Choose the variable to propose for, None if none has evidence.

        Only variables used in this batch count. One that was never proposed for comes first; else a softmax
        over minus the mean reward favours the variable that does worst.
        """
        seen = [variable for variable in trainable_variables if variable.peek("nb_visit") > 0]
        if not seen:
            return None
        counts = self._built().peek("proposals")
        fresh = [variable for variable in seen if not counts.get(variable.path)]
        rng = self.random("variable", step)
        if fresh:
            return rng.choice(fresh)
        means = [variable.peek("cumulative_reward") / variable.peek("nb_visit") for variable in seen]
        return rng.choices(seen, softmax([-mean for mean in means], self.sampling_temperature))[0]

    def select_variable_name_to_update(self, trainable_variables: Sequence[Variable]) -> str | None:
        """Return the name of the variable `select_variable` chooses for the present iteration."""
        chosen = self.select_variable(self.iterations, trainable_variables)
        return None if chosen is None else chosen.name

    def select_candidate_to_merge(self, step: int, variable: Variable) -> dict[str, Any] | None:
        """Return the fields of a random best candidate, None without any."""
        best = variable.peek("best_candidates")
        if not best:
            return None
        return entry_fields(self.random("merge", step, variable).choice(best), variable.raw_value())

    # --- the steps of training -----------------------------------------------------------------

    async def on_train_begin(self, trainable_variables: Sequence[Variable], reset: bool = False) -> None:
        """Give every variable a seed candidate; with `reset`, forget the population and the trials."""
        self.build(trainable_variables)
        if reset:
            self._built().update({"trials": [], "proposals": {}, "seeds": {}})
            self._trials.load([])
        for variable in trainable_variables:
            value = variable.get_json()
            changes: dict[str, Any] = {}
            if not value["seed_candidates"]:
                changes["seed_candidates"] = [candidate_fields(value)]
                self._built().record_patch(["seeds"], p.SET, [variable.path, 1])
            if reset:
                changes |= {"candidates": [], "best_candidates": [], "history": []}
            if changes:
                variable.update(changes)
        self._starting = not self.was_tried(trainable_variables)

    async def on_epoch_begin(self, epoch: int, trainable_variables: Sequence[Variable]) -> None:
        """Begin an epoch: its predictions start empty."""
        for variable in trainable_variables:
            variable.record_step(e.PredictionsCleared)
            self.candidates(variable).forget()

    async def on_batch_begin(self, step: int, epoch: int, trainable_variables: Sequence[Variable]) -> None:
        """Write the candidates the batch starts from: each seed candidate once, and a kept trial of the rest.

        What a training finds in the variables is tried first of all, unless it was tried before.
        """
        if self._starting or (self.tries_in_training and self._untried):
            self._starting = self._untried = False
            return
        kept = self._trials.kept(self.population_size, self._at_hand(trainable_variables))
        if kept:
            chosen = self.select_trial(kept, self.random("start", step))
            self._place_trial(chosen, trainable_variables, "start of a batch")
        for variable in trainable_variables:
            self._place_seed(variable)

    def seeds_left(self, trainable_variables: Sequence[Variable]) -> bool:
        """Whether a variable has seed candidates that were not tried yet."""
        return any(self._next_seed(variable) is not None for variable in trainable_variables)

    def _next_seed(self, variable: Variable) -> int | None:
        """Return the index of the next seed candidate, in an order derived from the run's seed."""
        count: int = self._built().peek("seeds").get(variable.path, 0)
        order = list(range(len(variable.peek("seed_candidates"))))
        if count >= len(order):
            return None
        stream(current_run().seed, f"{self.name}/seeds", variable.path).shuffle(order)
        return order[count]

    def _place_seed(self, variable: Variable) -> None:
        """Write the next seed candidate, if one is left."""
        index = self._next_seed(variable)
        if index is not None:
            self.candidates(variable).choose("seed_candidates", index, "seed candidate")
            count = self._built().peek("seeds").get(variable.path, 0)
            self._built().record_patch(["seeds"], p.SET, [variable.path, count + 1])

    def select_trial(self, kept: Sequence[Trial], rng: Random) -> Trial:
        """Choose the trial a batch starts from, among the best of them, best first: any, with equal chances."""
        return rng.choice(kept)

    async def maybe_add_candidate(
        self,
        step: int,
        trainable_variable: Variable,
        new_candidate: Mapping[str, Any] | None = None,
        examples: Sequence[Any] | None = None,
        reward: float | None = None,
        count: int = 1,
    ) -> None:
        """Add the variable's present fields as a candidate, or fold the reward into an equal one's mean.

        Args:
            step: Batch of the epoch.
            trainable_variable: The variable.
            new_candidate: Fields to write first; None for those it has.
            examples: Examples to write first; None for those it has.
            reward: Mean reward of this evaluation; None means nothing was evaluated and adds nothing.
            count: Number of rollouts it is the mean of.
        """
        await self.assign_candidate(trainable_variable, new_candidate, examples)
        if reward is None or count < 1:
            return
        self.candidates(trainable_variable).add_present(float(reward), count)

    async def assign_candidate(
        self,
        trainable_variable: Variable,
        new_candidate: Mapping[str, Any] | None = None,
        examples: Sequence[Any] | None = None,
    ) -> None:
        """Merge a candidate's fields, and examples, into a variable; None or empty leaves it as it is."""
        fields = dict(new_candidate or {})
        if examples is not None:
            fields["examples"] = list(examples)
        if fields:
            value = trainable_variable.raw_value()
            trainable_variable.update(entry_fields(fields, value))

    def was_tried(self, trainable_variables: Sequence[Variable]) -> bool:
        """Whether the present combination was ever evaluated."""
        return self._trials.knows(combination(trainable_variables))

    def standing(
        self, trainable_variables: Sequence[Variable]
    ) -> tuple[tuple[tuple[str, str], ...], float | None]:
        """Return (identity of the present combination, its score over the validation set or None)."""
        parts = combination(trainable_variables)
        return tuple(sorted(parts.items())), self._trials.validation(parts)

    async def record_trial(self, trainable_variables: Sequence[Variable], reward: float, count: int) -> None:
        """Remember that the present combination scored `reward` on average over `count` rollouts."""
        index, row = self._trials.add(combination(trainable_variables), reward, count, self.epochs)
        self._store_trial(index, row)

    async def record_validation(
        self, trainable_variables: Sequence[Variable], reward: float, count: int
    ) -> None:
        """Remember the score of the present combination over the whole validation set."""
        index, row = self._trials.validate(combination(trainable_variables), reward, count, self.epochs)
        self._store_trial(index, row)

    def _store_trial(self, index: int, row: dict[str, Any]) -> None:
        stored = self._built().peek("trials")
        if index < len(stored):
            self._built().record_patch(["trials"], p.SET, [index, row])
        else:
            self._built().record_patch(["trials"], p.APPEND, [row])

    async def on_batch_end(self, step: int, epoch: int, trainable_variables: Sequence[Variable]) -> None:
        """Write the best trial so far and count the iteration; a proposal still to be tried stays."""
        if not (self.tries_in_training and self._untried):
            self.write_best(trainable_variables, "best so far")
        self.increment_iterations()

    async def on_validation_begin(self, epoch: int, trainable_variables: Sequence[Variable]) -> None:
        """Write the trial that deserves the full validation set: the most promising one without its score."""
        chosen = self._trials.to_validate(self._at_hand(trainable_variables))
        if chosen is not None:
            self._place_trial(chosen, trainable_variables, "to be validated")

    async def on_epoch_end(self, epoch: int, trainable_variables: Sequence[Variable]) -> None:
        """Choose each variable's population, write the winning combination, remember it in the history."""
        self._untried = False
        best = self.write_best(trainable_variables, f"winner of epoch {epoch}")
        if best is not None:
            self._admit(best, trainable_variables)
        protected = self._trials.kept(self.elite or self.population_size, self._at_hand(trainable_variables))
        for variable in trainable_variables:
            needed = [trial.parts[variable.path] for trial in protected]
            await self._select_population(variable, needed)
        self.increment_epochs()

    async def on_train_end(self, trainable_variables: Sequence[Variable]) -> None:
        """Write the best trial of all."""
        self.write_best(trainable_variables, "winner of the training")

    # --- populations ---------------------------------------------------------------------------

    async def compete(self, variable: Variable, pool: list[dict[str, Any]]) -> list[int]:
        """Return the indexes of the pool that survive, best first; before the cap of `population_size`.

        The parts of the `elite` best trials survive whatever this says.

        Args:
            variable: The variable.
            pool: Its entries: best candidates, then this epoch's candidates.
        """
        reward_name, _ = score_names(variable.raw_value())
        return sorted(range(len(pool)), key=lambda index: -pool[index].get(reward_name, 0.0))

    async def _select_population(self, variable: Variable, needed: list[str]) -> None:
        """Keep what `compete` says, and the parts of the best trials whatever it says."""
        value = variable.get_json()
        pool = [*value["best_candidates"], *value["candidates"]]
        if not pool:
            return
        keys = [part_of(entry_fields(entry, value)) for entry in pool]
        order = await self.compete(variable, pool)
        first = [keys.index(key) for key in dict.fromkeys(needed) if key in keys]
        kept = list(dict.fromkeys([*first, *order]))[: self.population_size]
        kept.sort(key=lambda index: order.index(index) if index in order else len(pool))
        variable.record_step(e.PopulationSelected, kept)
        self.candidates(variable).forget()
        present = part_of(candidate_fields(variable.get_json()))
        if present in keys and keys.index(present) in kept:
            variable.record_step(e.BestRemembered, kept.index(keys.index(present)))

    def _admit(self, winner: Trial, trainable_variables: Sequence[Variable]) -> None:
        """Have a winner that no population holds any more, only the seed candidates, compete for it again."""
        tried = winner.evaluations > 0
        reward = winner.reward if tried else winner.validation or 0.0
        for variable in trainable_variables:
            found = self.candidates(variable).find(winner.parts[variable.path])
            if found is not None and found[0] == "seed_candidates" and _has_population(variable):
                self.candidates(variable).add_present(
                    reward, winner.evaluations if tried else winner.validated
                )

    def write_best(self, trainable_variables: Sequence[Variable], reason: str) -> Trial | None:
        """Write the best trial's parts into the variables, and return it, if there is one."""
        best = self._trials.best(self._at_hand(trainable_variables))
        if best is not None:
            self._place_trial(best, trainable_variables, reason)
        return best

    def _place_trial(self, trial: Trial, trainable_variables: Sequence[Variable], reason: str) -> bool:
        """Write all parts of a trial, or none if a part is gone."""
        places = self._places(trial, trainable_variables)
        for variable, place, index in places or ():
            self.candidates(variable).choose(place, index, reason)
        return places is not None

    def _at_hand(self, trainable_variables: Sequence[Variable]) -> Callable[[Trial], bool]:
        """Return what says whether a trial is one of exactly these variables, with all its parts kept."""
        return lambda trial: self._places(trial, trainable_variables) is not None

    def _places(
        self, trial: Trial, trainable_variables: Sequence[Variable]
    ) -> list[tuple[Variable, str, int]] | None:
        """Return where the parts of a trial lie, None if one is gone or it is a trial of other variables."""
        if len(trial.parts) != len(trainable_variables):
            return None
        places: list[tuple[Variable, str, int]] = []
        for variable in trainable_variables:
            part = trial.parts.get(variable.path)
            found = None if part is None else self.candidates(variable).find(part)
            if found is None:
                return None
            places.append((variable, *found))
        return places

    def candidates(self, variable: Variable) -> Candidates:
        """Return what finds the candidates of a variable."""
        found = self._candidates.get(variable.path)
        if found is None or found.variable is not variable:
            found = self._candidates[variable.path] = Candidates(variable)
        return found


register_class(Optimizer)


def _has_population(variable: Variable) -> bool:
    value = variable.raw_value()
    return bool(value["best_candidates"] or value["candidates"])


def combination(trainable_variables: Sequence[Variable]) -> dict[str, str]:
    """Return the present parts: digest of each variable's candidate, by path."""
    return {variable.path: present_part(variable) for variable in trainable_variables}


def softmax(values: Sequence[float], temperature: float) -> list[float]:
    """Return the probabilities proportional to exp(value / temperature), computed without overflow."""
    largest = max(values)
    weights = [math.exp((value - largest) / temperature) for value in values]
    total = sum(weights)
    return [weight / total for weight in weights]
