"""`Reward`: scores one prediction against its target; `BatchReward`: a whole batch at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from eventcore.errors import InvalidValue, WrongType
from eventcore.models.naming import auto_name, snake_case
from eventcore.saving.registry import register_class
from eventcore.training.masking import Masks

REDUCTIONS = ("mean", "sum", "min", "max", "none", None)


def reduce_rewards(rewards: Sequence[float], reduction: str | None = "mean") -> Any:
    """Reduce rewards to one float; "none" and None keep the list, nothing gives 0.0.

    Raises:
        InvalidValue: An unknown reduction.
    """
    if reduction not in REDUCTIONS:
        known = ", ".join(map(repr, REDUCTIONS))
        raise InvalidValue(f"cannot reduce rewards by {reduction!r}: pass one of {known}")
    if reduction in ("none", None):
        return list(rewards)
    if not rewards:
        return 0.0
    if reduction == "sum":
        return float(sum(rewards))
    if reduction == "min":
        return float(min(rewards))
    if reduction == "max":
        return float(max(rewards))
    return float(sum(rewards) / len(rewards))


class Reward:
    """Base of rewards. Override `async call(self, y_true, y_pred)`.

    Args:
        name: Its name; None for the class's, numbered.
        reduction: How a list of values becomes the reward: "mean", "sum", "min", "max"; "none" keeps the list.
        in_mask: Look only at these fields, on both sides.
        out_mask: Leave these fields out, on both sides.
        in_mask_pattern: Like `in_mask`, by regular expression.
        out_mask_pattern: Like `out_mask`, by regular expression.

    Raises:
        InvalidValue: An unknown reduction.
    """

    scores_batches = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_class(cls)

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "mean",
        in_mask: Sequence[str] | None = None,
        out_mask: Sequence[str] | None = None,
        in_mask_pattern: str | None = None,
        out_mask_pattern: str | None = None,
    ) -> None:
        reduce_rewards((), reduction)
        self.name = name if name is not None else auto_name(snake_case(type(self).__name__))
        self.reduction = reduction
        self.masks = Masks(in_mask, out_mask, in_mask_pattern, out_mask_pattern)

    async def __call__(self, y_true: Any, y_pred: Any) -> Any:
        """Return the reward of one prediction.

        Args:
            y_true: Target: a data model, a dict, or None.
            y_pred: Prediction: a data model, a dict, or None.
        """
        value = await self.call(self.masks.apply(y_true), self.masks.apply(y_pred))
        if isinstance(value, (list, tuple)):
            return reduce_rewards(list(value), self.reduction)
        return value

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return a float, or a list of floats to be reduced. Subclasses write this.

        Raises:
            WrongType: The subclass did not.
        """
        raise WrongType(
            f"cannot score with {type(self).__name__}: it does not define async call(self, y_true, y_pred)"
        )

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {"name": self.name, "reduction": self.reduction, **self.masks.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a reward from its config."""
        return cls(**config)


class BatchReward(Reward):
    """Base of rewards that need the whole batch: `call` gets two lists and returns one float each."""

    scores_batches = True

    async def __call__(self, y_true: Any, y_pred: Any) -> Any:
        """Return the rewards of a batch, in its order.

        Raises:
            WrongType: `call` did not return a list.
            InvalidValue: The list has another length than the batch.
        """
        scores = await self.call([self.masks.apply(y) for y in y_true], [self.masks.apply(y) for y in y_pred])
        if not isinstance(scores, (list, tuple)):
            raise WrongType(f"cannot use what {self.name} returned: a batch reward returns a list of floats")
        if len(scores) != len(y_pred):
            raise InvalidValue(
                f"cannot use {len(scores)} rewards of {self.name} for a batch of {len(y_pred)}"
            )
        return list(scores)


async def _called(function: Callable[..., Any], y_true: Any, y_pred: Any, arguments: dict[str, Any]) -> Any:
    value = function(y_true, y_pred, **arguments)
    return await value if inspect.isawaitable(value) else value


class RewardFunctionWrapper(Reward):
    """A function `f(y_true, y_pred, **kwargs)`, plain or async, as a reward.

    Args:
        fn: The function.
        reduction: As in `Reward`.
        name: Its name; None for the function's.
        kwargs: Mask arguments of `Reward`; the rest goes to the function.
    """

    def __init__(
        self, fn: Callable[..., Any], reduction: str | None = "mean", name: str | None = None, **kwargs: Any
    ) -> None:
        masks = {key: kwargs.pop(key) for key in Masks().get_config() if key in kwargs}
        super().__init__(name=name or getattr(fn, "__name__", None), reduction=reduction, **masks)
        self.fn = fn
        self.arguments = kwargs

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Call the function."""
        return await _called(self.fn, y_true, y_pred, self.arguments)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {**super().get_config(), "fn": self.fn, **self.arguments}


class BatchRewardFunctionWrapper(BatchReward):
    """A function of two lists as a batch reward; arguments as in `RewardFunctionWrapper`."""

    def __init__(self, fn: Callable[..., Any], name: str | None = None, **kwargs: Any) -> None:
        masks = {key: kwargs.pop(key) for key in Masks().get_config() if key in kwargs}
        kwargs.pop("reduction", None)
        super().__init__(name=name or getattr(fn, "__name__", None), reduction="none", **masks)
        self.fn = fn
        self.arguments = kwargs

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Call the function."""
        return await _called(self.fn, y_true, y_pred, self.arguments)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {**super().get_config(), "fn": self.fn, **self.arguments}
