"""`JsonDataModel`: immutable JSON with its schema. `SymbolicDataModel`: a schema without a value."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventcore.errors import ImmutableValue, InvalidValue, SchemaMismatch
from eventcore.models import DataModel, Field, JsonDataModel, SymbolicDataModel, clear_names


class Point(DataModel):
    """A point."""

    x: int
    tags: list[str] = Field(default=["a"])
    note: str | None = None


VALUE = {"x": 1, "tags": ["a"], "note": None}


@pytest.fixture(autouse=True)
def fresh_names() -> Iterator[None]:
    clear_names()
    yield
    clear_names()


@pytest.mark.parametrize(
    "make",
    [
        lambda: JsonDataModel(schema=Point.get_schema(), json={"x": 1}),
        lambda: JsonDataModel(data_model=Point, json={"x": 1}),
        lambda: JsonDataModel(data_model=Point(x=1)),
        lambda: JsonDataModel(data_model=Point(x=1).to_json_data_model()),
        lambda: JsonDataModel(schema=Point.get_schema(), json=Point(x=1)),
        lambda: Point(x=1).to_json_data_model(),
    ],
)
def test_it_is_made_of_schema_and_value_or_of_an_instance(make: Callable[[], JsonDataModel]) -> None:
    value = make()
    assert value.get_json() == VALUE
    assert value.get_schema() == Point.get_schema()


@pytest.mark.parametrize(
    "arguments",
    [{}, {"json": {"x": 1}}, {"data_model": Point}, {"schema": Point.get_schema()}, {"name": "x"}],
)
def test_half_of_it_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="cannot make a JsonDataModel"):
        JsonDataModel(**arguments)


def test_a_value_that_breaks_its_schema_is_refused() -> None:
    for bad in ({"x": "1"}, {}, {"x": 1, "y": 2}, {"x": 1, "tags": [float("nan")]}):
        with pytest.raises(SchemaMismatch):
            JsonDataModel(schema=Point.get_schema(), json=bad)


def test_every_write_is_refused() -> None:
    value = JsonDataModel(data_model=Point(x=1))
    loose: Any = value
    writes: list[Callable[[], Any]] = [
        lambda: value.update({"x": 2}),
        lambda: loose.__setitem__("x", 2),
        lambda: loose.__delitem__("x"),
        lambda: setattr(value, "x", 2),
        lambda: setattr(value, "_json", {}),
        lambda: setattr(value, "name", "other"),
        lambda: delattr(value, "_json"),
    ]
    for write in writes:
        with pytest.raises(ImmutableValue, match="cannot be changed"):
            write()
    assert value.get_json() == VALUE


def test_no_read_gives_access_to_the_inside() -> None:
    given: dict[str, Any] = {"x": 1, "tags": ["a"], "note": None}
    schema = Point.get_schema()
    value = JsonDataModel(schema=schema, json=given)
    given["tags"].append("b")
    schema["properties"].clear()
    value.get_json()["tags"].append("c")
    value.get("tags").append("d")
    value["tags"].append("e")
    value.values()[1].append("f")
    value.items()[1][1].append("g")
    value.get_schema()["properties"].clear()
    value.clone().get("tags").append("h")
    assert value.get_json() == VALUE
    assert value.get_schema() == Point.get_schema()


def test_it_reads_like_a_dict() -> None:
    value = JsonDataModel(data_model=Point(x=1))
    assert value.keys() == list(value) == ["x", "tags", "note"]
    assert value.values() == [1, ["a"], None]
    assert value.items() == list(VALUE.items())
    assert (value.get("x"), value["x"], value.get("nothing"), value.get("nothing", 3)) == (1, 1, None, 3)
    assert value.get("note", 3) is None
    with pytest.raises(KeyError, match="its fields are: x, tags, note"):
        value["nothing"]
    assert bool(JsonDataModel(schema={"type": "object"}, json={})) is True
    assert json.loads(value.prettify_json()) == VALUE
    assert json.loads(value.prettify_schema()) == Point.get_schema()


def test_names_count_up_and_clones_say_of_what() -> None:
    first, second = (JsonDataModel(data_model=Point(x=1)) for _ in range(2))
    assert (first.name, second.name) == ("json_data_model", "json_data_model_1")
    assert first.clone().name == "clone_json_data_model"
    assert first.clone().name == "clone_json_data_model_1"
    assert first.clone(name="mine").name == first.to_json_data_model(name="mine").name == "mine"
    assert first.to_json_data_model() is first
    assert first.clone() == first


def test_equality_is_of_value_and_schema_and_tells_numbers_apart() -> None:
    free = {"type": "object"}

    def value(json: Any, schema: Any = free) -> JsonDataModel:
        return JsonDataModel(schema=schema, json=json)

    assert value({"a": 1, "b": 2}) == value({"b": 2, "a": 1})
    assert hash(value({"a": 1, "b": 2})) == hash(value({"b": 2, "a": 1}))
    assert value({"a": 1}) != value({"a": 1.0})
    assert value({"a": 1}) != value({"a": True})
    assert value({"a": 1}) != value({"a": 1}, {"type": "object", "title": "Other"})
    assert value({"a": 1}) != {"a": 1}


def test_it_copies_pickles_and_restores_from_its_config() -> None:
    value = JsonDataModel(data_model=Point(x=1), name="point")
    for other in (
        copy.copy(value),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),
        JsonDataModel.from_config(value.get_config()),
    ):
        assert other == value
        assert other.name == "point"
    assert repr(value) == "JsonDataModel(name='point', json={'x': 1, 'tags': ['a'], 'note': None})"


@pytest.mark.parametrize(
    "make",
    [
        lambda: SymbolicDataModel(Point),
        lambda: SymbolicDataModel(Point(x=1)),
        lambda: SymbolicDataModel(schema=Point.get_schema()),
        lambda: SymbolicDataModel(Point, schema=Point.get_schema()),
        Point.to_symbolic_data_model,
        lambda: Point(x=1).to_json_data_model().to_symbolic_data_model(),
    ],
)
def test_a_placeholder_knows_its_schema_alone(make: Callable[[], SymbolicDataModel]) -> None:
    symbol = make()
    assert symbol.get_schema() == Point.get_schema()
    assert symbol.keys() == ["x", "tags", "note"]
    assert symbol.producer is None
    assert symbol.name == "symbolic_data_model"
    symbol.get_schema().clear()
    assert symbol.get_schema() == Point.get_schema()
    assert json.loads(symbol.prettify_schema()) == Point.get_schema()


def test_reading_a_placeholder_s_value_is_refused_with_a_hint() -> None:
    symbol: Any = SymbolicDataModel(Point)
    reads: list[Callable[[], Any]] = [
        symbol.get_json,
        symbol.prettify_json,
        lambda: symbol.get("x"),
        lambda: symbol.get("x", 3),
        lambda: symbol["x"],
        symbol.values,
        symbol.items,
        lambda: symbol.update({"x": 1}),
        lambda: list(symbol),
    ]
    for read in reads:
        with pytest.raises(InvalidValue, match=r"compute_output_spec"):
            read()


def test_a_placeholder_needs_one_source_or_two_that_agree() -> None:
    class Other(DataModel):
        y: int

    with pytest.raises(InvalidValue, match="received nothing"):
        SymbolicDataModel()
    with pytest.raises(InvalidValue, match="different properties"):
        SymbolicDataModel(Other, schema=Point.get_schema())
    with pytest.raises(InvalidValue, match="cannot use"):
        SymbolicDataModel(schema={"type": "string"})


def test_placeholders_are_told_apart_by_identity_and_clone() -> None:
    symbol = SymbolicDataModel(Point, name="input", record_history=False)
    clone = symbol.clone()
    assert clone.name == "clone_input"
    assert (clone.record_history, clone.get_schema()) == (False, symbol.get_schema())
    assert symbol != clone
    assert len({symbol, clone}) == 2
    assert symbol.to_symbolic_data_model() is symbol
    again = SymbolicDataModel.from_config(symbol.get_config())
    assert again.get_config() == {"name": "input", "schema": Point.get_schema(), "record_history": False}
    assert repr(symbol) == "SymbolicDataModel(name='input', fields=['x', 'tags', 'note'])"
