"""Lists, dicts and sets that tell their module when their content changes.

A module's attribute that is a plain container is replaced by one of these, so that a variable or module
appended later is found, and refused once the module is locked. They are real `list`, `dict` and `set`
subclasses; copying or pickling one gives a plain container.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, cast

if TYPE_CHECKING:
    from eventcore.modules.tracker import Tracker

R = TypeVar("R")


class TrackedList(list[Any]):
    """A list in a module's attribute."""

    tracker: Tracker

    def _change(self, act: Callable[[], R], items: Iterable[Any]) -> R:
        def undo_later() -> Callable[[], None]:
            before = list(self)
            return lambda: list.__setitem__(self, slice(None), before)

        return self.tracker.change(act, items, undo_later)

    def append(self, value: Any, /) -> None:
        """Append; tracked."""
        value = self.tracker.wrap(value)
        self._change(lambda: list.append(self, value), (value,))

    def insert(self, index: SupportsIndex, value: Any, /) -> None:
        """Insert; tracked."""
        value = self.tracker.wrap(value)
        self._change(lambda: list.insert(self, index, value), (value,))

    def extend(self, values: Iterable[Any], /) -> None:
        """Extend; tracked."""
        new = [self.tracker.wrap(value) for value in values]
        self._change(lambda: list.extend(self, new), new)

    def __iadd__(self, values: Iterable[Any], /) -> TrackedList:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, count: SupportsIndex, /) -> TrackedList:
        self._change(lambda: list.__imul__(self, count), self)
        return self

    def __setitem__(self, index: Any, value: Any, /) -> None:
        if isinstance(index, slice):
            new = [self.tracker.wrap(item) for item in cast("Iterable[Any]", value)]
            self._change(lambda: list.__setitem__(self, index, new), [*new, *self[index]])
            return
        value = self.tracker.wrap(value)
        self._change(lambda: list.__setitem__(self, index, value), [value, *self])

    def __delitem__(self, index: Any, /) -> None:
        self._change(lambda: list.__delitem__(self, index), self)

    def pop(self, index: SupportsIndex = -1, /) -> Any:
        """Pop; tracked."""
        return self._change(lambda: list.pop(self, index), self[-1:] if index == -1 else self)

    def remove(self, value: Any, /) -> None:
        """Remove; tracked."""
        self._change(lambda: list.remove(self, value), self)

    def clear(self) -> None:
        """Clear; tracked."""
        self._change(lambda: list.clear(self), self)

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        """Sort; the order of variables follows."""
        self._change(lambda: list.sort(self, key=key, reverse=reverse), self)

    def reverse(self) -> None:
        """Reverse; the order of variables follows."""
        self._change(lambda: list.reverse(self), self)

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> Any:
        return list, (list(self),)


class TrackedDict(dict[Any, Any]):
    """A dict in a module's attribute."""

    tracker: Tracker

    def _change(self, act: Callable[[], R], items: Iterable[Any]) -> R:
        def undo_later() -> Callable[[], None]:
            before = dict(self)

            def undo() -> None:
                dict.clear(self)
                dict.update(self, before)

            return undo

        return self.tracker.change(act, items, undo_later)

    def __setitem__(self, key: Any, value: Any, /) -> None:
        value = self.tracker.wrap(value)
        self._change(lambda: dict.__setitem__(self, key, value), (value, self.get(key)))

    def __delitem__(self, key: Any, /) -> None:
        self._change(lambda: dict.__delitem__(self, key), (self.get(key),))

    def setdefault(self, key: Any, default: Any = None, /) -> Any:
        """Set if absent; tracked."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **named: Any) -> None:
        """Merge; tracked."""
        new = {key: self.tracker.wrap(value) for key, value in dict(*others, **named).items()}
        items = [*new.values(), *(self.get(key) for key in new)]
        self._change(lambda: dict.update(self, new), items)

    def __ior__(self, other: Any, /) -> TrackedDict:  # type: ignore[misc]
        self.update(other)
        return self

    def pop(self, key: Any, *default: Any) -> Any:
        """Pop; tracked."""
        return self._change(lambda: dict.pop(self, key, *default), (self.get(key),))

    def popitem(self) -> tuple[Any, Any]:
        """Pop the last item; tracked."""
        return self._change(lambda: dict.popitem(self), self.values())

    def clear(self) -> None:
        """Clear; tracked."""
        self._change(lambda: dict.clear(self), self.values())

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> Any:
        return dict, (dict(self),)


class TrackedSet(set[Any]):
    """A set in a module's attribute."""

    tracker: Tracker

    def _change(self, name: str, *arguments: Any) -> Any:
        def undo_later() -> Callable[[], None]:
            before = set(self)

            def undo() -> None:
                set.clear(self)
                set.update(self, before)

            return undo

        method = getattr(set, name)
        items = [*self, *arguments]
        return self.tracker.change(lambda: method(self, *arguments), items, undo_later)

    def _change_by(self, name: str, others: tuple[Iterable[Any], ...]) -> Any:
        return self._change(name, *(set(other) for other in others))

    def add(self, value: Any, /) -> None:
        """Add; tracked."""
        self._change("add", value)

    def discard(self, value: Any, /) -> None:
        """Discard; tracked."""
        self._change("discard", value)

    def remove(self, value: Any, /) -> None:
        """Remove; tracked."""
        self._change("remove", value)

    def pop(self) -> Any:
        """Pop; tracked."""
        return self._change("pop")

    def clear(self) -> None:
        """Clear; tracked."""
        self._change("clear")

    def update(self, *others: Iterable[Any]) -> None:
        """Add all; tracked."""
        self._change_by("update", others)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove all; tracked."""
        self._change_by("difference_update", others)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep what is in all; tracked."""
        self._change_by("intersection_update", others)

    def symmetric_difference_update(self, other: Iterable[Any], /) -> None:
        """Keep what is in one; tracked."""
        self._change_by("symmetric_difference_update", (other,))

    def __ior__(self, other: Any, /) -> TrackedSet:  # type: ignore[misc]
        self.update(other)
        return self

    def __isub__(self, other: Any, /) -> TrackedSet:  # type: ignore[misc]
        self.difference_update(other)
        return self

    def __iand__(self, other: Any, /) -> TrackedSet:  # type: ignore[misc]
        self.intersection_update(other)
        return self

    def __ixor__(self, other: Any, /) -> TrackedSet:  # type: ignore[misc]
        self.symmetric_difference_update(other)
        return self

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> Any:
        return set, (set(self),)
