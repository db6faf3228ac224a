"""Names, scopes and first values: what the path of a variable is made of, and what it begins with."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from eventcore.errors import InvalidValue, SchemaMismatch
from eventcore.history import store as stores
from eventcore.variables import Empty, Initializer, Variable, current_path, name_scope
from eventcore.variables.scope import at_path


class Greeting(msgspec.Struct):
    """What it is."""

    word: str = "hello"
    items: list[int] = []


def test_scopes_nest_and_end() -> None:
    assert current_path() == ""
    with name_scope("program") as outer, name_scope("module") as inner:
        assert (outer, inner, current_path()) == ("program", "program/module", "program/module")
        assert Variable(data_model=Greeting, name="v").path == "program/module/v"
    assert current_path() == ""


def test_a_scope_is_left_when_its_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), name_scope("a"):
        raise ZeroDivisionError
    assert current_path() == ""


def test_a_scope_the_same_caller_has_just_opened_is_not_repeated() -> None:
    caller, other = object(), object()
    with name_scope("a", caller):
        with name_scope("a", caller):
            assert current_path() == "a"
        with name_scope("a", other):
            assert current_path() == "a/a"
        with name_scope("a", caller, deduplicate=False):
            assert current_path() == "a/a"
        with name_scope("b"), name_scope("a", caller):
            assert current_path() == "a/b/a"


def test_a_scope_may_override_those_outside() -> None:
    with name_scope("outside"):
        with name_scope("in", override_parent="some/where"):
            assert current_path() == "some/where/in"
        with name_scope("top", override_parent=""):
            assert current_path() == "top"
        with at_path("x/y"):
            assert current_path() == "x/y"
        assert current_path() == "outside"


@pytest.mark.parametrize("name", ["", "a/b", None, 3, "\ud800"])
def test_a_name_that_is_no_step_of_a_path_is_refused(name: Any) -> None:
    with pytest.raises(InvalidValue, match="cannot name a scope"), name_scope(name):
        pass


def test_scopes_of_concurrent_tasks_do_not_mix() -> None:
    async def work(name: str) -> None:
        with name_scope(name):
            for _ in range(5):
                await asyncio.sleep(0)
                assert current_path() == name

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())


def test_a_variable_without_a_name_gets_one_of_its_own() -> None:
    stores.open("memory:").run("names")
    one, two = Variable(data_model=Greeting), Variable(data_model=Greeting)
    assert one.name != two.name
    assert one.name.startswith("variable")


# --- first values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("initializer", "data_model", "expected"),
    [
        (None, Greeting, {"word": "hello", "items": []}),
        ({"word": "hi"}, Greeting, {"word": "hi", "items": []}),
        (Greeting("hi", [1]), None, {"word": "hi", "items": [1]}),
        (Greeting("hi", [1]), Greeting, {"word": "hi", "items": [1]}),
        (lambda: {"word": "made"}, Greeting, {"word": "made", "items": []}),
        (lambda: Greeting("made"), None, {"word": "made", "items": []}),
        (Empty(data_model=Greeting), None, {"word": "hello", "items": []}),
        (Empty, Greeting, {"word": "hello", "items": []}),
        (Initializer(data_model=Greeting, json={"word": "yo"}), None, {"word": "yo", "items": []}),
        (Greeting, None, {"word": "hello", "items": []}),
    ],
)
def test_what_a_variable_begins_with(initializer: Any, data_model: Any, expected: dict[str, Any]) -> None:
    variable = Variable(initializer, data_model=data_model, name="v")
    assert variable.get_json() == expected
    assert variable.run.state.variables["v"] == expected


def test_the_initializers_dict_is_never_aliased() -> None:
    given: dict[str, Any] = {"items": [1]}
    variable = Variable(given, data_model=Greeting, name="v")
    given["items"].append(2)
    variable.get("items").append(3)
    assert given == {"items": [1, 2]}
    assert variable.get_json()["items"] == [1, 3]
    copied = variable.get_json()
    copied["items"].append(4)
    assert variable.get_json()["items"] == [1, 3]


def test_a_first_value_that_does_not_fit_is_refused_and_declares_nothing() -> None:
    run = stores.open("memory:").run("fit")
    for bad in ({"word": 1}, {"unknown": 1}, lambda: {"items": [None]}):
        with pytest.raises(SchemaMismatch):
            Variable(bad, data_model=Greeting, name="v")
    assert run.state.names() == []
    assert run.head == 1


def test_an_initializer_comes_back_from_its_config() -> None:
    first = Initializer(data_model=Greeting, json={"word": "yo"})
    again = first.clone()
    assert type(again) is Initializer
    assert again() == first() == {"word": "yo", "items": []}
    assert again.get_schema() == first.get_schema()
    assert Empty.from_config(Empty(data_model=Greeting).get_config())() == {"word": "hello", "items": []}
    with pytest.raises(InvalidValue, match="data_model="):
        Initializer()


def test_the_description_is_the_schemas_unless_given() -> None:
    assert Variable(data_model=Greeting, name="a").description == "What it is."
    assert Variable(data_model=Greeting, name="b", description="Mine.").description == "Mine."
