"""Comparing two trainings: where they went different ways first, and which values they ended with.

The first evaluation that differs says more than all that follows from it, so it is what a message names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from eventcore.testing.checks import Tally
from eventcore.testing.optimizer_search import Search, shown


def first_difference(one: Search, other: Search, told: tuple[str, str] = ("before", "now")) -> str:
    """Say where two trainings went different ways, in one line; "" if they evaluated the same."""
    pairs = zip(one.evaluated, other.evaluated, strict=False)
    for place, (mine, theirs) in enumerate(pairs):
        if mine.same != theirs.same:
            paths = [path for path, text in mine.combination.items() if theirs.combination[path] != text]
            here = f"first at evaluation {place} (epoch {theirs.epoch}, {theirs.phase}, seq {theirs.seq})"
            if not paths:
                return f"{here}: {told[0]} the reward {mine.reward}, {told[1]} {theirs.reward}"
            path = paths[0]
            mine_there, theirs_there = mine.combination[path], theirs.combination[path]
            return f"{here}: {path!r} held {shown(mine_there)} {told[0]}, {shown(theirs_there)} {told[1]}"
    if len(one.evaluated) != len(other.evaluated):
        return f"{len(one.evaluated)} evaluations {told[0]}, {len(other.evaluated)} {told[1]}"
    return ""


def require_same(one: Mapping[str, Any], other: Mapping[str, Any], when: str, tally: Tally) -> None:
    """Require that variables have the same values; the message names the first field that has not.

    Args:
        one: Values by path, as they should be.
        other: Values by path, as they are.
        when: In which case: "loaded from program.json".
        tally: Counts.
    """
    for path in {**one, **other}:
        mine, theirs = one.get(path), other.get(path)
        if mine != theirs:
            tally.fail(f"{path!r} has another value when {when}: {_fields_apart(mine, theirs)}")
        tally.count()


def _fields_apart(mine: Any, theirs: Any) -> str:
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return f"{shown(theirs)}, not {shown(mine)}"
    fields: list[str] = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    first = fields[0]
    return f"{first} is {shown(theirs.get(first))}, not {shown(mine.get(first))}"


def told_of(found: Search) -> dict[str, Any]:
    """Return JSON of the last training of a run: what it evaluated, and what the optimizer and its variables hold."""
    began = [record.seq for record in found.run.events(kind="TrainBegan")][-1]
    evaluated = [one.same for one in found.evaluated if one.seq > began]
    paths = [*found.paths, *(variable.path for variable in found.optimizer.variables)]
    values = {path: found.values[path] for path in paths}
    told: dict[str, Any] = json.loads(json.dumps({"values": values, "evaluated": evaluated}))
    return told


def require_same_way(should: Mapping[str, Any], told: Mapping[str, Any], when: str, tally: Tally) -> None:
    """Require that two trainings evaluated the same and ended with the same, by what `told_of` says of them."""
    for place, (mine, theirs) in enumerate(zip(should["evaluated"], told["evaluated"], strict=False)):
        if mine != theirs:
            tally.fail(f"{when}, it goes another way: at evaluation {place}, {_apart(mine, theirs)}")
        tally.count()
    wanted, got = len(should["evaluated"]), len(told["evaluated"])
    tally.require(wanted == got, f"{when}, it evaluates {got} times, not {wanted}")
    require_same(should["values"], told["values"], when, tally)


def _apart(mine: Any, theirs: Any) -> str:
    """Say what is other in an evaluation: the first variable, or the reward."""
    for (path, should), (_, held) in zip(mine[1], theirs[1], strict=True):
        if should != held:
            return f"{theirs[0]}, {path!r} held {shown(held)}, not {shown(should)}"
    return f"{theirs[0]}, the reward is {theirs[2]}, not {mine[2]}"
