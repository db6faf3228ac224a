"""One line of the table of figures: what was measured, what it came to, and the bound it defends.

Holds no measuring: how a number is come by is each benchmark's own business and is read there.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured number beside its bound.

    Attributes:
        what: What was measured, against what, in a few words.
        value: The number: a ratio, or an amount in `unit`.
        bound: What the value has to reach (`at_least`) or may not exceed.
        at_least: Whether the bound is a floor; else it is a ceiling.
        unit: Written after the numbers: "×", "µs", "ms", "bytes", "/s".
    """

    what: str
    value: float
    bound: float
    at_least: bool
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def row(self) -> str:
        """Render as a row of the Markdown table."""
        measured = f"{_amount(self.value)} {self.unit}{'' if self.holds else ' **missed**'}"
        bound = f"{'≥' if self.at_least else '≤'} {_amount(self.bound)} {self.unit}"
        return f"| {self.what} | {measured} | {bound} |"


HEADER = "| what | measured | bound |\n|---|---|---|"


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the sample below which `percent` of a hundred lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def best(samples: Sequence[float]) -> float:
    """Return the shortest time: on a shared machine everything else is somebody else's work."""
    return min(samples)


def middle(samples: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(samples)


def _amount(value: float) -> str:
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
