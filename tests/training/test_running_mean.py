"""The mean reward of an epoch, read after every batch."""

from __future__ import annotations

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
        exact = sum(map(Fraction, seen), Fraction()) / max(1, len(seen))
        assert abs(Fraction(running.value) - exact) <= Fraction(1, 10**12)


def test_it_is_a_float_when_nothing_was_added() -> None:
    assert RunningMean().value == 0.0
    assert type(RunningMean().value) is float
