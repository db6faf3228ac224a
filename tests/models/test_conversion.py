"""Everything that can stand for a data model gives a schema and JSON in one way."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from eventcore.errors import InvalidValue, SchemaMismatch, WrongType
from eventcore.models import (
    DataModel,
    Field,
    JsonDataModel,
    SymbolicDataModel,
    Trainable,
    defaults_of,
    is_data_model,
    json_of,
    missing_defaults,
    schema_of,
    to_json_data_model,
    validator_of,
)


class Inner(DataModel):
    value: int = 1


class Model(DataModel):
    """A point."""

    name: str
    inner: Inner = Inner()
    tags: list[str] = Field(default=[])


class StructPoint(msgspec.Struct):
    """A point."""

    name: str
    inner: Inner = msgspec.field(default_factory=Inner)
    tags: list[str] = []


@dataclasses.dataclass
class DataclassPoint:
    """A point."""

    name: str
    inner: Inner = dataclasses.field(default_factory=Inner)
    tags: list[str] = dataclasses.field(default_factory=list)


class Carrier:
    """Like a variable: it has a schema and JSON, and is none of the known classes."""

    def get_schema(self) -> dict[str, Any]:
        return Model.get_schema()

    def get_json(self) -> dict[str, Any]:
        return Model(name="carried").get_json()


INSTANCES = [
    Model(name="x"),
    StructPoint(name="x"),
    DataclassPoint(name="x"),
    Model(name="x").to_json_data_model(),
]


@pytest.mark.parametrize(
    "source", [Model, StructPoint, DataclassPoint, *INSTANCES, Carrier(), Model.get_schema()]
)
def test_every_source_gives_a_schema_with_the_same_fields_and_the_same_verdicts(source: Any) -> None:
    schema = schema_of(source)
    assert list(schema["properties"]) == ["name", "inner", "tags"]
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    assert schema["description"] == "A point."
    assert schema["properties"]["tags"]["title"] == "Tags"
    validator = validator_of(source)
    assert validator.check_field("inner", {}) == {"value": 1}
    assert validator.check({"name": "x", "tags": ("a",), "inner": Inner(value=2)}) == {
        "name": "x",
        "inner": {"value": 2},
        "tags": ["a"],
    }
    for bad in ({}, {"name": 1}, {"name": "x", "tgas": []}, {"name": "x", "inner": {"value": "1"}}):
        with pytest.raises(SchemaMismatch):
            validator.check(bad)


@pytest.mark.parametrize("source", [Model, StructPoint, DataclassPoint, Model.get_schema(), *INSTANCES])
def test_a_schema_given_away_is_a_copy(source: Any) -> None:
    schema_of(source)["properties"].clear()
    assert list(schema_of(source)["properties"]) == ["name", "inner", "tags"]


@pytest.mark.parametrize("value", INSTANCES)
def test_every_instance_gives_its_json(value: Any) -> None:
    expected = {"name": "x", "inner": {"value": 1}, "tags": []}
    assert json_of(value) == expected
    assert is_data_model(value)
    converted = to_json_data_model(value, name="converted")
    assert (converted.name, converted.get_json()) == ("converted", expected)
    assert JsonDataModel(data_model=value).get_json() == expected
    assert SymbolicDataModel(data_model=value).keys() == ["name", "inner", "tags"]


def test_a_model_may_have_structs_and_dataclasses_as_fields() -> None:
    class Outer(DataModel):
        point: StructPoint
        points: list[DataclassPoint] = Field(default=[])

    outer = Outer(point=StructPoint(name="a"), points=[DataclassPoint(name="b")])
    assert outer.point == StructPoint(name="a")
    assert outer.points[0].inner == Inner()
    assert outer.get_json() == {
        "point": {"name": "a", "inner": {"value": 1}, "tags": []},
        "points": [{"name": "b", "inner": {"value": 1}, "tags": []}],
    }


def test_a_tagged_struct_keeps_its_tag_and_a_renamed_field_its_name() -> None:
    class Shape(msgspec.Struct, tag="shape", rename="camel"):
        side_length: int

    assert schema_of(Shape)["properties"] == {
        "type": {"const": "shape", "title": "Type", "type": "string"},
        "sideLength": {"title": "Sidelength", "type": "integer"},
    }
    assert validator_of(Shape).check(Shape(3)) == {"type": "shape", "sideLength": 3}


def test_a_struct_that_is_an_array_is_refused() -> None:
    class Row(msgspec.Struct, array_like=True):
        a: int

    with pytest.raises(InvalidValue, match="array_like"):
        schema_of(Row)


def test_a_json_schema_is_taken_as_it_is_and_not_aliased() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    taken = schema_of(schema)
    schema["properties"].clear()
    assert taken == {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize("source", [None, 3, "text", [], object(), int, JsonDataModel, Carrier])
def test_what_carries_no_schema_is_refused(source: Any) -> None:
    with pytest.raises(WrongType, match="cannot take a JSON schema"):
        schema_of(source)


@pytest.mark.parametrize("value", [None, 3, "text", [], object(), Model, StructPoint])
def test_what_is_no_value_gives_no_json(value: Any) -> None:
    with pytest.raises(WrongType, match="cannot take JSON"):
        json_of(value)
    assert not is_data_model(value)


def test_a_dict_gives_its_own_json_but_is_no_data_model() -> None:
    value: dict[str, Any] = {"a": (1,)}
    assert json_of(value) == {"a": [1]}
    assert not is_data_model(value)
    with pytest.raises(SchemaMismatch):
        json_of({"a": float("nan")})


def test_a_placeholder_has_a_schema_but_no_json() -> None:
    placeholder = SymbolicDataModel(Model)
    assert schema_of(placeholder) == Model.get_schema()
    with pytest.raises(InvalidValue, match="compute_output_spec"):
        json_of(placeholder)


def test_fields_without_a_default_are_listed() -> None:
    class Lacking(Trainable):
        plan: str
        steps: list[str]
        note: str = ""

    assert missing_defaults(Lacking) == ["plan", "steps"]
    assert missing_defaults(Lacking.get_schema()) == ["plan", "steps"]
    assert missing_defaults(Trainable) == []
    assert missing_defaults(StructPoint) == ["name"]


def test_defaults_alone_make_an_object_or_say_what_is_missing() -> None:
    counts = iter(range(5))

    class Counted(DataModel):
        number: int = Field(default_factory=lambda: next(counts))
        inner: Inner = Inner()

    assert defaults_of(Counted) == {"number": 0, "inner": {"value": 1}}
    assert defaults_of(Inner.get_schema()) == {"value": 1}
    with pytest.raises(SchemaMismatch, match="/name"):
        defaults_of(StructPoint)


def test_pydantic_models_are_accepted_when_the_user_has_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    inner = pydantic.create_model("PydanticInner", value=(int, 1))
    model = pydantic.create_model(
        "PydanticPoint", name=(str, ...), inner=(inner, inner()), tags=(list[str], [])
    )
    assert validator_of(model).check({"name": "x"}) == {"name": "x", "inner": {"value": 1}, "tags": []}
    assert json_of(model(name="x", tags=["a"])) == {"name": "x", "inner": {"value": 1}, "tags": ["a"]}
    for bad in ({}, {"name": 1}, {"name": "x", "unknown": 1}, {"name": "x", "inner": {"unknown": 1}}):
        with pytest.raises(SchemaMismatch):
            validator_of(model).check(bad)
    assert schema_of(model)["additionalProperties"] is False

    aliased = pydantic.create_model("Aliased", user_name=(str, pydantic.Field(alias="userName")))
    assert validator_of(aliased).check(aliased(userName="x")) == {"userName": "x"}

    class Outer(DataModel):
        point: model  # type: ignore[valid-type]

    outer = Outer(point=model(name="x"))
    assert type(outer.point) is model
    assert outer.get_json()["point"]["inner"] == {"value": 1}


def test_importing_the_models_loads_neither_pydantic_nor_anything_heavy() -> None:
    code = "import eventcore.models, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    heavy = {
        "pydantic",
        "orjson",
        "hypothesis",
        "lmdb",
        "zstandard",
        "click",
        "rich",
        "sqlite3",
        "litellm",
        "asyncio",
    }
    assert not heavy & set(loaded)
    ours = {
        name for name in loaded if name.startswith("eventcore.") and not name.startswith("eventcore.models")
    }
    below = {"_version", "errors", "history", "history.values", "saving", "saving.registry"}
    assert ours <= {f"eventcore.{name}" for name in below}
