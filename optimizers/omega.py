"""`OMEGA`: a language model rewrites what the program is told, and what survives is good and varied.

Candidates are mutated and crossed by generators over the variable's own fields; the population is chosen by
dominated novelty (`novelty.py`). What the model is told is in `rewriting.py`; how a winner is found and written is
the base class's business, as for every optimizer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history.population import entry_fields, score_names
from eventcore.language_models import as_embedding_model, as_language_model
from eventcore.optimizers.candidates import part_of
from eventcore.optimizers.evolutionary import EvolutionaryOptimizer
from eventcore.optimizers.novelty import (
    Descriptors,
    Pairs,
    cosine_distance,
    described,
    dominated_novelty,
    dominating_pairs,
)
from eventcore.optimizers.rewriting import Rewriter
from eventcore.variables import Variable, name_scope

ALGORITHMS = ("dns", "ga")

Distance = Callable[..., Any]
"""f(one, other, embedding_model=…) -> float: how far apart two candidates' fields are; plain or async."""


class OMEGA(EvolutionaryOptimizer):
    """Evolves variables with a language model that mutates and crosses, keeping the population varied.

    A proposal the model fails to make changes nothing. Embeddings are asked for only when more candidates compete
    than survive, once for each candidate.

    Args:
        instructions: Words of yours the rewriting model is told first.
        language_model: The model that rewrites: a `LanguageModel`, its name, or a function; None for the default.
        embedding_model: The model distances are measured with, likewise. Not needed with `algorithm="ga"` or a
            `distance_function`.
        k_nearest_fitter: Number of fitter candidates whose distance counts; at least 1.
        distance_function: `f(one, other, embedding_model=…)` in place of the distance of embeddings; plain or async,
            symmetric, given the fields of two candidates. To be saved it must be registered.
        mutation_temperature: Temperature of the model when it mutates; None for the model's own.
        crossover_temperature: The same when it crosses.
        reasoning_effort: As in `Generator`.
        use_chain_of_thought: Whether the model thinks in words before it answers.
        merging_rate: Crossover becomes likelier by this much with every epoch; 0 or more.
        algorithm: "dns" for dominated novelty search, "ga" to keep the best by reward.
        selection: How parents are chosen: "softmax" by reward, "best" or "random".
        selection_temperature: Temperature of that softmax; above 0.
        population_size: How many candidates of a variable survive an epoch.
        sampling_temperature: Temperature of the choice of the variable.
        name: Its name.
        description: In words.

    Raises:
        InvalidValue: An argument that cannot be. That no model is known is raised by `compile`.
    """

    elite = 1

    def __init__(
        self,
        instructions: str | None = None,
        language_model: Any = None,
        embedding_model: Any = None,
        k_nearest_fitter: int = 5,
        distance_function: Distance | None = None,
        mutation_temperature: float | None = 0.3,
        crossover_temperature: float | None = 0.3,
        reasoning_effort: str | None = None,
        use_chain_of_thought: bool = True,
        merging_rate: float = 0.02,
        algorithm: str = "dns",
        selection: str = "softmax",
        selection_temperature: float = 0.3,
        population_size: int = 10,
        sampling_temperature: float = 0.3,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(
            None,
            selection,
            selection_temperature,
            merging_rate,
            population_size,
            sampling_temperature,
            name,
            description,
        )
        if algorithm not in ALGORITHMS:
            raise InvalidValue(f"cannot compete by {algorithm!r}: pass one of {', '.join(ALGORITHMS)}")
        if not isinstance(k_nearest_fitter, int) or k_nearest_fitter < 1:
            raise InvalidValue(
                f"cannot compete with k_nearest_fitter={k_nearest_fitter!r}: pass an integer of at least 1"
            )
        self.instructions = instructions
        self.language_model = None if language_model is None else as_language_model(language_model)
        self.embedding_model = None if embedding_model is None else as_embedding_model(embedding_model)
        self.k_nearest_fitter = k_nearest_fitter
        self.distance_function = distance_function
        self.mutation_temperature = mutation_temperature
        self.crossover_temperature = crossover_temperature
        self.reasoning_effort = reasoning_effort
        self.use_chain_of_thought = use_chain_of_thought
        self.algorithm = algorithm
        self._rewriters: dict[tuple[str, str], Rewriter] = {}
        self._descriptors: dict[str, Descriptors] = {}

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        config = super().get_config()
        del config["mutation"]
        return {
            "instructions": self.instructions,
            "language_model": self.language_model,
            "embedding_model": self.embedding_model,
            "k_nearest_fitter": self.k_nearest_fitter,
            "distance_function": self.distance_function,
            "mutation_temperature": self.mutation_temperature,
            "crossover_temperature": self.crossover_temperature,
            "reasoning_effort": self.reasoning_effort,
            "use_chain_of_thought": self.use_chain_of_thought,
            "algorithm": self.algorithm,
            **config,
        }

    # --- its own modules -----------------------------------------------------------------------

    def build(self, trainable_variables: Sequence[Variable]) -> None:
        """Declare its state, and make what rewrites each variable.

        Raises:
            InvalidValue: No language model, or no embedding model where one is needed, and no default.
        """
        model = as_language_model(self.language_model)
        if self.algorithm == "dns" and self.distance_function is None:
            as_embedding_model(self.embedding_model)
        super().build(trainable_variables)
        known = trainable_variables or getattr(self.program, "trainable_variables", ())
        for variable in known:
            for kind in ("mutation", "crossover"):
                if (kind, variable.path) not in self._rewriters:
                    self._rewriters[kind, variable.path] = self._rewriter(kind, variable, model)

    def _rewriter(self, kind: str, variable: Variable, model: Any) -> Rewriter:
        temperature = self.mutation_temperature if kind == "mutation" else self.crossover_temperature
        with name_scope(self.name):
            return Rewriter(
                kind,
                variable,
                self._name_of(kind, variable),
                model,
                self.instructions,
                temperature,
                self.reasoning_effort,
                self.use_chain_of_thought,
            )

    def _name_of(self, kind: str, variable: Variable) -> str:
        """Return the name of a generator: by the variable's, numbered where two variables share theirs."""
        taken = {rewriter.generator.name for rewriter in self._rewriters.values()}
        name, number = f"{kind}_{variable.name}", 0
        while name in taken:
            number += 1
            name = f"{kind}_{variable.name}_{number}"
        return name

    @property
    def variables(self) -> list[Variable]:
        """Its own variables, those of its rewriting modules included."""
        rewriters = self._rewriters.values()
        return [*super().variables, *(variable for rewriter in rewriters for variable in rewriter.variables)]

    # --- proposals -----------------------------------------------------------------------------

    def can_mutate(self) -> bool:
        """Whether it can mutate: always, by its model."""
        return True

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
        """Ask for a better version of a parent, None if the model gave none."""
        return await self._rewritten("mutation", variable, (x, y, y_pred), selected)

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
        """Ask for a version that unites two parents, None if the model gave none."""
        return await self._rewritten("crossover", variable, (x, y, y_pred), current, other)

    async def _rewritten(
        self,
        kind: str,
        variable: Variable,
        batch: tuple[Sequence[Any], Sequence[Any] | None, Sequence[Any]],
        *versions: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        description = str(getattr(self.program, "description", None) or "")
        return await self._rewriters[kind, variable.path](description, variable, batch, *versions)

    # --- competition ---------------------------------------------------------------------------

    async def compete(self, variable: Variable, pool: list[dict[str, Any]]) -> list[int]:
        """Return the indexes of the survivors, best first: the most novel among the fitter ones, or the fittest."""
        ranked = await super().compete(variable, pool)
        if self.algorithm == "ga" or len(pool) <= self.population_size:
            return ranked
        value = variable.raw_value()
        reward_name, _ = score_names(value)
        rewards = [float(entry.get(reward_name, 0.0)) for entry in pool]
        distances = await self._distances(variable, [entry_fields(entry, value) for entry in pool], rewards)
        if distances is None:
            return ranked
        novelty = dominated_novelty(rewards, distances, self.k_nearest_fitter)
        survivors = sorted(ranked, key=lambda index: -novelty[index])[: self.population_size]
        return [index for index in ranked if index in survivors]

    async def _distances(
        self, variable: Variable, pool: list[dict[str, Any]], rewards: list[float]
    ) -> Pairs | None:
        """Return the distances that decide, None if the embedding model failed (it has warned)."""
        pairs = dominating_pairs(rewards)
        if self.distance_function is not None:
            return {(one, other): await self._custom(pool[one], pool[other]) for one, other in pairs}
        parts = [part_of(fields) for fields in pool]
        texts = {part: described(fields) for part, fields in zip(parts, pool, strict=True)}
        known = self._descriptors.setdefault(variable.path, Descriptors())
        missing = known.missing(texts)
        if missing:
            model = as_embedding_model(self.embedding_model)
            vectors = await model.embed(list(missing.values()), variable=variable)
            if vectors is None:
                return None
            known.learn(dict(zip(missing, vectors, strict=True)), texts)
        return {(one, other): cosine_distance(known[parts[one]], known[parts[other]]) for one, other in pairs}

    async def _custom(self, one: dict[str, Any], other: dict[str, Any]) -> float:
        assert self.distance_function is not None
        distance = self.distance_function(one, other, embedding_model=self.embedding_model)
        return float(await distance if inspect.isawaitable(distance) else distance)
