"""The check of what a module remembers where nobody sees it: its answers follow the values of now, not those of then.

A cache on a class or in a file outlives the instance, so a fresh instance in the same process says the same wrong
thing. Here the module is used in one process, values are written into its variables in between, and each of its calls
is repeated by a process that has never called it and is given the values the variables held. What the world told is
compared first: where it told something else, no more is asked of the two.
"""

from __future__ import annotations

import functools
from typing import Any

from eventcore.history.population import BOOKKEEPING
from eventcore.testing.checks import Check, DoesNotApply, Tally
from eventcore.testing.elsewhere import elsewhen, require_no_cassette, tell_back, told_elsewhere
from eventcore.testing.isolation import can_isolate, in_a_fork
from eventcore.testing.module_elsewhere import (
    Told,
    asked,
    difference,
    parted,
    subject_of,
    subject_told,
    values_by_path,
)
from eventcore.testing.module_inputs import shown
from eventcore.testing.module_subject import Bench, ModuleSubject, symbolic_call
from eventcore.testing.module_training import drawn_fields
from eventcore.testing.scheduling import run_coroutine

CANDIDATES = 3
"""Values that are written, one after the other."""
INSTANCES = 8
"""How many more new instances are asked before a difference is put down to memory."""


def answers_follow_variables(subject: ModuleSubject, tally: Tally) -> None:
    """Ask, write other values and ask the same again; compare each call with one of a process that is new to it."""
    if not can_isolate():
        tally.note(
            "caches that outlive an instance were not tried: no process of its own can be made for each call"
        )
    require_no_cassette()
    given = subject_told(subject)
    told: Told = uses(subject) if given is None else told_elsewhere(tell, given, 0)
    tally.require(not told["failed"], told["failed"])
    steps: list[Told] = told["steps"]
    for step in steps:
        mine, theirs, again = step["mine"], step["theirs"], step["again"]
        ours, fresh = difference(mine, theirs)
        if (ours or fresh) and any(difference(theirs, again)):
            raise DoesNotApply(
                "two instances that are new answer differently by themselves; see no_unrecorded_nondeterminism"
            )
        tally.require(
            not ours and not fresh,
            f"{subject.shown(step['place'])}, called {step['when']}, {ours}; in a process that never called the "
            f"module, with the same values in its variables{_held(step['before'])}, it {fresh}: something outside the "
            "variables (a cache on a class or in a file, `functools.cache`, an attribute) is remembered; make what a "
            "cache is keyed by hold every value that is read",
        )
    if any(parted(step["mine"], step["theirs"]) for step in steps):
        tally.note("some calls were told different things by the world, and were compared up to there")


def _held(values: Told) -> str:
    own = {
        f"{path}.{field}": value
        for path, fields in values.items()
        for field, value in fields.items()
        if field not in BOOKKEEPING
    }
    return f" ({shown(own)})" if own else ""


def uses(subject: ModuleSubject) -> Told:
    """Use the module in one process, and repeat each of its calls in processes that are new to it."""
    try:
        steps = in_a_fork(functools.partial(_used, subject))
    except Exception as error:
        return {"failed": f"the module could not be used: {type(error).__name__}: {error}", "steps": []}
    for step in steps:
        step["theirs"] = in_a_fork(functools.partial(_afresh, subject, step, 1, 0))
        if any(difference(step["mine"], step["theirs"])):
            step["again"] = _another(subject, step)
            return {"failed": "", "steps": [step]}
        step["again"] = step["theirs"]
    return {"failed": "", "steps": steps}


def _another(subject: ModuleSubject, step: Told) -> Told:
    """Make a call with new instances at other times, until one does something else than the first that was new."""
    for seed in range(2, 2 + INSTANCES):
        another: Told = in_a_fork(functools.partial(_afresh, subject, step, seed, seed - 1))
        if any(difference(step["theirs"], another)):
            return another
    same: Told = step["theirs"]
    return same


def tell(given: dict[str, Any]) -> None:
    """Do so in this process, and print what happened."""
    tell_back(uses(subject_of(given)))


def _used(subject: ModuleSubject) -> list[Told]:
    """Call the module on the same examples with one value after the other in its trainable variables."""
    steps: list[Told] = []
    places = range(min(2, len(subject.examples())))
    with elsewhen(1, 0), subject.bench() as bench:
        _build(bench, subject)
        first = {variable.path: _own(variable.get_json()) for variable in bench.module.trainable_variables}
        _ask(bench, subject, [0, *places], "with the values it was made with", steps)
        for number in range(1, CANDIDATES + 1):
            for variable in bench.module.trainable_variables:
                variable.update(drawn_fields(variable, number))
            _ask(bench, subject, list(places), "after other values were written", steps)
        for variable in bench.module.trainable_variables if first else ():
            variable.update(first[variable.path])
        _ask(bench, subject, [0], "after the first values were written back", steps)
    return steps


def _own(values: Told) -> Told:
    return {field: value for field, value in values.items() if field not in BOOKKEEPING}


def _build(bench: Bench, subject: ModuleSubject) -> None:
    """Have the module make its variables, without a call."""
    run_coroutine(lambda: symbolic_call(bench.module, subject.examples()[0]))


def _ask(bench: Bench, subject: ModuleSubject, places: list[int], when: str, steps: list[Told]) -> None:
    for place in places:
        step: Told = {"place": place, "rollout": f"training:0/asked/{len(steps)}", "when": when}
        step["before"] = values_by_path(bench)
        step["mine"] = asked(bench, subject.examples()[place], step["rollout"])
        steps.append(step)


def _afresh(subject: ModuleSubject, step: Told, seed: int, times: int) -> Told:
    """Make one of the calls with an instance that is given the values its variables held."""
    with elsewhen(seed, times), subject.bench() as bench:
        _give(bench, step["before"])
        if len(bench.module.variables) < len(step["before"]):
            # Only then: a graph is made with a call, and that may warm a cache.
            _build(bench, subject)
            _give(bench, step["before"])
        return asked(bench, subject.examples()[step["place"]], step["rollout"])


def _give(bench: Bench, values: Told) -> None:
    for variable in bench.module.variables:
        if variable.path in values and variable.get_json() != values[variable.path]:
            variable.assign(values[variable.path])


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "answers_follow_variables",
        "An answer depends on the values of now, never on what was answered before.",
        answers_follow_variables,
    ),
)
