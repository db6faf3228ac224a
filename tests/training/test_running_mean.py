"""The mean reward of an epoch, read after every batch."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from eventcore.training.measures import RunningMean

batches = st.lists(st.lists(st.floats(0, 1), max_size=5), max_size=10)


@given(batches)
def test_it_is_the_mean_of_everything_added(parts: list[list[float]]) -> None:
    running = RunningMean()
    seen: list[float] = []
    for part in parts:
        running.add(part)
        seen += part
        if not seen:
            continue
        exact = sum(map(Fraction, seen), Fraction()) / len(seen)
        assert abs(Fraction(running.value) - exact) <= Fraction(1, 10**12)


def test_nothing_has_no_mean() -> None:
    running = RunningMean()
    assert math.isnan(running.value)
    running.add([])
    assert math.isnan(running.value)
    running.add([0.0])
    assert running.value == 0.0
