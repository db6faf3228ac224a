"""`RandomFewShot`: tries sets of past predictions as few-shot examples and keeps the best set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventcore.optimizers.greedy import GreedyOptimizer
from eventcore.variables import Variable


class RandomFewShot(GreedyOptimizer):
    """Resamples few-shot examples from the predictions of the epoch, one variable per batch.

    Every sampled set is scored like any candidate; the combination that does best on validation wins.
    Arguments as in `GreedyOptimizer`.
    """

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Variable],
        x: Sequence[Any],
        y: Sequence[Any] | None,
        y_pred: Sequence[Any],
        training: bool = True,
    ) -> None:
        """Write a fresh sample of records into `examples` of one variable."""
        variable = self.select_variable(step, trainable_variables)
        if variable is None:
            return
        records, rollouts = self.sample_predictions(step, variable)
        if records:
            self.propose(variable, {"examples": records}, strategy="few-shot", sources=rollouts)
