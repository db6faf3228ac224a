"""Sampling from the records of an epoch by their rewards, without looking at all of them for each sample.

An epoch only appends records, so what was learnt of the first ones stays true: adding a record costs O(1), a
sample of k from n costs O(k log n). That keeps the time per example the same however long an epoch is. What is
drawn depends on the records and the random stream alone, never on how often was drawn before.
"""

from __future__ import annotations

import math
from bisect import bisect, insort
from collections.abc import Sequence
from random import Random
from typing import Any

TRIES = 32
"""Draws of one that was drawn already, per record wanted, before the rest is drawn from what is left."""


class Rewarded:
    """The records of one variable in the present epoch, drawable by reward.

    Args:
        temperature: Of the softmax over the rewards; above 0.
        best: How many of the best records are ever asked for.
    """

    def __init__(self, temperature: float, best: int) -> None:
        self._temperature = temperature
        self._best = best
        self._records: Sequence[Any] = ()
        self._begin()

    def _begin(self) -> None:
        self._rewards: list[float] = []
        self._top = -math.inf
        self._sums: list[float] = []
        self._ranked: list[tuple[float, int]] = []

    def follow(self, records: Sequence[Any]) -> None:
        """Take in what was appended; another list, or a shorter one, is learnt from its beginning."""
        if records is not self._records or len(records) < len(self._rewards):
            self._records = records
            self._begin()
        for index in range(len(self._rewards), len(records)):
            self._add(records[index].get("reward") or 0.0)

    def _add(self, reward: float) -> None:
        insort(self._ranked, (-reward, len(self._rewards)))
        del self._ranked[self._best :]
        self._rewards.append(reward)
        if reward > self._top:
            self._top = reward  # weights are relative to the highest reward, so that none overflows
            self._sums, before = [], self._rewards
        else:
            before = [reward]
        total = self._sums[-1] if self._sums else 0.0
        for each in before:
            total += math.exp((each - self._top) / self._temperature)
            self._sums.append(total)

    def best(self, count: int) -> list[int]:
        """Return the indexes of the highest rewards, best first; of equal ones the older."""
        return [index for _, index in self._ranked[:count]]

    def draw(self, rng: Random, count: int) -> list[int]:
        """Draw indexes without replacement, each with probability proportional to exp(reward / temperature)."""
        drawn: dict[int, None] = {}
        last = len(self._sums) - 1
        for _ in range(TRIES * count):
            if len(drawn) == count:
                break
            drawn.setdefault(min(bisect(self._sums, rng.random() * self._sums[-1]), last))
        if len(drawn) < count:
            left = [index for index in range(len(self._rewards)) if index not in drawn]
            exponents = [(self._rewards[index] - self._top) / self._temperature for index in left]
            places = weighted_sample(rng, exponents, count - len(drawn))
            drawn.update(dict.fromkeys(left[place] for place in places))
        return list(drawn)


def weighted_sample(rng: Random, exponents: Sequence[float], count: int) -> list[int]:
    """Draw indexes without replacement, each with probability proportional to exp(exponent).

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006), with keys in logarithms,
    so that no weight is too small to count.

    Complexity: O(n log n).
    """
    keys = [
        (exponent - math.log(-math.log(rng.random() or 5e-324)), -index)
        for index, exponent in enumerate(exponents)
    ]
    return [-index for _, index in sorted(keys, reverse=True)[:count]]
