"""Trials: combinations of candidates that were evaluated together, and how well they did.

A small sample is noisy, so a trial's estimate is drawn towards the mean of all trials until it has been
evaluated often; a score over the whole validation set counts more than any number of small samples. The
rows are stored in the optimizer's variable; this class only ranks them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

PRIOR_WEIGHT = 4.0
"""How many rollouts at the overall mean a trial's estimate starts with."""

COMPETING = 64
"""Trials that compete for the next choice; one that fell out returns when it is evaluated again."""


class Trial(msgspec.Struct):
    """One combination.

    Attributes:
        parts: Digest of each variable's candidate, by path of the variable.
        reward: Mean reward over all its small samples.
        evaluations: Number of rollouts that is the mean of.
        validation: Mean reward over the whole validation set, None if it was not validated.
        validated: Number of rollouts that is the mean of.
        epoch: Epoch it was first evaluated in.
    """

    parts: dict[str, str]
    reward: float = 0.0
    evaluations: int = 0
    validation: float | None = None
    validated: int = 0
    epoch: int = 0


AtHand = Callable[[Trial], bool]
"""Whether the parts of a trial can still be written."""


class Trials:
    """All trials of an optimizer, oldest first."""

    def __init__(self) -> None:
        self._rows: list[Trial] = []
        self._pool: set[int] = set()
        self._places: dict[tuple[tuple[str, str], ...], int] = {}
        self._sum = 0.0
        self._count = 0

    def load(self, rows: list[Any]) -> None:
        """Take over stored rows."""
        self._rows = [msgspec.convert(row, Trial) for row in rows]
        self._places = {_identity(trial.parts): index for index, trial in enumerate(self._rows)}
        self._pool = set(range(len(self._rows)))
        self._prune()
        self._sum = sum(trial.reward * trial.evaluations for trial in self._rows)
        self._count = sum(trial.evaluations for trial in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def _find(self, parts: dict[str, str], epoch: int) -> tuple[int, Trial]:
        index = self._places.setdefault(_identity(parts), len(self._rows))
        if index == len(self._rows):
            self._rows.append(Trial(parts=parts, epoch=epoch))
        return index, self._rows[index]

    def add(self, parts: dict[str, str], reward: float, count: int, epoch: int) -> tuple[int, dict[str, Any]]:
        """Fold a small sample's mean into a trial; returns its index and its row to store."""
        index, trial = self._find(parts, epoch)
        self._consider(index)
        total = trial.evaluations + count
        trial.reward = (trial.reward * trial.evaluations + reward * count) / total
        trial.evaluations = total
        self._sum += reward * count
        self._count += count
        return index, msgspec.to_builtins(trial)

    def validate(
        self, parts: dict[str, str], reward: float, count: int, epoch: int
    ) -> tuple[int, dict[str, Any]]:
        """Fold a full validation's mean into a trial; returns its index and its row to store."""
        index, trial = self._find(parts, epoch)
        self._consider(index)
        total = trial.validated + count
        before = (trial.validation or 0.0) * trial.validated
        trial.validation = (before + reward * count) / total
        trial.validated = total
        return index, msgspec.to_builtins(trial)

    def knows(self, parts: dict[str, str]) -> bool:
        """Whether this combination was ever evaluated."""
        return _identity(parts) in self._places

    def validation(self, parts: dict[str, str]) -> float | None:
        """Score of a combination over the validation set, None if it was not validated."""
        index = self._places.get(_identity(parts))
        return None if index is None else self._rows[index].validation

    def estimate(self, trial: Trial) -> float:
        """Return the mean of a trial's small samples, drawn towards the overall mean while they are few."""
        overall = self._sum / self._count if self._count else 0.0
        return (trial.reward * trial.evaluations + overall * PRIOR_WEIGHT) / (
            trial.evaluations + PRIOR_WEIGHT
        )

    def best(self, at_hand: AtHand) -> Trial | None:
        """Return the best trial: by validation score if any was validated, else by estimate. Ties: the older.

        Args:
            at_hand: Whether the parts of a trial can still be written.
        """
        pool = self._ranked()
        validated = sorted(
            (trial for trial in pool if trial.validation is not None),
            key=lambda trial: -(trial.validation or 0.0),
        )
        found = next(filter(at_hand, validated), None)
        if found is not None:
            return found
        return next(filter(at_hand, sorted(pool, key=lambda trial: -self.estimate(trial))), None)

    def to_validate(self, at_hand: AtHand) -> Trial | None:
        """Return the most promising trial at hand that was never validated, or else the best."""
        fresh = [trial for trial in self._ranked() if trial.validation is None]
        fresh.sort(key=lambda trial: -self.estimate(trial))
        return next(filter(at_hand, fresh), None) or self.best(at_hand)

    def kept(self, size: int, at_hand: AtHand) -> list[Trial]:
        """Return the `size` best trials at hand: the best, then by validation score, or by estimate without one."""
        best = self.best(at_hand)
        if best is None:
            return []
        others = sorted(self._ranked(), key=lambda trial: -self.score(trial))
        usable = (trial for trial in others if trial is not best and at_hand(trial))
        return [best, *islice(usable, size - 1)]

    def _ranked(self) -> list[Trial]:
        return [self._rows[index] for index in sorted(self._pool)]

    def _consider(self, index: int) -> None:
        """Let a trial compete; the weakest stop competing so that choosing stays O(1) as trials grow."""
        self._pool.add(index)
        if len(self._pool) > 2 * COMPETING:
            self._prune()

    def _prune(self) -> None:
        """Keep the strongest of the validated trials, and of the others: lucky small samples displace no winner."""
        order = sorted(self._pool)
        validated = [index for index in order if self._rows[index].validation is not None]
        others = [index for index in order if self._rows[index].validation is None]
        self._pool = {
            index
            for group in (validated, others)
            for index in heapq.nlargest(
                COMPETING // 2, group, key=lambda index: self.score(self._rows[index])
            )
        }

    def score(self, trial: Trial) -> float:
        """Return what a trial is ranked by: its validation score, or its estimate without one."""
        return trial.validation if trial.validation is not None else self.estimate(trial)


def _identity(parts: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(parts.items()))
