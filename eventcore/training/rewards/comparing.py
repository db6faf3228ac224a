"""Rewards that compare a prediction with its target: exactly, or by the meaning of its texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.training.masking import json_of, leaves
from eventcore.training.rewards.base import Reward


async def exact_match(y_true: Any, y_pred: Any) -> float:
    """Return 1.0 if both sides are there and their JSON is equal, else 0.0."""
    if y_true is None or y_pred is None:
        return 0.0
    return 1.0 if json_of(y_true) == json_of(y_pred) else 0.0


class ExactMatch(Reward):
    """1.0 where the prediction equals the target, else 0.0; see `Reward` for the masks."""

    def __init__(
        self,
        name: str | None = "exact_match",
        in_mask: Sequence[str] | None = None,
        out_mask: Sequence[str] | None = None,
        in_mask_pattern: str | None = None,
        out_mask_pattern: str | None = None,
    ) -> None:
        super().__init__(name, "mean", in_mask, out_mask, in_mask_pattern, out_mask_pattern)

    async def call(self, y_true: Any, y_pred: Any) -> float:
        """Compare the two."""
        return await exact_match(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        config = super().get_config()
        config.pop("reduction")
        return config


def normalized(vector: Sequence[float]) -> list[float]:
    """Return a vector of length 1; a zero vector stays zero."""
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else list(vector)


def closeness(a: Sequence[float], b: Sequence[float]) -> float:
    """Return (cosine + 1) / 2 of two vectors: 1.0 for the same direction, 0.5 for orthogonal ones."""
    return (sum(x * y for x, y in zip(normalized(a), normalized(b), strict=True)) + 1.0) / 2.0


class CosineSimilarity(Reward):
    """How close the texts of the prediction are to those of the target, by an embedding model.

    Every leaf of both sides is embedded; the reward is the mean of (cosine + 1) / 2 over the leaves. A side
    that is missing scores 0.0.

    Args:
        embedding_model: An `EmbeddingModel` or its name; None for the default one.
        axis: Accepted for compatibility; leaves are vectors.
        name: Its name.
        in_mask: See `Reward`.
        out_mask: See `Reward`.
        in_mask_pattern: See `Reward`.
        out_mask_pattern: See `Reward`.
    """

    def __init__(
        self,
        embedding_model: Any = None,
        axis: int = -1,
        name: str | None = "cosine_similarity",
        in_mask: Sequence[str] | None = None,
        out_mask: Sequence[str] | None = None,
        in_mask_pattern: str | None = None,
        out_mask_pattern: str | None = None,
    ) -> None:
        super().__init__(name, "mean", in_mask, out_mask, in_mask_pattern, out_mask_pattern)
        from eventcore.language_models import as_embedding_model

        self.embedding_model = as_embedding_model(embedding_model)
        self.axis = axis

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Embed both sides and compare leaf by leaf."""
        if y_true is None or y_pred is None:
            return 0.0
        truth, prediction = leaves(json_of(y_true)), leaves(json_of(y_pred))
        if len(truth) != len(prediction):
            raise InvalidValue(
                f"cannot compare {len(prediction)} texts of the prediction with {len(truth)} of the target: "
                "use in_mask= to look at the fields both have"
            )
        if not truth:
            return 0.0
        vectors = await self.embedding_model.embed([*truth, *prediction])
        if vectors is None:
            return None
        half = len(truth)
        return [closeness(a, b) for a, b in zip(vectors[:half], vectors[half:], strict=True)]

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        config = {**super().get_config(), "embedding_model": self.embedding_model, "axis": self.axis}
        config.pop("reduction")
        return config
