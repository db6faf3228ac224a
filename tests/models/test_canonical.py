"""`canonical`: any value becomes plain JSON, or is refused with the place where it is not."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections import Counter, OrderedDict, defaultdict
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.errors import SchemaMismatch
from eventcore.history.values import MAX_DEPTH, canonical, copy_json, pointer_of, walk

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
LOOSE_JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=12,
)
BAD_LEAVES = st.sampled_from(
    [
        *(float("nan"), float("inf"), float("-inf"), 2**64, -(2**63) - 1, 2**70, "\ud800", "a\udfff"),
        *({1}, frozenset[int](), b"x", bytearray(b"x"), 1j, object(), object, len),
        *({1: 2}, {None: 1}, {True: 1}, {("a",): 1}, {"\ud800": 1}),
    ]
)


def has_only_plain_types(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and has_only_plain_types(item) for key, item in value.items())
    if type(value) is list:
        return all(has_only_plain_types(item) for item in value)
    return type(value) in (str, int, float, bool, type(None))


@given(LOOSE_JSON)
def test_it_agrees_with_the_standard_library_on_everything_json_can_hold(value: Any) -> None:
    result = canonical(value)
    assert has_only_plain_types(result)
    assert json.dumps(result) == json.dumps(json.loads(json.dumps(value, allow_nan=False)))


@given(LOOSE_JSON)
def test_it_is_idempotent_and_shares_no_container(value: Any) -> None:
    once = canonical(value)
    twice = canonical(once)
    assert json.dumps(once) == json.dumps(twice)
    containers = {id(part) for _, part in walk(once) if isinstance(part, (list, dict))}
    assert not containers & {id(part) for _, part in walk(twice) if isinstance(part, (list, dict))}


@given(bad=BAD_LEAVES, path=st.lists(st.text("ab/~", max_size=3) | st.integers(0, 3), max_size=6))
def test_a_bad_part_is_refused_with_its_pointer(bad: Any, path: list[str | int]) -> None:
    value = bad
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [*range(step), value]
    with pytest.raises(SchemaMismatch) as caught:
        canonical(value, "the value")
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    inner = caught.value.pointer.removeprefix(pointer)
    assert caught.value.pointer.startswith(pointer)
    assert inner in ("", "/\ud800")
    assert "cannot accept the value" in str(caught.value)
    assert "received" in str(caught.value)
    assert "allowed" in str(caught.value)


def test_a_container_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"list": []}
    loop["list"].append(loop)
    with pytest.raises(SchemaMismatch, match="contains itself"):
        canonical(loop)
    own: list[Any] = []
    own.append(own)
    with pytest.raises(SchemaMismatch, match="contains itself"):
        canonical(own)


def test_the_same_container_twice_is_no_cycle() -> None:
    shared = [1]
    assert canonical({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def test_deep_but_finite_nesting_is_accepted_up_to_the_limit() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert canonical(value) == value
    with pytest.raises(SchemaMismatch, match="nested more than"):
        canonical([value])


def test_reading_goes_past_overridden_methods_so_views_record_nothing() -> None:
    class View(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise AssertionError("a read was recorded")

        items = keys = values = __iter__ = get = __getitem__  # type: ignore[assignment]

    class ListView(list[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("a read was recorded")

    assert canonical(View(a=ListView([1, 2]))) == {"a": [1, 2]}


def test_subclasses_of_built_ins_become_the_plain_type() -> None:
    class Loud(str):
        def __str__(self) -> str:
            return "LOUD"

    class Color(enum.Enum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    class Tag(enum.StrEnum):
        NEW = "new"

    class Ratio(float):
        pass

    class Point(NamedTuple):
        x: int
        y: int

    result: Any = canonical([Loud("quiet"), Color.RED, Level.HIGH, Tag.NEW, Ratio(0.5), Point(1, 2)])
    assert result == ["quiet", "red", 3, "new", 0.5, [1, 2]]
    assert has_only_plain_types(result)
    assert canonical({Tag.NEW: 1, Loud("k"): 2}) == {"new": 1, "k": 2}
    assert has_only_plain_types(canonical([defaultdict(int, a=1), Counter("aab"), OrderedDict(b=1)]))


def test_an_ordered_dict_keeps_the_order_it_shows() -> None:
    moved = OrderedDict(a=1, b=2, c=3)
    moved.move_to_end("a")
    result: Any = canonical(moved)
    assert list(result) == ["b", "c", "a"]


def test_records_of_other_libraries_become_objects() -> None:
    class Point(msgspec.Struct, rename="upper"):
        x: int

    class Tagged(msgspec.Struct, tag="t"):
        x: int

    @dataclasses.dataclass
    class Line:
        points: list[Point]

    class Model:
        def get_json(self) -> dict[str, Any]:
            return {"a": (1,)}

    assert canonical([Line([Point(1)]), Model(), Tagged(1)]) == [
        {"points": [{"X": 1}]},
        {"a": [1]},
        {"type": "t", "x": 1},
    ]


def test_an_object_that_gives_itself_as_its_json_is_refused() -> None:
    class Endless:
        def get_json(self) -> Any:
            return self

    with pytest.raises(SchemaMismatch):
        canonical(Endless())


def test_a_huge_int_does_not_break_the_message() -> None:
    with pytest.raises(SchemaMismatch, match="an int of 100001 bits"):
        canonical(1 << 100_000)


@given(LOOSE_JSON)
def test_a_copy_is_equal_and_apart(value: Any) -> None:
    plain = canonical(value)
    assert json.dumps(copy_json(plain)) == json.dumps(plain)


def test_pointers_escape_what_json_pointers_escape() -> None:
    assert pointer_of(()) == ""
    assert pointer_of(("a/b", "m~n", 0, "")) == "/a~1b/m~0n/0/"


def test_walk_visits_containers_before_their_contents() -> None:
    assert [path for path, _ in walk({"a": [1, {"b": 2}]})] == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b")]
