"""A module under test in another process, and what one call of it did, as JSON that processes can tell each other.

What a call asks the world is in its log: two calls can be compared up to the first question the world answers
differently, and not beyond.
"""

from __future__ import annotations

import json
from typing import Any

from eventcore.history import events as e
from eventcore.testing.module_inputs import examples_from, examples_told, shown
from eventcore.testing.module_subject import Bench, ModuleSubject, outputs_json
from eventcore.testing.whereabouts import found_at, whereabouts

Told = dict[str, Any]


# --- the subject -----------------------------------------------------------------------------------


def subject_told(subject: ModuleSubject) -> Told | None:
    """Tell of a module and its examples; None where another process cannot find it."""
    where = whereabouts(subject.factory)
    if where is None:
        return None
    return {
        "factory": where,
        "examples": examples_told(subject.examples()),
        "number": subject.number,
    }


def subject_of(told: Told) -> ModuleSubject:
    """Return what was told of, in another process."""
    return ModuleSubject(found_at(told["factory"]), examples_from(told["examples"]), told["number"])


# --- one call --------------------------------------------------------------------------------------


def values_by_path(bench: Bench) -> Told:
    """Return what every variable holds."""
    return {variable.path: variable.get_json() for variable in bench.module.variables}


def asked(bench: Bench, example: Any, rollout: str) -> Told:
    """Call a module under training, and tell what it answered, what it asked the world, and what it left."""
    start = bench.run.flush()
    try:
        answer = outputs_json(bench.answer(example, training=True, rollout=rollout))
    except Exception as error:  # what a module raises is an answer as well: two can be compared
        answer = {"raised": f"{type(error).__name__}: {error}"}
    bench.run.flush()
    return {"answer": answer, "world": world_since(bench, start), "values": values_by_path(bench)}


def world_since(bench: Bench, start: int) -> list[Told]:
    """Return what was asked of the world after an event, and what it told."""
    questions: dict[int, Told] = {}
    if bench.run.head > start:
        for record in bench.run.events(start + 1):
            event = record.event
            if isinstance(event, e.EffectStarted):
                questions[record.seq] = {"asked": [event.kind, event.request], "told": None}
            elif isinstance(event, (e.EffectCompleted, e.EffectReused)) and event.cause in questions:
                questions[event.cause]["told"] = [event.answer]
            elif isinstance(event, e.EffectFailed) and event.cause in questions:
                questions[event.cause]["told"] = [event.error, event.message]
    return list(questions.values())


def parted(one: Told, other: Told) -> bool:
    """Whether the world told two calls different things, after which they cannot be compared."""
    pairs = zip(one["world"], other["world"], strict=False)
    return any(mine["asked"] == theirs["asked"] and mine["told"] != theirs["told"] for mine, theirs in pairs)


def told_differently(one: list[Told], other: list[Told]) -> bool:
    """Whether the world told two different things to who asked it the same, in whatever order they asked."""
    answers = [
        {
            json.dumps(question["asked"]): [
                json.dumps(each["told"]) for each in world if each["asked"] == question["asked"]
            ]
            for question in world
        }
        for world in (one, other)
    ]
    return any(sorted(told) != sorted(answers[1].get(asked, told)) for asked, told in answers[0].items())


def difference(one: Told, other: Told) -> tuple[str, str]:
    """Say in words what two calls did differently, as far as they can be compared; two "" for nothing."""
    for mine, theirs in zip(one["world"], other["world"], strict=False):
        if mine["asked"] != theirs["asked"]:
            return f"asks {shown(mine['asked'])}", f"asks {shown(theirs['asked'])}"
        if mine["told"] != theirs["told"]:
            return "", ""
    counts = len(one["world"]), len(other["world"])
    if counts[0] != counts[1]:
        more = (one if counts[0] > counts[1] else other)["world"][min(counts)]["asked"]
        words = f"asks {shown(more)}", "asks nothing of the kind"
        return words if counts[0] > counts[1] else (words[1], words[0])
    if one["answer"] != other["answer"]:
        return f"is answered {shown(one['answer'])}", f"is answered {shown(other['answer'])}"
    for path, mine in one["values"].items():
        theirs = other["values"].get(path)
        for field in [key for key in mine if theirs is None or mine[key] != theirs.get(key)]:
            named = f"leaves {field!r} of {path!r} as"
            return f"{named} {shown(mine[field])}", f"{named} {shown((theirs or {}).get(field))}"
    return "", ""
