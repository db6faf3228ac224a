"""Metrics read from the log: tokens, cost, latency, calls and errors of the effects since the last reset."""

from __future__ import annotations

import copy
from typing import Any

from eventcore.history.costs import Spending
from eventcore.history.scope import current_run
from eventcore.replay.spending import spending
from eventcore.training.metrics.base import Metric


class OperationalMetric(Metric):
    """Base of metrics over effect events; predictions do not matter to them."""

    direction = "down"

    def __init__(self, name: str | None = None, **masks: Any) -> None:
        super().__init__(name, **masks)
        self._run: Any = None
        self._since = Spending()
        self.reset_state()

    async def update_state(self, y_true: Any = None, y_pred: Any = None) -> None:
        """Nothing to do: the log has it already."""

    def reset_state(self) -> None:
        """Count from here on."""
        self._run = current_run()
        self._since = copy.copy(spending(self._run))

    def spent(self) -> Spending:
        """Return what the current run spent since the last reset."""
        run = current_run()
        if run is not self._run:
            self._run, self._since = run, Spending()
        return spending(run).minus(self._since)


class InputTokens(OperationalMetric):
    """Tokens of requests."""

    def result(self) -> int:
        """Return the sum."""
        return self.spent().input_tokens


class OutputTokens(OperationalMetric):
    """Tokens of answers."""

    def result(self) -> int:
        """Return the sum."""
        return self.spent().output_tokens


class TotalTokens(OperationalMetric):
    """Tokens of requests and answers."""

    def result(self) -> int:
        """Return the sum."""
        return self.spent().input_tokens + self.spent().output_tokens


class Cost(OperationalMetric):
    """Money, in US dollars."""

    def result(self) -> float:
        """Return the sum."""
        return self.spent().cost


class Calls(OperationalMetric):
    """Calls of models and other effects."""

    def result(self) -> int:
        """Return how many ended."""
        return self.spent().calls


class Errors(OperationalMetric):
    """Calls that failed for good."""

    def result(self) -> int:
        """Return how many."""
        return self.spent().errors


class ErrorRate(OperationalMetric):
    """The share of calls that failed for good."""

    def result(self) -> float:
        """Return the share, 0.0 of no calls."""
        total = self.spent()
        return total.errors / total.calls if total.calls else 0.0


class AvgLatency(OperationalMetric):
    """Mean time of a call, in seconds."""

    def result(self) -> float:
        """Return the mean, 0.0 of no calls."""
        total = self.spent()
        return total.latency / total.calls / 1e6 if total.calls else 0.0
