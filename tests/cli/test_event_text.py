"""Events in words and as JSON: every kind, every field, and nothing a terminal would obey."""

from __future__ import annotations

import json
import types
import typing
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.cli.event_text import EventText, event_json
from eventcore.cli.output import SHORT, short
from eventcore.history import events as e
from eventcore.history.naming import Names

SAMPLES: dict[Any, Any] = {
    str: "\x1b[31mtext",
    int: 1,
    float: 0.5,
    bool: True,
    bytes: b"\x00",
    Any: {"a": [1]},
    type(None): None,
}
REPLACED = {"variable", "source", "path"}
"""Fields that stand for names: numbers of variables and lines, and steps that become a pointer."""


def sample(hint: Any) -> Any:
    """A value of a field's type."""
    if hint in SAMPLES:
        return SAMPLES[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is dict:
        return {"key": "\x1b[32mvalue"}
    if origin is list:
        return [sample(inner[0])]
    if origin is tuple:
        return tuple(sample(one) for one in inner)
    if origin in (types.UnionType, typing.Union):
        return sample(inner[0])
    raise AssertionError(f"no sample for {hint}")


def event_of(kind: str) -> e.Event:
    cls = e.KINDS[kind]
    hints = typing.get_type_hints(cls)
    return cls(**{field: sample(hints[field]) for field in cls.__struct_fields__})


def names() -> Names:
    found = Names()
    found.paths[1] = "module/variable"
    found.sources[1] = "train.py:7 in main"
    return found


@pytest.mark.parametrize("kind", e.KINDS)
def test_every_kind_of_event_is_one_line_without_control_characters(kind: str) -> None:
    line = EventText(names(), colour=False).line(12, event_of(kind))
    assert line.split()[0] == "12" and line.split()[3] == kind
    assert line.isprintable()


@pytest.mark.parametrize("kind", e.KINDS)
def test_the_json_of_every_kind_of_event_leaves_no_field_out(kind: str) -> None:
    event = event_of(kind)
    record = json.loads(msgspec.json.encode(event_json(12, event, names())))
    assert (record["seq"], record["kind"], record["time"]) == (12, kind, 1)
    values = [json.dumps(value) for value in record.values()]
    for field in set(event.__struct_fields__) - REPLACED - {"op"}:
        expected = json.dumps(json.loads(msgspec.json.encode(getattr(event, field))))
        assert expected in values, field
    if hasattr(event, "variable"):
        assert record["variable"] == "module/variable"
    if hasattr(event, "source") and kind != "SourceSeen":
        assert record["source"] == "train.py:7 in main"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_a_short_value_fits_and_is_all_of_it_when_there_is_room(value: Any) -> None:
    text = short(value)
    assert len(text) <= SHORT
    assert not any(unicodedata.category(character) == "Cc" for character in text)
    if not text.endswith("…"):
        assert json.loads(text) == value


@given(json_values)
def test_a_short_value_begins_as_the_whole_one_does(value: Any) -> None:
    whole, text = short(value, 1_000_000), short(value, 20)
    assert text == whole or (text.endswith("…") and whole.startswith(text[:-1]))
