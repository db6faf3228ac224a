"""Values in which every part knows how it came there: written, copied, or there before.

A part that was written keeps what it was written over; words and items are matched only when somebody looks inside.
What events do to such values is in `provenance.py`, and who asks is in `blame.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from eventcore.history.alignment import all_words, key, paired, words

MISSING: Any = object()
"""Stands for: nothing lies there."""

Place = tuple["str | int", ...]


class Written:
    """A JSON value an event wrote.

    Attributes:
        value: The value.
        seq: The event.
        sources: What it is compared with, in order: what stood there before, what it was made of.
        pool: Words of a larger whole it was part of when that was replaced, or None.
        explained: Its words and where they were before, once somebody has asked: of copies it is asked repeatedly.
    """

    __slots__ = ("explained", "pool", "seq", "sources", "value")

    def __init__(self, value: Any, seq: int, sources: tuple[Any, ...] = (), pool: Pool | None = None) -> None:
        self.value = value
        self.seq = seq
        self.sources = sources
        self.pool = pool
        self.explained: tuple[list[str], dict[int, tuple[Any, int]]] | None = None


class Copied:
    """Something an event copied from elsewhere: it belongs to whoever wrote the original.

    Attributes:
        source: The original, which nobody changes any more.
        seq: The event that copied it.
    """

    __slots__ = ("seq", "source")

    def __init__(self, source: Any, seq: int) -> None:
        self.source = source
        self.seq = seq


class Earlier:
    """A value that was there already.

    Attributes:
        seq: As of which event.
        path: Where it lay in the variable then.
    """

    __slots__ = ("_load", "_value", "path", "seq")

    def __init__(self, seq: int, path: Place, value: Any = MISSING, load: Callable[[], Any] | None = None):
        self.seq = seq
        self.path = path
        self._value = value
        self._load = load

    @property
    def value(self) -> Any:
        """The value, `MISSING` if nothing lay there."""
        if self._load is not None:
            self._value, self._load = self._load(), None
        return self._value

    def inside(self, step: str | int, item: Any) -> Earlier:
        """Return the node of a part of it."""
        return Earlier(self.seq, (*self.path, step), item)


class Continued(Earlier):
    """A value a variable was declared with because an earlier process left it there, under another number.

    Attributes:
        declared: The event that declared it.
    """

    __slots__ = ("declared",)

    def __init__(self, seq: int, path: Place, value: Any, declared: int) -> None:
        super().__init__(seq, path, value)
        self.declared = declared

    def inside(self, step: str | int, item: Any) -> Earlier:
        """Return the node of a part of it."""
        return Continued(self.seq, (*self.path, step), item, self.declared)


Node = Written | Copied | Earlier


class Items(list[Any]):
    """A list whose items know their origins.

    Attributes:
        origin: The node it was when nobody had looked inside.
        emptied: The last event that took something out, 0 for none.
    """

    __slots__ = ("emptied", "origin")
    origin: Any
    emptied: int


class Fields(dict[str, Any]):
    """An object whose fields know their origins; attributes as in `Items`.

    Attributes:
        rollout: Of a prediction record: the rollout that made it.
    """

    __slots__ = ("emptied", "origin", "rollout")
    origin: Any
    emptied: int
    rollout: str | None


class Pool:
    """The words of everything a whole was made of, to find those that went from one part of it to another.

    Words that occur no more often than before were there before.

    Args:
        before: Nodes of what the whole was made of.
        after: The whole, as it was written.
        larger: Of a larger whole this one is a part of, asked next; None if there is none.
    """

    __slots__ = ("_after", "_before", "_larger", "_places")

    def __init__(self, before: tuple[Any, ...], after: Any, larger: Pool | None = None) -> None:
        self._before = before
        self._after = after
        self._larger = larger
        self._places: dict[str, tuple[Any, int]] | None = None

    def find(self, word: str) -> tuple[Any, int] | None:
        """Return a node a word was in and its place there, None if it may be new."""
        if self._places is None:
            counts = Counter(all_words(self._after))
            self._places = {}
            for source in self._before:
                seen: dict[str, list[tuple[Any, int]]] = {}
                for node, text in texts(source):
                    for at, found in enumerate(words(text)):
                        if found in counts:
                            seen.setdefault(found, []).append((node, at))
                often = {found: at[0] for found, at in seen.items() if len(at) >= counts[found]}
                self._places = often | self._places
        place = self._places.get(word)
        return self._larger.find(word) if place is None and self._larger is not None else place


def value_of(node: Any) -> Any:
    """Return the plain JSON value of a node."""
    while isinstance(node, Copied):
        node = node.source
    if isinstance(node, Items):
        return [value_of(item) for item in node]
    if isinstance(node, Fields):
        return {name: value_of(item) for name, item in node.items()}
    return node.value


def texts(node: Any) -> Iterable[tuple[Any, str]]:
    """Yield every text in a node with its own node."""
    value = value_of(node)
    if isinstance(value, str):
        yield node, value
    elif isinstance(value, (dict, list)) and value:
        inside = opened(node)
        for item in inside.values() if isinstance(inside, Fields) else inside:
            yield from texts(item)


def duplicate(node: Any) -> Any:
    """Return a node that later changes of the original do not reach."""
    if isinstance(node, Items):
        items = Items(duplicate(item) for item in node)
        items.origin, items.emptied = node.origin, node.emptied
        return items
    if isinstance(node, Fields):
        fields = Fields({name: duplicate(item) for name, item in node.items()})
        fields.origin, fields.emptied, fields.rollout = node.origin, node.emptied, node.rollout
        return fields
    return node


def opened(node: Any) -> Any:
    """Return the inside of a node whose value is a list or an object: `Items` or `Fields`."""
    if isinstance(node, (Items, Fields)):
        return node
    if isinstance(node, Copied):
        inside = opened(node.source)
        if isinstance(inside, Items):
            return list_of((Copied(item, node.seq) for item in inside), node)
        return object_of(
            {name: Copied(item, node.seq) for name, item in inside.items()}, node, inside.rollout
        )
    value = node.value
    if isinstance(node, Earlier):
        if isinstance(value, list):
            return list_of((node.inside(at, item) for at, item in enumerate(value)), node)
        rollout = getattr(value, "rollout", None)
        return object_of({name: node.inside(name, item) for name, item in value.items()}, node, rollout)
    if isinstance(value, list):
        return list_of(_opened_list(node), node)
    rollout = getattr(value, "rollout", None)
    return object_of({name: _opened_field(node, name, item) for name, item in value.items()}, node, rollout)


def list_of(items: Iterable[Any], origin: Any) -> Items:
    """Return a list that was opened from a node, or made by an event."""
    found = Items(items)
    found.origin, found.emptied = origin, 0
    return found


def object_of(fields: dict[str, Any], origin: Any, rollout: str | None = None) -> Fields:
    """Return an object that was opened from a node, or made by an event."""
    found = Fields(fields)
    found.origin, found.emptied, found.rollout = origin, 0, rollout
    return found


def _pool(node: Written) -> Pool | None:
    return node.pool or (Pool(node.sources, node.value) if node.sources else None)


def _opened_list(node: Written) -> Iterable[Any]:
    """Open a list that was written: each item is compared with the one it is, or was made of."""
    pool = _pool(node)
    known: list[list[Any]] = [[] for _ in node.value]
    for source in node.sources:
        before = value_of(source)
        if isinstance(before, list):
            inside = opened(source)
            for at, old in enumerate(paired(before, node.value)):
                if old >= 0:
                    known[at].append(inside[old])
    return [
        written(value, node.seq, tuple(sources), pool)
        for value, sources in zip(node.value, known, strict=True)
    ]


def _opened_field(node: Written, name: str, value: Any) -> Any:
    found: list[Any] = []
    for source in node.sources:
        before = value_of(source)
        if isinstance(before, dict) and name in before:
            found.append(opened(source)[name])
    return written(value, node.seq, tuple(found), _pool(node))


def written(value: Any, seq: int, sources: Sequence[Any] = (), pool: Pool | None = None) -> Any:
    """Return the node of a value an event wrote; one that was there before goes on belonging to whom it did."""
    for source in sources:
        if same(value_of(source), value):
            return duplicate(source)
    return Written(value, seq, tuple(sources), pool)


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same; 1 and 1.0 are not."""
    if type(a) is str or type(b) is str:
        return bool(a == b)
    return a is b or (a is not MISSING and b is not MISSING and key(a) == key(b))
