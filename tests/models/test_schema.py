"""The JSON schema of a data model: the shape people and language-model providers read."""

from __future__ import annotations

import json
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest

from eventcore.errors import InvalidValue, SchemaMismatch
from eventcore.models import DataModel, Field, Trainable, Validator
from eventcore.models.data_model import ModelMeta
from eventcore.models.naming import title_of

UserId = NewType("UserId", str)
Short = Annotated[str, Field(max_length=3)]


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Part(DataModel):
    """A part.

    With a second paragraph.
    """

    part_name: str = Field(description="What it is called.", examples=["bolt"])


class Undocumented(Part):
    pass


class Whole(DataModel):
    z_last: int
    parts: list[Part] = Field(default=[])
    main_part: Part | None = None
    color: Color = Color.RED


def property_of(annotation: Any, **field: Any) -> Any:
    """The schema of one field of that annotation, without its title."""
    namespace = {"__annotations__": {"value": annotation}, "__module__": __name__}
    model: Any = ModelMeta(
        "Model", (DataModel,), {**namespace, **({"value": Field(**field)} if field else {})}
    )
    schema = model.get_schema()
    declared = schema["properties"]["value"]
    assert declared.pop("title") == "Value"
    return declared


def test_the_whole_shape() -> None:
    assert json.dumps(Whole.get_schema()) == json.dumps(
        {
            "$defs": {
                "Color": {"enum": ["red", "blue"], "title": "Color", "type": "string"},
                "Part": {
                    "additionalProperties": False,
                    "description": "A part.\n\nWith a second paragraph.",
                    "properties": {
                        "part_name": {
                            "description": "What it is called.",
                            "examples": ["bolt"],
                            "title": "Part Name",
                            "type": "string",
                        }
                    },
                    "required": ["part_name"],
                    "title": "Part",
                    "type": "object",
                },
            },
            "additionalProperties": False,
            "properties": {
                "z_last": {"title": "Z Last", "type": "integer"},
                "parts": {
                    "default": [],
                    "items": {"$ref": "#/$defs/Part"},
                    "title": "Parts",
                    "type": "array",
                },
                "main_part": {
                    "anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}],
                    "default": None,
                    "title": "Main Part",
                },
                "color": {"$ref": "#/$defs/Color", "default": "red", "title": "Color"},
            },
            "required": ["z_last"],
            "title": "Whole",
            "type": "object",
        }
    )


def test_the_description_is_the_class_s_own_docstring() -> None:
    assert "description" not in Undocumented.get_schema()
    assert "description" not in Whole.get_schema()


def test_each_call_gives_a_copy() -> None:
    Whole.get_schema()["properties"].clear()
    assert Whole.keys() == list(Whole.get_schema()["properties"])


def test_required_is_absent_when_every_field_has_a_default() -> None:
    assert "required" not in Trainable.get_schema()


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (None, {"type": "null"}),
        (Any, {}),
        (list, {"items": {}, "type": "array"}),
        (dict, {"additionalProperties": True, "type": "object"}),
        (dict[str, Any], {"additionalProperties": True, "type": "object"}),
        (dict[str, int], {"additionalProperties": {"type": "integer"}, "type": "object"}),
        (
            dict[Literal["a", "b"], int],
            {
                "additionalProperties": {"type": "integer"},
                "propertyNames": {"enum": ["a", "b"], "type": "string"},
                "type": "object",
            },
        ),
        (list[list[str]], {"items": {"items": {"type": "string"}, "type": "array"}, "type": "array"}),
        (tuple[int, ...], {"items": {"type": "integer"}, "type": "array"}),
        (
            tuple[int, str],
            {
                "items": False,
                "maxItems": 2,
                "minItems": 2,
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "type": "array",
            },
        ),
        (int | str | None, {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (Literal["a"], {"const": "a", "type": "string"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (UserId, {"type": "string"}),
        (
            Annotated[int, Field(ge=1, description="A count.")],
            {"description": "A count.", "minimum": 1, "type": "integer"},
        ),
        (Annotated[int, msgspec.Meta(gt=1)], {"exclusiveMinimum": 1, "type": "integer"}),
        (list[Short], {"items": {"maxLength": 3, "type": "string"}, "type": "array"}),
    ],
)
def test_annotations_become_schemas(annotation: Any, expected: dict[str, Any]) -> None:
    assert json.dumps(property_of(annotation)) == json.dumps(expected)


def test_an_enum_becomes_a_definition() -> None:
    class Model(DataModel):
        value: Mixed = Mixed.ONE

    assert Model.get_schema()["$defs"]["Mixed"] == {"enum": [1, "two"], "title": "Mixed"}
    assert Model(value=Mixed.TWO).get_json() == {"value": "two"}
    assert Model().value is Mixed.ONE


def test_constraints_and_words_of_a_field_are_shown() -> None:
    assert property_of(int | None, default=3, ge=1, description="  A\n  count. ") == {
        "anyOf": [{"minimum": 1, "type": "integer"}, {"type": "null"}],
        "default": 3,
        "description": "A\ncount.",
    }
    assert property_of(str, json_schema_extra={"x-widget": "area", "format": "uri"}) == {
        "format": "uri",
        "type": "string",
        "x-widget": "area",
    }
    namespace = {"__annotations__": {"value": str}, "__module__": __name__, "value": Field(title="Your Name")}
    model: Any = ModelMeta("Model", (DataModel,), namespace)
    assert model.get_schema()["properties"]["value"]["title"] == "Your Name"


def test_two_classes_of_one_name_have_two_definitions() -> None:
    def part(annotation: Any) -> Any:
        return ModelMeta(
            "Part", (DataModel,), {"__annotations__": {"value": annotation}, "__module__": __name__}
        )

    annotations = {"a": part(int), "b": part(str)}
    both: Any = ModelMeta("Both", (DataModel,), {"__annotations__": annotations, "__module__": __name__})
    assert sorted(both.get_schema()["$defs"]) == ["Part", "Part_2"]
    assert both(a={"value": 1}, b={"value": "x"}).get_json() == {"a": {"value": 1}, "b": {"value": "x"}}
    with pytest.raises(SchemaMismatch):
        both(a={"value": 1}, b={"value": 1})


def test_a_model_that_contains_itself_is_a_definition_and_the_top() -> None:
    class Node(DataModel):
        children: list[Node] = Field(default=[])

    schema = Node.get_schema()
    assert schema["$defs"]["Node"] == {key: value for key, value in schema.items() if key != "$defs"}
    assert Validator(schema).check({"children": [{"children": []}, {}]}) == {
        "children": [{"children": []}, {"children": []}]
    }


def test_a_generic_model_leaves_its_parameter_open() -> None:
    from typing import Generic, TypeVar

    Item = TypeVar("Item")

    class Box(DataModel, Generic[Item]):
        item: Item

    assert Box.get_schema()["properties"]["item"] == {"title": "Item"}
    assert Box[int](item=[1]).get_json() == {"item": [1]}  # type: ignore[arg-type]


def test_titles_are_keys_in_title_case() -> None:
    assert [title_of(key) for key in ("name", "user_name", "n_1", "HTTP_code")] == [
        "Name",
        "User Name",
        "N 1",
        "Http Code",
    ]


def test_a_type_alias_statement_is_looked_through() -> None:
    alias = type(
        "TypeAliasType", (), {"__value__": list[int]}
    )()  # what `type X = list[int]` makes since Python 3.12
    assert property_of(alias) == {"items": {"type": "integer"}, "type": "array"}


def test_what_has_no_json_counterpart_is_refused() -> None:
    for annotation in (set[int], frozenset[str], complex, bytes, type, ..., "str | set[int]"):
        with pytest.raises(InvalidValue, match="allowed"):
            property_of(annotation)
