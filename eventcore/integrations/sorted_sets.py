"""Sets that are gone through in the same order in every process.

The order of a set of strings depends on PYTHONHASHSEED. Code that draws random numbers, or makes lists, along a
set comes out the same everywhere when its sets are these. What cannot be sorted keeps the order it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class SortedSet(set[Any]):
    """A set whose iteration is sorted, and whose intersections, unions and differences are too."""

    def __iter__(self) -> Iterator[Any]:
        found = list(super().__iter__())
        try:
            found.sort()
        except TypeError:
            pass
        return iter(found)

    def __and__(self, other: Any) -> Any:
        return _sorted(super().__and__(other))

    def __or__(self, other: Any) -> Any:
        return _sorted(super().__or__(other))

    def __sub__(self, other: Any) -> Any:
        return _sorted(super().__sub__(other))

    def __xor__(self, other: Any) -> Any:
        return _sorted(super().__xor__(other))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __rsub__(self, other: Any) -> Any:
        return SortedSet(other) - self if isinstance(other, set | frozenset) else NotImplemented

    def copy(self) -> SortedSet:
        """Return a copy."""
        return SortedSet(self)

    def union(self, *others: Any) -> SortedSet:
        """Return the union."""
        return SortedSet(super().union(*others))

    def intersection(self, *others: Any) -> SortedSet:
        """Return the intersection."""
        return SortedSet(super().intersection(*others))

    def difference(self, *others: Any) -> SortedSet:
        """Return what no other has."""
        return SortedSet(super().difference(*others))

    def pop(self) -> Any:
        """Remove and return the first element."""
        for first in self:
            self.remove(first)
            return first
        raise KeyError("pop from an empty set")


def _sorted(found: Any) -> Any:
    return found if found is NotImplemented else SortedSet(found)
