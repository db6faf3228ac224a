"""Lost updates are reported: every planted one, with both rollouts and both lines, and nothing else."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.races import Race
from eventcore.history.scope import in_rollout

SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "other": {"type": "integer"},
        "notes": {"type": "array", "items": {"type": "string"}},
        "tally": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}
FIRST: dict[str, Any] = {"count": 0, "other": 0, "notes": [], "tally": {"a": 0, "b": 0}}


@pytest.fixture
def run() -> ec.Run:
    return stores.open("memory:").run("r")


@pytest.fixture
def variable(run: ec.Run) -> ec.Variable:
    return ec.Variable(dict(FIRST), SCHEMA, name="shared")


def together(*bodies: Callable[[], Awaitable[None]]) -> None:
    """Run each body as a rollout of its own, all at once, named r0, r1 and so on."""

    async def one(number: int, body: Callable[[], Awaitable[None]]) -> None:
        with in_rollout(f"r{number}"):
            await body()

    async def main() -> None:
        await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))

    asyncio.run(main())


def names(found: list[Race]) -> list[tuple[str, str, str | None]]:
    return [(race.pointer, race.rollout, race.other) for race in found]


# --- planted ------------------------------------------------------------------------------------


def test_an_increment_across_an_await_loses_the_others(run: ec.Run, variable: ec.Variable) -> None:
    async def body() -> None:
        seen = variable.get("count")
        await asyncio.sleep(0)
        variable.update({"count": seen + 1})

    together(body, body, body)
    assert variable.get("count") == 1
    found = run.races()
    assert names(found) == [("/count", "r1", "r0"), ("/count", "r2", "r1")]
    first = found[0]
    events = dict(run.events())
    assert events[first.read] == events[first.read] and isinstance(events[first.read], e.FieldRead)
    assert events[first.seq].rollout == "r1" and events[first.other_seq].rollout == "r0"
    assert first.read < first.other_seq < first.seq
    assert (first.variable, first.lost, first.written, first.certain) == ("shared", 1, 1, True)


def test_both_lines_of_code_are_named(run: ec.Run, variable: ec.Variable) -> None:
    async def slow() -> None:
        seen = variable.get("count")
        await asyncio.sleep(0)
        variable.update({"count": seen + 1})

    async def quick() -> None:
        variable.update({"count": 40})

    together(slow, quick)
    (race,) = run.races()
    lines, start = inspect.getsourcelines(test_both_lines_of_code_are_named)
    mine = start + next(at for at, line in enumerate(lines) if "seen + 1" in line)
    theirs = start + next(at for at, line in enumerate(lines) if '"count": 40' in line)
    assert race.source is not None and f"test_races.py:{mine} in " in race.source
    assert race.other_source is not None and f"test_races.py:{theirs} in " in race.other_source
    assert (race.lost, race.written) == (40, 1)
    assert f"test_races.py:{mine}" in str(race) and f"test_races.py:{theirs}" in str(race)


def test_a_list_written_back_loses_what_was_appended_meanwhile(run: ec.Run, variable: ec.Variable) -> None:
    async def copies() -> None:
        notes = list(variable.get("notes"))
        await asyncio.sleep(0)
        variable.update({"notes": [*notes, "mine"]})

    async def appends() -> None:
        variable["notes"].append("theirs")

    together(copies, appends)
    (race,) = run.races()
    assert (race.pointer, race.lost, race.written) == ("/notes", ["theirs"], ["mine"])


def test_a_whole_value_assigned_loses_a_field_that_was_read(run: ec.Run, variable: ec.Variable) -> None:
    async def assigns() -> None:
        value = dict(variable.items())
        await asyncio.sleep(0)
        variable.assign({**value, "count": 7})

    async def updates() -> None:
        variable.update({"other": 3})

    together(assigns, updates)
    assert names(run.races()) == [("/other", "r0", "r1")]


def test_a_second_write_without_a_second_read_is_one_too(run: ec.Run, variable: ec.Variable) -> None:
    async def body() -> None:
        seen = variable.get("count")
        variable.update({"count": seen + 1})
        await asyncio.sleep(0)
        variable.update({"count": seen + 2})

    async def between() -> None:
        variable.update({"count": 10})

    together(body, between)
    assert names(run.races()) == [("/count", "r0", "r1")]


def test_code_outside_any_rollout_can_be_what_was_overwritten(run: ec.Run, variable: ec.Variable) -> None:
    with in_rollout("r0"):
        seen = variable.get("count")
    variable.update({"count": 5})
    with in_rollout("r0"):
        variable.update({"count": seen + 1})
    assert names(run.races()) == [("/count", "r0", None)]


def test_a_fork_reports_the_races_of_its_own_history(run: ec.Run, variable: ec.Variable) -> None:
    with in_rollout("r0"):
        variable.get("count")
    with in_rollout("r1"):
        variable.update({"count": 5})
    fork = run.fork("f")
    fork.record(e.VariableUpdated(0, "r0", 0, variable.number, {"count": 1}, -1))
    assert run.races() == []


class Adder(ec.Module):
    """Counts its calls in a way that loses some."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.shared = self.add_variable(dict(FIRST), SCHEMA, name="shared")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        seen = self.shared.get("count")
        await asyncio.sleep(0)
        self.shared.update({"count": seen + 1})
        return inputs


def test_reads_outside_any_rollout_are_said_not_to_be_judged(run: ec.Run) -> None:
    adder = Adder(name="adder")
    given = ec.JsonDataModel(schema={"type": "object", "properties": {"a": {}}}, json={"a": 1}, name="given")

    async def main() -> None:
        await asyncio.gather(adder(given), adder(given), adder(given))

    asyncio.run(main())
    assert adder.shared.get("count") == 1
    found = run.races()
    assert (list(found), found.unjudged) == ([], 3)
    assert "0 lost updates" in repr(found) and "3 reads outside any rollout not judged" in repr(found)


def test_reads_of_what_is_never_written_and_reads_in_rollouts_are_no_matter(
    run: ec.Run, variable: ec.Variable
) -> None:
    async def body() -> None:
        variable.update({"count": variable.get("count") + 1})

    together(body, body)
    variable.get("count")
    variable.update({"other": 1})
    assert (run.races().unjudged, repr(run.races())) == (0, "Races(0 lost updates)")


# --- race-free ----------------------------------------------------------------------------------


def quick_increment(variable: ec.Variable) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        await asyncio.sleep(0)
        variable.update({"count": variable.get("count") + 1})

    return body


def locked_increment(variable: ec.Variable) -> Callable[[], Awaitable[None]]:
    lock = asyncio.Lock()

    async def body() -> None:
        async with lock:
            seen = variable.get("count")
            await asyncio.sleep(0)
            variable.update({"count": seen + 1})

    return body


def read_again(variable: ec.Variable) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        variable.get("count")
        await asyncio.sleep(0)
        variable.update({"count": variable.get("count") + 1})

    return body


def appends(variable: ec.Variable) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        notes = variable.get("notes")
        await asyncio.sleep(0)
        notes.append("one")

    return body


def blind(variable: ec.Variable) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        await asyncio.sleep(0)
        variable.update({"count": 3})

    return body


def another_field(variable: ec.Variable) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        seen = variable.get("count")
        await asyncio.sleep(0)
        variable.update({"other": seen})

    return body


def counts_in_place(variable: ec.Variable) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        tally = variable.get("tally")
        await asyncio.sleep(0)
        tally["a"] += 1

    return body


@pytest.mark.parametrize(
    "program",
    [quick_increment, locked_increment, read_again, appends, blind, another_field, counts_in_place],
    ids=lambda program: program.__name__,
)
def test_a_race_free_program_is_not_accused(run: ec.Run, variable: ec.Variable, program: Any) -> None:
    together(*[program(variable)] * 4)
    assert run.races() == []


def test_a_value_put_back_before_the_write_loses_nothing(run: ec.Run, variable: ec.Variable) -> None:
    async def slow() -> None:
        seen = variable.get("count")
        await asyncio.sleep(0)
        variable.update({"count": seen + 1})

    async def there_and_back() -> None:
        variable.update({"count": variable.get("count") + 1})
        variable.update({"count": variable.get("count") - 1})

    together(slow, there_and_back)
    assert run.races() == []


def test_what_was_written_before_an_epoch_began_is_no_matter_in_it(
    run: ec.Run, variable: ec.Variable
) -> None:
    with in_rollout("r0"):
        seen = variable.get("count")
    with in_rollout("r1"):
        variable.update({"count": 5})
    run.record(e.EpochBegan(*run.stamp(), epoch=1))
    with in_rollout("r0"):
        variable.update({"count": seen})
    assert run.races() == []


def test_what_a_resumed_run_took_back_was_never_read_or_written(run: ec.Run, variable: ec.Variable) -> None:
    from eventcore.history.state import encode_state

    with in_rollout("r0"):
        seen = variable.get("count")
    kept, state = run.head, encode_state(run.state)
    with in_rollout("r1"):
        variable.update({"count": 5})
    run.record(e.StateRestored(*run.stamp(), kept, state))
    with in_rollout("r0"):
        variable.update({"count": seen + 1})
    assert run.races() == []


# --- in place: the log cannot tell -----------------------------------------------------------------


def test_a_change_in_place_of_what_another_changed_is_possible(run: ec.Run, variable: ec.Variable) -> None:
    async def body() -> None:
        seen = variable.get("tally")["a"]
        await asyncio.sleep(0)
        variable.get("tally")["a"] = seen + 1

    together(body, body)
    assert run.races() == []
    (race,) = run.races(possible=True)
    assert (race.pointer, race.rollout, race.other, race.certain) == ("/tally/a", "r1", "r0", False)
    assert (race.lost, race.written) == (1, 1)


def test_changes_in_place_of_different_keys_do_not_meet(run: ec.Run, variable: ec.Variable) -> None:
    def writes(key: str) -> Callable[[], Awaitable[None]]:
        async def body() -> None:
            tally = variable.get("tally")
            await asyncio.sleep(0)
            tally[key] = 5

        return body

    together(writes("a"), writes("b"))
    assert run.races(possible=True) == []


# --- law ----------------------------------------------------------------------------------------

STEP = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["read", "read all", "write", "write both", "assign", "append", "replace notes"]),
    st.sampled_from(["count", "other"]),
    st.integers(0, 2),
)


def perform(variable: ec.Variable, step: tuple[int, str, str, int]) -> None:
    rollout, action, field, value = step
    with in_rollout(f"r{rollout}"):
        if action == "read":
            variable.get(field)
        elif action == "read all":
            variable.items()
        elif action == "write":
            variable.update({field: value})
        elif action == "write both":
            variable.update({"count": value, "other": value + 1})
        elif action == "assign":
            variable.assign({**FIRST, "count": value})
        elif action == "append":
            variable["notes"].append(str(value))
        else:
            variable.update({"notes": [str(value)]})


def expected(steps: list[tuple[int, str, str, int]]) -> set[tuple[int, str]]:
    """Look at all triples of steps: (number of the step that lost something, field). Knows only the definition."""
    fields = ("count", "other", "notes", "tally")
    values: list[dict[str, Any]] = [{**FIRST}]
    reads: list[tuple[str, ...]] = []
    writes: list[dict[str, Any]] = []
    adds: list[bool] = []
    for _, action, field, value in steps:
        now = values[-1]
        written: dict[str, Any] = {}
        if action == "write":
            written = {field: value}
        elif action == "write both":
            written = {"count": value, "other": value + 1}
        elif action == "assign":
            written = {**FIRST, "count": value}
        elif action == "append":
            written = {"notes": [*now["notes"], str(value)]}
        elif action == "replace notes":
            written = {"notes": [str(value)]}
        read: tuple[str, ...] = ()
        if action in ("read", "read all", "append"):
            read = fields if action == "read all" else (field,) if action == "read" else ("notes",)
        values.append({**now, **written})
        reads.append(read)
        writes.append(written)
        adds.append(action == "append")
    found: set[tuple[int, str]] = set()
    for third, (me, *_) in enumerate(steps):
        if adds[third]:
            continue
        for field in writes[third]:
            mine = [at for at in range(third) if steps[at][0] == me]
            if not any(field in reads[at] for at in mine):
                continue
            since = max(
                at for at in mine
                if field in reads[at] or (field in writes[at] and not adds[at] and any(
                    field in reads[earlier] for earlier in mine if earlier <= at))
            )  # fmt: skip
            others = [
                at for at in range(since + 1, third)
                if steps[at][0] != me and field in writes[at] and values[at + 1][field] != values[at][field]
            ]  # fmt: skip
            known = values[since + 1][field]
            if others and (field in ("notes", "tally") or known != values[third][field]):
                found.add((third, field))
    return found


@given(st.lists(STEP, max_size=14))
def test_exactly_the_writes_over_unseen_values_are_reported(steps: list[tuple[int, str, str, int]]) -> None:
    with stores.open("memory:") as store, store.run("r") as run:
        variable = ec.Variable(dict(FIRST), SCHEMA, name="shared")
        ends: list[int] = []
        for step in steps:
            perform(variable, step)
            ends.append(run.head)
        found = {
            (next(at for at, end in enumerate(ends) if race.seq <= end), race.pointer[1:])
            for race in run.races()
        }
    assert found == expected(steps)


def test_a_rollout_that_is_silent_while_very_many_others_read_is_over(
    run: ec.Run, variable: ec.Variable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventcore.history.races.ALIVE", 3)

    def silent_while(others: int) -> int:
        before = len(run.races())
        with in_rollout("slow"):
            seen = variable.get("count")
        for number in range(others):
            with in_rollout(f"quick{run.head}.{number}"):
                variable.update({"count": variable.get("count") + 1})
        with in_rollout("slow"):
            variable.update({"count": seen})
        return len(run.races()) - before

    assert [silent_while(2), silent_while(3)] == [1, 0]


# --- what is easily got wrong -------------------------------------------------------------------


def test_nobody_races_with_himself(run: ec.Run, variable: ec.Variable) -> None:
    with in_rollout("r1"):
        variable["notes"].append("before")
    with in_rollout("r0"):
        notes = variable.get("notes")
        notes.append("one")
        notes.append("two")
        variable.update({"notes": ["three"]})
    assert run.races(possible=True) == []


def test_what_was_lost_once_is_not_lost_again(run: ec.Run, variable: ec.Variable) -> None:
    with in_rollout("r0"):
        variable.get("notes")
    with in_rollout("r1"):
        variable["notes"].append("lost")
    with in_rollout("r0"):
        variable.update({"notes": ["one"]})
        variable.update({"notes": ["two"]})
    assert [race.written for race in run.races()] == [["one"]]


def test_predictions_that_were_appended_meanwhile_can_be_lost(run: ec.Run) -> None:
    class Skill(ec.Trainable):
        word: str = "start"

    variable = ec.Variable(data_model=Skill, name="skill")
    record: dict[str, object] = {"inputs": {}, "outputs": {}, "reward": None}
    with in_rollout("r0"):
        seen = list(variable.get("current_predictions"))
    with in_rollout("r1"):
        variable.get("current_predictions").append(record)
    with in_rollout("r0"):
        variable.update({"current_predictions": seen})
    assert names(run.races()) == [("/current_predictions", "r0", "r1")]


def test_appending_is_never_even_a_possible_race(run: ec.Run, variable: ec.Variable) -> None:
    together(*[appends(variable)] * 3)
    assert run.races(possible=True) == []


def test_what_was_changed_in_place_before_the_read_was_seen(run: ec.Run, variable: ec.Variable) -> None:
    with in_rollout("r1"):
        variable["tally"]["a"] = 4
    with in_rollout("r0"):
        tally = variable.get("tally")
        variable.get("count")
        tally["a"] = tally["a"] + 1
    assert run.races(possible=True) == []


def test_a_line_that_writes_for_the_first_time_is_no_gap(run: ec.Run, variable: ec.Variable) -> None:
    with in_rollout("r0"):
        seen = variable.get("tally")["a"]
    with in_rollout("r1"):
        variable.get("tally")["a"] = 7
    with in_rollout("r0"):
        variable.get("tally")["a"] = seen + 1
    assert [race.lost for race in run.races(possible=True)] == [7]
