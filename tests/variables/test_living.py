"""Where a variable lives: in one run at a time, and never logged to another in silence."""

from __future__ import annotations

import asyncio
import gc
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventcore.errors import Diverged, DuplicateName, StoreClosed, StoreReadOnly, TracingError
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.scope import in_rollout, process_scope, tracing
from eventcore.history.store import Store
from eventcore.variables import Variable
from tests.history.processes import python


class Note(msgspec.Struct):
    """A small value."""

    word: str = "new"
    items: list[int] = []
    current_predictions: list[dict[str, Any]] = []


class Wider(Note):
    """The same with one field more."""

    more: int = 0


def note(name: str = "note", **value: Any) -> Variable:
    return Variable(value, data_model=Note, name=name)


def declarations(run: Run) -> list[e.VariableDeclared]:
    return [record.event for record in run.events(kind=e.VariableDeclared)]  # type: ignore[misc]


def test_a_variable_made_before_any_run_moves_into_the_run_with_its_present_value(url: str) -> None:
    variable = note(word="built early")
    variable.get("items").append(1)
    before = variable.run
    assert before.name == "in-memory"
    run = stores.open(url).run("real")
    head = before.head
    variable.update({"word": "written late"})
    assert variable.run is run
    assert before.head == head
    (declared,) = declarations(run)
    assert (declared.value["word"], declared.value["items"]) == ("built early", [1])
    assert declared.origin == f"run 'in-memory' of memory: at seq {head}"
    assert run.at(run.head).variables["note"]["word"] == "written late"
    assert before.state.variables["note"]["word"] == "built early"


@pytest.mark.parametrize(
    "use",
    [
        lambda v: v.get("word"),
        lambda v: v["word"],
        lambda v: v.items(),
        lambda v: v.update({"word": "x"}),
        lambda v: v.assign({"word": "x"}),
        lambda v: v.adopt(),
    ],
    ids=["get", "getitem", "items", "update", "assign", "adopt"],
)
def test_any_recorded_use_in_another_run_moves_it_there(use: Callable[[Variable], object]) -> None:
    variable = note()
    run = stores.open("memory:").run("other")
    use(variable)
    assert variable.run is run
    assert len(declarations(run)) == 1
    use(variable)
    assert len(declarations(run)) == 1


@pytest.mark.parametrize("look", [repr, lambda v: v.get_json(), lambda v: v.keys(), lambda v: v.trainable])
def test_looking_moves_nothing_and_records_nothing(look: Callable[[Variable], object]) -> None:
    variable = note()
    home, head = variable.run, variable.run.head
    run = stores.open("memory:").run("other")
    look(variable)
    assert variable.run is home
    assert (home.head, run.head) == (head, 1)


def test_containers_held_before_the_move_write_to_the_new_run(url: str) -> None:
    variable = note(items=[1])
    held = variable.get("items")
    old = variable.run
    with stores.open(url).run("new") as run:
        held.append(2)
        assert variable.get("items") is held
        assert run.state.variables["note"]["items"] == [1, 2]
    assert old.state.variables["note"]["items"] == [1]
    run.flush()
    old.flush()


def test_used_after_the_block_it_moves_back_with_what_it_learned(url: str) -> None:
    variable = note()
    first = variable.run
    with stores.open(url).run("block") as run:
        variable.update({"word": "inside"})
    variable.update({"items": [7]})
    assert variable.run is first
    assert first.state.variables["note"] == {"word": "inside", "items": [7], "current_predictions": []}
    assert run.state.variables["note"]["items"] == []
    assert declarations(first)[-1].origin == f"run 'block' of {run.store.url} at seq {run.head}"
    assert [change.after["word"] for change in first.history("note")] == ["new", "inside", "inside"]


def test_after_the_store_is_closed_it_can_be_read_and_not_written(url: str) -> None:
    store = stores.open(url)
    run = store.run("done")
    variable = note(word="kept")
    held = variable.get("items")
    store.close()
    head = run.head
    assert variable.get("word") == "kept"
    assert variable.get_json()["word"] == "kept"
    for write in (lambda: variable.update({"word": "x"}), lambda: held.append(1), lambda: note("another")):
        with pytest.raises(StoreClosed, match="open it again"):
            write()
    assert run.head == head
    assert variable.get_json() == {"word": "kept", "items": [], "current_predictions": []}


def test_after_the_store_is_closed_the_error_says_what_works_and_it_does(url: str) -> None:
    store = stores.open(url)
    store.run("done")
    variable = note(word="kept")
    store.close()
    for write in (lambda: note("another"), lambda: variable.update({"word": "x"})):
        with pytest.raises(StoreClosed, match=r"start a run there with store\.run\(\.\.\.\)"):
            write()
    run = stores.open(url).run("next")
    assert note("another").run is run
    variable.update({"word": "x"})
    assert run.state.variables["note"]["word"] == "x"


def test_writing_while_a_run_that_is_only_read_is_current_is_refused(
    disk: str, reopen: Callable[[Store], Store]
) -> None:
    store = stores.open(disk)
    store.run("past")
    note(word="old")
    run = reopen(store)["past"]
    variable = note()
    with run:
        assert variable.get("word") == "new"
        with pytest.raises(StoreReadOnly, match="'past'"):
            variable.update({"word": "x"})
        with pytest.raises(StoreReadOnly, match="'past'"):
            note("another")
    assert run.state.variables["note"]["word"] == "old"


def test_a_cell_run_again_replaces_the_variable_of_the_object_that_is_gone(url: str) -> None:
    run = stores.open(url).run("cell")
    variable = note(word="first")
    variable.update({"word": "first, changed"})
    del variable
    variable = note(word="second")
    assert run.state.variables["note"]["word"] == "second"
    assert [declared.variable for declared in declarations(run)] == [0, 1]
    assert [change.after["word"] for change in run.history("note")] == ["first", "first, changed", "second"]
    assert variable.number == 1


def test_two_living_variables_of_one_path_are_refused(url: str) -> None:
    run = stores.open(url).run("clash")
    first = note()
    head = run.head
    with pytest.raises(DuplicateName, match=r"'note'.*another variable of this path is in use"):
        note()
    assert run.head == head
    first.update({"word": "still here"})


def test_a_variable_in_a_cycle_of_objects_counts_as_gone_when_nobody_can_reach_it() -> None:
    stores.open("memory:").run("cycle")
    gc.disable()
    try:
        holder: list[Any] = [note()]
        holder.append(holder)
        del holder
        note(word="again")
    finally:
        gc.enable()


LAUNCH = """
import sys
import eventcore.history.store as stores
from eventcore.variables import Variable
from tests.variables.test_living import Note
store = stores.open(sys.argv[1])
"""
NOTING = """
variable = Variable({"word": "start"}, data_model=Note, name="note")
variable.get("items").append(len(variable.get("items")))
print(variable.get_json())
"""


def test_a_second_launch_that_resumes_does_the_same_again_and_goes_on_after_it(disk: str) -> None:
    code = LAUNCH + 'store.run("script", resume=True)\n' + NOTING
    more = 'variable.get("items").append(len(variable.get("items")))\nprint(variable.get_json())\n'
    first = python(code, disk).stdout
    head = stores.open(disk, read_only=True)["script"].head
    again = python(code, disk)
    assert (again.stdout, "'items': [0]" in first) == (first, True)
    assert f"run 'script' had finished at seq {head}" in again.stderr
    assert stores.open(disk, read_only=True)["script"].head == head
    for _ in range(2):
        assert python(code + more, disk).stdout.startswith(first)
        run = stores.open(disk, read_only=True)["script"]
        assert run.state.variables["note"]["items"] == [0, 1]
        assert [declared.origin for declared in declarations(run)] == [None]


def test_a_second_launch_that_reopens_goes_on_with_the_value_it_left(disk: str) -> None:
    python(LAUNCH + 'store.run("script")\n' + NOTING, disk)
    code = LAUNCH + 'with store.reopen("script"):\n' + textwrap.indent(NOTING, "    ")
    said = [python(code, disk).stdout.strip() for _ in range(2)]
    assert [line.count(",") for line in said] == [3, 4]
    run = stores.open(disk)["script"]
    assert run.state.variables["note"]["items"] == [0, 1, 2]
    origins = [declared.origin for declared in declarations(run)]
    assert origins[0] is None
    assert all(origin is not None and origin.startswith("run 'script' at seq") for origin in origins[1:])


def test_a_second_launch_with_another_schema_starts_from_its_initializer(
    disk: str, reopen: Callable[[Store], Store]
) -> None:
    store = stores.open(disk)
    store.run("script")
    note(word="left")
    gc.collect()
    with reopen(store).reopen("script") as run:
        variable = Variable(data_model=Wider, name="note")
        assert variable.get("word") == "new"
    assert declarations(run)[-1].origin is None


def test_a_second_launch_that_resumes_with_another_schema_is_told_where_it_left_its_log(
    disk: str, reopen: Callable[[Store], Store]
) -> None:
    store = stores.open(disk)
    store.run("script")
    note(word="left")
    gc.collect()
    store = reopen(store)
    store.run("script", resume=True)
    with pytest.raises(
        Diverged, match=r"(?s)cannot resume run 'script'.*/schema/properties/more.*eventcore fork"
    ):
        Variable({"word": "left"}, data_model=Wider, name="note")
    head = store["script"].reader().head()
    process_scope.run = None
    assert reopen(store)["script"].head == head


def test_a_second_launch_without_resume_starts_over_in_a_run_of_its_own(
    disk: str, reopen: Callable[[Store], Store]
) -> None:
    store = stores.open(disk)
    store.run("script")
    note(word="left")
    gc.collect()
    run = reopen(store).run("script")
    assert (run.name, note().get("word")) == ("script-2", "new")


def test_a_variable_taken_into_a_fork_leaves_the_parent_alone(url: str) -> None:
    parent = stores.open(url).run("parent")
    variable = note(word="one")
    at = parent.head
    variable.update({"word": "two"})
    with parent.fork("child", at=at) as child:
        assert child.state.variables["note"]["word"] == "one"
        variable.update({"items": [1]})
        assert child.state.variables["note"] == {"word": "two", "items": [1], "current_predictions": []}
    assert parent.state.variables["note"]["items"] == []


def test_two_runs_in_one_loop_with_their_own_variables_do_not_mix(url: str) -> None:
    store = stores.open(url)

    async def work(run: Run) -> None:
        with run:
            variable = note(run.name)
            for n in range(10):
                variable.update({"word": f"{run.name} {n}"})
                variable.get("items").append(n)
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(work(store.run("a")), work(store.run("b")))

    asyncio.run(both())
    for name in ("a", "b"):
        run = store[name]
        assert run.state.names() == [name]
        words = [change.after for change in run.history(name, "/word")]
        assert words == ["new", *(f"{name} {n}" for n in range(10))]


@pytest.mark.parametrize(
    "add",
    [
        lambda held, record: held.append(record),
        lambda held, record: held.extend([record]),
        lambda held, record: held.insert(len(held), record),
        lambda held, record: held.__iadd__([record]),
        lambda held, record: held.__setitem__(slice(len(held), None), [record]),
    ],
    ids=["append", "extend", "insert", "+=", "slice"],
)
def test_a_prediction_belongs_to_its_rollout_however_it_is_added(
    url: str, add: Callable[[Any, Any], object]
) -> None:
    run = stores.open(url).run("rollouts")
    variable = note()
    held = variable.get("current_predictions")
    for name in ("r1", "r2"):
        with in_rollout(name):
            add(held, {"of": name, "reward": None})
    add(held, {"of": "nobody", "reward": None})
    run.record(e.RewardsAttributed(*run.stamp(), variable.number, [("r2", 0.2), ("r1", 0.1)]))
    before = run.at(run.head)
    run.snapshot()
    for state in (run.state, before, run.at(run.head)):
        records = state.variables["note"]["current_predictions"]
        assert [(record["of"], record["reward"]) for record in records] == [
            ("r1", 0.1),
            ("r2", 0.2),
            ("nobody", None),
        ]


def test_a_view_of_predictions_held_across_an_await_appends_to_its_own_rollout(url: str) -> None:
    run = stores.open(url).run("await")
    variable = note()

    async def work(name: str, turns: int) -> None:
        with in_rollout(name):
            held = variable.get("current_predictions")
            held.append({"of": name, "reward": None})
            for _ in range(turns):
                await asyncio.sleep(0)
            if name == "r1":
                variable.update({"current_predictions": []})
            for _ in range(3):
                await asyncio.sleep(0)
            held.append({"of": name, "reward": None})

    async def both() -> None:
        await asyncio.gather(work("r1", 2), work("r2", 1), work("r3", 3))

    asyncio.run(both())
    run.record(e.RewardsAttributed(*run.stamp(), variable.number, [("r3", 0.3), ("r1", 0.1), ("r2", 0.2)]))
    records = run.at(run.head).variables["note"]["current_predictions"]
    assert sorted((record["of"], record["reward"]) for record in records) == [
        ("r1", 0.1),
        ("r2", 0.2),
        ("r3", 0.3),
    ]
    assert variable.get_json()["current_predictions"] == records


def test_threads_that_declare_at_once_get_numbers_of_their_own(url: str) -> None:
    run = stores.open(url).run("threads")
    start = threading.Barrier(8)
    made: list[Variable] = []

    def declare(n: int) -> None:
        start.wait()
        for k in range(5):
            variable = note(f"v{n}-{k}")
            variable.update({"word": variable.name})
            made.append(variable)

    threads = [threading.Thread(target=declare, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(variable.number for variable in made) == list(range(40))
    assert {name: value["word"] for name, value in run.at(run.head).variables.items()} == {
        variable.name: variable.name for variable in made
    }


def test_threads_that_change_one_variable_at_once_lose_nothing(url: str) -> None:
    run = stores.open(url).run("threads")
    variable = note()
    items = variable.get("items")
    start = threading.Barrier(4)

    def write(n: int) -> None:
        start.wait()
        for k in range(100):
            items.append(n * 1000 + k)
            if k % 10 == 0:
                variable.update({"word": f"{n}"})
                run.flush()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(items) == sorted(n * 1000 + k for n in range(4) for k in range(100))
    assert run.at(run.head).variables["note"] == variable.get_json()


def test_while_a_graph_is_traced_nothing_real_changes_and_nothing_is_recorded(url: str) -> None:
    run = stores.open(url).run("traced")
    variable = note(word="real", items=[1])
    head = run.head
    with tracing():
        variable.update({"word": "scratch"})
        variable.get("items").append(2)
        with tracing():
            assert (variable.get("word"), variable.get("items")) == ("scratch", [1, 2])
        variable.assign({"word": "again"})
        assert variable.get_json() == {"word": "again", "items": [], "current_predictions": []}
        with pytest.raises(TracingError, match="'other' while a graph is traced"):
            note("other")
    assert run.head == head
    assert variable.get_json() == {"word": "real", "items": [1], "current_predictions": []}


def test_reads_are_events_unless_the_run_says_otherwise(url: str) -> None:
    store = stores.open(url)
    run = store.run("reads")
    variable = note()
    with in_rollout("r7"):
        variable.get("word")
    assert [(r.event.field, r.event.rollout) for r in run.events(kind="FieldRead")] == [("word", "r7")]  # type: ignore[attr-defined]
    silent = store.run("silent", record_reads=False)
    variable.get("word")
    variable.items()
    assert list(silent.events(kind="FieldRead")) == []


def test_nothing_opened_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    note().update({"word": "x"})
    assert process_scope.run is not None
    process_scope.run.flush()
    assert list(tmp_path.iterdir()) == []
