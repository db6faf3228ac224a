"""The checks of what wins a training: that it was evaluated as it stands, is the best, and has a real score.

Rewards are made of what the variables hold, so what a value is worth is computed beside the training.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from eventcore.testing.checks import Tally
from eventcore.testing.optimizer_populations import score_of
from eventcore.testing.optimizer_search import Search, lively, said_by, search
from eventcore.testing.optimizer_subject import OptimizerSubject, Score, chance, graded, salted

SLACK = 1e-9


def noisy(salt: int) -> Score:
    """A reward of which one question says little, another for each salt."""

    def score(number: int, says: Mapping[str, Any]) -> float:
        parts = (says,) if not salt else (says, salt)
        return round(0.35 * chance(*parts) + 0.65 * chance(number, *parts), 6)

    return score


def seeds(subject: OptimizerSubject, count: int) -> Iterator[tuple[int, OptimizerSubject]]:
    """Yield numbers from 0 and subjects that differ in their seed."""
    for further in range(count):
        yield further, subject.other(further=1000 * further)


def never_worse_than_the_best(subject: OptimizerSubject, tally: Tally) -> None:
    """Compare what trainings ended with and what they validated."""
    options: dict[str, Any] = {"held_out": 8, "minibatch_size": 1, "epochs": 5}
    first = lively(subject, tally, "nothing could win", score=noisy(0), **options)
    for further, again in seeds(first.subject, 6):
        found = search(again, score=noisy(further), **options) if further else first
        validated = [one for one in found.evaluated if one.phase == "validation"]
        if not validated:
            tally.fail(f"nothing was validated in {len(found.epoch_ends)} epochs with 8 examples held out")
        best = max(validated, key=lambda one: found.worth(one.combination, 8))
        worth, ended = found.worth(best.combination, 8), found.worth(found.ended, 8)
        if ended < worth - SLACK:
            tally.fail(
                f"the training ended with values that score {ended:.4f} on the held-out data; in epoch {best.epoch} "
                f"(seq {best.seq}) it had validated {worth:.4f}: {best.combination}"
            )
        tally.count(len({one.combination.key for one in validated}) - 1)
    if not tally.exercised:
        tally.fail(
            "exercised nothing: it validated one combination only in 6 trainings, so nothing could win"
        )


def joint_choice(subject: OptimizerSubject, tally: Tally) -> None:
    """See whether what trainings ended with was ever evaluated as it stands."""
    first = lively(subject, tally, "no combination could be chosen")
    for further, again in seeds(first.subject, 4):
        for held_out in (6, 0):
            usual = not further and held_out == 6
            found = first if usual else search(again, score=salted(further), held_out=held_out)
            known = {one.combination.key for one in found.evaluated}
            if found.ended.key not in known:
                tally.fail(
                    "the training ended with a combination of values that was never evaluated together "
                    f"({held_out or 'nothing'} held out, seq {found.events}): {found.ended}"
                )
            tally.count(len(known) - 1)


def bad_rewards_never_win(subject: OptimizerSubject, tally: Tally) -> None:
    """Give some values no finite reward, and make some questions unanswerable."""
    longer = lively(subject, tally, "no bad reward could be given", broken=5, seen=30).subject
    for bad in (math.nan, math.inf, None):
        score = Spoilt(bad)
        found = search(longer, score=score, broken=5, seen=30)
        if not score.spoilt:
            tally.fail(nothing_spoilt(found, bad))
        tally.count(score.spoilt)
        ended = score(1000, said_by(found.ended))
        if ended is None or not math.isfinite(ended):
            tally.fail(f"values whose reward is {bad!r} won the training: {found.ended}")
        for path in found.paths:
            for entry in found.values[path]["best_candidates"]:
                tally.require(
                    math.isfinite(score_of(entry)),
                    f"a candidate of {path!r} was kept with a score of {score_of(entry)!r}, where bad rewards are "
                    f"{bad!r}: {entry!r:.160}",
                )


def nothing_spoilt(found: Search, bad: Any) -> str:
    """What is said where no candidate was given a bad reward."""
    return f"exercised nothing: in {found.batches} batches no candidate got the reward {bad!r}"


class Spoilt:
    """A reward that is bad for some values: never for the first, always for the second, then by chance.

    Args:
        bad: The reward they get.

    Attributes:
        spoilt: How many times it was given.
    """

    def __init__(self, bad: Any) -> None:
        self.bad = bad
        self.spoilt = 0
        self._fine: dict[str, bool] = {}

    def __call__(self, number: int, says: Mapping[str, Any]) -> Any:
        """Score."""
        key = json.dumps(says, sort_keys=True)
        if key not in self._fine:
            known = len(self._fine)
            self._fine[key] = known == 0 or (known > 1 and chance("fine", says) > 0.4)
        if self._fine[key]:
            return graded(number, says)
        self.spoilt += 1
        return self.bad
