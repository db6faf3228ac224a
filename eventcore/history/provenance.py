"""One variable's value in which every part knows how it came there: what blame walks through, backwards.

`Provenance.apply` does to such a value what `state.apply` does to a plain one. It compares nothing: a part that
was written keeps what stood there before, and words are matched only when somebody asks who wrote them. What was
there when the stretch of events began is `Earlier`: its origin is asked of the stretch before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history.alignment import all_words, key, paired, words
from eventcore.history.population import BOOKKEEPING, score_names
from eventcore.history.state import PREDICTIONS

LISTS = ("seed_candidates", "candidates", "best_candidates", "history")
"""The lists whose entries are candidates: a value that equals an entry's was copied from it."""

APART = frozenset(BOOKKEEPING) - {"examples"}

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
    """

    __slots__ = ("pool", "seq", "sources", "value")

    def __init__(self, value: Any, seq: int, sources: tuple[Any, ...] = (), pool: Pool | None = None) -> None:
        self.value = value
        self.seq = seq
        self.sources = sources
        self.pool = pool


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
    """

    __slots__ = ("_after", "_before", "_places")

    def __init__(self, before: tuple[Any, ...], after: Any) -> None:
        self._before = before
        self._after = after
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
        return self._places.get(word)


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
            return _items((Copied(item, node.seq) for item in inside), node)
        return _fields({name: Copied(item, node.seq) for name, item in inside.items()}, node, inside.rollout)
    value = node.value
    if isinstance(node, Earlier):
        at, path = node.seq, node.path
        if isinstance(value, list):
            return _items((Earlier(at, (*path, n), item) for n, item in enumerate(value)), node)
        rollout = getattr(value, "rollout", None)
        return _fields({k: Earlier(at, (*path, k), item) for k, item in value.items()}, node, rollout)
    if isinstance(value, list):
        return _items(_opened_list(node), node)
    rollout = getattr(value, "rollout", None)
    return _fields({name: _opened_field(node, name, item) for name, item in value.items()}, node, rollout)


def _items(items: Iterable[Any], origin: Any) -> Items:
    found = Items(items)
    found.origin, found.emptied = origin, 0
    return found


def _fields(fields: dict[str, Any], origin: Any, rollout: str | None = None) -> Fields:
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


class Provenance:
    """The value of one variable as it goes through a stretch of its events.

    Args:
        number: Number of the variable.
        value: Its value before the first of them, None if it was not there yet.
        seq: The event that value is as of.
        lazily: Makes `Earlier` of a field of the variable as of an event further back.
        marked: Events as of which the fields are asked for later.
    """

    def __init__(
        self,
        number: int,
        value: dict[str, Any] | None,
        seq: int,
        lazily: Callable[[int, str], Earlier],
        marked: frozenset[int] = frozenset(),
    ) -> None:
        self._number = number
        self._lazily = lazily
        self._marked = marked
        self._marks: dict[int, Fields] = {}
        self.root: Fields = _fields(
            {name: Earlier(seq, (name,), item) for name, item in (value or {}).items()},
            Earlier(seq, (), value or {}),
        )

    def apply(self, seq: int, event: e.Event) -> None:
        """Do to the value what the event does."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, seq, event)
        if seq in self._marked:
            marks = {name: duplicate(item) for name, item in self.root.items() if name not in APART}
            self._marks[seq] = _fields(marks, self.root.origin)

    def at(self, path: Place) -> Any:
        """Return the node at a place, `MISSING` if nothing lies there."""
        node: Any = self.root
        for step in path:
            value = value_of(node) if not isinstance(node, (Items, Fields)) else node
            if isinstance(value, dict):
                there = step in value
            else:
                there = isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)
            if not there:
                return MISSING
            node = opened(node)[step]
        return node

    # --- what events do ------------------------------------------------------------------------

    def _put(self, name: str, value: Any, seq: int, sources: Sequence[Any] = ()) -> None:
        """Write a field; it is compared with `sources`, and with what it replaces."""
        held = self.root.get(name)
        if held is not None and same(value_of(held), value):
            return
        found: Node | None = self._copy_of(name, value, seq) if name not in APART else None
        if found is None:
            found = Written(value, seq, (*sources, held) if held is not None else tuple(sources))
        self.root[name] = found

    def _copy_of(self, name: str, value: Any, seq: int) -> Copied | None:
        """Return a copy of a candidate's field if the value is one, the latest first."""
        if value in ("", [], {}, None) or isinstance(value, (bool, int, float)):
            return None
        for place in reversed(LISTS):
            held = self.root.get(place)
            if held is None or not value_of(held):
                continue
            inside: Items = opened(held)
            self.root[place] = inside
            for at in range(len(inside) - 1, -1, -1):
                entry = inside[at] = opened(inside[at])
                if name in entry and same(value_of(entry[name]), value):
                    return Copied(duplicate(entry[name]), seq)
        return None

    def _open(self, path: Sequence[str | int]) -> Any:
        """Return the container at a path, opened in place."""
        node: Any = self.root
        for step in path:
            node[step] = opened(node[step])
            node = node[step]
        return node

    def _declared(self, seq: int, event: e.VariableDeclared) -> None:
        whole = Written(event.value, seq)
        self.root = _fields({name: Written(item, seq) for name, item in event.value.items()}, whole)

    def _updated(self, seq: int, event: e.VariableUpdated) -> None:
        for name, value in event.payload.items():
            before = self.root.get(name)
            self._put(name, value, seq)
            if name == PREDICTIONS and before is not None:
                self._give_rollouts(before, event.rollout)

    def _give_rollouts(self, before: Any, rollout: str | None) -> None:
        """Make records of what was written over the predictions: an unchanged one stays its rollout's."""
        held = opened(before)
        records = self._open((PREDICTIONS,))
        for at, item in enumerate(records):
            if isinstance(value_of(item), dict):
                record = records[at] = opened(item)
                stays = at < len(held) and same(value_of(held[at]), value_of(record))
                record.rollout = opened(held[at]).rollout if stays else rollout

    def _replaced(self, seq: int, value: dict[str, Any]) -> None:
        for name in [name for name in self.root if name not in value]:
            del self.root[name]
            self.root.emptied = seq
        for name, item in value.items():
            self._put(name, item, seq)

    def _edited(self, seq: int, event: e.EditedFromOutside) -> None:
        if not event.path:
            self._replaced(seq, event.value)
        elif len(event.path) == 1:
            self._put(str(event.path[0]), event.value, seq)
        else:
            self._set(self._open(event.path[:-1]), event.path[-1], event.value, seq)

    def _set(self, container: Any, step: Any, value: Any, seq: int) -> None:
        inside = isinstance(container, Items) or step in container
        container[step] = written(value, seq, (container[step],) if inside else ())

    def _patched(self, seq: int, event: e.ValuePatched) -> None:
        container, op, args = self._open(event.path), event.op, event.args
        if op == p.SET:
            self._set(container, args[0], args[1], seq)
        elif op == p.MERGE:
            for name, value in args[0].items():
                self._set(container, name, value, seq)
        elif op == p.SPLICE:
            place = slice(*args[:3])
            before = _items(container[place], None)
            container[place] = opened(Written(args[3], seq, (before,)))
        elif op == p.REPEAT:
            copies = [Copied(duplicate(item), seq) for _ in range(args[0] - 1) for item in container]
            list.extend(container, copies) if args[0] > 0 else list.clear(container)
        else:
            rollout = event.rollout if event.path == [PREDICTIONS] else None
            p.perform(container, op, args, lambda value, _: _entering(value, seq, rollout))
        if op in (p.DELETE, p.CLEAR, p.DROP, p.SPLICE, p.REPEAT):
            container.emptied = seq

    def _predicted(self, seq: int, event: e.PredictionAppended) -> None:
        self._open((PREDICTIONS,)).append(_entering(event.record, seq, event.rollout or ""))

    def _attributed(self, seq: int, event: e.RewardsAttributed) -> None:
        rewards, visits, total = dict(event.rewards), 0, 0.0
        records = self._open((PREDICTIONS,))
        for at, item in enumerate(records):
            record = records[at] = opened(item)
            reward = rewards.get(record.rollout or "")
            if reward is not None and ("reward" not in record or value_of(record["reward"]) is None):
                record["reward"] = Written(reward, seq)
                visits, total = visits + 1, total + reward
        self.root["nb_visit"] = Written(visits, seq)
        self.root["cumulative_reward"] = Written(total, seq)

    def _archived(self, seq: int, event: e.PredictionsArchived) -> None:
        current, target = self._open((PREDICTIONS,)), self._open(("predictions",))
        records = [opened(item) for item in current]
        done = [record for record in records if _rewarded(record)]
        current[:] = [record for record in records if not _rewarded(record)]
        current.emptied = seq
        target.extend(sorted(done, key=lambda record: record.rollout or ""))

    def _closed(self, seq: int, event: e.PredictionsClosed) -> None:
        self.root[PREDICTIONS] = Written([], seq)

    def _cleared(self, seq: int, event: e.PredictionsCleared) -> None:
        self.root["predictions"] = Written([], seq)
        self.root["candidates"] = Written([], seq)

    def _proposed(self, seq: int, event: e.CandidateProposed) -> None:
        for name, value in event.fields.items():
            parents = [self._parent(parent, name) for parent in event.parents if parent < seq]
            self._put(name, value, seq, [parent for parent in parents if parent is not MISSING])
            if name == "examples" and event.sources and isinstance(self.root[name], Written):
                self._trace(seq, value, event.sources)

    def _trace(self, seq: int, examples: list[Any], sources: Sequence[str]) -> None:
        """Make examples copies of the prediction records they are: what is in them belongs to whoever predicted it."""
        by_rollout: dict[str, list[Any]] = {}
        records = self._open(("predictions",))
        for at, item in enumerate(records):
            record = records[at] = opened(item)
            by_rollout.setdefault(getattr(record, "rollout", None) or "", []).append(record)
        found: list[Any] = []
        for example, rollout in zip(examples, sources, strict=False):
            same_records = (
                record for record in by_rollout.get(rollout, ()) if same(value_of(record), example)
            )
            found.append(next(same_records, None))
        found += [None] * (len(examples) - len(found))
        if any(record is not None for record in found):
            node = self.root["examples"]
            kept = opened(node) if None in found else found
            pairs = zip(kept, found, strict=True)
            items = [old if record is None else Copied(duplicate(record), seq) for old, record in pairs]
            self.root["examples"] = _items(items, node)

    def _parent(self, seq: int, name: str) -> Any:
        if seq in self._marks:
            return self._marks[seq].get(name, MISSING)
        return self._lazily(seq, name)

    def _added(self, seq: int, event: e.CandidateAdded) -> None:
        reward, count = score_names(self.root)
        if event.equal_to < 0:
            entry: dict[str, Node] = {
                name: Copied(duplicate(item), seq) for name, item in self.root.items() if name not in APART
            }
            entry |= {reward: Written(event.reward, seq), count: Written(event.count, seq)}
            self._open(("candidates",)).append(_fields(entry, Written({}, seq)))
            return
        holder, at = self._entry(event.equal_to)
        found = holder[at] = opened(holder[at])
        before = value_of(found[count]) if count in found else 0
        mean = value_of(found[reward]) if reward in found else 0.0
        total = before + event.count
        found[reward] = Written((mean * before + event.reward * event.count) / max(1, total), seq)
        found[count] = Written(total, seq)

    def _entry(self, index: int) -> tuple[Items, int]:
        best, candidates = self._open(("best_candidates",)), self._open(("candidates",))
        return (best, index) if index < len(best) else (candidates, index - len(best))

    def _selected(self, seq: int, event: e.PopulationSelected) -> None:
        found = [self._entry(index) for index in event.kept]
        chosen = _items([duplicate(holder[at]) for holder, at in found], Written([], seq))
        self.root["best_candidates"] = chosen
        self.root["candidates"] = Written([], seq)

    def _chosen(self, seq: int, event: e.CandidateChosen) -> None:
        holder = self._open((event.place,))
        entry = holder[event.index] = opened(holder[event.index])
        for name in list(entry):
            if name in self.root and name not in APART:
                self.root[name] = Copied(duplicate(entry[name]), seq)

    def _remembered(self, seq: int, event: e.BestRemembered) -> None:
        best, held = self._open(("best_candidates",)), self._open(("history",))
        entry = opened(best[event.index])
        last = value_of(held[-1]) if held else {}
        own = {name for name in self.root if name not in APART}
        new = {name: value_of(item) for name, item in entry.items() if name in own}
        if key(sorted(new.items())) != key(sorted((name, last[name]) for name in last if name in own)):
            held.append(duplicate(entry))


def _entering(value: Any, seq: int, rollout: str | None) -> Any:
    """Return what enters a list; an object that enters the predictions of a rollout is a record of it."""
    node = Written(value, seq)
    if rollout is None or not isinstance(value, dict):
        return node
    record = opened(node)
    record.rollout = rollout
    return record


def _rewarded(record: Any) -> bool:
    return "reward" in record and value_of(record["reward"]) is not None


_HANDLERS: dict[type[e.Event], Callable[[Provenance, int, Any], None]] = {
    e.VariableDeclared: Provenance._declared,
    e.VariableUpdated: Provenance._updated,
    e.VariableAssigned: lambda self, seq, event: self._replaced(seq, event.value),
    e.ValuePatched: Provenance._patched,
    e.EditedFromOutside: Provenance._edited,
    e.PredictionAppended: Provenance._predicted,
    e.RewardsAttributed: Provenance._attributed,
    e.PredictionsArchived: Provenance._archived,
    e.PredictionsClosed: Provenance._closed,
    e.PredictionsCleared: Provenance._cleared,
    e.CandidateProposed: Provenance._proposed,
    e.CandidateAdded: Provenance._added,
    e.PopulationSelected: Provenance._selected,
    e.CandidateChosen: Provenance._chosen,
    e.BestRemembered: Provenance._remembered,
}

COPYING = (
    e.CandidateAdded,
    e.PopulationSelected,
    e.CandidateChosen,
    e.BestRemembered,
    e.CandidateProposed,
)
"""Events that carry whole candidates about: with one of them in a stretch, every field of it matters."""


def touched(event: e.Event) -> frozenset[str] | None:
    """Return the fields an event may change, None for all of them."""
    if isinstance(event, e.VariableUpdated):
        return frozenset(event.payload)
    if isinstance(event, (e.ValuePatched, e.EditedFromOutside)) and event.path:
        return frozenset((str(event.path[0]),))
    if isinstance(event, e.FieldRead):
        return frozenset()
    return _TOUCHED.get(type(event))


_TOUCHED: dict[type[e.Event], frozenset[str]] = {
    e.TrainabilityChanged: frozenset(),
    e.EffectStarted: frozenset(),
    e.PredictionAppended: frozenset((PREDICTIONS,)),
    e.RewardsAttributed: frozenset((PREDICTIONS, "nb_visit", "cumulative_reward")),
    e.PredictionsArchived: frozenset((PREDICTIONS, "predictions")),
    e.PredictionsClosed: frozenset((PREDICTIONS,)),
    e.PredictionsCleared: frozenset(("predictions", "candidates")),
}
