"""What effects return: the same in value and type whether the call was made or answered from the log."""

from __future__ import annotations

import asyncio
import functools
import re
import types
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypedDict, Union
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import InvalidValue, SchemaMismatch, WrongType

if TYPE_CHECKING:
    from nowhere import Absent  # type: ignore[import-not-found]


class Hit(ec.DataModel):
    """What a search finds."""

    title: str
    score: float = 0.0


class Other(ec.DataModel):
    """Something else."""

    name: str


class Person(pydantic.BaseModel):
    """Of another library."""

    born: date


class Row(msgspec.Struct):
    """Holds what JSON does not."""

    when: datetime
    hits: list[Hit]


class Found(TypedDict):
    """A dict with a data model."""

    best: Hit


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int


@dataclass
class Held:
    """A data class with a set."""

    tags: frozenset[str]
    path: Path


class Word(str):
    """Text of a class of its own."""


RETURNED: list[tuple[Any, Any]] = [
    (list[Hit], [Hit(title="a"), Hit(title="b", score=2)]),
    (Hit | None, Hit(title="a")),
    (Optional[Hit], None),  # noqa: UP045 - the older spelling is what is tried
    (dict[str, Hit], {"a": Hit(title="a")}),
    (tuple[Hit, ...], (Hit(title="a"), Hit(title="b"))),
    (list[list[Hit | None]], [[Hit(title="a"), None], []]),
    (Found, {"best": Hit(title="a")}),
    (Row, Row(datetime(2024, 5, 1, 12, tzinfo=UTC), [Hit(title="a")])),
    (Held, Held(frozenset({"x", "y"}), Path("a/b"))),
    (list[Person], [Person(born=date(1912, 6, 23))]),
    (datetime, datetime(2024, 5, 1)),
    (dict[str, list[date]], {"days": [date(2024, 5, 1)]}),
    (timedelta, timedelta(days=2, seconds=1)),
    (bytes, b"\x00\xff"),
    (Decimal, Decimal("0.10")),
    (UUID, UUID(int=7)),
    (Path, Path("a/b")),
    (set[str], {"a", "b", "c"}),
    (set[tuple[str, int]], {("a", 1), ("b", 2)}),
    (dict[int, str], {2: "two", 1: "one"}),
    (dict[date, set[int]], {date(2024, 5, 1): {3, 1}}),
    (Point, Point(1, 2)),
    (Word, Word("w")),
    (dict[str, object], {"a": [1, "b"]}),
    (list[Any], [1, "b"]),
]


def returning(annotation: Any, value: Any, made: list[Any]) -> Callable[[], Any]:
    def give() -> Any:
        made.append(value)
        return value

    give.__annotations__["return"] = annotation
    return ec.effect(name="give")(give)


@pytest.mark.parametrize(("annotation", "value"), RETURNED, ids=[str(kind) for kind, _ in RETURNED])
def test_what_an_annotation_promises_is_what_comes_back_made_or_answered_from_the_log(
    tmp_path: Path, annotation: Any, value: Any
) -> None:
    made: list[Any] = []
    for _ in range(2):
        with ec.open(tmp_path / "again.lmdb") as store, store.run("r", resume=True):
            got = returning(annotation, value, made)()
            assert got == value
            assert type(got) is type(value)
            assert repr(got) == repr(value) or isinstance(value, (set, frozenset, Held))
    assert made == [value]


def test_an_async_effect_and_one_in_a_thread_return_by_their_annotation_too(tmp_path: Path) -> None:
    @ec.effect
    async def search(query: str) -> list[Hit]:
        return [Hit(title=query)]

    @ec.effect
    def words(text: str) -> set[str]:
        return set(text.split())

    async def both() -> tuple[list[Hit], set[str]]:
        return await search("x"), await ec.to_thread(words, "a b")

    for _ in range(2):
        with ec.open(tmp_path / "again.lmdb") as store, store.run("r", resume=True):
            assert asyncio.run(both()) == ([Hit(title="x")], {"a", "b"})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.integers(-(2**60), 2**60),
        st.lists(st.sets(st.dates()) | st.just(set()), max_size=3),
        max_size=4,
    )
)
def test_any_value_of_a_nested_annotation_survives_its_way_through_the_log(value: dict[int, Any]) -> None:
    with ec.open("memory:") as store, store.run("r"):
        got = returning(dict[int, list[set[date]]], value, [])()
    assert got == value
    assert list(got) == list(value)


REFUSED: list[tuple[Any, str]] = [
    (complex, "complex cannot be made again of JSON"),
    (list[types.ModuleType], "module cannot be made again"),
    (dict[tuple[int, int], str], "such keys"),
    (dict[int | str, str], "such keys"),
    (Union[Hit, Other], "Type unions"),  # noqa: UP007 - between data models | means something else
    (Hit | str, "Type unions"),
    (list[int] | set[int], "Type unions"),
    (memoryview, "MemoryView has no place"),
    (Iterator[str], "Iterator cannot be made again"),
    (Callable[[], int], "Callable cannot be made again"),
    (asyncio.Future, "`async def`"),
]


@pytest.mark.parametrize(("annotation", "why"), REFUSED, ids=[str(kind) for kind, _ in REFUSED])
def test_an_annotation_no_log_can_keep_is_refused_when_decorating(annotation: Any, why: str) -> None:
    with pytest.raises(InvalidValue, match="cannot record what give returns, .*" + re.escape(why)):
        returning(annotation, None, [])


def test_data_models_joined_by_an_operator_are_refused_as_an_annotation_with_what_works() -> None:
    with pytest.raises(InvalidValue, match=r"ec\.Or and no type; return one data model"):
        returning(Hit | Other, None, [])


def test_an_annotation_that_comes_to_exist_later_is_refused_before_the_first_call_is_made(
    tmp_path: Path,
) -> None:
    made: list[int] = []
    names: dict[str, Any] = {"ec": ec, "made": made}
    exec("@ec.effect\ndef give() -> 'Later':\n    made.append(1)", names)
    names["Later"] = complex
    with ec.open("memory:") as store, store.run("r") as run:
        with pytest.raises(InvalidValue, match="cannot record what give returns, complex"):
            names["give"]()
        assert [record.kind for record in run.events()] == ["RunStarted"]
    assert made == []


def test_an_argument_only_a_type_checker_can_resolve_does_not_hide_what_is_returned() -> None:
    @ec.effect(ignore=["client"])
    def search(client: Absent) -> list[Hit]:
        return [Hit(title="a")]

    with ec.open("memory:") as store, store.run("r"):
        assert search(None) == [Hit(title="a")]


def test_without_an_annotation_what_json_cannot_hold_stays_refused(tmp_path: Path) -> None:
    for value in ({1, 2}, b"x", datetime(2024, 5, 1), {1: "a"}, Path("x")):
        with (
            ec.open("memory:") as store,
            store.run("r"),
            pytest.raises(SchemaMismatch, match="result of give"),
        ):
            returning(Any, value, [])()


def test_a_result_that_is_not_what_the_annotation_says_is_an_error_naming_both() -> None:
    with ec.open("memory:") as store, store.run("r"):
        with pytest.raises(WrongType, match=r"cannot give what give returned as list\[.*Hit\]: "):
            returning(list[Hit], [{"titel": "a"}], [])()
        with pytest.raises(SchemaMismatch, match="set of 1 item"):
            returning(dict[str, datetime], {"a": {1}}, [])()


def test_a_container_that_contains_itself_is_refused_where_the_annotation_allows_more_than_json() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with ec.open("memory:") as store, store.run("r"), pytest.raises(SchemaMismatch, match="contains itself"):
        returning(dict[str, Any] | datetime, {"a": endless}, [])()


def add(x: int, y: int) -> set[int]:
    return {x + y}


async def add_later(x: int, y: int) -> list[Hit]:
    return [Hit(title=str(x + y))]


class Adder:
    """Can be called."""

    def __init__(self, y: int) -> None:
        self.y = y

    def __call__(self, x: int) -> set[int]:
        return {x + self.y}


class AsyncAdder:
    """Can be called and awaited."""

    async def __call__(self, x: int) -> list[Hit]:
        return [Hit(title=str(x))]


def test_a_partial_and_an_object_that_can_be_called_are_effects_by_the_name_of_their_function_or_class() -> (
    None
):
    with ec.open("memory:") as store, store.run("r") as run:
        assert ec.effect(functools.partial(add, y=2))(1) == {3}
        assert ec.effect(functools.partial(functools.partial(add, 1), 2))() == {3}
        assert ec.effect(Adder(4))(1) == {5}
        assert ec.effect(name="sum")(Adder(4))(x=2) == {6}
        assert asyncio.run(ec.effect(functools.partial(add_later, 1))(2)) == [Hit(title="3")]
        assert asyncio.run(ec.effect(AsyncAdder())(2)) == [Hit(title="2")]
        started = [record.event for record in run.events(kind="EffectStarted")]
        assert [event.kind for event in started] == [  # type: ignore[attr-defined]
            "add", "add", "Adder", "sum", "add_later", "AsyncAdder",
        ]  # fmt: skip
        assert started[0].request == {"x": 1, "y": 2}  # type: ignore[attr-defined]


def test_a_plain_function_that_returns_a_coroutine_is_told_to_be_async() -> None:
    @ec.effect
    def search() -> Any:
        return add_later(1, 2)

    with ec.open("memory:") as store, store.run("r"), pytest.raises(SchemaMismatch, match="`async def`"):
        search()


def test_what_cannot_be_an_effect_is_refused_when_decorating() -> None:
    with pytest.raises(WrongType, match="pass a function; a name goes to"):
        ec.effect("search")  # type: ignore[call-overload]

    def words() -> Iterator[str]:
        yield "a"

    async def later() -> AsyncIterator[str]:
        yield "a"

    for function in (words, later):
        with pytest.raises(InvalidValue, match="it yields"):
            ec.effect(function)
