"""Names made up for things the user did not name: `generator`, `generator_1`, `generator_2`.

The counters are the process's own, not a thread's, so a name handed out in one thread is not handed
out again in another. Nothing here knows of scopes or paths; `clear_session` starts the counting anew.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache

_SEPARATORS = re.compile(r"[^0-9A-Za-z]+")
_ACRONYM_THEN_WORD = re.compile(r"([A-Z]+)([A-Z][a-z])")
_WORD_THEN_CAPITAL = re.compile(r"([a-z0-9])([A-Z])")

_lock = threading.Lock()
_used: dict[str, int] = {}
_uids: dict[str, int] = {}
_reserved: set[str] = set()


@lru_cache(maxsize=4096)
def snake_case(name: str) -> str:
    """Write a name in snake case, keeping acronyms together: `HTTPResponse` is `http_response`."""
    spaced = _WORD_THEN_CAPITAL.sub(r"\1_\2", _ACRONYM_THEN_WORD.sub(r"\1_\2", name))
    return _SEPARATORS.sub("_", spaced).strip("_").lower()


def auto_name(prefix: str) -> str:
    """Give the next free name of this prefix: bare the first time, then `_1`, `_2`.

    A name that was reserved is passed over; other names that users chose are not known here.
    """
    name = snake_case(prefix)
    with _lock:
        while True:
            count = _used.get(name, 0)
            _used[name] = count + 1
            found = f"{name}_{count}" if count else name
            if found not in _reserved:
                return found


def reserve(name: str) -> None:
    """Never give this name to something else: its bearer has a path, and paths must differ."""
    with _lock:
        _reserved.add(name)


def get_uid(prefix: str = "") -> int:
    """Count up from 1 for each prefix."""
    with _lock:
        _uids[prefix] = uid = _uids.get(prefix, 0) + 1
    return uid


def clear_names() -> None:
    """Start all counters anew; part of `clear_session`."""
    with _lock:
        _used.clear()
        _uids.clear()
        _reserved.clear()


@contextmanager
def fresh_names() -> Generator[None]:
    """Inside, all counters begin anew; afterwards they go on from where they stood."""
    with _lock:
        before = dict(_used), dict(_uids), set(_reserved)
    clear_names()
    try:
        yield
    finally:
        clear_names()
        with _lock:
            _used.update(before[0])
            _uids.update(before[1])
            _reserved.update(before[2])


def title_of(key: str) -> str:
    """Write a field's key as the title a reader of the schema sees: `user_name` is `User Name`."""
    return key.replace("_", " ").title()
