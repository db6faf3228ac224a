"""One line of the table of figures: what was measured, beside what, and the bound it defends.

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
        what: What was measured, in a few words.
        measured: What it came to, in words with units.
        baseline: What the same run measured beside it, in words with units; "" where the bound is absolute.
        value: The number that is judged: a ratio, or an amount in `unit`.
        bound: What the value has to reach (`at_least`) or may not exceed.
        at_least: Whether the bound is a floor; else it is a ceiling.
        unit: Written after the value: "×", "µs", "ms", "bytes", "/s".
    """

    what: str
    measured: str
    value: float
    bound: float
    at_least: bool
    unit: str
    baseline: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def row(self, judged: bool = True) -> str:
        """Render as a row of the Markdown table."""
        bound = f"{'≥' if self.at_least else '≤'} {amount(self.bound)} {self.unit}"
        verdict = "met" if self.holds else "**missed**"
        if not judged:
            verdict = "not judged"
        value = f"{amount(self.value)} {self.unit}"
        return f"| {self.what} | {self.measured} | {self.baseline or '–'} | {value} | {bound} | {verdict} |"


HEADER = "| what | measured | baseline, same run | value | bound | |\n|---|---|---|---|---|---|"


def ratio(ours: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the median of the ratios of runs that took turns: noise that hits both at once cancels out."""
    return statistics.median(mine / theirs for mine, theirs in zip(ours, baseline, strict=True))


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the sample below which `percent` of a hundred lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def middle(samples: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(samples)


def amount(value: float) -> str:
    """Write a number with three significant digits, large ones with separators."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def rate(events: int, seconds: float) -> float:
    """Return events per second."""
    return events / seconds


def each(samples: Sequence[float], unit: str) -> str:
    """Write the median with every repetition behind it, so that the spread is seen."""
    spread = " ".join(_short(sample) for sample in samples)
    return f"{_short(middle(samples))} {unit} ({spread})"


def _short(value: float) -> str:
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"
