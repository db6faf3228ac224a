"""The metrics of a program, updated and read together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from eventcore.training.forward import Rolled
from eventcore.training.scoring import in_output_order


def mean(values: Sequence[float]) -> float:
    """Return the mean as a Python float, NaN of nothing: what was not scored has no score, not a bad one."""
    return float(sum(values) / len(values)) if values else math.nan


class RunningMean:
    """The mean of what was added so far; reading it costs the same however much that was."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, values: Sequence[float]) -> None:
        """Take in values, in order."""
        self._sum = sum(values, self._sum)
        self._count += len(values)

    @property
    def value(self) -> float:
        """The mean, NaN of nothing."""
        return self._sum / self._count if self._count else math.nan


class Measures:
    """Metrics that see the same predictions.

    Args:
        metrics: Metric objects; a program's own, never shared with another program.
        output_names: Names of the program's outputs; several are handed to the metrics as lists.
    """

    def __init__(self, metrics: Sequence[Any], output_names: Sequence[str] = ()) -> None:
        self.metrics = list(metrics)
        self.output_names = list(output_names)
        self._beside: Measures | None = None

    def fresh(self) -> Measures:
        """Return the same metrics with nothing in them, for scores beside the training."""
        if self._beside is None:
            made = [
                type(metric).from_config({**metric.get_config(), "scope": f"{metric.scope}_validation"})
                for metric in self.metrics
            ]
            self._beside = Measures(made, self.output_names)
        self._beside.reset()
        return self._beside

    async def update(self, rolled: Sequence[Rolled]) -> None:
        """Show the metrics what became of some examples; failed ones are left out."""
        if not self.metrics:
            return
        alive = [(item.example.y, item.output) for item in rolled if item.error is None]
        if len(self.output_names) > 1:
            alive = [in_output_order(truth, found, self.output_names) for truth, found in alive]
        for metric in self.metrics:
            for truth, found in alive:
                await metric.update_state(truth, found)

    def names(self) -> list[str]:
        """Return the names of the values, in order: a name that is taken, as "reward" is, gets a number."""
        found: list[str] = []
        for metric in self.metrics:
            name, number = metric.name, 0
            while name == "reward" or name in found:
                number += 1
                name = f"{metric.name}_{number}"
            found.append(name)
        return found

    def results(self) -> dict[str, Any]:
        """Return the values by name; see `names`."""
        return {name: metric.result() for name, metric in zip(self.names(), self.metrics, strict=True)}

    def reset(self) -> None:
        """Empty all metrics."""
        for metric in self.metrics:
            metric.reset_state()
