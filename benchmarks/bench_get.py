"""Recorded `get` of a scalar: every one of these reads is an event in the log.

Measured until `run.flush` said the last of them is on the disk, so that encoding, the index and the commits
beside the caller are counted. The rate the caller alone sees is printed beside it. A loop that calls a
method which returns an item of a dict is the baseline: the price of the loop itself in this Python.
Defends: at least 500,000 a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, amount, each, middle, rate
from benchmarks.workload import new_run, variables


class Unrecorded:
    """An object with a `get` that records nothing."""

    def __init__(self) -> None:
        self.fields = {"persona": "A pirate who shouts."}

    def get(self, field: str) -> str:
        return self.fields[field]


def ours(directory: Path, count: int) -> tuple[float, float]:
    """Return the seconds until the caller went on, and until everything was durable."""
    with new_run(directory, "reads") as run:
        (variable,) = variables(1)
        run.flush()
        started = time.perf_counter()
        for _ in range(count):
            variable.get("persona")
        returned = time.perf_counter()
        run.flush()
        return returned - started, time.perf_counter() - started


def bare(count: int) -> float:
    unrecorded = Unrecorded()
    started = time.perf_counter()
    for _ in range(count):
        unrecorded.get("persona")
    return time.perf_counter() - started


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    count, repeats = (10_000, 3) if quick else (500_000, 7)
    callers: list[float] = []
    durable: list[float] = []
    loop: list[float] = []
    for _ in range(repeats):
        loop.append(rate(count, bare(count)))
        returned, settled = ours(directory, count)
        callers.append(rate(count, returned))
        durable.append(rate(count, settled))
    yield Figure(
        what=f"recorded `get` of a scalar, until durable (the caller alone: {amount(middle(callers))} /s)",
        measured=each(durable, "/s"),
        baseline=each(loop, "unrecorded /s"),
        value=max(durable),
        bound=500_000,
        at_least=True,
        unit="/s",
    )
