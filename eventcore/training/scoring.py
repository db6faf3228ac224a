"""Scoring: the rewards of examples, for programs of one output or several, with weights.

A reward is a finite number. An example whose reward is anything else, or whose reward function raises, has
failed: that is recorded, and it counts as nobody's zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from eventcore.errors import InvalidValue

Weights = Sequence[float] | dict[str, float] | None


class RewardFailure(Exception):
    """An example cannot be scored; becomes a `RolloutFailed` event."""


class CompiledReward:
    """The reward of a program: one for all outputs, or one per output, weighted.

    Args:
        reward: A reward, a list of them in the order of the outputs (None for an output without one), or a
            dict by output name.
        weights: Their weights, in the same form; None for 1.0 each.
        output_names: Names of the program's outputs, in order.

    Raises:
        InvalidValue: They do not fit the outputs.
    """

    def __init__(self, reward: Any, weights: Weights, output_names: Sequence[str]) -> None:
        from eventcore.training.rewards import get

        self.several = isinstance(reward, (list, tuple, dict))
        self.output_names = list(output_names)
        if not self.several:
            self.rewards: list[Any] = [get(reward)]
            self.weights = [1.0]
            if weights is not None:
                self.weights = (
                    _aligned(weights, ["reward"], "reward_weights") if len(_values(weights)) == 1 else []
                )
            if not self.weights:
                self.rewards = [get(reward) for _ in self.output_names]
                self.weights = _aligned(weights, self.output_names, "reward_weights")
                self.several = True
            return
        self.rewards = [None if item is None else get(item) for item in _in_order(reward, self.output_names)]
        self.weights = _aligned(weights, self.output_names, "reward_weights")

    def is_batch(self) -> bool:
        """Whether a reward wants the whole batch at once."""
        return any(getattr(reward, "scores_batches", False) for reward in self.rewards if reward is not None)

    async def score(self, y_true: Any, y_pred: Any) -> float:
        """Return the reward of one example.

        Raises:
            RewardFailure: It is no finite number.
        """
        if not self.several:
            return finite(await self.rewards[0](y_true, y_pred)) * self.weights[0]
        truths, predictions = self._sides(y_true, y_pred)
        total = 0.0
        for reward, weight, truth, prediction in zip(
            self.rewards, self.weights, truths, predictions, strict=True
        ):
            if reward is not None:
                total += weight * finite(await reward(truth, prediction))
        return total

    async def score_batch(self, y_true: Sequence[Any], y_pred: Sequence[Any]) -> list[float | RewardFailure]:
        """Return the rewards of a batch, for rewards that want it whole; a failure where one is no finite number.

        A reward that raises fails the batch: there is nothing to tell its examples apart by.
        """
        totals: list[float | RewardFailure] = [0.0] * len(y_pred)
        sides = [
            self._sides(truth, prediction) if self.several else ([truth], [prediction])
            for truth, prediction in zip(y_true, y_pred, strict=True)
        ]
        for place, (reward, weight) in enumerate(zip(self.rewards, self.weights, strict=True)):
            if reward is None:
                continue
            truths, predictions = [one[place] for one, _ in sides], [other[place] for _, other in sides]
            if getattr(reward, "scores_batches", False):
                scores = await reward(truths, predictions)
            else:
                scores = [
                    await reward(truth, prediction)
                    for truth, prediction in zip(truths, predictions, strict=True)
                ]
            totals = [_added(total, weight, score) for total, score in zip(totals, scores, strict=True)]
        return totals

    def _sides(self, y_true: Any, y_pred: Any) -> tuple[list[Any], list[Any]]:
        truths, predictions = in_output_order(y_true, y_pred, self.output_names)
        return _parts(truths, len(self.rewards)), _parts(predictions, len(self.rewards))

    def get_config(self) -> Any:
        """Return the configs of the rewards."""
        from eventcore.training.rewards import serialize

        if not self.several:
            return serialize(self.rewards[0])
        return [None if reward is None else serialize(reward) for reward in self.rewards]


def finite(value: Any) -> float:
    """Return a reward as a float.

    Raises:
        RewardFailure: None, not a number, NaN or infinite.
    """
    if value is None:
        raise RewardFailure("the reward is None: the example counts as failed")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        item = getattr(value, "item", None)
        if item is None or isinstance(value, (str, bytes)):
            raise RewardFailure(f"the reward is {value!r} of type {type(value).__name__}; return a float")
        value = item()
    number = float(value)
    if not math.isfinite(number):
        raise RewardFailure(f"the reward is {number}; return a finite float")
    return number


def in_output_order(y_true: Any, y_pred: Any, output_names: Sequence[str]) -> tuple[Any, Any]:
    """Return targets and predictions of several outputs as lists; named ones are put in their places.

    Raises:
        RewardFailure: A target for an output that is not there.
    """
    keys = list(y_pred) if _is_map(y_pred) else list(output_names)
    if _is_map(y_true):
        known = keys if set(y_true) <= set(keys) else list(output_names)
        unknown = sorted(set(y_true) - set(known))
        if unknown:
            raise RewardFailure(f"no output is called {unknown[0]!r}; the outputs are {', '.join(keys)}")
        y_true = [y_true.get(name) for name in known]
    return y_true, list(y_pred.values()) if _is_map(y_pred) else y_pred


def _is_map(value: Any) -> bool:
    return isinstance(value, dict) and not hasattr(value, "get_json")


def _added(total: float | RewardFailure, weight: float, score: Any) -> float | RewardFailure:
    if isinstance(total, RewardFailure):
        return total
    try:
        return total + weight * finite(score)
    except (RewardFailure, TypeError, ValueError, OverflowError) as error:
        return error if isinstance(error, RewardFailure) else RewardFailure(str(error))


def _values(weights: Weights) -> list[float]:
    return list(weights.values()) if isinstance(weights, dict) else list(weights or ())


def _in_order(given: Any, names: list[str]) -> list[Any]:
    if isinstance(given, dict):
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise InvalidValue(
                f"cannot reward output {unknown[0]!r}: the program's outputs are {', '.join(names)}"
            )
        return [given.get(name) for name in names]
    if len(given) != len(names):
        raise InvalidValue(
            f"cannot use {len(given)} rewards for {len(names)} outputs: pass one per output, or a dict"
        )
    return list(given)


def _aligned(weights: Weights, names: list[str], what: str) -> list[float]:
    if weights is None:
        return [1.0] * len(names)
    if isinstance(weights, dict):
        unknown = sorted(set(weights) - set(names))
        if unknown:
            raise InvalidValue(f"cannot use {what} for {unknown[0]!r}: the names are {', '.join(names)}")
        return [float(weights.get(name, 1.0)) for name in names]
    if len(weights) != len(names):
        raise InvalidValue(f"cannot use {len(weights)} {what} for {len(names)} outputs: pass one per output")
    return [float(weight) for weight in weights]


def _parts(value: Any, count: int) -> list[Any]:
    if value is None:
        return [None] * count
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise RewardFailure(
            f"several outputs need a list of {count} targets per example; received {type(value).__name__}"
        )
    return list(value)
