"""Recording views: the lists and dicts of a variable, each in-place change of which is an event.

A view *is* the stored container (a real `list` or `dict`), so `json`, `isinstance` and iteration work and
a read copies nothing. Every mutating method works out the change, hands it to the variable's binding, which
has the event appended, and the fold carries it out on this very object. Where a container lies is found at that moment,
through its parents, so an index that shifted is never used. Copies (`copy`, `deepcopy`, `pickle`, `+`) are
plain values that record nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex

from eventcore.errors import StaleView
from eventcore.history import patches as p
from eventcore.history.patches import plain

if TYPE_CHECKING:
    from eventcore.variables.binding import Binding

_MISSING = object()


def wrap(value: Any, binding: Binding, parent: RecordingDict | RecordingList | None) -> Any:
    """Return a decoded value whose containers are views; scalars are returned as they are."""
    if isinstance(value, dict):
        view = RecordingDict()
        view._binding, view._parent = binding, parent
        view.rollout = getattr(value, "rollout", None)
        dict.update(view, {key: wrap(item, binding, view) for key, item in value.items()})
        return view
    if isinstance(value, list):
        items = RecordingList()
        items._binding, items._parent = binding, parent
        list.extend(items, [wrap(item, binding, items) for item in value])
        return items
    return value


def path_of(view: RecordingDict | RecordingList) -> list[str | int]:
    """Return where a view lies now, from the variable's value down.

    Raises:
        StaleView: Its value was replaced or removed since it was read.
    """
    steps: list[str | int] = []
    child: RecordingDict | RecordingList = view
    parent = child._parent
    while parent is not None:
        steps.append(_place(parent, child))
        child, parent = parent, parent._parent
    if child is not child._binding.root:
        raise _stale(child)
    steps.reverse()
    return steps


def _place(parent: RecordingDict | RecordingList, child: object) -> str | int:
    if isinstance(parent, dict):
        for key, item in dict.items(parent):
            if item is child:
                return key
    else:
        # From the end: what was appended last is what is changed most.
        for index in range(len(parent) - 1, -1, -1):
            if list.__getitem__(parent, index) is child:
                return index
    raise _stale(child)


def _stale(view: Any) -> StaleView:
    return StaleView(
        f"cannot change a container of variable {view._binding.path!r}: its value was replaced since it was read; "
        "read it again with get()"
    )


class RecordingDict(dict[str, Any]):
    """A dict inside a variable; every change is an event."""

    __slots__ = ("_binding", "_parent", "rollout")
    _parent: RecordingDict | RecordingList | None
    _binding: Binding
    rollout: str | None

    def _change(self, op: int, *args: Any) -> None:
        self._binding.patch(self, op, list(args))

    def __setitem__(self, key: str, value: Any) -> None:
        if value is not dict.get(self, key, _MISSING) or not isinstance(
            value, (RecordingDict, RecordingList)
        ):
            self._change(p.SET, key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._change(p.DELETE, key)

    def clear(self) -> None:
        """Remove everything."""
        if self:
            self._change(p.CLEAR)

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove a key and return a plain copy of its value."""
        if not self or key not in self:
            if default is _MISSING:
                raise KeyError(key)
            return default
        value = plain(self[key])
        self._change(p.DELETE, key)
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove the last item and return it, the value as a plain copy."""
        if not self:
            raise KeyError("popitem(): dictionary is empty")
        key = next(reversed(self))
        return key, self.pop(key)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, setting it first when it is missing."""
        if key not in self:
            self._change(p.SET, key, default)
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Merge keys in, all in one event."""
        merged = dict(*args, **kwargs)
        if merged and not all(
            self.get(key, _MISSING) is value and _is_view(value) for key, value in merged.items()
        ):
            self._change(p.MERGE, merged)

    @classmethod
    def fromkeys(cls, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        """Return a plain dict."""
        return dict.fromkeys(keys, value)

    def __ior__(self, other: Any) -> RecordingDict:  # type: ignore[override]
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """Return a plain, independent copy."""
        copied: dict[str, Any] = plain(self)
        return copied

    def __copy__(self) -> dict[str, Any]:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return self.copy()

    def __or__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return self.copy() | dict(other) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return dict(other) | self.copy() if isinstance(other, dict) else NotImplemented

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return (dict, (self.copy(),))


class RecordingList(list[Any]):
    """A list inside a variable; every change is an event."""

    __slots__ = ("_binding", "_parent")
    _parent: RecordingDict | RecordingList | None
    _binding: Binding

    def _change(self, op: int, *args: Any) -> None:
        self._binding.patch(self, op, list(args))

    def append(self, value: Any) -> None:
        """Append one value; only it is validated and recorded."""
        self._change(p.APPEND, value)

    def extend(self, values: Iterable[Any]) -> None:
        """Append several values in one event."""
        items = list(values)
        if items:
            self._change(p.EXTEND, items)

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Insert one value."""
        place = operator.index(index)
        place = max(0, place + len(self)) if place < 0 else min(place, len(self))
        self._change(p.INSERT, place, value)

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(index, slice):
            place = self._position(index)
            if value is not list.__getitem__(self, place) or not _is_view(value):
                self._change(p.SET, place, value)
            return
        items = list(value)
        start, stop, step = index.indices(len(self))
        if step == 1:
            if items or start < stop:
                self._change(p.SPLICE, start, max(start, stop), 1, items)
            return
        if len(items) != len(range(start, stop, step)):
            raise ValueError(
                f"attempt to assign sequence of size {len(items)} to extended slice of size "
                f"{len(range(start, stop, step))}"
            )
        if items:
            self._change(p.SPLICE, start, stop if stop >= 0 else None, step, items)

    def __delitem__(self, index: Any) -> None:
        if not isinstance(index, slice):
            self._change(p.DELETE, self._position(index))
            return
        start, stop, step = index.indices(len(self))
        if range(start, stop, step):
            self._change(p.DROP, start, stop if stop >= 0 else None, step)

    def _position(self, index: Any) -> int:
        place = operator.index(index)
        size = len(self)
        if not -size <= place < size:
            raise IndexError("list index out of range")
        return place + size if place < 0 else place

    def pop(self, index: SupportsIndex = -1) -> Any:
        """Remove one item and return a plain copy of it."""
        if not self:
            raise IndexError("pop from empty list")
        place = self._position(index)
        value = plain(self[place])
        self._change(p.DELETE, place)
        return value

    def remove(self, value: Any) -> None:
        """Remove the first item equal to `value`."""
        self._change(p.DELETE, self.index(value))

    def clear(self) -> None:
        """Remove everything."""
        if self:
            self._change(p.CLEAR)

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort in place; the event carries the permutation, not the values."""
        chosen = key if key is not None else _itself
        order = sorted(range(len(self)), key=lambda place: chosen(self[place]), reverse=reverse)
        self._reorder(order)

    def reverse(self) -> None:
        """Reverse in place."""
        self._reorder(list(range(len(self) - 1, -1, -1)))

    def _reorder(self, order: list[int]) -> None:
        if order != list(range(len(self))):
            self._change(p.REORDER, order)

    def __iadd__(self, values: Iterable[Any]) -> RecordingList:  # type: ignore[misc]  # + gives a plain list
        self.extend(values)
        return self

    def __imul__(self, times: SupportsIndex) -> RecordingList:
        count = operator.index(times)
        if count != 1 and self:
            self._change(p.REPEAT, count)
        return self

    def copy(self) -> list[Any]:
        """Return a plain, independent copy."""
        copied: list[Any] = plain(self)
        return copied

    def __copy__(self) -> list[Any]:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return self.copy()

    def __add__(self, other: Any) -> list[Any]:
        return self.copy() + list(other) if isinstance(other, list) else NotImplemented

    def __radd__(self, other: Any) -> list[Any]:
        return list(other) + self.copy() if isinstance(other, list) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return [plain(item) for _ in range(operator.index(times)) for item in self]

    __rmul__ = __mul__

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return (list, (self.copy(),))


def _itself(value: Any) -> Any:
    return value


def _is_view(value: Any) -> bool:
    return isinstance(value, (RecordingDict, RecordingList))
