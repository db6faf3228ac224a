r"""Texts for property tests: of a pattern, of a format, of a length.

The patterns of a JSON schema are those of ECMAScript, and the validator here is Python's: to the one `\d` is an ASCII
digit and `$` the very end, to the other `\d` is a digit of any script and `$` also stands before a last line break.
What is drawn fits both readings, so nobody is given a value that another validator of the same schema refuses.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterator
from re import _parser  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from hypothesis import strategies as st

Texts = st.SearchStrategy[str]

characters = st.characters(codec="utf-8")
"""Every character a log can hold: no lone surrogates."""
# To ECMAScript a byte order mark is white space, to Python it is none.
_in_patterns = st.characters(codec="utf-8", exclude_characters="\ufeff")

MORE = 12
"""Characters beyond the fewest a schema asks for."""


def texts(parts: dict[str, Any]) -> Texts:
    """Draw texts of a schema of type string; a format is kept where it is one of those known here."""
    least, most = int(parts.get("minLength", 0)), parts.get("maxLength")
    if most is not None and least > most:
        return st.nothing()

    def fits(found: str) -> bool:
        return least <= len(found) and (most is None or len(found) <= most)

    if "pattern" in parts:
        if most is not None and (_fewest(strict_pattern(str(parts["pattern"]))) or 0) > most:
            return st.nothing()
        return of_pattern(str(parts["pattern"]), least, most).filter(fits)
    known = FORMATS.get(str(parts.get("format")))
    if known is not None:
        return known().filter(fits)
    return st.text(
        characters, min_size=least, max_size=least + MORE if most is None else min(most, least + MORE)
    )


# --- patterns --------------------------------------------------------------------------------------


def of_pattern(pattern: str, least: int = 0, most: int | None = None) -> Texts:
    """Draw texts a pattern is found in, by Python's reading and by ECMAScript's, most of them of a wanted length.

    Args:
        pattern: The pattern.
        least: Fewest characters; what is drawn may have fewer.
        most: Most characters, or None; what is drawn may have more.
    """
    strict = strict_pattern(pattern)
    by_python = re.compile(pattern)
    options = list(dict.fromkeys([*_stretched(strict, least, most), strict]))
    if least or most is not None:
        options = options[:-1] or options
    drawn = [st.from_regex(re.compile(option, re.ASCII), alphabet=_in_patterns) for option in options]
    return st.one_of(drawn).filter(lambda found: by_python.search(found) is not None)


_STRICT = {"$": r"\Z", ".": r"[^\n\r\u2028\u2029]"}


def strict_pattern(pattern: str) -> str:
    """Return a pattern that, read as ASCII by Python, means what it means to ECMAScript."""
    return "".join(_STRICT.get(token, token) if outside else token for token, outside in _tokens(pattern))


def _tokens(pattern: str) -> Iterator[tuple[str, bool]]:
    """Yield the characters of a pattern, an escape as one, each with whether it stands outside of `[...]`."""
    place, inside = 0, False
    while place < len(pattern):
        token = pattern[place : place + (2 if pattern[place] == "\\" else 1)]
        place += len(token)
        if not inside and token == "[":
            inside = True
            yield token, False
            if pattern[place : place + 1] == "^":
                yield "^", False
                place += 1
            if pattern[place : place + 1] == "]":  # to Python it is a character here
                yield "\\]", False
                place += 1
            continue
        yield token, not inside
        inside = inside and token != "]"


_UNBOUNDED = {"*": 0, "+": 1}


def _stretched(pattern: str, least: int, most: int | None) -> list[str]:
    """Return patterns that say no other than this one, with one repetition set so that the length may fit."""
    if not least and most is None:
        return []
    tokens = list(_tokens(pattern))
    found: list[str] = []
    for place, (token, outside) in enumerate(tokens):
        if (
            not outside
            or token not in _UNBOUNDED
            or not place
            or tokens[place - 1][0] in ("(", *_UNBOUNDED, "?")
        ):
            continue

        def repeated(times: str, place: int = place) -> str:
            return "".join(times if at == place else part for at, (part, _) in enumerate(tokens))

        with_none, with_two = _fewest(repeated("{0}")), _fewest(repeated("{2}"))
        if with_none is None or with_two is None or with_two == with_none:
            continue
        width = (with_two - with_none) // 2
        low = max(_UNBOUNDED[token], -(-(least - with_none) // width))
        high = low + MORE if most is None else (most - with_none) // width
        if low <= high:
            found.append(repeated(f"{{{low},{high}}}"))
    return found


def _fewest(pattern: str) -> int | None:
    """The fewest characters a pattern is found in."""
    try:
        return _parsed(pattern)
    except re.error:
        return None


@functools.lru_cache(maxsize=256)
def _parsed(pattern: str) -> int:
    parser: Any = _parser  # not in the types of the standard library
    return int(parser.parse(pattern).getwidth()[0])


# --- formats ---------------------------------------------------------------------------------------

_ZONE = st.just(datetime.UTC)
_WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
_HOST = st.tuples(_WORD, st.sampled_from(["org", "com", "example"])).map(".".join)


def _moments() -> Texts:
    return st.datetimes(timezones=_ZONE).map(lambda moment: moment.isoformat().replace("+00:00", "Z"))


def _durations() -> Texts:
    return st.tuples(st.integers(0, 99), st.sampled_from(["D", "W"])).map(lambda part: f"P{part[0]}{part[1]}")


FORMATS: dict[str, Callable[[], Texts]] = {
    "date-time": _moments,
    "date": lambda: st.dates().map(lambda day: day.isoformat()),
    "time": lambda: st.times(timezones=_ZONE).map(lambda time: time.isoformat().replace("+00:00", "Z")),
    "duration": _durations,
    "email": lambda: st.tuples(_WORD, _HOST).map("@".join),
    "hostname": lambda: _HOST,
    "uri": lambda: st.tuples(_HOST, _WORD).map(lambda parts: f"https://{parts[0]}/{parts[1]}"),
    "uuid": lambda: st.uuids().map(str),
    "ipv4": lambda: st.ip_addresses(v=4).map(str),
    "ipv6": lambda: st.ip_addresses(v=6).map(str),
}
"""The formats that are kept. The validator does not look at formats, but a reader of the schema does."""
