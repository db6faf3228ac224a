"""Strategies for JSON values and events, drawn from their types alone.

Nothing here knows how a value is stored. What is drawn is strict JSON: 64-bit integers, finite floats, text that
UTF-8 can encode, keys that are strings.
"""

from __future__ import annotations

import types
import typing
from typing import Any

from hypothesis import strategies as st

from eventcore.history import events as e

text = st.text(st.characters(codec="utf-8"), max_size=12)
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | text


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4)


values: st.SearchStrategy[Any] = st.recursive(scalars, _containers, max_leaves=12)
objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(text, values, max_size=4)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type, as far as event fields use them."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(-(2**63), 2**63 - 1),
        float: floats,
        bool: st.booleans(),
        str: text,
        bytes: st.binary(max_size=40),
        type(None): st.none(),
        Any: values,
    }
    if kind in simple:
        return simple[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*map(of_type, inner))
    if origin is list:
        return st.lists(of_type(inner[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(of_type, inner))
    if origin is dict:
        return st.dictionaries(of_type(inner[0]), of_type(inner[1]), max_size=3)
    raise AssertionError(f"no strategy for {kind}")


def of_event(cls: type[e.Event]) -> st.SearchStrategy[e.Event]:
    """Events of one class."""
    hints = typing.get_type_hints(cls, dict(vars(e)))
    fields = {name: of_type(hints[name]) for name in cls.__struct_fields__}
    return st.builds(cls, **fields)


events: st.SearchStrategy[e.Event] = st.one_of(*map(of_event, e.KINDS.values()))


def same(a: object, b: object) -> bool:
    """Whether two values are the same JSON: 1, 1.0 and true are three different things."""
    return repr(a) == repr(b)
