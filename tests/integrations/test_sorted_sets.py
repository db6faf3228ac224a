"""Sets that are gone through in sorted order are sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventcore.integrations.sorted_sets import SortedSet

names = st.sets(st.text(max_size=3), max_size=6)


@given(names, names)
def test_what_comes_of_sorted_sets_is_what_comes_of_sets_in_sorted_order(
    left: set[str], right: set[str]
) -> None:
    for ours, theirs in (
        (SortedSet(left), SortedSet(right)),
        (SortedSet(left), right),
        (left, SortedSet(right)),
    ):
        assert list(ours & theirs) == sorted(left & right)
        assert list(ours | theirs) == sorted(left | right)
        assert list(ours - theirs) == sorted(left - right)
        assert list(ours ^ theirs) == sorted(left ^ right)
    one = SortedSet(left)
    assert one == left
    assert list(one.union(right)) == sorted(left | right)
    assert list(one.intersection(right)) == sorted(left & right)
    assert list(one.difference(right)) == sorted(left - right)
    assert list(one.copy()) == list(one) == sorted(left)
    assert [one.pop() for _ in range(len(left))] == sorted(left)
    assert not one


def test_what_cannot_be_sorted_keeps_the_order_it_has() -> None:
    assert set(SortedSet({1, "one", None})) == {1, "one", None}
