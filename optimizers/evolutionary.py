"""`EvolutionaryOptimizer`: mutation of one candidate, crossover of two, selection by reward."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history.population import BOOKKEEPING, candidate_fields, entry_fields, score_names
from eventcore.optimizers.optimizer import Optimizer, softmax
from eventcore.variables import Variable

SELECTIONS = ("softmax", "best", "random")

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
        rewards = [entry.get(name) or 0.0 for entry in candidates]
        if self.selection == "random":
            return rng.randrange(len(candidates))
        if self.selection == "best":
            return max(range(len(candidates)), key=lambda index: rewards[index])
        return rng.choices(range(len(candidates)), softmax(rewards, self.selection_temperature))[0]

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Variable],
        x: Sequence[Any],
        y: Sequence[Any] | None,
        y_pred: Sequence[Any],
        training: bool = True,
    ) -> None:
        """Mutate a parent, or cross two, for one variable."""
        variable = self.select_variable(step, trainable_variables)
        if variable is None:
            return
        rng = self.random("evolve", step, variable)
        value = variable.raw_value()
        pool = [*value["best_candidates"], *value["candidates"]]
        first = self.select_candidate(pool, rng, variable)
        parent = candidate_fields(value) if first is None else entry_fields(pool[first], value)
        crossing = len(pool) >= 2 and (
            not self.can_mutate() or rng.random() <= min(1.0, self.merging_rate * self.epochs)
        )
        if crossing:
            others = [entry for index, entry in enumerate(pool) if index != first]
            second = self.select_candidate(others, rng, variable)
            assert second is not None
            other = entry_fields(others[second], value)
            fields, strategy = await self.merge_candidate(step, variable, parent, other, rng), "crossover"
        elif self.can_mutate():
            strategy = "mutation"
            fields = await self.mutate_candidate(step, variable, parent, x, y, y_pred, rng)
        else:
            return
        if fields:
            self.propose(variable, {**parent, **fields}, strategy)

    def can_mutate(self) -> bool:
        """Whether `mutate_candidate` has something to go by."""
        return self.mutation is not None

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
        self, step: int, variable: Variable, current: dict[str, Any], other: dict[str, Any], rng: Random
    ) -> dict[str, Any] | None:
        """Return a child that has each field from one of two parents."""
        return {
            name: (current if rng.random() < 0.5 else other).get(name, item) for name, item in current.items()
        }
