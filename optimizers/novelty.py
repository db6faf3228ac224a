"""Dominated novelty: what keeps a population both good and varied.

A candidate competes only with fitter ones. Far from all of them it survives although others score higher; close
to them it is dominated. How candidates are scored, embedded and kept is the optimizer's business; this is the
arithmetic, and the memory of what was embedded.

Source: Bahlous-Boldi, Faldor, Grillotti, Janmohamed, Coiffard, Spector and Cully, "Dominated Novelty Search:
Rethinking Local Competition in Quality-Diversity" (2025).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

Vector = Sequence[float]
Pairs = Mapping[tuple[int, int], float]


def dominating_pairs(rewards: Sequence[float]) -> list[tuple[int, int]]:
    """Return the pairs (candidate, fitter candidate) whose distances decide the competition."""
    places = range(len(rewards))
    return [(one, fitter) for one in places for fitter in places if rewards[fitter] > rewards[one]]


def dominated_novelty(rewards: Sequence[float], distances: Pairs, nearest: int) -> list[float]:
    """Return each candidate's mean distance to the `nearest` closest among those with a higher reward.

    One that nobody exceeds gets infinity. With fewer fitter candidates than `nearest` it is the mean over all.

    Args:
        rewards: Reward of each candidate.
        distances: Distance of each of `dominating_pairs(rewards)`.
        nearest: How many fitter candidates count; at least 1.

    Complexity: O(n² log n).
    """
    fitter: list[list[float]] = [[] for _ in rewards]
    for one, other in dominating_pairs(rewards):
        fitter[one].append(distances[one, other])
    closest = [sorted(found)[:nearest] for found in fitter]
    return [math.fsum(found) / len(found) if found else math.inf for found in closest]


def cosine_distance(one: Vector, other: Vector) -> float:
    """Return how far two vectors point apart: 0.0 the same way, 0.5 at right angles, 1.0 opposite ways."""
    if list(one) == list(other):
        return 0.0
    lengths = math.sqrt(math.fsum(a * a for a in one)) * math.sqrt(math.fsum(b * b for b in other))
    if lengths == 0.0:
        return 0.5
    cosine = math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths
    return min(1.0, max(0.0, (1.0 - cosine) / 2.0))


def described(fields: Mapping[str, Any]) -> str:
    """Return a candidate as the text that is embedded: its own fields, and the examples without their rewards."""
    lines: list[str] = []
    for name, value in sorted(fields.items()):
        if name == "examples":
            value = [{key: item for key, item in record.items() if key != "reward"} for record in value]
            if not value:
                continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        lines.append(f"{name}: {text}")
    return "\n".join(lines)


class Descriptors:
    """The vectors of candidates, by the digest of what they are; each is asked for once."""

    def __init__(self) -> None:
        self._vectors: dict[str, Vector] = {}

    def missing(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return the texts that were not embedded yet, by digest."""
        return {part: text for part, text in texts.items() if part not in self._vectors}

    def learn(self, vectors: Mapping[str, Vector], keep: Mapping[str, str]) -> None:
        """Take over vectors, and forget those of candidates that are gone."""
        self._vectors |= vectors
        self._vectors = {part: vector for part, vector in self._vectors.items() if part in keep}

    def __getitem__(self, part: str) -> Vector:
        return self._vectors[part]
