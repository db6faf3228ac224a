"""The checks of a module that is used again: at another time, by another process, by many at once.

A module whose answers depend on the clock, on unrecorded randomness or on the order of a set cannot be replayed; one
whose calls meddle with each other gives one example another's answer.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import tempfile
from collections import Counter
from typing import Any, cast

from eventcore.history.store import open as open_store
from eventcore.replay.worlds import Entered, World
from eventcore.testing.checks import Check, CheckFailed, DoesNotApply, Tally
from eventcore.testing.elsewhere import elsewhen, tell_back, told_elsewhere
from eventcore.testing.module_elsewhere import subject_of, subject_told
from eventcore.testing.module_inputs import changed_part, shown
from eventcore.testing.module_replay import Told, call_of, recorded_use, told_of, used_again
from eventcore.testing.module_subject import Bench, ModuleSubject, outputs_json
from eventcore.testing.scheduling import run_coroutine
from eventcore.testing.whereabouts import why_not

WORLDS = 8
"""In how many worlds calls are repeated to see what changes by itself; a coin is taken for steady once in 256 times."""


def told_by(subject: ModuleSubject, first: Told | None = None) -> Told:
    """Use a fresh instance, as the first was used, and tell what it answered and what its variables hold."""
    with subject.bench() as bench:
        return told_of(bench, subject, first["drawn"] if first else None)


def no_unrecorded_nondeterminism(subject: ModuleSubject, tally: Tally) -> None:
    """Do the same again later, with other random numbers, and in processes with other hash seeds.

    What was recorded is replayed there, which compares every event. A module without effects is also used afresh,
    which compares what it ends with.
    """
    with elsewhen(1, 0), recorded_use(subject) as (source, first), tempfile.TemporaryDirectory() as folder:
        with elsewhen(2, 1):
            used_again(
                subject, source, first, "replayed at another time and with other random numbers", tally
            )
            if not first["effects"]:
                again = told_by(subject, first)
                _compare(subject, first, again, "at another time and with other random numbers", tally)
        given = subject_told(subject)
        if given is None:
            tally.note(f"other hash seeds were not tried: {why_not(subject.factory)}")
            return
        place = os.path.join(folder, "recorded.lmdb")
        with open_store(place) as store:
            store.import_run(source)
        for seed in (1, 2):
            told: Told = told_elsewhere(
                tell, {**given, "hash": seed, "recorded": place, "first": first}, seed
            )
            for wrong in told["wrong"]:
                tally.fail(wrong + _lines(told["taken"]))
            tally.count()
            if not first["effects"]:
                _compare(subject, first, told, f"in a process with hash seed {seed}", tally)


def _lines(taken: dict[str, list[str]]) -> str:
    """Name the lines that took something from the world, where they can be seen."""
    lines = [f"\n  takes from its surroundings: {line}" for found in taken.values() for line in found]
    return "".join(lines[:5])


def _compare(subject: ModuleSubject, one: Told, other: Told, when: str, tally: Tally) -> None:
    for place, (mine, theirs) in enumerate(zip(one["answers"], other["answers"], strict=True)):
        tally.require(
            mine == theirs, f"{call_of(subject, place)} is answered {shown(mine)}, and {when} {shown(theirs)}"
        )
    tally.require(
        one["values"] == other["values"],
        f"the variables hold something else {when}: {changed_part(one['values'], other['values'])}",
    )
    tally.require(one["digest"] == other["digest"], f"the state is another one {when}")


def tell(given: dict[str, Any]) -> None:
    """Use a module in this process, which is another world, and print what happened; the other side of the above."""
    seed: int = given["hash"]
    entered = Entered(World(clock=1.6e9 + 1e8 * seed, random=seed, uuid=seed, hash=seed))
    subject, tally, wrong = subject_of(given), Tally(), list[str]()
    with open_store(given["recorded"], read_only=True) as store:
        source = store["checked"]
        try:
            used_again(subject, source, given["first"], f"replayed in a process with hash seed {seed}", tally)
        except CheckFailed as error:
            wrong.append(str(error))
    fresh = {} if wrong or any(source.events(kind="EffectStarted")) else told_by(subject, given["first"])
    tell_back({**fresh, "wrong": wrong, "taken": entered.taken})


def concurrency_safe(subject: ModuleSubject, tally: Tally) -> None:
    """Call the module on all examples at once, in several orders, and compare with one after the other."""
    examples = subject.examples()
    if len(examples) < 2:
        raise DoesNotApply("there is only one input")
    forwards = one_by_one(subject, list(range(len(examples))))
    steady = Steady(subject, forwards, one_by_one(subject, list(reversed(range(len(examples))))))
    if not steady.stateless:
        tally.note("answers depend on the order of the calls, so those of concurrent calls were not compared")
    for order in range(5):
        found = _at_once(subject, order)
        wrong = steady.recurring(found, order)
        for place, answer in enumerate(found[0]):
            tally.require(
                place not in wrong,
                f"called at once with others (order {order}), {subject.shown(place)} is answered {shown(answer)}, and "
                f"alone {shown(forwards[0][place])}",
            )
        tally.require(
            STATE not in wrong,
            f"after concurrent calls (order {order}), {changed_part(forwards[1], found[1])} after the same calls in "
            "turn: an update was lost between reading and writing",
        )
        tally.require(
            RECORDS not in wrong,
            f"concurrent calls (order {order}) left {found[2].total()} records, the same calls in turn "
            f"{forwards[2].total()}: {_other_records(forwards[2], found[2])}",
        )


def _other_records(wanted: Counter[str], found: Counter[str]) -> str:
    lost, new = list((wanted - found).elements()), list((found - wanted).elements())
    told = [f"{len(lost)} are missing, one for {lost[0][:160]}"] if lost else []
    told += [f"{len(new)} are surplus, one for {new[0][:160]}"] if new else []
    return "; ".join(told)


Outcome = tuple[list[Any], Any, Counter[str]]


STATE, RECORDS = -1, -2
"""Beside the places of the answers: the state, and the records."""


class Steady:
    """Compares what calls gave without what changes by itself: recorded times, identifiers and lotteries.

    What does is found by making the same calls in the same order in other worlds, once something differs. What seldom
    does (an error once in ten times) is not always found so; where the world is asked, a difference is one that is
    there whenever the same calls are made at once in the same order.

    Args:
        subject: The module.
        first: What came of the calls in order.
        backwards: What came of them in the opposite order.
    """

    def __init__(self, subject: ModuleSubject, first: Outcome, backwards: Outcome) -> None:
        self._subject = subject
        self._first = first
        self.stateless = all(map(self._same, range(len(first[0])), first[0], backwards[0]))
        self._commutes = self._same(STATE, first[1], backwards[1])
        self._recorded_alike = first[2] == backwards[2]

    def recurring(self, found: Outcome, order: int) -> set[int]:
        """Return where concurrent calls gave something else, and do so in any world: the places."""
        wrong = self._wrong(found)
        for world in range(1, WORLDS + 1 if wrong and self._asks else 1):
            with elsewhen(world, world):
                wrong &= self._wrong(_at_once(self._subject, order))
            if not wrong:
                break
        return wrong

    def _wrong(self, found: Outcome) -> set[int]:
        answers, values, records = found
        wrong = {
            place
            for place, answer in enumerate(answers)
            if self.stateless and not self._same(place, answer, self._first[0][place])
        }
        if self._commutes and not self._same(STATE, values, self._first[1]):
            wrong.add(STATE)
        lost = records.total() != self._first[2].total()
        if lost or (self._recorded_alike and records != self._first[2] and self._records_steady):
            wrong.add(RECORDS)
        return wrong

    def _same(self, place: int, one: Any, other: Any) -> bool:
        """Whether two answers to one example, or two states, differ in nothing that is steady."""
        if one == other:
            return True
        moving = self._moving[place]
        return all(
            any(at == part or at.startswith(f"{part}/") for part in moving) for at in different(one, other)
        )

    @functools.cached_property
    def _asks(self) -> bool:
        """Whether the module asks the world anything, whose answers may be others the next time."""
        return bool(told_by(self._subject)["effects"])

    @functools.cached_property
    def _worlds(self) -> list[Outcome]:
        """What comes of the same calls in other worlds."""
        found: list[Outcome] = []
        for world in range(1, WORLDS + 1):
            with elsewhen(world, world):
                found.append(one_by_one(self._subject, list(range(len(self._first[0])))))
        return found

    @functools.cached_property
    def _records_steady(self) -> bool:
        return all(records == self._first[2] for _, _, records in self._worlds)

    @functools.cached_property
    def _moving(self) -> list[set[str]]:
        """The places that change by themselves: of each answer, and of the state."""
        moving: list[set[str]] = [set() for _ in [*self._first[0], STATE]]
        for answers, values, _ in self._worlds:
            pairs = zip([*self._first[0], self._first[1]], [*answers, values], strict=True)
            for place, (one, other) in enumerate(pairs):
                moving[place] |= different(one, other)
        return moving


def different(one: Any, other: Any, at: str = "") -> set[str]:
    """Return the JSON pointers at which two values differ; a list that grew or shrank differs as a whole."""
    if isinstance(one, dict) and isinstance(other, dict):
        mine, theirs = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        keys = mine.keys() | theirs.keys()
        return set[str]().union(
            *(different(mine.get(key, ...), theirs.get(key, ...), f"{at}/{key}") for key in keys)
        )
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):  # pyright: ignore
        pairs = enumerate(zip(cast("list[Any]", one), cast("list[Any]", other), strict=True))
        return set[str]().union(*(different(*pair, f"{at}/{number}") for number, pair in pairs))
    return set() if one == other else {at}


def one_by_one(subject: ModuleSubject, order: list[int]) -> Outcome:
    """Call a fresh instance on all examples in an order; returns answers, values and records."""
    with subject.bench() as bench:
        examples = subject.examples()
        answers = [None] * len(examples)
        for place in order:
            answers[place] = outputs_json(bench.answer(examples[place], training=True))
        return answers, *_left(bench)


def _at_once(subject: ModuleSubject, order: int) -> Outcome:
    with subject.bench() as bench:
        examples = subject.examples()

        async def work() -> list[Any]:
            return await asyncio.gather(*[bench.call(example, training=True) for example in examples])

        answers = [outputs_json(answer) for answer in run_coroutine(work, order)]
        return answers, *_left(bench)


def _left(bench: Bench) -> tuple[Any, Counter[str]]:
    """Return the variables' values without their records, and the records as a multiset."""
    values: dict[str, Any] = {}
    records: Counter[str] = Counter()
    for variable in bench.module.variables:
        value = variable.get_json()
        for record in value.pop("current_predictions", []) if variable.eligible else []:
            records[f"{variable.path}: {json.dumps(record, sort_keys=True)}"] += 1
        values[variable.path] = value
    return values, records


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "no_unrecorded_nondeterminism",
        "The same calls give the same answers and state at any time and in any process, so a run can be replayed.",
        no_unrecorded_nondeterminism,
    ),
    Check(
        "concurrency_safe",
        "Examples that go through the module at the same time get the answers and leave the state they would alone.",
        concurrency_safe,
    ),
)
