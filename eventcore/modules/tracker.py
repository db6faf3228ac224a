"""The tracker of a module: which attributes hold variables and modules, in which order.

Every assignment to a module passes through `assign`; containers are replaced by tracking ones, so that
what is put into them later is seen as well. A change that would alter the set of variables of a closed
module is undone and refused, all or nothing. What closes a module is decided in `ownership`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from eventcore.errors import TrackerLocked
from eventcore.modules import ownership
from eventcore.modules.containers import TrackedDict, TrackedList, TrackedSet

if TYPE_CHECKING:
    from eventcore.modules.module import Module

R = TypeVar("R")
Undo = Callable[[], None]
_ABSENT: Any = object()
_WALKED = (list, dict, set, frozenset, tuple, deque)
# The content of a variable is JSON, and reading it here would be recorded as a read.
_NOT_WALKED: list[type] = []


def never_walk(cls: type) -> None:
    """Containers of this class hold no variables or modules; trackers leave them alone."""
    _NOT_WALKED.append(cls)


class Tracker:
    """What one module holds."""

    def __init__(self, owner: Module) -> None:
        self._owner: Callable[[], Module | None] = weakref.ref(owner)
        # Attribute name, or a number for a variable no attribute holds yet -> what is held, oldest first.
        self._holders: dict[str | int, Any] = {}
        self._linked: dict[int, Any] = {}
        self._fixed = False
        self._names: set[str] = set()

    def members(self, kind: str | None = None) -> list[Any]:
        """What is held directly, each once, in order; of one kind if given."""
        if not self._fixed:
            self._relink()
        found = self._linked.values()
        return [item for item in found if kind is None or ownership.kind_of(item) == kind]

    def fix(self) -> None:
        """From now on only changes that pass through this tracker count."""
        self._relink()
        self._fixed = True

    def holds(self, name: str) -> bool:
        """Whether an attribute holds something tracked or a tracked container."""
        return name in self._holders

    def free_name(self, wanted: str) -> str:
        """Give a name for a variable that none of the module had before, even one that was let go since."""
        taken = self._names | {variable.name for variable in self.members("variables")}
        name, number = wanted, 0
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def add(self, item: Any) -> None:
        """Hold something that no attribute holds yet.

        Raises:
            TrackerLocked: The module is closed.
        """
        key = max((number for number in self._holders if isinstance(number, int)), default=-1) + 1

        def act() -> None:
            self._holders[key] = item

        self.change(act, (item,), lambda: lambda: self._holders.pop(key))

    def assign(self, owner: Module, name: str, value: Any) -> None:
        """Set an attribute, all or nothing.

        Raises:
            TrackerLocked: It would change the set of variables of a closed module.
        """
        value = self.wrap(value)
        attributes = owner.__dict__
        old = attributes.get(name, _ABSENT)

        def act() -> None:
            attributes[name] = value
            self._hold(name, value)

        self.change(act, (value, old), lambda: self._attribute_undo(attributes, name, old))

    def delete(self, owner: Module, name: str) -> None:
        """Delete an attribute, all or nothing.

        Raises:
            TrackerLocked: It would change the set of variables of a closed module.
        """
        attributes = owner.__dict__
        old = attributes[name]

        def act() -> None:
            del attributes[name]
            self._holders.pop(name, None)

        self.change(act, (old,), lambda: self._attribute_undo(attributes, name, old))

    def change(self, act: Callable[[], R], items: Iterable[Any], undo_later: Callable[[], Undo]) -> R:
        """Carry out a change of what is held.

        Args:
            act: Does it.
            items: What may enter or leave by it.
            undo_later: Called before `act`; what it returns undoes `act`.

        Raises:
            TrackerLocked: It would change the set of variables of a closed module; it is undone.
        """
        owner = self._owner()
        if owner is None or not any(_holds_tracked(item) for item in items):
            return act()
        reason = ownership.why_closed(owner)
        if reason is None:
            result = act()
            self._relink()
            return result
        undo = undo_later()
        before, linked = _identities(owner), self._linked
        # What got into a container that does not tell stays out for good.
        unseen = _collect(self._holders.values()).keys() - linked.keys()
        result = act()
        now = _collect(self._holders.values())
        self._link({key: item for key, item in now.items() if key not in unseen})
        if _identities(owner) != before:
            undo()
            self._link(linked)
            raise TrackerLocked(
                f"cannot change the variables of '{owner.path}': {reason}. "
                "Create variables and sub-modules in `__init__` or `build`."
            )
        # What was there keeps its place, so the order of variables is as final as the set.
        self._linked = {key: item for key, item in linked.items() if key in self._linked} | self._linked
        return result

    def wrap(self, value: Any) -> Any:
        """Return `value` with the plain containers in it replaced by tracking ones."""
        return _wrapped(value, self, {}) if isinstance(value, _WRAPPED) else value

    def checkpoint(self) -> Undo:
        """Remember what is held and all attributes; the result puts them back."""
        owner = self._owner()
        holders, names = dict(self._holders), set(self._names)
        attributes = dict(owner.__dict__) if owner is not None else {}

        def undo() -> None:
            self._holders, self._names = holders, names
            if owner is not None:
                owner.__dict__.clear()
                owner.__dict__.update(attributes)
            self._relink()

        return undo

    def _hold(self, name: str, value: Any) -> None:
        if not _holds_tracked(value) and not isinstance(value, _WALKED):
            self._holders.pop(name, None)
        else:
            self._holders[name] = value
            # A variable that an attribute holds now lives and goes with the attribute.
            inside = _collect((value,))
            for key in [
                key for key, held in self._holders.items() if isinstance(key, int) and id(held) in inside
            ]:
                del self._holders[key]

    def _attribute_undo(self, attributes: dict[str, Any], name: str, old: Any) -> Undo:
        holders = dict(self._holders)

        def undo() -> None:
            self._holders = holders
            if old is _ABSENT:
                del attributes[name]
            else:
                attributes[name] = old

        return undo

    def _relink(self) -> None:
        """Compare what is held with what was, and tell `ownership` the difference."""
        self._link(_collect(self._holders.values()))

    def _link(self, now: dict[int, Any]) -> None:
        owner = self._owner()
        before, self._linked = self._linked, now
        if owner is None or before.keys() == now.keys():
            return
        for identity, item in now.items():
            if identity not in before:
                ownership.attach(owner, item)
        for identity, item in before.items():
            if identity not in now:
                ownership.detach(owner, item)


def _identities(owner: Module) -> set[int]:
    return {id(variable) for variable in ownership.variables_below(owner)}


def _holds_tracked(value: Any) -> bool:
    return ownership.kind_of(value) is not None or (isinstance(value, _WALKED) and bool(_collect((value,))))


def _collect(values: Iterable[Any]) -> dict[int, Any]:
    """Find everything tracked in `values`, at any depth, by identity, in order."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = list(values)[::-1]
    while waiting:
        value = waiting.pop()
        if ownership.kind_of(value) is not None:
            found.setdefault(id(value), value)
        elif (
            isinstance(value, _WALKED) and id(value) not in seen and not isinstance(value, tuple(_NOT_WALKED))
        ):
            seen.add(id(value))
            waiting.extend(_items(value)[::-1])
    return found


def _items(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return list(cast("dict[Any, Any]", container).values())
    items = list(cast("Iterable[Any]", container))
    # A set has no order of its own that is the same in every process.
    return sorted(items, key=_path) if isinstance(container, (set, frozenset)) else items


def _path(item: Any) -> str:
    return str(getattr(item, "path", ""))


_WRAPPED = (list, dict, set, tuple)
_TRACKED = (TrackedList, TrackedDict, TrackedSet)


def _wrapped(value: Any, tracker: Tracker, done: dict[int, Any]) -> Any:
    kind = cast("type[Any]", type(value))
    if id(value) in done:
        return done[id(value)]
    if kind in _TRACKED and value.tracker is tracker:
        return value
    if kind in (list, TrackedList):
        new_list = TrackedList()
        new_list.tracker = tracker
        done[id(value)] = new_list
        list.extend(new_list, [_wrapped(item, tracker, done) for item in value])
        return new_list
    if kind in (dict, TrackedDict):
        new_dict = TrackedDict()
        new_dict.tracker = tracker
        done[id(value)] = new_dict
        dict.update(new_dict, {key: _wrapped(item, tracker, done) for key, item in value.items()})
        return new_dict
    if kind in (set, TrackedSet):
        new_set = TrackedSet(value)
        new_set.tracker = tracker
        return new_set
    return (
        _wrapped_tuple(cast("tuple[Any, ...]", value), tracker, done) if isinstance(value, tuple) else value
    )


def _wrapped_tuple(value: tuple[Any, ...], tracker: Tracker, done: dict[int, Any]) -> tuple[Any, ...]:
    items = [_wrapped(item, tracker, done) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    make = getattr(type(value), "_make", tuple)  # a named tuple stays one
    wrapped: tuple[Any, ...] = make(items)
    return wrapped
