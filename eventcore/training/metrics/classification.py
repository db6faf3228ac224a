"""Metrics of labels: accuracy, precision, recall and F scores over the fields of data models.

Every field of the target is one decision. Its label is the field's value as text; a list is a set of labels.
A missing prediction is wrong in every field. Counts are kept by label, so every average can be had from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history import patches
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.training.masking import json_of
from eventcore.training.metrics.base import Metric

AVERAGES = (None, "micro", "macro", "weighted")


class Tally(DataModel):
    """Decisions counted."""

    right: int = Field(default=0, description="Fields that were right.")
    seen: int = Field(default=0, description="Fields seen.")


class Counts(DataModel):
    """Decisions counted by label."""

    hits: dict[str, int] = Field(default_factory=dict, description="Label predicted where it was true.")
    alarms: dict[str, int] = Field(default_factory=dict, description="Label predicted where it was not true.")
    misses: dict[str, int] = Field(default_factory=dict, description="Label not predicted where it was true.")


def decisions(y_true: Any, y_pred: Any) -> Iterator[tuple[set[str], set[str] | None]]:
    """Yield (true labels, predicted labels) field by field of the target, of every output where there are several.

    Predicted labels are None where there is no prediction. Without a target there is nothing to decide.
    """
    truth, prediction = json_of(y_true), json_of(y_pred)
    if isinstance(truth, list):
        found = prediction if isinstance(prediction, list) else [None] * len(truth)
        for one, other in zip(truth, found, strict=False):
            yield from decisions(one, other)
    elif isinstance(truth, dict):
        for field, value in truth.items():
            there = isinstance(prediction, dict) and field in prediction
            yield _labels(value), _labels(prediction[field]) if there else None
    elif truth is not None:
        yield _labels(truth), None if prediction is None else _labels(prediction)


def _labels(value: Any) -> set[str]:
    if value is None:
        return set()
    if isinstance(value, (list, tuple)):
        return {str(item) for item in value}
    return {str(value)}


class Accuracy(Metric):
    """The share of the target's fields that were predicted right."""

    direction = "up"

    def __init__(self, name: str | None = None, **masks: Any) -> None:
        super().__init__(name, **masks)
        self.state = self.add_variable(data_model=Tally, name="counts")

    async def update_state(self, y_true: Any, y_pred: Any) -> None:
        """Count the decisions of one prediction."""
        made = [
            truth == found for truth, found in decisions(self.masks.apply(y_true), self.masks.apply(y_pred))
        ]
        held = self.state.raw_value()
        self.state.update({"right": held["right"] + sum(made), "seen": held["seen"] + len(made)})

    def result(self) -> float:
        """Return the accuracy, 0.0 of nothing."""
        held = self.state.raw_value()
        return float(held["right"] / held["seen"]) if held["seen"] else 0.0


class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall.

    Args:
        average: "macro" (mean over labels), "micro" (all decisions together), "weighted" (mean over labels by how
            often each is true), or None for a dict by label.
        beta: Weight of recall against precision; above 0.
        name: Its name.
        masks: Mask arguments of `Metric`.

    Raises:
        InvalidValue: An unknown average or a beta that is not above 0.
    """

    direction = "up"

    def __init__(
        self, average: str | None = "macro", beta: float = 1.0, name: str | None = None, **masks: Any
    ) -> None:
        super().__init__(name, **masks)
        self.state = self.add_variable(data_model=Counts, name="counts")
        if average not in AVERAGES:
            known = ", ".join(map(repr, AVERAGES))
            raise InvalidValue(f"cannot average by {average!r}: pass one of {known}")
        if not beta > 0:
            raise InvalidValue(f"cannot use beta={beta!r}: pass a number above 0")
        self.average = average
        self.beta = float(beta)

    async def update_state(self, y_true: Any, y_pred: Any) -> None:
        """Count the decisions of one prediction; the events carry the labels that changed, not all there are."""
        made: dict[str, Counter[str]] = {"hits": Counter(), "alarms": Counter(), "misses": Counter()}
        for truth, found in decisions(self.masks.apply(y_true), self.masks.apply(y_pred)):
            prediction = found or set()
            made["hits"].update(truth & prediction)
            made["alarms"].update(prediction - truth)
            made["misses"].update(truth - prediction)
        for kind, counts in made.items():
            held = self.state.peek(kind)
            changed = {label: held.get(label, 0) + counts[label] for label in sorted(counts)}
            if changed:
                self.state.record_patch([kind], patches.MERGE, [changed])

    def score(self, hits: int, alarms: int, misses: int) -> float:
        """Return the score of one label, 0.0 where nothing can be said."""
        weight = self.beta * self.beta
        below = (1 + weight) * hits + weight * misses + alarms
        return (1 + weight) * hits / below if below else 0.0

    def result(self) -> Any:
        """Return the score: a float, or a dict by label when `average` is None."""
        held = self.state.get_json()
        labels = sorted({*held["hits"], *held["alarms"], *held["misses"]})
        counts = {
            label: tuple(held[kind].get(label, 0) for kind in ("hits", "alarms", "misses"))
            for label in labels
        }
        scores = {label: float(self.score(*numbers)) for label, numbers in counts.items()}
        if self.average is None:
            return scores
        if not labels:
            return 0.0
        if self.average == "micro":
            return float(
                self.score(*(sum(numbers[place] for numbers in counts.values()) for place in range(3)))
            )
        if self.average == "macro":
            return sum(scores.values()) / len(scores)
        support = {label: numbers[0] + numbers[2] for label, numbers in counts.items()}
        total = sum(support.values())
        return sum(scores[label] * support[label] for label in labels) / total if total else 0.0

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {**super().get_config(), "average": self.average, "beta": self.beta}


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall; arguments as in `FBetaScore` without `beta`."""

    def __init__(self, average: str | None = "macro", name: str | None = None, **masks: Any) -> None:
        super().__init__(average, 1.0, name, **masks)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        config = super().get_config()
        config.pop("beta")
        return config


class Precision(F1Score):
    """How much of what was predicted is true; `average` as in `FBetaScore`."""

    def score(self, hits: int, alarms: int, misses: int) -> float:
        """Return the precision of one label."""
        return hits / (hits + alarms) if hits + alarms else 0.0


class Recall(F1Score):
    """How much of what is true was predicted; `average` as in `FBetaScore`."""

    def score(self, hits: int, alarms: int, misses: int) -> float:
        """Return the recall of one label."""
        return hits / (hits + misses) if hits + misses else 0.0
