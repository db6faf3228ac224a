"""`GreedyOptimizer`: samples records of past predictions, and leaves what to do with them to subclasses."""

from __future__ import annotations

from random import Random
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history.patches import plain
from eventcore.optimizers.optimizer import Optimizer
from eventcore.optimizers.sampling import Rewarded
from eventcore.variables import Variable

SAMPLINGS = ("softmax", "best", "random")


class GreedyOptimizer(Optimizer):
    """Base of optimizers that learn from the predictions of the epoch so far.

    Args:
        nb_min_examples: Fewest records to sample, 0 or more.
        nb_max_examples: Most records to sample, at least `nb_min_examples`.
        sampling: "softmax" (by reward), "best" (the highest rewards) or "random" (uniform).
        sampling_temperature: Temperature of the softmax, and of the choice of the variable; above 0.
        population_size: How many candidates of a variable survive an epoch.
        name: Its name.
        description: In words.

    Raises:
        InvalidValue: An argument that cannot be.
    """

    def __init__(
        self,
        nb_min_examples: int = 1,
        nb_max_examples: int = 3,
        sampling: str = "softmax",
        sampling_temperature: float = 0.3,
        population_size: int = 10,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(population_size, sampling_temperature, name, description)
        if sampling not in SAMPLINGS:
            raise InvalidValue(f"cannot sample by {sampling!r}: pass one of {', '.join(SAMPLINGS)}")
        if not 0 <= nb_min_examples <= nb_max_examples:
            raise InvalidValue(
                f"cannot sample {nb_min_examples} to {nb_max_examples} examples: "
                "pass 0 <= nb_min_examples <= nb_max_examples"
            )
        self.nb_min_examples = nb_min_examples
        self.nb_max_examples = nb_max_examples
        self.sampling = sampling
        self._rewarded: dict[str, Rewarded] = {}

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {
            "nb_min_examples": self.nb_min_examples,
            "nb_max_examples": self.nb_max_examples,
            "sampling": self.sampling,
            **super().get_config(),
        }

    def sample_predictions(self, step: int, variable: Variable) -> tuple[list[dict[str, Any]], list[str]]:
        """Sample rewarded records of the epoch so far, without replacement.

        Args:
            step: Batch of the epoch; decides the random stream.
            variable: Whose records.

        Returns:
            (plain copies of the records, the rollouts they came from), in the order they were drawn.
        """
        rng = self.random("sample", step, variable)
        count = rng.randint(self.nb_min_examples, self.nb_max_examples)
        records = variable.peek("predictions")
        drawn = records if len(records) <= count else [records[i] for i in self._draw(rng, variable, count)]
        if count == 0:
            drawn = []
        return [plain(record) for record in drawn], [
            getattr(record, "rollout", None) or "" for record in drawn
        ]

    def sample_best_predictions(self, variable: Variable) -> list[dict[str, Any]]:
        """Sample records for the present iteration; see `sample_predictions`."""
        return self.sample_predictions(self.iterations, variable)[0]

    def _draw(self, rng: Random, variable: Variable, count: int) -> list[int]:
        records = variable.peek("predictions")
        if self.sampling == "random":
            return rng.sample(range(len(records)), count)
        rewarded = self._rewarded.get(variable.path)
        if rewarded is None:
            rewarded = self._rewarded[variable.path] = Rewarded(
                self.sampling_temperature, self.nb_max_examples
            )
        rewarded.follow(records)
        return rewarded.best(count) if self.sampling == "best" else rewarded.draw(rng, count)
