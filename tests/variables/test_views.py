"""What a recording view is to the code that holds it: the value itself, whose every change is an event."""

from __future__ import annotations

import bisect
import copy
import gc
import heapq
import json
import operator
import pickle
import random
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest

from eventcore.errors import SchemaMismatch, StaleView, UnrecordedMutation
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.variables import Variable


class Notes(msgspec.Struct):
    """Containers of known and of any content."""

    numbers: list[int] = []
    rows: list[dict[str, list[int]]] = []
    table: dict[str, list[int]] = {}
    current_predictions: list[dict[str, Any]] = []
    word: str = ""


@pytest.fixture
def run() -> Run:
    return stores.open("memory:").run("views")


@pytest.fixture
def state(run: Run) -> Variable:
    value = {"numbers": [3, 1, 2], "rows": [{"a": [1]}, {"b": [2, 3]}], "table": {"x": [1, 2]}}
    return Variable(value, data_model=Notes, name="state")


def patches(run: Run) -> list[e.ValuePatched]:
    return [record.event for record in run.events(kind=e.ValuePatched)]  # type: ignore[misc]


def test_a_view_is_a_real_list_or_dict(state: Variable) -> None:
    rows, table = state.get("rows"), state.get("table")
    assert isinstance(rows, list)
    assert isinstance(rows[0], dict)
    assert isinstance(rows[0]["a"], list)
    assert isinstance(table, dict)
    assert rows == [{"a": [1]}, {"b": [2, 3]}]
    assert repr(table) == "{'x': [1, 2]}"


def test_reading_a_container_gives_the_stored_one_not_a_copy(state: Variable) -> None:
    assert state.get("rows") is state.get("rows")
    assert state.get("rows")[1]["b"] is state.get("rows")[1]["b"]


@pytest.mark.parametrize(
    "encode",
    [lambda v: json.dumps(v).encode(), orjson.dumps, msgspec.json.encode],
    ids=["json", "orjson", "msgspec"],
)
def test_views_encode_as_what_they_are(state: Variable, run: Run, encode: Callable[[Any], bytes]) -> None:
    rows = state.get("rows")
    head = run.head
    assert json.loads(encode(rows)) == [{"a": [1]}, {"b": [2, 3]}]
    assert json.loads(encode({"inside": [rows[0]]})) == {"inside": [{"a": [1]}]}
    assert run.head == head


def classes(value: Any) -> set[type]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {type(value)}.union(*map(classes, inner)) - {int, str}


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda view: pickle.loads(pickle.dumps(view)),
        lambda view: pickle.loads(pickle.dumps({"in": [view]}))["in"][0],
        lambda view: copy.deepcopy([view])[0],
        lambda view: view.copy(),
        lambda view: view.__add__([]) if isinstance(view, list) else view | {},
        lambda view: operator.add([], view) if isinstance(view, list) else {} | view,
    ],
    ids=["copy", "deepcopy", "pickle", "pickle inside", "deepcopy inside", "method", "operator", "reflected"],
)
@pytest.mark.parametrize("field", ["rows", "table"])
def test_a_copy_is_plain_all_the_way_down_and_records_nothing(
    state: Variable, run: Run, field: str, copied: Callable[[Any], Any]
) -> None:
    view = state.get(field)
    head, before = run.head, state.get_json()
    made = copied(view)
    assert made == view
    assert classes(made) == {list, dict}
    made.clear()
    assert run.head == head
    assert state.get_json() == before


@pytest.mark.parametrize("pickled", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_slice_of_a_view_is_a_list_of_live_items(state: Variable, pickled: Callable[[Any], Any]) -> None:
    part = state.get("rows")[:1]
    assert type(part) is list
    part[0]["a"].append(9)
    assert state.get_json()["rows"][0] == {"a": [1, 9]}
    assert classes(pickled(state.get("rows")[1])) == {dict, list}


def test_looking_at_a_view_records_nothing(state: Variable, run: Run) -> None:
    rows = state.get("rows")
    head = run.head
    assert (len(rows), bool(rows), rows[0] in rows, next(reversed(rows)), str(rows)) is not None
    assert (rows.index(rows[1]), rows.count(5), [*rows], rows[0].get("a"), list(rows[0].items())) is not None
    assert run.head == head


def test_an_event_says_where_the_container_was_when_it_changed(state: Variable, run: Run) -> None:
    inner = state.get("rows")[1]["b"]
    inner.append(4)
    state.get("rows").insert(0, {})
    inner.append(5)
    del state.get("rows")[1]
    inner.append(6)
    assert [patch.path for patch in patches(run)] == [
        ["rows", 1, "b"],
        ["rows"],
        ["rows", 2, "b"],
        ["rows"],
        ["rows", 1, "b"],
    ]
    assert run.at(run.head).variables["state"]["rows"] == [{}, {"b": [2, 3, 4, 5, 6]}]


def test_keys_with_slashes_and_tildes_are_places_like_any_other(state: Variable, run: Run) -> None:
    state.get("table")["a/b~c"] = []
    state.get("table")["a/b~c"].append(1)
    assert run.at(run.head).variables["state"]["table"]["a/b~c"] == [1]
    assert [change.after for change in run.history(state, "/table/a~1b~0c")] == [[], [1]]


def test_an_event_costs_what_changed(state: Variable, run: Run) -> None:
    state.update({"numbers": list(range(10_000))})
    state.get("numbers").append(1)
    state.get("numbers").sort()
    assert patches(run)[0].args == [1]
    assert len(msgspec.msgpack.encode(patches(run)[0])) < 60


def test_one_change_is_one_event(state: Variable, run: Run) -> None:
    numbers = state.get("numbers")
    changes: list[Callable[[], object]] = [
        lambda: numbers.extend([1, 2, 3]),
        lambda: numbers.sort(reverse=True),
        lambda: numbers.__setitem__(slice(0, 2), [7, 7, 7]),
        lambda: numbers.__imul__(2),
        lambda: state.get("table").update({"y": [1], "z": [2]}),
        lambda: state.get("table").popitem(),
    ]
    for change in changes:
        before = len(patches(run))
        change()
        assert len(patches(run)) == before + 1


def test_what_changes_nothing_is_no_event(state: Variable, run: Run) -> None:
    numbers, table = state.get("numbers"), state.get("table")
    head = run.head
    numbers.extend([])
    numbers *= 1
    numbers[1:1] = []
    del numbers[5:]
    table.update({})
    table["x"] = table["x"]
    assert table.setdefault("x", [5]) == [1, 2]
    assert table.pop("nothing", 1) == 1
    state.get("rows").clear()
    after = run.head
    state.get("rows").clear()
    assert [record.kind for record in run.events(head + 1)].count("ValuePatched") == 1
    assert run.head == after + 1  # the read


def test_what_enters_is_copied(state: Variable) -> None:
    mine = [1]
    state.get("table")["mine"] = mine
    mine.append(2)
    state.get("table")["again"] = state.get("table")["mine"]
    state.get("table")["again"].append(3)
    assert state.get_json()["table"] == {"x": [1, 2], "mine": [1], "again": [1, 3]}


def test_what_comes_out_of_pop_is_plain_and_free(state: Variable, run: Run) -> None:
    out = state.get("rows").pop()
    assert type(out) is dict
    head = run.head
    out["b"].append(1)
    assert run.head == head


def test_tuples_enter_as_lists_and_models_as_dicts(state: Variable) -> None:
    state.get("rows").append({"c": (1, 2)})
    state.get("current_predictions").append(Notes(numbers=[1]))
    assert state.get_json()["rows"][-1] == {"c": [1, 2]}
    assert state.get_json()["current_predictions"][0]["numbers"] == [1]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda v: v.get("numbers").append("four"), "/numbers/3"),
        (lambda v: v.get("numbers").append(True), "/numbers/3"),
        (lambda v: v.get("numbers").__setitem__(1, 1.5), "/numbers/1"),
        (lambda v: v.get("numbers").extend([1, None]), "/numbers/3"),
        (lambda v: v.get("rows")[1]["b"].insert(0, "x"), "/rows/1/b/0"),
        (lambda v: v.get("rows").append([]), "/rows/2"),
        (lambda v: v.get("table").update(y=[1], z="no"), "/table/z"),
        (lambda v: v.get("table").setdefault("q", 5), "/table/q"),
    ],
)
def test_a_change_that_breaks_the_schema_is_refused_with_the_place_and_changes_nothing(
    state: Variable, run: Run, change: Callable[[Variable], object], pointer: str
) -> None:
    before = state.get_json()
    with pytest.raises(SchemaMismatch) as caught:
        change(state)
    assert caught.value.pointer == pointer
    assert state.get_json() == before
    assert not patches(run)
    run.flush()


def test_a_view_of_a_value_replaced_since_refuses_to_write_and_says_so(state: Variable, run: Run) -> None:
    numbers, row, inner = state.get("numbers"), state.get("rows")[0], state.get("rows")[0]["a"]
    state.update({"numbers": [1], "rows": [{"a": [5]}]})
    head = run.head
    writes: list[Callable[[], object]] = [lambda: numbers.append(1), lambda: row.clear(), lambda: inner.pop()]
    for stale in writes:
        with pytest.raises(StaleView, match=r"variable 'state'.*replaced.*read it again with get\(\)"):
            stale()
    assert run.head == head
    assert numbers == [3, 1, 2]


def test_a_view_of_what_was_removed_refuses_to_write(state: Variable) -> None:
    row = state.get("rows")[0]
    state.get("rows").pop(0)
    with pytest.raises(StaleView):
        row["a"] = [1]


def test_a_view_of_current_predictions_held_across_a_replacement_goes_on_working(
    state: Variable, run: Run
) -> None:
    held = state.get("current_predictions")
    held.append({"n": 1})
    state.update({"current_predictions": [{"n": 2}]})
    held.append({"n": 3})
    state.assign({"word": "new"})
    held.append({"n": 4})
    assert held is state.get("current_predictions")
    assert state.get_json()["current_predictions"] == [{"n": 4}]
    assert run.at(run.head).variables["state"] == state.get_json()


def test_updating_a_field_to_its_own_live_view_does_nothing(state: Variable, run: Run) -> None:
    numbers = state.get("numbers")
    head = run.head
    state.update({"numbers": numbers})
    assert run.head == head
    numbers.append(4)
    assert state.get_json()["numbers"] == [3, 1, 2, 4]
    state.update({"numbers": numbers, "word": "other fields count"})
    assert state.get_json()["word"] == "other fields count"


def test_updating_a_field_to_another_fields_view_copies_it(state: Variable) -> None:
    state.get("rows").clear()
    state.update({"numbers": state.get("table")["x"]})
    state.get("table")["x"].append(9)
    assert state.get_json()["numbers"] == [1, 2]


def test_a_view_outliving_its_variable_says_what_to_do(run: Run) -> None:
    variable = Variable({"numbers": [1]}, data_model=Notes, name="short")
    numbers = variable.get("numbers")
    del variable
    gc.collect()
    with pytest.raises(StaleView, match="the variable object is gone; keep its module"):
        numbers.append(2)
    run.flush()


@pytest.mark.parametrize(
    "bypass",
    [
        lambda v: heapq.heapify(v),
        lambda v: heapq.heappush(v, 0),
        lambda v: list.append(v, 7),
        lambda v: list.__setitem__(v, 0, 9),
        lambda v: list.sort(v),
        lambda v: list.__init__(v, [1]),
    ],
    ids=["heapify", "heappush", "list.append", "list.__setitem__", "list.sort", "list.__init__"],
)
def test_what_goes_behind_a_view_is_reported_at_the_next_barrier_and_undone(
    state: Variable, run: Run, bypass: Callable[[Any], Any]
) -> None:
    held = state.get("numbers")
    bypass(held)
    with pytest.raises(UnrecordedMutation, match=r"variable 'state', field 'numbers'.*restored"):
        run.flush()
    assert state.get_json()["numbers"] == [3, 1, 2]
    assert run.durable == run.head  # what was recorded is durable all the same
    run.flush()
    held.append(4)
    assert run.at(run.head).variables["state"]["numbers"] == [3, 1, 2, 4]


def test_going_behind_a_nested_view_is_reported_with_changes_recorded_meanwhile(
    state: Variable, run: Run
) -> None:
    rows = state.get("rows")
    rows.append({"c": [4]})
    list.append(rows[0]["a"], 2)
    rows[1]["b"].append(5)
    with pytest.raises(UnrecordedMutation, match="'rows'"):
        run.flush()
    assert state.get_json()["rows"] == [{"a": [1]}, {"b": [2, 3, 5]}, {"c": [4]}]


def test_leaving_a_run_is_a_barrier_too() -> None:
    with pytest.raises(UnrecordedMutation), stores.open("memory:").run("block"):
        state = Variable({"numbers": [2, 1]}, data_model=Notes, name="state")
        heapq.heapify(state.get("numbers"))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: random.Random(1).shuffle(v),
        lambda v: bisect.insort(v, 2),
        lambda v: exec("v[0], v[2] = v[2], v[0]"),
        lambda v: exec("v += (1, 2); v *= 2; del v[::2]"),
    ],
    ids=["shuffle", "insort", "swap", "statements"],
)
def test_library_code_that_uses_methods_is_recorded(
    state: Variable, run: Run, change: Callable[[Any], Any]
) -> None:
    change(state.get("numbers"))
    run.flush()
    assert run.at(run.head).variables["state"] == state.get_json()


def test_rows_can_be_shuffled(state: Variable, run: Run) -> None:
    state.update({"rows": [{"a": [n]} for n in range(20)]})
    random.Random(7).shuffle(state.get("rows"))
    run.flush()
    rows = run.at(run.head).variables["state"]["rows"]
    assert rows == state.get_json()["rows"]
    assert sorted(row["a"][0] for row in rows) == list(range(20))


def test_a_view_nobody_holds_is_not_watched_after_the_next_barrier(state: Variable, run: Run) -> None:
    state.get("numbers").append(1)
    assert run.guards
    run.flush()
    assert not run.guards
    held = state.get("rows")[0]["a"]
    run.flush()
    assert run.guards, "a view inside is still held"
    del held
    run.flush()
    assert not run.guards


def test_watching_a_field_that_changes_for_hours_takes_bounded_memory(state: Variable, run: Run) -> None:
    numbers = state.get("numbers")
    for n in range(5_000):
        numbers.append(n)
        numbers.pop()
    (guard,) = run.guards.values()
    (exposure,) = guard.exposed.values()  # type: ignore[attr-defined]
    assert len(exposure._events) < 1_100
    run.flush()
