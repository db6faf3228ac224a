"""Modules find the variables and modules in their attributes, in order, and keep finding them."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any, NamedTuple

import pytest

import eventcore as ec
from eventcore.errors import NotInitialized, TrackerLocked
from tests.modules.samples import Add, Counter, Greet, Name, Number, Persona


class Holder(ec.Module):
    def call(self, inputs: Any) -> Any:
        return inputs


def variable(name: str) -> ec.Variable:
    return ec.Variable(data_model=Counter, trainable=False, name=name)


def names(module: ec.Module) -> list[str]:
    return [variable.name for variable in module.variables]


def test_an_assigned_variable_is_found() -> None:
    holder: Any = Holder()
    holder.a = variable("a")
    assert names(holder) == ["a"]


def test_a_variable_that_was_added_and_never_assigned_is_found() -> None:
    holder: Any = Holder()
    holder.add_variable(data_model=Counter, name="a")
    assert names(holder) == ["a"]


def test_variables_of_sub_modules_follow_the_modules_own_in_order_of_assignment() -> None:
    holder: Any = Holder()
    holder.second = Greet(name="g2")
    holder.first = Greet(name="g1")
    holder.own = variable("own")
    assert names(holder) == ["own", "persona_g2", "counter_g2", "persona_g1", "counter_g1"]


def test_own_variables_meant_for_training_come_first_and_freezing_changes_no_order() -> None:
    holder: Any = Holder()
    holder.count = variable("count")
    holder.state = holder.add_variable(data_model=Persona, name="state")
    assert names(holder) == ["state", "count"]
    holder.state.trainable = False
    assert names(holder) == ["state", "count"]


def test_the_same_variable_in_several_places_is_reported_once() -> None:
    holder: Any = Holder()
    shared = variable("shared")
    holder.a = shared
    holder.b = [shared, {"c": (shared,)}]
    holder.child = Holder()
    holder.child.d = shared
    assert names(holder) == ["shared"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: [v],
        lambda v: (v,),
        lambda v: {"k": v},
        lambda v: {v},
        lambda v: [[{"k": ({v},)}]],
        lambda v: frozenset({v}),
    ],
)
def test_variables_inside_containers_are_found(wrap: Any) -> None:
    holder: Any = Holder()
    holder.inside = wrap(variable("a"))
    assert names(holder) == ["a"]


def test_a_list_filled_after_its_assignment_is_followed() -> None:
    holder: Any = Holder()
    holder.items = []
    holder.items.append(variable("a"))
    holder.items.extend([variable("b"), [variable("c")]])
    holder.items.insert(0, variable("d"))
    holder.items += [variable("e")]
    assert names(holder) == ["d", "a", "b", "c", "e"]
    holder.items[3].append(variable("f"))
    del holder.items[0]
    holder.items.pop()
    assert names(holder) == ["a", "b", "c", "f"]


def test_a_dict_filled_after_its_assignment_is_followed() -> None:
    holder: Any = Holder()
    holder.items = {}
    holder.items["a"] = variable("a")
    holder.items.update(b=variable("b"))
    holder.items |= {"c": variable("c")}
    holder.items.setdefault("d", []).append(variable("d"))
    assert names(holder) == ["a", "b", "c", "d"]
    holder.items.pop("b")
    del holder.items["a"]
    holder.items.popitem()
    assert names(holder) == ["c"]
    holder.items.clear()
    assert names(holder) == []


def test_a_set_filled_after_its_assignment_is_followed_in_order_of_path() -> None:
    holder: Any = Holder()
    holder.items = set()
    b, a = variable("b"), variable("a")
    holder.items.add(b)
    holder.items |= {a}
    assert names(holder) == ["a", "b"]
    holder.items.discard(a)
    assert names(holder) == ["b"]


def test_replacing_or_deleting_an_attribute_forgets_what_it_held() -> None:
    holder: Any = Holder()
    holder.a = holder.add_variable(data_model=Counter, name="old")
    holder.a = variable("new")
    assert names(holder) == ["new"]
    del holder.a
    assert names(holder) == []
    with pytest.raises(AttributeError):
        del holder.a


def test_tracked_containers_are_real_ones_and_copies_of_them_are_plain() -> None:
    holder: Any = Holder()
    holder.items = [1, {"a": [2]}]
    assert isinstance(holder.items, list) and isinstance(holder.items[1], dict)
    assert holder.items == [1, {"a": [2]}] and json.dumps(holder.items) == '[1, {"a": [2]}]'
    for copied in (
        copy.copy(holder.items),
        copy.deepcopy(holder.items),
        pickle.loads(pickle.dumps(holder.items)),
    ):
        assert type(copied) is list and copied == [1, {"a": [2]}]
    assert type(copy.deepcopy(holder.items)[1]) is dict


def test_a_named_tuple_stays_one() -> None:
    class Pair(NamedTuple):
        left: list[Any]
        right: int

    holder: Any = Holder()
    holder.pair = Pair([], 1)
    holder.pair.left.append(variable("a"))
    assert type(holder.pair) is Pair and names(holder) == ["a"]


def test_a_container_that_contains_itself_is_followed() -> None:
    loop: list[Any] = []
    loop.append(loop)
    holder: Any = Holder()
    holder.loop = loop
    holder.loop.append(variable("a"))
    assert names(holder) == ["a"] and holder.loop[0] is holder.loop


def test_a_child_that_knows_its_parent_is_no_trouble() -> None:
    parent: Any = Holder(name="parent")
    child: Any = Holder(name="child")
    parent.child = child
    child.parent = parent
    child.a = variable("a")
    assert names(parent) == ["a"] and names(child) == ["a"]


def test_sub_modules_assigned_before_the_constructor_of_module_are_found() -> None:
    class Early(ec.Module):
        def __init__(self) -> None:
            self.inner = Greet(name="inner")
            super().__init__()

    assert names(Early()) == ["persona_inner", "counter_inner"]


def test_a_module_whose_class_forgot_the_super_constructor_says_so_on_first_use() -> None:
    class Forgot(ec.Module):
        def __init__(self) -> None:
            self.x = 1

        def call(self, inputs: Any) -> Any:
            return inputs

    module = Forgot()
    for use in (
        lambda: module.variables,
        lambda: module.name,
        lambda: module.add_variable(data_model=Counter),
        lambda: ec.wait(module(Name(name="a"))),
    ):
        with pytest.raises(NotInitialized, match=r"Forgot never called `super\(\).__init__\(\)`"):
            use()
    assert "not initialized" in repr(module)


# --- after the first call ------------------------------------------------------------------------


def called() -> Any:
    holder: Any = Holder(name="holder")
    holder.a = variable("a")
    holder.items = [variable("b")]
    holder.named = {"c": variable("c")}
    holder.child = Add()
    ec.wait(holder(Number(number=1)))
    return holder


CHANGES: list[Any] = [
    lambda h: h.add_variable(data_model=Counter),
    lambda h: setattr(h, "a", variable("new")),
    lambda h: setattr(h, "fresh", variable("new")),
    lambda h: setattr(h, "a", None),
    lambda h: setattr(h, "a", 3),
    lambda h: delattr(h, "a"),
    lambda h: setattr(h, "module", Greet()),
    lambda h: setattr(h, "deep", [{"k": (variable("new"),)}]),
    lambda h: h.items.append(variable("new")),
    lambda h: h.items.append([variable("new")]),
    lambda h: h.items.pop(),
    lambda h: h.items.clear(),
    lambda h: h.items.__setitem__(0, None),
    lambda h: h.items.__setitem__(slice(None), []),
    lambda h: h.items.__imul__(0),
    lambda h: h.named.update(d=variable("new")),
    lambda h: h.named.pop("c"),
    lambda h: h.named.setdefault("d", variable("new")),
    lambda h: h.named.__ior__({"c": None}),
    lambda h: setattr(h.child, "late", variable("new")),
    lambda h: h.child.add_variable(data_model=Counter),
]


@pytest.mark.parametrize("change", CHANGES)
def test_after_the_first_call_a_change_of_the_variables_is_refused_and_undone(change: Any) -> None:
    holder = called()
    before, attributes = holder.variables, dict(holder.__dict__)
    contents = list(holder.items), dict(holder.named)
    with pytest.raises(TrackerLocked, match="holder"):
        change(holder)
    assert [id(v) for v in holder.variables] == [id(v) for v in before]
    assert holder.__dict__.keys() == attributes.keys() and holder.a is attributes["a"]
    assert (list(holder.items), dict(holder.named)) == contents


def test_after_the_first_call_ordinary_values_and_the_very_same_objects_may_be_assigned() -> None:
    holder = called()
    before = names(holder)
    holder.count = 1
    holder.count += 1
    holder.cache = {}
    holder.cache["x"] = [1, 2]
    holder.a = holder.a
    holder.items = holder.items
    holder.items.append("text")
    holder.items.reverse()
    holder.again = [holder.a]
    del holder.again
    del holder.count
    holder.stateless = Add()
    assert names(holder) == before


def test_what_was_put_into_a_foreign_container_does_not_appear_after_the_lock() -> None:
    class Mine(list):  # type: ignore[type-arg]
        pass

    holder: Any = Holder()
    holder.mine = Mine([variable("a")])
    assert names(holder) == ["a"]
    ec.wait(holder(Name(name="x")))
    holder.mine.append(variable("b"))
    assert names(holder) == ["a"]
    holder.other = [holder.mine[0]]
    assert names(holder) == ["a"]


def test_a_module_attached_after_the_lock_without_variables_can_get_none_later() -> None:
    holder = called()
    holder.late = Add()
    with pytest.raises(TrackerLocked, match="holder"):
        holder.late.add_variable(data_model=Counter)
    with pytest.raises(TrackerLocked, match="holder"):
        holder.late.x = variable("new")
