"""Recording views against plain lists and dicts (I1, I7, I14): any operations, in any order, at any depth.

The model is what Python's own containers do. Each operation is a function of one container; it is carried out on the
view and on the plain one, and what comes back, what is raised and what is left must be the same. Views that were
held since before are used again later, alive or replaced.
"""

from __future__ import annotations

import copy
import heapq
import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eventcore.errors import StaleView, UnrecordedMutation
from eventcore.history import store as stores
from eventcore.history.scope import process_scope
from eventcore.variables import Variable
from tests.history.jsonvalues import same

Operation = Callable[[Any], Any]

SCHEMA = {
    "type": "object",
    "title": "Anything",
    "properties": {
        "items": {"type": "array", "default": []},
        "table": {"type": "object", "default": {}, "additionalProperties": True},
        "current_predictions": {"type": "array", "default": []},
        "word": {"type": "string", "default": ""},
    },
}
keys = st.sampled_from(["a", "b", "c", "items", "0", "ä/~"])
scalars = st.sampled_from([None, True, 0, 1, 2, -3, 0.5, "", "a", "b"])
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
several = st.lists(values, max_size=3)
indexes = st.integers(-4, 4)
ends = st.none() | indexes
slices = st.builds(slice, ends, ends, st.sampled_from([None, 1, 1, 2, -1, -2, 3]))


def method(name: str, *args: Any, **named: Any) -> Operation:
    """Call a method, with arguments of its own each time."""

    def call(place: Any) -> Any:
        return getattr(place, name)(*copy.deepcopy(args), **named)

    call.__name__ = f"{name}{args}{named or ''}"
    return call


def extend_from_a_generator(items: list[Any]) -> Operation:
    return lambda place: place.extend(item for item in copy.deepcopy(items))


def in_place(change: Callable[[Any, Any], Any], value: Any) -> Operation:
    """`+=`, `*=` or `|=`, which must give back the same object."""

    def call(place: Any) -> Any:
        assert change(place, copy.deepcopy(value)) is place

    call.__name__ = f"{change.__name__} {value}"
    return call


def assign_to_itself(place: list[Any]) -> None:
    """Everything enters anew, and what enters is copied: views of the items before are replaced."""
    place[:] = place


list_operations: st.SearchStrategy[Operation] = st.one_of(
    values.map(lambda value: method("append", value)),
    several.map(lambda items: method("extend", items)),
    several.map(lambda items: method("extend", tuple(items))),
    several.map(extend_from_a_generator),
    st.just(method("extend", "ab")),
    st.just(method("extend", 5)),
    st.tuples(indexes, values).map(lambda pair: method("insert", *pair)),
    st.just(method("pop")),
    indexes.map(lambda index: method("pop", index)),
    values.map(lambda value: method("remove", value)),
    st.just(method("clear")),
    st.just(method("reverse")),
    st.just(method("sort")),
    st.booleans().map(lambda down: method("sort", key=repr, reverse=down)),
    st.just(method("sort", key=str)),
    st.just(method("sort", repr)),
    st.tuples(indexes, values).map(lambda pair: method("__setitem__", *pair)),
    st.tuples(slices, several).map(lambda pair: method("__setitem__", *pair)),
    slices.map(lambda where: method("__setitem__", where, 5)),
    st.tuples(slices, values).map(lambda pair: method("__setitem__", pair[0], (pair[1],))),
    indexes.map(lambda index: method("__delitem__", index)),
    slices.map(lambda where: method("__delitem__", where)),
    st.just(method("__delitem__", "a")),
    st.just(method("__setitem__", 0.5, 1)),
    several.map(lambda items: in_place(operator.iadd, items)),
    several.map(lambda items: in_place(operator.iadd, tuple(items))),
    st.integers(-1, 2).map(lambda times: in_place(operator.imul, times)),
    st.just(in_place(operator.imul, "x")),
    st.just(in_place(operator.iadd, 3)),
    st.just(method("copy")),
    values.map(lambda value: method("index", value)),
    values.map(lambda value: method("count", value)),
    values.map(lambda value: method("__contains__", value)),
    several.map(lambda items: lambda place: place + items),
    several.map(lambda items: lambda place: items + place),
    st.integers(-1, 2).map(lambda times: lambda place: place * times),
    st.just(lambda place: list(reversed(place))),
    slices.map(lambda where: lambda place: place[where]),
    indexes.map(lambda index: lambda place: place[index]),
    st.just(lambda place: place == copy.deepcopy(place)),
    several.map(lambda items: lambda place: place < items),
    st.just(lambda place: place.__iadd__(place) is place),
    st.just(assign_to_itself),
    st.just(len),
    st.just(lambda place: max(place, key=repr)),
)
dict_operations: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(keys, values).map(lambda pair: method("__setitem__", *pair)),
    keys.map(lambda key: method("__delitem__", key)),
    keys.map(lambda key: method("pop", key)),
    st.tuples(keys, values).map(lambda pair: method("pop", *pair)),
    st.just(method("pop")),
    st.just(method("popitem")),
    st.just(method("clear")),
    keys.map(lambda key: method("setdefault", key)),
    st.tuples(keys, values).map(lambda pair: method("setdefault", *pair)),
    st.dictionaries(keys, values, max_size=3).map(lambda more: method("update", more)),
    st.dictionaries(keys, values, max_size=3).map(lambda more: method("update", list(more.items()))),
    values.map(lambda value: method("update", a=value)),
    st.tuples(st.dictionaries(keys, values, max_size=2), values).map(
        lambda pair: method("update", pair[0], b=pair[1])
    ),
    st.just(method("update", {}, {})),
    st.just(method("update", 5)),
    st.dictionaries(keys, values, max_size=3).map(lambda more: in_place(operator.ior, more)),
    st.dictionaries(keys, values, max_size=3).map(lambda more: in_place(operator.ior, list(more.items()))),
    st.just(in_place(operator.ior, 5)),
    st.dictionaries(keys, values, max_size=3).map(lambda more: lambda place: place | more),
    st.dictionaries(keys, values, max_size=3).map(lambda more: lambda place: more | place),
    st.just(lambda place: place | [("a", 1)]),
    keys.map(lambda key: method("get", key)),
    keys.map(lambda key: lambda place: place[key]),
    keys.map(lambda key: lambda place: key in place),
    st.just(method("__delitem__", [])),
    st.just(method("pop", {}, 1)),
    st.just(method("copy")),
    st.just(lambda place: list(place)),
    st.just(lambda place: list(reversed(place))),
    st.just(lambda place: sorted(place.items(), key=repr)),
    st.just(lambda place: type(place).fromkeys(["a"], 1)),
    st.just(lambda place: place == copy.deepcopy(place)),
    st.just(len),
)


def outcome(operation: Operation, place: Any) -> tuple[type[BaseException] | None, Any]:
    try:
        result = operation(place)
    except Exception as error:
        return type(error), None
    if result is place:
        return None, "itself"
    return None, json.loads(json.dumps(result))


def inside(value: Any) -> list[Any]:
    """All containers of a value, itself first, in one order for views and for plain ones."""
    if isinstance(value, dict):
        return [value, *(found for key in sorted(value) for found in inside(value[key]))]
    if isinstance(value, list):
        return [value, *(found for item in value for found in inside(item))]
    return []


class ViewMachine(RuleBasedStateMachine):
    """A variable, the dict it should be, and pairs of a view and its plain twin."""

    @initialize(value=st.fixed_dictionaries({"items": several, "table": st.dictionaries(keys, values)}))
    def begin(self, value: dict[str, Any]) -> None:
        process_scope.run = None
        self.store = stores.open("memory:")
        self.run = self.store.run("views")
        self.variable = Variable(value, data_model=SCHEMA, name="state")
        self.model: dict[str, Any] = {
            **{"items": [], "table": {}, "current_predictions": [], "word": ""},
            **copy.deepcopy(value),
        }
        self.held: list[tuple[Any, Any]] = []

    def teardown(self) -> None:
        self.store.close()
        process_scope.run = None

    def is_live(self, twin: Any) -> bool:
        return any(found is twin for field in self.model.values() for found in inside(field))

    @rule(field=st.sampled_from(["items", "table", "current_predictions"]), data=st.data())
    def hold(self, field: str, data: st.DataObject) -> None:
        views, twins = inside(self.variable.get(field)), inside(self.model[field])
        assert len(views) == len(twins)
        place = data.draw(st.integers(0, len(views) - 1))
        self.held.append((views[place], twins[place]))

    @rule(data=st.data(), again=st.booleans())
    def operate(self, data: st.DataObject, again: bool) -> None:
        if not self.held or again:
            self.hold(data.draw(st.sampled_from(["items", "table", "current_predictions"])), data)
        view, twin = data.draw(st.sampled_from(self.held))
        operation = data.draw(list_operations if isinstance(twin, list) else dict_operations)
        head, before = self.run.head, repr(twin)
        trial = copy.deepcopy(twin)
        expected = outcome(operation, trial)
        changes = repr(trial) != before
        found = outcome(operation, view)
        if not self.is_live(twin):
            assert found[0] in ((StaleView, expected[0]) if changes or expected[0] else (StaleView, None))
            assert not changes or found[0] is StaleView
            assert self.run.head == head
            return
        assert found == expected
        if expected[0] is None:
            self.adopt(operation, twin)
        if not changes and expected[0] is not None:
            assert self.run.head == head
        assert same(json.loads(json.dumps(view)), twin)

    def adopt(self, operation: Operation, twin: Any) -> None:
        """Carry the operation out on the plain twin; what enters is copied, so that no two places share it."""
        kept = {id(found) for found in inside(twin)[: 1 if operation is assign_to_itself else None]}
        operation(twin)
        seen: set[int] = set()

        def own(value: Any) -> Any:
            if not isinstance(value, (dict, list)):
                return value
            if id(value) not in kept or id(value) in seen:
                return copy.deepcopy(value)
            seen.add(id(value))
            for key in list(value) if isinstance(value, dict) else range(len(value)):
                value[key] = own(value[key])
            return value

        own(twin)

    @rule(field=st.sampled_from(["items", "current_predictions"]), items=several)
    def replace_a_list(self, field: str, items: list[Any]) -> None:
        self.variable.update({field: items})
        self.put(field, items)

    @rule(table=st.dictionaries(keys, values, max_size=2), word=st.text("ab", max_size=2))
    def replace_the_table(self, table: dict[str, Any], word: str) -> None:
        self.variable.update({"table": table, "word": word})
        self.put("table", table)
        self.put("word", word)

    @rule(items=several, predictions=several)
    def assign(self, items: list[Any], predictions: list[Any]) -> None:
        self.variable.assign({"items": items, "current_predictions": predictions})
        for field, value in {
            "items": items,
            "current_predictions": predictions,
            "table": {},
            "word": "",
        }.items():
            self.put(field, value)

    def put(self, field: str, value: Any) -> None:
        if field == "current_predictions":  # this list stays the same object for ever
            self.model[field][:] = copy.deepcopy(value)
        else:
            self.model[field] = copy.deepcopy(value)

    @rule(field=st.sampled_from(["items", "table", "current_predictions"]))
    def update_a_field_to_its_own_view(self, field: str) -> None:
        view = self.variable.get(field)
        head = self.run.head
        self.variable.update({field: view})
        assert self.run.head == head

    @rule()
    def barrier(self) -> None:
        assert self.run.flush() == self.run.head

    @rule(data=st.data(), value=st.integers(0, 3))
    def go_behind_the_views(self, data: st.DataObject, value: int) -> None:
        live = [(view, twin) for view, twin in self.held if self.is_live(twin)]
        if not live:
            return
        view, twin = data.draw(st.sampled_from(live))
        (field,) = [name for name, held in self.model.items() if any(found is twin for found in inside(held))]
        if isinstance(view, list):
            bypass: Operation = data.draw(st.sampled_from([bypass_append, bypass_heap, bypass_set]))
        else:
            bypass = data.draw(st.sampled_from([bypass_key, bypass_key_with_no_json]))
        bypass(view)
        with pytest.raises(UnrecordedMutation, match="'state'") as caught:
            self.run.flush()
        assert repr(field) in str(caught.value)
        if bypass is bypass_heap:
            twin[:] = copy.deepcopy(twin)  # the items are back, in containers that are new
        self.run.flush()

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        if self.held:
            self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

    @invariant()
    def live_model_and_log_agree(self) -> None:
        if hasattr(self, "variable"):
            assert same(sorted_keys(self.variable.get_json()), sorted_keys(self.model))
            assert same(sorted_keys(self.run.at(self.run.head).variables["state"]), sorted_keys(self.model))


def bypass_append(view: Any) -> None:
    list.append(view, object())


def bypass_set(view: Any) -> None:
    list.append(view, {1, 2})


def bypass_heap(view: Any) -> None:
    list.clear(view)
    heapq.heappush(view, 3)
    heapq.heappush(view, 1)
    heapq.heappush(view, 2)


def bypass_key(view: Any) -> None:
    dict.__setitem__(view, "behind", 1)


def bypass_key_with_no_json(view: Any) -> None:
    dict.__setitem__(view, 5, b"bytes")


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value


TestViews = ViewMachine.TestCase
TestViews.settings = settings(max_examples=60, stateful_step_count=30)
