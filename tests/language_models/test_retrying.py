"""Which errors are tried again, and how long is waited: judged by what an error carries alone."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.language_models.retrying import retry_after, wait_after, worth_retrying


class HttpError(Exception):
    def __init__(self, status: Any = None, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(more.pop("text", ""))
        self.status_code = status
        self.litellm_response_headers = headers
        vars(self).update(more)


class TransportError(Exception):
    """As httpx calls it."""


class ReadError(TransportError):
    pass


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529, "503"])
def test_these_statuses_pass(status: Any) -> None:
    assert worth_retrying(HttpError(status))


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_these_do_not(status: int) -> None:
    assert not worth_retrying(HttpError(status))


def test_a_quota_that_is_used_up_does_not_come_back_by_waiting() -> None:
    assert not worth_retrying(HttpError(429, code="insufficient_quota"))
    assert not worth_retrying(HttpError(429, body={"code": "insufficient_quota"}))
    assert not worth_retrying(HttpError(429, text="You exceeded your quota (insufficient_quota)"))
    assert worth_retrying(HttpError(429, code="rate_limit_exceeded"))


def test_errors_without_a_status_are_judged_by_their_class() -> None:
    assert worth_retrying(TimeoutError())
    assert worth_retrying(ConnectionResetError())
    assert worth_retrying(ReadError())
    assert worth_retrying(ec.errors.SchemaMismatch("not what was asked for"))
    assert not worth_retrying(KeyError("a mistake"))
    assert not worth_retrying(ec.errors.Unavailable("not installed"))


def in_seconds(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"Retry-After": "0.25"}, 0.25, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25, 0.25),
        ({"Retry-After": in_seconds(10_000)}, 5_000, 10_000),
        ({"Retry-After": in_seconds(-10)}, 0, 0),
        (
            {"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"},
            30,
            30,
        ),
    ],
    ids=["seconds", "a fraction", "milliseconds", "a date", "a date gone by", "a date and the server's own"],
)
def test_what_the_server_asks_for_is_understood(headers: dict[str, str], low: float, high: float) -> None:
    asked = retry_after(HttpError(429, headers))
    assert asked is not None
    assert low <= asked <= high
    waited = wait_after(HttpError(429, headers), 1, 1e9, random.Random(1))
    assert low <= waited <= high * 1.1


@pytest.mark.parametrize("said", ["soon", "-3", "nan", "inf", "", "Wed, 99 Oct"])
def test_what_the_server_says_nonsensically_is_not_asked_for(said: str) -> None:
    assert retry_after(HttpError(429, {"retry-after": said})) is None


def test_headers_are_found_on_the_response_too() -> None:
    error = HttpError(503)
    error.response = HttpError(503)  # type: ignore[attr-defined]
    error.response.headers = {"Retry-After": "3"}  # type: ignore[attr-defined]
    assert retry_after(error) == 3


@given(
    st.integers(1, 5000),
    st.floats(0, 100),
    st.integers(),
    st.sampled_from([None, "0", "2", "1000"]),
)
def test_no_wait_is_negative_or_longer_than_allowed(
    attempts: int, max_wait: float, seed: int, asked: str | None
) -> None:
    error = HttpError(503, None if asked is None else {"retry-after": asked})
    waited = wait_after(error, attempts, max_wait, random.Random(seed))
    assert 0 <= waited <= max_wait
    if asked is not None:
        assert waited >= min(float(asked), max_wait)


def test_waits_grow_and_are_spread() -> None:
    middle = [
        sum(wait_after(HttpError(500), attempt, 1e9, random.Random(seed)) for seed in range(200)) / 200
        for attempt in range(1, 8)
    ]
    assert all(1.7 < later / earlier < 2.3 for earlier, later in itertools.pairwise(middle))
    assert len({wait_after(HttpError(500), 1, 60, random.Random(seed)) for seed in range(50)}) == 50
