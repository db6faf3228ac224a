"""`Validator`: what fits a JSON schema and what does not, whole and in parts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from eventcore.errors import InvalidValue, SchemaMismatch
from eventcore.models import Validator, validator_of
from eventcore.models.validation import validator_for
from tests.models.schemas import CANDIDATES, VALUES, Unfit, fitting, models, read

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer", "default": 0},
        "score": {"type": "number", "default": 1},
        "flag": {"type": "boolean", "default": False},
        "short": {"type": "string", "maxLength": 3, "default": "abc"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "any": {"default": None},
        "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "default": []},
        "table": {"type": "object", "additionalProperties": {"type": "integer"}, "default": {}},
        "two": {"type": "array", "items": {"type": "integer"}, "maxItems": 2, "default": []},
    },
    "required": ["name"],
    "$defs": {
        "Item": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "label": {"enum": ["good", "bad"]},
                "weight": {"type": "number", "default": 1},
                "inner": {"anyOf": [{"$ref": "#/$defs/Item"}, {"type": "null"}], "default": None},
            },
            "required": ["label"],
        }
    },
}
VALIDATOR = Validator(SCHEMA)


def exact(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@given(st.data())
def test_it_agrees_with_an_independent_reading_of_the_schema(data: st.DataObject) -> None:
    schema = data.draw(models(), "schema")
    definitions = schema["$defs"]
    value = data.draw(fitting(schema, definitions) | VALUES, "value")
    validator = Validator(schema)
    try:
        expected = read(schema, value, definitions)
    except Unfit:
        event("does not fit")
        with pytest.raises(SchemaMismatch):
            validator.check(value)
        return
    event("fits")
    result = validator.check(value)
    assert exact(result) == exact(expected)
    assert exact(validator.check(result)) == exact(result)


@given(st.data())
def test_checking_fields_one_by_one_agrees_with_checking_the_whole(data: st.DataObject) -> None:
    schema = data.draw(models(), "schema")
    schema["additionalProperties"] = False
    schema.pop("required", None)
    value = data.draw(fitting(schema, schema["$defs"]), "value")
    validator = Validator(schema)

    def by_field() -> Any:
        return {name: validator.check_field(name, item) for name, item in value.items()}

    assume(isinstance(value, dict))
    try:
        whole = validator.check(value)
    except SchemaMismatch as refused:
        with pytest.raises(SchemaMismatch) as caught:
            by_field()
        first = caught.value.pointer.split("/")[1]
        assert refused.pointer.startswith("/")
        assert first in value
        return
    parts = by_field()
    assert {name: whole[name] for name in parts} == parts
    assert exact(validator.check_update(value)) == exact(parts)


@given(st.data())
def test_a_change_judged_by_its_place_alone_agrees_with_judging_the_whole_field(data: st.DataObject) -> None:
    schema = data.draw(models(), "schema")
    validator = Validator(schema)
    try:
        value = validator.check(data.draw(fitting(schema, schema["$defs"]), "value"))
    except SchemaMismatch:
        return
    places = [path for path in paths(value) if len(path) > 1]
    if not places:
        return
    path = data.draw(st.sampled_from(places), "path")
    new = data.draw(st.sampled_from(CANDIDATES) | VALUES, "new")
    if not validator.item_suffices(path):
        event("the place alone does not suffice")
        return
    changed: Any = json.loads(json.dumps(value))
    container = changed
    for step in path[:-1]:
        container = container[step]
    container[path[-1]] = new
    try:
        whole = validator.check(changed)
    except SchemaMismatch:
        event("refused")
        with pytest.raises(SchemaMismatch):
            validator.check_at(path, new)
        return
    event("accepted")
    part: Any = whole
    for step in path:
        part = part[step]
    assert exact(validator.check_at(path, new)) == exact(part)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        found.extend(paths(inner, (*path, step)))
    return found


def test_defaults_are_filled_at_every_level_and_made_canonical() -> None:
    result = VALIDATOR.check({"items": [{"label": "good", "inner": {"label": "bad"}}], "name": "x"})
    assert result["items"][0]["inner"] == {"label": "bad", "weight": 1.0, "inner": None}
    assert type(result["score"]) is float
    assert list(result) == list(SCHEMA["properties"])
    assert VALIDATOR.defaults()["score"] == 1.0
    assert "name" not in VALIDATOR.defaults()


def test_defaults_are_copied_for_each_use() -> None:
    VALIDATOR.check({"name": "x"})["items"].append(1)
    VALIDATOR.defaults()["items"].append(1)
    assert VALIDATOR.check({"name": "x"})["items"] == []


@pytest.mark.parametrize(
    ("value", "pointer", "words"),
    [
        ({}, "/name", "received nothing (the field is required); allowed: str"),
        ({"name": 3}, "/name", "received int 3; allowed: str"),
        ({"name": "x", "count": "3"}, "/count", "received str '3'; allowed: int"),
        ({"name": "x", "count": True}, "/count", "received True; allowed: int"),
        ({"name": "x", "count": 3.0}, "/count", "received float 3.0; allowed: int"),
        ({"name": "x", "score": True}, "/score", "received True; allowed: float"),
        ({"name": "x", "score": float("nan")}, "/score", "received float nan; allowed: a finite float"),
        ({"name": "x", "count": 2**70}, "/count", "an int of 71 bits"),
        ({"name": "\ud800"}, "/name", "lone surrogate"),
        ({"name": "x", "flag": 1}, "/flag", "allowed: bool"),
        ({"name": "x", "maybe": 1}, "/maybe", "allowed: str or null"),
        ({"name": "x", "short": "abcd"}, "/short", "allowed: str of length ≤ 3"),
        ({"name": "x", "nmae": 1}, "/nmae", "the unknown field 'nmae'; allowed: the fields name, count"),
        ({"name": "x", "any": {1}}, "/any", "received set of 1 item"),
        ({"name": "x", "any": [{"a": b""}]}, "/any/0/a", "an object of type bytes"),
        ({"name": "x", "table": {"a": 1, "b": "2"}}, "/table/b", "allowed: int"),
        ({"name": "x", "table": {1: 1}}, "/table", "a dict with the key 1 (int)"),
        ({"name": "x", 3: 1}, "", "a dict with the key 3 (int)"),
        ({"name": "x", "items": {"label": "good"}}, "/items", "received dict of 1 item; allowed: list"),
        ({"name": "x", "items": [{"label": "ugly"}]}, "/items/0/label", "allowed: one of 'good', 'bad'"),
        (
            {"name": "x", "items": [{"label": "good", "inner": {}}]},
            "/items/0/inner/label",
            "received nothing",
        ),
        ({"name": "x", "two": [1, 2, 3]}, "/two", "allowed: list of at most 2 items"),
        ([], "", "received list of 0 items; allowed: an object with the fields"),
    ],
)
def test_a_refusal_names_the_place_what_was_received_and_what_is_allowed(
    value: Any, pointer: str, words: str
) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        VALIDATOR.check(value, "the state")
    assert caught.value.pointer == pointer
    assert words in str(caught.value)
    assert str(caught.value).startswith("cannot accept the state")


def test_an_int_is_stored_as_a_float_where_the_schema_says_number() -> None:
    assert type(VALIDATOR.check_field("score", 3)) is float
    assert type(VALIDATOR.check_field("count", 3)) is int


def test_an_int_stays_an_int_where_both_are_allowed() -> None:
    validator = Validator({"properties": {"n": {"anyOf": [{"type": "number"}, {"type": "integer"}]}}})
    assert type(validator.check_field("n", 3)) is int
    assert type(validator.check_field("n", 3.0)) is float


def test_an_item_is_checked_as_the_list_wants_it() -> None:
    assert VALIDATOR.check_item("items", {"label": "good"}) == {"label": "good", "weight": 1.0, "inner": None}
    with pytest.raises(SchemaMismatch) as caught:
        VALIDATOR.check_item("items", {"label": 1})
    assert caught.value.pointer == "/items/-/label"
    with pytest.raises(SchemaMismatch, match="a place inside str"):
        VALIDATOR.check_item("name", "x")
    with pytest.raises(SchemaMismatch, match="the unknown field 'nmae'; allowed: the fields"):
        VALIDATOR.check_item("nmae", 1)


def test_a_place_inside_a_container_is_checked_as_the_schema_wants_it_there() -> None:
    assert VALIDATOR.check_at(("items", 3, "weight"), 2) == 2.0
    assert VALIDATOR.check_at(("items", 0, "inner", "inner"), None) is None
    assert VALIDATOR.check_at(("table", "key"), 2) == 2
    assert VALIDATOR.check_at(("any", "x", 3, "y"), (1,)) == [1]
    for path, value, pointer in [
        (("items", 3, "weight"), "2", "/items/3/weight"),
        (("items", 3, "wieght"), 2, "/items/3/wieght"),
        (("table", "key"), "2", "/table/key"),
        (("any", "x"), {1}, "/any/x"),
        (("nmae",), 1, "/nmae"),
    ]:
        with pytest.raises(SchemaMismatch) as caught:
            VALIDATOR.check_at(path, value)
        assert caught.value.pointer == pointer


def test_it_says_where_judging_the_changed_place_alone_is_not_enough() -> None:
    assert VALIDATOR.item_suffices(("items", 0, "weight"))
    assert VALIDATOR.item_suffices(("any", "x", 0), deleting=True)
    assert VALIDATOR.item_suffices(("table", "x"), deleting=True)
    assert VALIDATOR.item_suffices(("items", 0), deleting=True)
    assert not VALIDATOR.item_suffices(("items", 0, "weight"), deleting=True)
    assert not VALIDATOR.item_suffices(("two", 0))


def test_fields_have_kinds() -> None:
    kinds = {name: VALIDATOR.field_kind(name) for name in VALIDATOR.fields}
    assert kinds == {
        "name": "str",
        "count": "int",
        "score": "float",
        "flag": "bool",
        "short": "str",
        "maybe": "str",
        "any": "any",
        "items": "list",
        "table": "dict",
        "two": "list",
    }
    with pytest.raises(SchemaMismatch, match="the unknown field 'x'"):
        VALIDATOR.field_kind("x")
    assert VALIDATOR.required == ("name",)


def test_a_field_named_like_nothing_json_knows_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="the key 3"):
        VALIDATOR.check_update({3: 1})


@pytest.mark.parametrize("keyword", ["not", "if", "patternProperties", "contains", "unevaluatedProperties"])
def test_a_keyword_that_restricts_and_is_not_understood_is_refused_at_once(keyword: str) -> None:
    with pytest.raises(InvalidValue, match=f"at /properties/a, received the keyword '{keyword}'"):
        Validator({"type": "object", "properties": {"a": {keyword: {}}}})


def test_keywords_that_restrict_nothing_are_left_alone() -> None:
    schema = {"type": "string", "format": "date-time", "title": "T", "x-mine": 1, "examples": ["a"]}
    assert Validator({"properties": {"a": schema}}).check_field("a", "whenever") == "whenever"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "text"},
        {"anyOf": [{"type": "object"}]},
        {"enum": [1]},
        {"properties": []},
        {"properties": {"a": 3}},
        {"properties": {"a": {"type": "string", "pattern": "("}}},
        {"properties": {"a": {"type": "string", "minLength": -1}}},
        {"properties": {"a": {"type": "integer", "minimum": "0"}}},
        {"properties": {"a": {"type": "integer", "multipleOf": 0.5}}},
        {"properties": {"a": {"type": "integer", "maximum": 2**63}}},
        {"properties": {"a": {"type": "number", "multipleOf": 0}}},
        {"properties": {"a": {"enum": []}}},
        {"properties": {"a": {"anyOf": []}}},
        {"properties": {"a": {"$ref": "#/$defs/Gone"}}},
        {"properties": {"a": {"$ref": "https://example.com/schema"}}},
        {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"properties": {}, "additionalProperties": False, "required": ["a"]},
        {"properties": {"a": {"type": "string", "default": None}}},
        {"properties": {"a": {"type": "object", "properties": {"b": {"type": "integer", "default": "x"}}}}},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_when_declared(schema: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        Validator(schema)
    assert "cannot use" in str(caught.value)
    assert "allowed" in str(caught.value)


def test_a_schema_is_copied_so_that_changing_it_later_changes_nothing() -> None:
    schema: dict[str, Any] = {"properties": {"a": {"type": "string"}}}
    validator = Validator(schema)
    schema["properties"]["a"]["type"] = "integer"
    assert validator.check_field("a", "text") == "text"
    validator.schema()["properties"].clear()
    assert validator.schema() == {"properties": {"a": {"type": "string"}}}


def test_equal_schemas_share_a_validator() -> None:
    assert validator_for(dict(SCHEMA)) is validator_for(json.loads(json.dumps(SCHEMA)))
    assert validator_of(SCHEMA) is validator_for(SCHEMA)
    assert validator_for({"properties": {"a": {}}}) is not validator_for({"properties": {"b": {}}})


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"const": 1}, [1], [2, True, 1.0, "1"]),
        ({"enum": [1.0, "a", None]}, [1.0, 1, "a", None], [True, "b"]),
        ({"type": ["integer", "null"]}, [1, None], ["x", 1.5]),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, [1, 3.5, "x"], [5, 2.5]),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [1, 3, "x"], [0, 4]),
        ({"type": "number", "exclusiveMinimum": 1, "minimum": 1}, [1.5], [1, 0]),
        ({"type": "number", "exclusiveMinimum": 0, "minimum": 1}, [1, 1.5], [0.5]),
        ({"type": "integer", "minimum": 0.5}, [1], [0]),
        ({"minLength": 2}, ["ab", 1, []], ["a"]),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
            [["a"], []],
            [[1], ["a", 1]],
        ),
        ({"type": "array", "uniqueItems": True}, [[1, 1.0, True], []], [[1, 1], [{"a": 1}, {"a": 1}]]),
        ({"type": "object", "propertyNames": {"pattern": "^x"}}, [{"xa": 1}], [{"a": 1}]),
        (
            {"type": "object", "minProperties": 1, "maxProperties": 2},
            [{"a": 1}],
            [{}, {"a": 1, "b": 2, "c": 3}],
        ),
        ({"type": "object", "required": ["a"]}, [{"a": 1, "b": 2}], [{"b": 2}]),
        ({"$ref": "#/$defs/Positive", "maximum": 9}, [5], [0, 10]),
        (True, [1, None], [{1}]),
        (False, [], [1, None]),
    ],
)
def test_each_keyword_does_what_json_schema_says(schema: Any, good: list[Any], bad: list[Any]) -> None:
    definitions = {"Positive": {"type": "integer", "exclusiveMinimum": 0}}
    validator = Validator({"type": "object", "properties": {"a": schema}, "$defs": definitions})
    for value in good:
        assert validator.check_field("a", value) == value
    for value in bad:
        with pytest.raises(SchemaMismatch):
            validator.check_field("a", value)


def test_alternatives_blame_the_one_that_got_furthest() -> None:
    one = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    validator = Validator({"properties": {"v": {"anyOf": [{"type": "string"}, one]}}})
    with pytest.raises(SchemaMismatch) as caught:
        validator.check({"v": {"a": "x"}})
    assert caught.value.pointer == "/v/a"


def test_a_schema_may_refer_to_itself() -> None:
    validator = Validator(
        {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    )
    assert validator.check({"next": {"next": None}}) == {"next": {"next": None}}
    with pytest.raises(SchemaMismatch):
        validator.check({"next": {"next": 1}})


@pytest.mark.parametrize("order", [("Short", "Named"), ("Named", "Short")])
def test_a_choice_is_narrowed_by_a_definition_wherever_that_stands(order: tuple[str, str]) -> None:
    known = {
        "Short": {"type": "string", "maxLength": 1},
        "Named": {"enum": ["x", "yy"], "$ref": "#/$defs/Short"},
    }
    schema = {
        "type": "object",
        "properties": {"name": {"$ref": "#/$defs/Named"}},
        "$defs": {name: known[name] for name in order},
    }
    validator = validator_for(schema)
    validator.check({"name": "x"}, "it")
    with pytest.raises(SchemaMismatch, match="'yy'; allowed: 'x'"):
        validator.check({"name": "yy"}, "it")


def test_a_choice_may_stand_beside_a_reference_to_the_whole_schema() -> None:
    inner = {"const": {"next": None}, "anyOf": [{"$ref": "#"}, {"type": "null"}]}
    optional = {"anyOf": [inner, {"type": "null"}]}
    validator = validator_for({"type": "object", "properties": {"next": optional}})
    for fine in ({}, {"next": None}, {"next": {"next": None}}):
        validator.check(fine, "it")
    with pytest.raises(SchemaMismatch):
        validator.check({"next": {}}, "it")
