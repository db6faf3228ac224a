"""What the strategies draw: values that fit, of every kind the schema allows, and events and histories that fold."""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import assume, given, settings
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


@settings(suppress_health_check=ANY_HEALTH, max_examples=150)
@given(model=schemas.models(), number=st.integers(0, 1000))
def test_values_drawn_of_any_schema_fit_by_an_independent_reading(model: dict[str, Any], number: int) -> None:
    try:
        drawn = draw(json_values(model), 5, number)
    except (Unsatisfiable, InvalidValue):
        drawn = []
    assume(drawn)
    assert all(schemas.fits(model, value, model["$defs"]) for value in drawn)


def test_equal_numbers_draw_equal_values_and_others_others() -> None:
    one, again, other = (draw(from_model(Everything), 20, number) for number in (5, 5, 6))
    assert [value.get_json() for value in one] == [value.get_json() for value in again]
    assert [value.get_json() for value in one] != [value.get_json() for value in other]


@given(event=events())
def test_events_of_every_kind_survive_the_codec(event: e.Event) -> None:
    assert codec.decode_block(codec.encode_block(1, 1, 1, [event])) == [event]


def test_every_kind_of_event_is_drawn() -> None:
    drawn = draw(events(), 1500, 3)
    assert {type(event).__name__ for event in drawn} == set(e.KINDS)
    assert {type(event) for event in draw(events(["LabelSet"]), 20)} == {e.LabelSet}
    with pytest.raises(InvalidValue, match="the kinds are RunStarted"):
        events(["Nothing"])


@settings(suppress_health_check=ANY_HEALTH)
@given(history=histories(), cut=st.integers(0, 30))
def test_histories_fold_the_same_at_once_and_in_parts(history: list[e.Event], cut: int) -> None:
    whole = fold(State(), history)
    part = decode_state(encode_state(fold(State(), history[:cut])))
    assert fold(part, history[cut:], cut + 1).digest == whole.digest
    assert isinstance(history[0], e.RunStarted)


def test_histories_reach_every_kind_they_are_made_for() -> None:
    met = {type(event).__name__ for history in draw(histories(), 300, 2) for event in history}
    assert met >= {
        "VariableDeclared", "VariableUpdated", "VariableAssigned", "ValuePatched", "PredictionAppended",
        "RewardsAttributed", "PredictionsArchived", "PredictionsClosed", "CandidateProposed", "CandidateAdded",
        "CandidateChosen", "PopulationSelected", "EditedFromOutside", "TrackerLocked", "LabelSet", "MetricLogged",
    }  # fmt: skip
