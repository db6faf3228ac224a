"""Metrics that add numbers up: `Mean`, `Sum`, and a function's mean."""

from __future__ import annotations

import inspect
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.training.masking import Masks
from eventcore.training.metrics.base import Function, Metric
from eventcore.training.scoring import RewardFailure, finite


class Total(DataModel):
    """A running sum."""

    total: float = Field(default=0.0, description="Sum of the values.")
    count: int = Field(default=0, description="How many values.")


class _Adding(Metric):
    """Base of the metrics that keep a running sum."""

    def __init__(self, name: str | None = None, **masks: Any) -> None:
        super().__init__(name, **masks)
        self.state = self.add_variable(data_model=Total, name="total")

    def add(self, value: Any) -> None:
        """Take one number in."""
        try:
            number = finite(value)
        except RewardFailure as error:
            raise InvalidValue(
                f"cannot add {value!r} to metric {self.name!r}: give it a finite number"
            ) from error
        held = self.state.raw_value()
        self.state.update({"total": held["total"] + number, "count": held["count"] + 1})

    async def update_state(self, y_true: Any, y_pred: Any = None) -> None:
        """Take a number in, or every number of a list."""
        values = y_true if isinstance(y_true, (list, tuple)) else [y_true]
        for value in values:
            self.add(value)


class Mean(_Adding):
    """The mean of numbers; 0.0 of none."""

    def result(self) -> float:
        """Return the mean."""
        held = self.state.raw_value()
        return float(held["total"] / held["count"]) if held["count"] else 0.0


class Sum(_Adding):
    """The sum of numbers."""

    def result(self) -> float:
        """Return the sum."""
        return float(self.state.raw_value()["total"])


class MeanMetricWrapper(Mean):
    """The mean of `fn(y_true, y_pred, **kwargs)`, plain or async.

    Args:
        fn: The function; returns a number.
        name: Its name; None for the function's.
        kwargs: Mask arguments of `Metric`; the rest goes to the function.
    """

    def __init__(self, fn: Function, name: str | None = None, **kwargs: Any) -> None:
        masks = {key: kwargs.pop(key) for key in Masks().get_config() if key in kwargs}
        super().__init__(name or getattr(fn, "__name__", None), **masks)
        self.fn = fn
        self.arguments = kwargs

    async def update_state(self, y_true: Any, y_pred: Any = None) -> None:
        """Score one prediction."""
        value = self.fn(self.masks.apply(y_true), self.masks.apply(y_pred), **self.arguments)
        self.add(await value if inspect.isawaitable(value) else value)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {**super().get_config(), "fn": self.fn, **self.arguments}
