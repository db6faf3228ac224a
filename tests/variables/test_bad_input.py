"""What a variable refuses, and that a refusal leaves no trace: neither head nor value changes (I9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from eventcore.errors import EventTooLarge, InvalidValue, SchemaMismatch, WrongType
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.variables import Variable


class Record(msgspec.Struct):
    """One field of each kind."""

    count: int = 0
    share: float = 0.0
    word: str = ""
    on: bool = False
    maybe: int | None = None
    items: list[Any] = []
    numbers: list[int] = []
    table: dict[str, Any] = {}


def circle() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["self"] = made
    return made


def ring() -> list[Any]:
    made: list[Any] = []
    made.append([made])
    return made


class Loose(str):
    """A str that is none of JSON's own."""


NO_JSON: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "2**70": 2**70,
    "-2**63-1": -(2**63) - 1,
    "a lone surrogate": "\ud800",
    "a set": {1},
    "bytes": b"x",
    "an object": object(),
    "a function": len,
    "a key that is no text": {5: 1},
    "a key of None": {None: 1},
    "a key with a lone surrogate": {"\udfff": 1},
    "a dict that contains itself": circle(),
    "a list that contains itself": ring(),
    "nested a thousand deep": None,
}
deep: Any = 1
for _ in range(1000):
    deep = [deep]
NO_JSON["nested a thousand deep"] = deep


@pytest.fixture
def run() -> Run:
    return stores.open("memory:").run("bad")


@pytest.fixture
def state(run: Run) -> Variable:
    value = {"word": "good", "items": [1, {"a": [2]}], "numbers": [1], "table": {"k": [1]}}
    return Variable(value, data_model=Record, name="state")


WAYS: dict[str, Callable[[Variable, Any], object]] = {
    "update": lambda v, bad: v.update({"items": [bad]}),
    "update beside good fields": lambda v, bad: v.update({"word": "new", "table": {"x": {"y": bad}}}),
    "assign": lambda v, bad: v.assign({"items": [0, bad]}),
    "restore": lambda v, bad: v.restore({"items": [0, bad]}, "somewhere"),
    "append": lambda v, bad: v.get("items").append(bad),
    "extend": lambda v, bad: v.get("items").extend([1, bad]),
    "+=": lambda v, bad: v.get("items").__iadd__([1, bad]),
    "insert": lambda v, bad: v.get("items").insert(0, bad),
    "set item": lambda v, bad: v.get("items").__setitem__(0, bad),
    "set slice": lambda v, bad: v.get("items").__setitem__(slice(0, 1), [bad]),
    "nested append": lambda v, bad: v.get("items")[1]["a"].append(bad),
    "set key": lambda v, bad: v.get("table").__setitem__("new", bad),
    "dict update": lambda v, bad: v.get("table").update(good=1, bad=bad),
    "|=": lambda v, bad: v.get("table").__ior__({"bad": [bad]}),
    "setdefault": lambda v, bad: v.get("table").setdefault("bad", bad),
}


def check_no_trace(
    run: Run, state: Variable, change: Callable[[], object], *errors: type[Exception]
) -> Exception:
    before, reads = state.get_json(), len(list(run.events(kind="FieldRead")))
    writes = run.head - reads
    with pytest.raises(errors or (SchemaMismatch,)) as caught:
        change()
    run.flush()
    assert run.head - len(list(run.events(kind="FieldRead"))) == writes
    assert state.get_json() == before == run.at(run.head).variables["state"]
    error: Exception = caught.value
    return error


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", NO_JSON)
def test_what_is_no_strict_json_is_refused_before_anything_is_appended(
    run: Run, state: Variable, way: str, bad: str
) -> None:
    check_no_trace(run, state, lambda: WAYS[way](state, NO_JSON[bad]))


@pytest.mark.parametrize("bad", NO_JSON)
def test_what_is_no_strict_json_is_no_first_value(run: Run, bad: str) -> None:
    head = run.head
    with pytest.raises(SchemaMismatch):
        Variable({"items": [NO_JSON[bad]]}, data_model=Record, name="other")
    assert run.head == head
    assert run.state.names() == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"count": "3"}, "/count"),
        ({"count": True}, "/count"),
        ({"count": 1.0}, "/count"),
        ({"count": None}, "/count"),
        ({"share": "0.5"}, "/share"),
        ({"share": True}, "/share"),
        ({"word": 5}, "/word"),
        ({"word": b"x"}, "/word"),
        ({"on": 1}, "/on"),
        ({"on": "true"}, "/on"),
        ({"maybe": "1"}, "/maybe"),
        ({"items": {}}, "/items"),
        ({"items": "abc"}, "/items"),
        ({"numbers": [1, "2"]}, "/numbers/1"),
        ({"table": []}, "/table"),
        ({"unknown": 1}, "/unknown"),
        ({"word": "fine", "unknown": 1}, "/unknown"),
    ],
)
def test_a_wrong_type_or_an_unknown_field_is_refused_with_the_place(
    run: Run, state: Variable, changes: dict[str, Any], pointer: str
) -> None:
    error = check_no_trace(run, state, lambda: state.update(changes))
    assert isinstance(error, SchemaMismatch)
    assert error.pointer == pointer
    message = str(error)
    assert "variable 'state'" in message
    assert "received" in message
    assert "allowed" in message


def test_an_int_is_accepted_for_a_float_and_stored_as_one(run: Run, state: Variable) -> None:
    state.update({"share": 1})
    assert type(state.get("share")) is float
    assert type(run.at(run.head).variables["state"]["share"]) is float


def test_integers_of_64_bits_are_kept_exactly(run: Run, state: Variable) -> None:
    for number in (2**64 - 1, -(2**63), 2**53 + 1):
        state.update({"count": number})
        assert run.at(run.head).variables["state"]["count"] == number == state.get("count")


@pytest.mark.parametrize("value", [None, 5, "text", [1], [("word", 1)], object(), Record])
def test_what_is_no_object_is_no_value_and_no_update(run: Run, state: Variable, value: Any) -> None:
    check_no_trace(run, state, lambda: state.update(value), InvalidValue, WrongType)
    check_no_trace(run, state, lambda: state.assign(value), InvalidValue, WrongType)


def test_an_event_above_8_mb_is_refused_with_a_way_out(run: Run, state: Variable) -> None:
    large = "x" * (8 * 1024 * 1024 + 1)
    ways: list[Callable[[], object]] = [
        lambda: state.update({"word": large}),
        lambda: state.assign({"word": large}),
        lambda: state.get("items").append(large),
        lambda: state.get("table").update(a=large),
        lambda: state.get("items").extend([large[: len(large) // 3]] * 4),
    ]
    for way in ways:
        error = check_no_trace(run, state, way, EventTooLarge)
        assert "store a reference" in str(error)


def test_a_first_value_above_8_mb_is_refused(run: Run) -> None:
    head = run.head
    with pytest.raises(EventTooLarge):
        Variable({"word": "x" * (8 * 1024 * 1024 + 1)}, data_model=Record, name="large")
    assert run.head == head


def test_a_value_that_grew_above_8_mb_can_still_move_to_another_run(disk: str) -> None:
    store = stores.open(disk)
    state = Variable(data_model=Record, name="state")
    part = "".join(map(str, range(500_000)))
    for _ in range(4):
        state.get("items").append(part)
    with store.run("next") as run:
        state.update({"word": "here"})
        run.flush()
        assert run.state.variables["state"] == state.get_json()
        assert len(state.get("items")) == 4
    assert store.verify() == []


def test_an_event_of_nearly_8_mb_is_kept(disk: str) -> None:
    import random

    run = stores.open(disk).run("large")
    state = Variable(data_model=Record, name="state")
    text = random.Random(1).randbytes(4 * 1024 * 1024 - 100).hex()
    state.update({"word": text})
    run.flush()
    assert run.at(run.head).variables["state"]["word"] == text
    assert run.store.verify() == []


@pytest.mark.parametrize("name", ["", "a/b", 5, b"x", "\ud800"])
def test_a_name_a_path_cannot_hold_is_refused(run: Run, name: Any) -> None:
    head = run.head
    with pytest.raises(InvalidValue, match="name"):
        Variable(data_model=Record, name=name)
    assert run.head == head


def test_a_description_that_is_no_text_is_refused(run: Run) -> None:
    head = run.head
    for bad in ("\ud800", 5):
        with pytest.raises((InvalidValue, WrongType), match="description"):
            Variable(data_model=Record, name="state", description=bad)  # type: ignore[arg-type]
    assert run.head == head


def test_a_variable_without_a_schema_is_refused(run: Run) -> None:
    head = run.head
    for arguments in ({}, {"initializer": {"a": 1}}):
        with pytest.raises(InvalidValue, match="data_model="):
            Variable(name="state", **arguments)  # type: ignore[arg-type]
    assert run.head == head


@pytest.mark.parametrize(
    "read",
    [
        lambda v: v.get(5),
        lambda v: v.get(None),
        lambda v: v.get("\ud800"),
        lambda v: v.get(Loose("nothing")),
        lambda v: v.get("nothing"),
        lambda v: v.get(2**70),
    ],
)
def test_reading_a_field_that_is_not_there_gives_the_default_and_keeps_the_log_readable(
    run: Run, state: Variable, read: Callable[[Any], object]
) -> None:
    assert read(state) is None
    run.flush()
    assert run.store.verify() == []
    assert [record.seq for record in run.events()] == list(range(1, run.head + 1))


def test_keys_and_fields_that_are_subclasses_of_str_are_stored_as_str(run: Run, state: Variable) -> None:
    state.update({Loose("word"): Loose("new")})
    state.get(Loose("table"))[Loose("a")] = Loose("b")
    state.get("table").update({Loose("c"): {Loose("d"): 1}})
    del state.get("table")[Loose("k")]
    run.flush()
    stored = run.at(run.head).variables["state"]
    assert stored["table"] == {"a": "b", "c": {"d": 1}}
    assert stored["word"] == "new"
    assert {type(key) for key in state.get("table")} == {str}
    assert type(state.get("word")) is str


def test_an_update_is_all_or_nothing(run: Run, state: Variable) -> None:
    check_no_trace(run, state, lambda: state.update({"word": "new", "count": 1, "share": "x"}))


def test_an_update_of_nothing_is_no_event(run: Run, state: Variable) -> None:
    head = run.head
    state.update({})
    assert run.head == head
