"""A value too large for one event, cut into several, is the same value when they are folded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.history import patches, pieces

values = st.recursive(
    st.none() | st.integers(-5, 5) | st.text("ab", max_size=30),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text("xyz", max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)


def carried_out(first: Any, changes: list[pieces.Piece]) -> Any:
    """What plain dicts and lists become when the changes are made on them one by one."""
    value = copy.deepcopy(first)
    for path, op, args in changes:
        place = value
        for step in path:
            place = place[step]
        if op == patches.MERGE:
            place.update(copy.deepcopy(args[0]))
        elif op == patches.EXTEND:
            place.extend(copy.deepcopy(args[0]))
        else:
            assert op == patches.SET
            place[args[0]] = copy.deepcopy(args[1])
    return value


@given(st.dictionaries(st.text("fgh", max_size=3), values, max_size=5), st.integers(20, 200))
def test_the_pieces_make_the_whole_with_keys_in_order(value: dict[str, Any], room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", room)
        first, changes = pieces.in_pieces(value)
    assert list(first) == list(value)
    whole = carried_out(first, changes)
    assert whole == value
    assert repr(whole) == repr(value)


def test_a_value_that_fits_stays_whole() -> None:
    value = {"a": [1, 2], "b": {"c": "text"}}
    assert pieces.in_pieces(value) == (value, [])
