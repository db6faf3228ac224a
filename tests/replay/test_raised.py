"""Errors of effects answered from the log: the same class, text and attributes, or a word about what is missing."""

from __future__ import annotations

import asyncio
import enum
import http
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import AttributeNotRecorded, SchemaMismatch
from eventcore.history import events as e


class RateLimited(Exception):
    """Its caller waits as long as it says."""

    def __init__(self, message: str, retry_after: float, response: Any = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.response = response

    @property
    def text(self) -> str:
        """What the response said."""
        return str(self.response.text)


class Slotted(Exception):
    """Keeps its attributes in slots."""

    __slots__ = ("code", "connection")

    def __init__(self, code: int, connection: object) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.connection = connection


class Spoken(Exception):
    """Its text is made of its attributes."""

    def __init__(self, code: int, where: str) -> None:
        self.code = code
        self.where = where

    def __str__(self) -> str:
        return f"{self.code} at {self.where}"


class Kind(enum.StrEnum):
    """A kind of error."""

    BUSY = "busy"


class Several(ExceptionGroup[Exception]):
    """A group of one's own."""

    def derive(self, excs: Any) -> Any:
        return Several(self.message, excs)


def caught_twice(path: Path, fail: Callable[[], Any]) -> tuple[Exception, Exception]:
    """Have an effect raise, and give what is caught: when it was made, and when it was answered from the log."""
    found: list[Exception] = []
    made: list[int] = []

    @ec.effect(name="fail")
    def failing() -> Any:
        made.append(1)
        return fail()

    for _ in range(2):
        with ec.open(path / "again.lmdb") as store, store.run("r", resume=True):
            try:
                failing()
            except Exception as error:
                found.append(error)
    live, again = found
    assert made == [1]
    assert str(live) == str(again)
    return live, again


def raising(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def test_attributes_of_an_error_are_there_when_it_is_answered_from_the_log(tmp_path: Path) -> None:
    _, again = caught_twice(tmp_path, raising(RateLimited("slow down", retry_after=7)))
    assert type(again) is RateLimited
    assert (again.retry_after, again.response, again.args) == (7, None, ("slow down",))


def test_an_async_effect_keeps_the_attributes_of_its_errors_too(tmp_path: Path) -> None:
    @ec.effect
    async def ask() -> None:
        raise RateLimited("slow down", retry_after=7)

    for _ in range(2):
        with ec.open(tmp_path / "again.lmdb") as store, store.run("r", resume=True):
            with pytest.raises(RateLimited) as caught:
                asyncio.run(ask())
            assert caught.value.retry_after == 7


def test_an_attribute_json_cannot_hold_says_so_when_it_is_read(tmp_path: Path) -> None:
    _, again = caught_twice(tmp_path, raising(RateLimited("slow down", 7, response=object())))
    assert isinstance(again, RateLimited)
    assert (type(again).__name__, type(again).__qualname__, type(again).__module__) == (
        "RateLimited",
        "RateLimited",
        __name__,
    )
    assert again.retry_after == 7
    with pytest.raises(
        AttributeNotRecorded, match=r"cannot read 'response' of this RateLimited.*type object"
    ):
        _ = again.response
    with pytest.raises(AttributeNotRecorded, match="cannot read 'response'"):
        _ = again.text
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        _ = again.other  # type: ignore[attr-defined]
    assert getattr(again, "response", None) is None
    again.response = "set by the program"
    assert again.response == "set by the program"


def test_attributes_in_slots_are_kept(tmp_path: Path) -> None:
    _, again = caught_twice(tmp_path, raising(Slotted(404, object())))
    assert isinstance(again, Slotted)
    assert again.code == 404
    with pytest.raises(AttributeNotRecorded, match="'connection'"):
        _ = again.connection


def test_an_error_that_speaks_of_its_attributes_is_of_its_very_class_again(tmp_path: Path) -> None:
    _, again = caught_twice(tmp_path, raising(Spoken(3, "home")))
    assert (type(again), again.args, vars(again)) == (Spoken, (3, "home"), {"code": 3, "where": "home"})


def test_values_that_json_would_change_are_not_passed_off_as_the_same(tmp_path: Path) -> None:
    error = RateLimited("x", http.HTTPStatus.TOO_MANY_REQUESTS)
    vars(error).update(pair=(1, 2), kind=Kind.BUSY, notes={"a": [1, None]}, many=[(1,)], nan=float("nan"))
    _, again = caught_twice(tmp_path, raising(error))
    assert (again.retry_after, again.kind, again.notes) == (429, "busy", {"a": [1, None]})  # type: ignore[attr-defined]
    for name in ("pair", "many", "nan"):
        with pytest.raises(AttributeNotRecorded):
            getattr(again, name)


def test_what_python_keeps_in_its_own_errors_is_there_again(tmp_path: Path) -> None:
    live, again = caught_twice(tmp_path, lambda: os.stat(tmp_path / "absent"))
    assert type(again) is FileNotFoundError
    assert (again.errno, again.strerror, again.filename) == (
        2,
        "No such file or directory",
        str(tmp_path / "absent"),
    )
    assert again.args == live.args


def test_notes_and_errors_of_this_package_keep_what_they_hold(tmp_path: Path) -> None:
    error = SchemaMismatch("does not fit", "/a/b")
    error.add_note("while reading")
    _, again = caught_twice(tmp_path, raising(error))
    assert isinstance(again, SchemaMismatch)
    assert (again.pointer, again.__notes__) == ("/a/b", ["while reading"])


@pytest.mark.parametrize("cls", [ExceptionGroup, Several])
def test_a_group_of_errors_can_be_split_again(tmp_path: Path, cls: type[Any]) -> None:
    group = cls("several", [RateLimited("slow", 7), cls("inner", [KeyError("k"), Spoken(1, "x")])])
    _, again = caught_twice(tmp_path, raising(group))
    assert type(again) is cls
    assert isinstance(again, ExceptionGroup)
    limited, rest = again.split(RateLimited)
    assert limited is not None
    assert rest is not None
    (first,) = limited.exceptions
    assert isinstance(first, RateLimited)
    assert first.retry_after == 7
    (inner,) = rest.exceptions
    assert [str(error) for error in inner.exceptions] == ["'k'", "1 at x"]


def test_secrets_in_attributes_stay_out_of_the_log(tmp_path: Path) -> None:
    error = RateLimited("x", 7)
    vars(error).update(
        api_key="abc",
        body={"headers": {"Authorization": "Basic abc"}, "said": "key sk-abcdefghijklmnop is bad"},
    )
    error.args = ("x", "sk-abcdefghijklmnop")
    caught_twice_text = str(error)
    assert "sk-" in caught_twice_text
    with ec.open(tmp_path / "once.lmdb") as store, store.run("r") as run:
        with pytest.raises(RateLimited):
            ec.effect(name="fail")(raising(error))()
        (failed,) = run.events(kind=e.EffectFailed)
        assert isinstance(failed.event, e.EffectFailed)
        held = str(failed.event)
    assert "abcdefghijklmnop" not in held
    assert "Basic" not in held
    assert failed.event.held["attributes"]["api_key"] == "[redacted]"


def test_attributes_beyond_the_room_there_is_are_named_and_left_out(tmp_path: Path) -> None:
    error = RateLimited("x", 7)
    vars(error)["body"] = "b" * 100_000
    _, again = caught_twice(tmp_path, raising(error))
    assert again.retry_after == 7  # type: ignore[attr-defined]
    with pytest.raises(AttributeNotRecorded, match="more than the log has room for"):
        _ = again.body  # type: ignore[attr-defined]


def test_numbers_an_error_of_ones_own_carries_are_not_taken_for_its_cost(tmp_path: Path) -> None:
    error = RateLimited("x", 7)
    vars(error).update(cost="a lot", attempts=None, kind=Kind.BUSY, input_tokens=9)
    with ec.open(tmp_path / "once.lmdb") as store, store.run("r") as run:
        with pytest.raises(RateLimited):
            ec.effect(name="fail")(raising(error))()
        (failed,) = run.events(kind=e.EffectFailed)
        assert isinstance(failed.event, e.EffectFailed)
        assert (failed.event.error, failed.event.attempts, failed.event.cost) == ("RateLimited", 1, 0.0)
        assert run.cost().input_tokens == 0


def test_an_error_that_cannot_be_written_as_text_is_recorded_by_its_name(tmp_path: Path) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    with ec.open(tmp_path / "once.lmdb") as store, store.run("r") as run:
        with pytest.raises(Mute):
            ec.effect(name="fail")(raising(Mute()))()
        (failed,) = run.events(kind=e.EffectFailed)
        assert failed.event.message == "Mute"  # type: ignore[attr-defined]


def test_errors_of_model_and_http_clients_keep_their_status(tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    openai = pytest.importorskip("openai")
    litellm = pytest.importorskip("litellm")
    request = httpx.Request("POST", "http://127.0.0.1/v1", headers={"Authorization": "Bearer abcdefghijk"})
    response = httpx.Response(429, request=request, headers={"x-request-id": "r1", "retry-after": "7"})
    body = {"code": "rate_limit_exceeded", "message": "slow"}
    errors = [
        openai.RateLimitError("slow", response=response, body=body),
        litellm.exceptions.RateLimitError("slow", llm_provider="openai", model="gpt-x", response=response),
        httpx.HTTPStatusError("slow", request=request, response=response),
    ]
    for number, error in enumerate(errors):
        folder = tmp_path / str(number)
        folder.mkdir()
        live, again = caught_twice(folder, raising(error))
        assert isinstance(again, type(live))
        if hasattr(live, "status_code"):
            assert again.status_code == 429  # type: ignore[attr-defined]
        with pytest.raises((AttributeNotRecorded, RuntimeError), match="response"):
            _ = again.response  # type: ignore[attr-defined]
    assert openai.RateLimitError("slow", response=response, body=body).code == "rate_limit_exceeded"


def test_a_cassette_has_an_error_hold_what_it_held(tmp_path: Path) -> None:
    made: list[int] = []

    @ec.effect
    def ask() -> None:
        made.append(1)
        raise RateLimited("slow down", retry_after=7)

    for _ in range(2):
        with (
            ec.open("memory:") as store,
            store.run("r"),
            ec.testing.cassette(tmp_path / "ask.db", mode="once"),
            pytest.raises(RateLimited) as caught,
        ):
            ask()
        assert caught.value.retry_after == 7
    assert made == [1]
