"""The checks of what an optimizer keeps: populations, and the history of what was chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from eventcore.testing.checks import Tally
from eventcore.testing.optimizer_search import Search, lively, search, shown
from eventcore.testing.optimizer_subject import OptimizerSubject, salted

MOST_TRAININGS = 12
"""Trainings in which something has to be chosen that was not there at first."""


def population_is_capped(subject: OptimizerSubject, tally: Tally) -> None:
    """Look at the population at the end of every epoch."""
    found = lively(subject, tally, "there was no population", seen=48)
    size = found.optimizer.population_size
    kept_beside = 0
    for epoch, values in enumerate(found.epoch_ends):
        for path, value in values.items():
            _judge_population(f"after epoch {epoch} {path!r}", value, size, tally)
            kept_beside += len(value["best_candidates"]) - 1
    if size > 1 and not kept_beside:
        tally.fail(
            f"exercised nothing: {len(found.new)} candidates were evaluated, and no epoch kept more than one of "
            f"them, with a population_size of {size}"
        )
    most = max(sum(path == other for other, _ in found.new) for path in found.paths) + 1
    if most <= size:
        tally.note(
            f"the cap itself was not reached: {most} candidates of one variable, and {size} fit; a factory with a "
            "smaller population_size would reach it"
        )


def _judge_population(whose: str, value: Mapping[str, Any], size: int, tally: Tally) -> None:
    kept, left = value["best_candidates"], value["candidates"]
    tally.require(len(kept) <= size, f"{whose} keeps {len(kept)} candidates of {size}")
    tally.require(kept, f"{whose} keeps no candidate at all")
    tally.require(not left, f"{whose} has {len(left)} candidates that nobody chose from: {shown(left[:1])}")
    several = {json.dumps(fields_of(entry), sort_keys=True) for entry in kept}
    tally.require(
        len(several) == len(kept),
        f"{whose} keeps equal candidates apart: {len(kept)}, of which {len(several)} differ",
    )
    bad = [entry for entry in kept if not math.isfinite(score_of(entry))]
    tally.require(not bad, f"{whose} keeps a candidate without a score: {shown(bad[:1])}")


def score_of(entry: Mapping[str, Any]) -> float:
    """The score a population keeps of a candidate, NaN without one."""
    found = entry.get("reward_1", entry.get("reward"))
    return float(found) if isinstance(found, (int, float)) else math.nan


def fields_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a candidate is, without its scores."""
    scores = {"reward", "evaluations", "reward_1", "evaluations_1"}
    return {key: value for key, value in entry.items() if key not in scores}


def history_only_grows(subject: OptimizerSubject, tally: Tally) -> None:
    """Compare the history of each epoch's end with the one before."""
    found = lively(subject, tally, "no history could grow", epochs=6)
    grew, won, batches = _judge_history(found, tally), _won(found), found.batches
    for further in range(1, MOST_TRAININGS):
        if grew and further > 2:
            return
        again = found.subject.other(further=1000 * further)
        more = search(again, score=salted(further), epochs=6)
        grew, won = grew + _judge_history(more, tally), won + _won(more)
        batches += more.batches
    if not won:
        tally.fail(
            f"exercised nothing: in {MOST_TRAININGS} trainings of {batches} batches, each with other rewards, no "
            "candidate was ever chosen over what was there at first"
        )
    if not grew:
        tally.note(
            f"no history had a second entry in {MOST_TRAININGS} trainings, as the first epoch decided all"
        )


def _won(found: Search) -> int:
    """How many entries of the histories are not what the training began with."""
    begun = {path: json.loads(text) for path, text in found.begun.items()}
    return sum(
        any(begun[path].get(key) != value for key, value in fields_of(entry).items())
        for path in found.paths
        for entry in found.values[path]["history"]
    )


def _judge_history(found: Search, tally: Tally) -> int:
    """Return how many entries came after the first."""
    grew = 0
    for path in found.paths:
        histories = [values[path]["history"] for values in found.epoch_ends]
        for epoch, history in enumerate(histories):
            tally.require(history, f"{path!r} has no history after epoch {epoch}")
        for epoch, (earlier, later) in enumerate(pairwise(histories)):
            tally.require(
                [fields_of(entry) for entry in later[: len(earlier)]]
                == [fields_of(entry) for entry in earlier],
                f"in epoch {epoch + 1} the history of {path!r} changed what it had said before: "
                f"{shown(later[: len(earlier)])}, not {shown(earlier)}",
            )
        for place, (one, other) in enumerate(pairwise(histories[-1])):
            tally.require(
                fields_of(one) != fields_of(other),
                f"the history of {path!r} repeats entry {place}: {shown(fields_of(one))}",
            )
        for epoch, values in enumerate(found.epoch_ends):
            last, value = fields_of(values[path]["history"][-1]), values[path]
            same = {key: value[key] for key in last}
            tally.require(
                same == last,
                f"after epoch {epoch} the last entry of {path!r}'s history is not what was chosen: {shown(last)}, not "
                f"{shown(same)}",
            )
        grew += len(histories[-1]) - 1
    return grew
