"""Metrics: numbers that sum up many predictions, or what they cost."""

from typing import Any

from eventcore.training.identifiers import resolve
from eventcore.training.metrics.base import Metric as Metric
from eventcore.training.metrics.classification import Accuracy as Accuracy
from eventcore.training.metrics.classification import F1Score as F1Score
from eventcore.training.metrics.classification import FBetaScore as FBetaScore
from eventcore.training.metrics.classification import Precision as Precision
from eventcore.training.metrics.classification import Recall as Recall
from eventcore.training.metrics.operational import AvgLatency as AvgLatency
from eventcore.training.metrics.operational import Calls as Calls
from eventcore.training.metrics.operational import Cost as Cost
from eventcore.training.metrics.operational import ErrorRate as ErrorRate
from eventcore.training.metrics.operational import Errors as Errors
from eventcore.training.metrics.operational import InputTokens as InputTokens
from eventcore.training.metrics.operational import OutputTokens as OutputTokens
from eventcore.training.metrics.operational import TotalTokens as TotalTokens
from eventcore.training.metrics.reductions import Mean as Mean
from eventcore.training.metrics.reductions import MeanMetricWrapper as MeanMetricWrapper
from eventcore.training.metrics.reductions import Sum as Sum

__all__ = [
    "Accuracy",
    "AvgLatency",
    "Calls",
    "Cost",
    "ErrorRate",
    "Errors",
    "F1Score",
    "FBetaScore",
    "InputTokens",
    "Mean",
    "MeanMetricWrapper",
    "Metric",
    "OutputTokens",
    "Precision",
    "Recall",
    "Sum",
    "TotalTokens",
    "deserialize",
    "get",
    "serialize",
]

_KNOWN: dict[str, type[Metric]] = {
    cls.__name__: cls
    for cls in (
        Accuracy, AvgLatency, Calls, Cost, ErrorRate, Errors, F1Score, FBetaScore, InputTokens, Mean, OutputTokens,
        Precision, Recall, Sum, TotalTokens,
    )
}  # fmt: skip


def get(identifier: Any) -> Metric:
    """Return the metric an object, class, name, config or function stands for.

    Raises:
        InvalidValue: Nothing of that name; the message lists the known ones.
    """
    found: Metric = resolve(identifier, _KNOWN, Metric, "metric", MeanMetricWrapper)
    return found


def serialize(metric: Metric) -> Any:
    """Return the config that rebuilds a metric."""
    from eventcore.saving.serialization import serialize_object

    return serialize_object(metric)


def deserialize(config: Any) -> Metric:
    """Rebuild a metric from its config."""
    return get(config)
