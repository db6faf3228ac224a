"""Sending again: which failures are worth another attempt, how long to wait, when to give up.

Knows errors only by what they carry (a status, headers, a kind), so it serves every provider and loads none.
Nothing is random here that is not derived: the stream is handed in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, TypeVar

import msgspec

from eventcore.errors import EventcoreError, ModelFailed, SchemaMismatch

T = TypeVar("T")

_log = logging.getLogger(__name__)

_FIRST_WAIT = 0.5
_TRANSIENT = frozenset({408, 409, 425, 429})
_CONNECTION_TROUBLE = frozenset(
    {"APIConnectionError", "ClientConnectionError", "ClientPayloadError", "TransportError"}
)
"""Names of base classes that HTTP libraries give to a connection that failed; none is imported for that."""
_HOPELESS_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Sent with a status that says "try again", although only a payment helps."""


class Patience(msgspec.Struct, frozen=True):
    """How long to go on.

    Attributes:
        retry: Attempts after the first one.
        max_wait: Longest wait between two attempts, in seconds.
        timeout: Longest time one attempt may take, in seconds, or None.
    """

    retry: int = 5
    max_wait: float = 60.0
    timeout: float | None = 600.0


async def persist(
    send: Callable[[int], Awaitable[T]], patience: Patience, rng: Random, shown: Callable[[str], str]
) -> tuple[T, int]:
    """Call `send` until it succeeds; return what it gave and how often it was called.

    An answer that is not what was asked for (`SchemaMismatch`) is asked for again at once; trouble on the way
    waits for what the server says in Retry-After, else exponentially longer with jitter.

    Args:
        send: Makes one attempt; it is given the number of unusable answers so far.
        patience: How long to go on.
        rng: For the jitter.
        shown: Makes the text of an error fit to be shown.

    Raises:
        ModelFailed: The last attempt failed too, or an error that no attempt can mend.
        EventcoreError: `send` raised another error of ours: a mistake in the call, not trouble on the way.
    """
    attempts = unusable = 0
    while True:
        attempts += 1
        try:
            return await _within(send, unusable, patience.timeout), attempts
        except Exception as error:
            if isinstance(error, EventcoreError) and not isinstance(error, (SchemaMismatch, ModelFailed)):
                raise
            if attempts > patience.retry or not worth_retrying(error):
                raise _given_up(error, attempts, shown) from error
            unusable += isinstance(error, SchemaMismatch)
            wait = wait_after(error, attempts, patience.max_wait, rng)
        if wait > 0:
            await asyncio.sleep(wait)


async def _within(send: Callable[[int], Awaitable[T]], unusable: int, timeout: float | None) -> T:
    if timeout is None:
        return await send(unusable)
    expired = asyncio.timeout(timeout)
    try:
        async with expired:
            return await send(unusable)
    except TimeoutError:
        if expired.expired():
            raise TimeoutError(f"no answer within {timeout:g} s") from None
        raise


def _given_up(error: Exception, attempts: int, shown: Callable[[str], str]) -> ModelFailed:
    kind = error.kind if isinstance(error, ModelFailed) else _kind(error)
    times = f"after {attempts} attempts" if attempts > 1 else "at the first attempt"
    _log.debug("given up %s", times, exc_info=error)
    return ModelFailed(f"{kind} {times}: {shown(str(error))}{_place(error)}", kind, attempts)


def _place(error: Exception) -> str:
    """Where a mistake in somebody's function was made; "" for trouble that has no place in code."""
    if isinstance(error, (EventcoreError, OSError)) or status_of(error) is not None:
        return ""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    return f" ({os.path.basename(frame[0].filename)}:{frame[0].lineno})" if frame else ""


def _kind(error: Exception) -> str:
    return "Timeout" if isinstance(error, TimeoutError) else type(error).__name__


def worth_retrying(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, SchemaMismatch):
        return True
    if isinstance(error, EventcoreError) or _code(error) in _HOPELESS_CODES:
        return False
    status = status_of(error)
    if status is not None:
        return status in _TRANSIENT or status >= 500
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, OSError) or bool(names & _CONNECTION_TROUBLE)


def status_of(error: Exception) -> int | None:
    """The HTTP status an error carries, or None."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
        if isinstance(status, str) and status.isdigit():
            return int(status)
    return None


def _code(error: Exception) -> str:
    body = getattr(error, "body", None)
    code: Any = getattr(error, "code", None) or (body.get("code") if isinstance(body, dict) else None)
    text = str(code or "")
    return text or next((code for code in _HOPELESS_CODES if code in str(error)), "")


def wait_after(error: Exception, attempts: int, max_wait: float, rng: Random) -> float:
    """Seconds to wait before the next attempt."""
    if isinstance(error, SchemaMismatch):
        return 0.0
    asked = retry_after(error)
    if asked is not None:
        return min(max_wait, asked * (1 + 0.1 * rng.random()))
    return min(max_wait, _FIRST_WAIT * 2.0 ** min(attempts - 1, 30)) * (0.5 + 0.5 * rng.random())


def retry_after(error: Exception) -> float | None:
    """Seconds the server asks to wait, from `retry-after-ms` or `Retry-After` (seconds or a date), or None."""
    headers = _headers(error)
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    if said is None:
        return None
    seconds = _number(said)
    return seconds if seconds is not None else _seconds_until(said, headers.get("date"))


def _seconds_until(date: str, now: str | None) -> float | None:
    """Seconds from the server's own present, where it tells, to a date."""
    try:
        until = parsedate_to_datetime(date)
        present = parsedate_to_datetime(now) if now is not None else datetime.now(UTC)
        return max(0.0, (until - present).total_seconds())
    except (TypeError, ValueError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None


def _headers(error: Exception) -> dict[str, str]:
    found: dict[str, str] = {}
    for holder in (getattr(error, "response", None), error):
        for name in ("headers", "litellm_response_headers"):
            headers = getattr(holder, name, None)
            if isinstance(headers, Mapping):
                found.update({str(key).lower(): str(value) for key, value in headers.items()})
    return found
