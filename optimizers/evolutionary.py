"""`EvolutionaryOptimizer`: mutation of one candidate, crossover of two, selection by reward."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history.population import BOOKKEEPING, candidate_fields, entry_fields, score_names
from eventcore.optimizers.candidates import part_of
from eventcore.optimizers.optimizer import Optimizer, softmax
from eventcore.optimizers.trials import Trial
from eventcore.variables import Variable

SELECTIONS = ("softmax", "best", "random")

ATTEMPTS = 8
"""Draws of a child before one that was tried already is taken."""

Mutation = Callable[..., Any]
"""f(fields, rng) -> fields: changes a candidate's own fields; plain or async."""


class EvolutionaryOptimizer(Optimizer):
    """Evolves candidates: crossover takes each field from one of two parents, mutation is the user's function.

    Usable as it is, without a model. A subclass may override `mutate_candidate` and `merge_candidate`.

    Args:
        mutation: `f(fields, rng)` returns the fields to change; plain or async. None: only crossover happens.
        selection: How parents are chosen: "softmax" by reward, "best" or "random".
        selection_temperature: Temperature of that softmax; above 0.
        merging_rate: Crossover becomes likelier by this much with every epoch; 0 or more.
        population_size: How many candidates of a variable survive an epoch.
        sampling_temperature: Temperature of the choice of the variable.
        name: Its name.
        description: In words.

    Raises:
        InvalidValue: An argument that cannot be.
    """

    def __init__(
        self,
        mutation: Mutation | None = None,
        selection: str = "softmax",
        selection_temperature: float = 0.3,
        merging_rate: float = 0.02,
        population_size: int = 10,
        sampling_temperature: float = 0.3,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(population_size, sampling_temperature, name, description)
        if selection not in SELECTIONS:
            raise InvalidValue(f"cannot select by {selection!r}: pass one of {', '.join(SELECTIONS)}")
        if not selection_temperature > 0 or merging_rate < 0:
            raise InvalidValue(
                f"cannot evolve with selection_temperature={selection_temperature!r}, merging_rate={merging_rate!r}: "
                "pass a temperature above 0 and a rate of 0 or more"
            )
        self.mutation = mutation
        self.selection = selection
        self.selection_temperature = selection_temperature
        self.merging_rate = merging_rate

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {
            "mutation": self.mutation,
            "selection": self.selection,
            "selection_temperature": self.selection_temperature,
            "merging_rate": self.merging_rate,
            **super().get_config(),
        }

    def select_candidate(
        self, candidates: Sequence[dict[str, Any]], rng: Random, variable: Variable
    ) -> int | None:
        """Return the index of a parent among scored candidates, None for an empty list."""
        if not candidates:
            return None
        name, _ = score_names(variable.raw_value())
        return self._select([entry.get(name) or 0.0 for entry in candidates], rng)

    def select_trial(self, kept: Sequence[Trial], rng: Random) -> Trial:
        """Choose the trial a batch starts from, which is the parent of what is proposed in it."""
        return kept[self._select([self._trials.score(trial) for trial in kept], rng)]

    def _select(self, scores: Sequence[float], rng: Random) -> int:
        if self.selection == "random":
            return rng.randrange(len(scores))
        if self.selection == "best":
            return max(range(len(scores)), key=lambda index: scores[index])
        return rng.choices(range(len(scores)), softmax(scores, self.selection_temperature))[0]

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Variable],
        x: Sequence[Any],
        y: Sequence[Any] | None,
        y_pred: Sequence[Any],
        training: bool = True,
    ) -> None:
        """Mutate what the batch ran with, or cross it with another candidate, for one variable."""
        variable = self.select_variable(step, trainable_variables)
        if variable is None:
            return
        rng = self.random("evolve", step, variable)
        value = variable.raw_value()
        pool = [*value["best_candidates"], *value["candidates"]]
        parents = [self._parent(variable, pool, rng)]
        others = [entry for entry in pool if part_of(entry_fields(entry, value)) != part_of(parents[0])]
        crossing = rng.random() <= min(1.0, self.merging_rate * self.epochs) or not self.can_mutate()
        if others and crossing:
            second = self.select_candidate(others, rng, variable)
            assert second is not None
            parents.append(entry_fields(others[second], value))
            fields = await self.merge_candidate(step, variable, parents[0], parents[1], x, y, y_pred, rng)
        elif self.can_mutate():
            fields = await self.mutate_candidate(step, variable, parents[0], x, y, y_pred, rng)
        else:
            return
        if fields:
            origins = [self.candidates(variable).origin(parent) for parent in parents]
            strategy = "mutation" if len(parents) == 1 else "crossover"
            self.propose(variable, {**parents[0], **fields}, strategy, [seq for seq in origins if seq])

    def _parent(self, variable: Variable, pool: Sequence[dict[str, Any]], rng: Random) -> dict[str, Any]:
        """Return the fields the batch ran with; where those are a proposal being tried, of a selected candidate."""
        value = variable.raw_value()
        chosen = self.select_candidate(pool, rng, variable) if self.tries_in_training else None
        return candidate_fields(value) if chosen is None else entry_fields(pool[chosen], value)

    def can_mutate(self) -> bool:
        """Whether `mutate_candidate` has something to go by."""
        return (
            self.mutation is not None
            or type(self).mutate_candidate is not EvolutionaryOptimizer.mutate_candidate
        )

    async def mutate_candidate(
        self,
        step: int,
        variable: Variable,
        selected: dict[str, Any],
        x: Sequence[Any],
        y: Sequence[Any] | None,
        y_pred: Sequence[Any],
        rng: Random,
    ) -> dict[str, Any] | None:
        """Return the changed own fields of a parent, None for no change."""
        if self.mutation is None:
            return None
        own = {name: item for name, item in selected.items() if name not in BOOKKEEPING}
        changed = self.mutation(own, rng)
        if inspect.isawaitable(changed):
            changed = await changed
        return changed if isinstance(changed, dict) else None

    async def merge_candidate(
        self,
        step: int,
        variable: Variable,
        current: dict[str, Any],
        other: dict[str, Any],
        x: Sequence[Any],
        y: Sequence[Any] | None,
        y_pred: Sequence[Any],
        rng: Random,
    ) -> dict[str, Any] | None:
        """Return a child that has each field from one of two parents, one not tried before if that is easily found."""
        child: dict[str, Any] = {}
        for _ in range(ATTEMPTS):
            child = {
                name: (current if rng.random() < 0.5 else other).get(name, item)
                for name, item in current.items()
            }
            if self.candidates(variable).find(part_of(child)) is None:
                break
        return child
