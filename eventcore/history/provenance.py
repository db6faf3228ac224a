"""One variable's value in which every part knows how it came there: what blame walks through, backwards.

`Provenance.apply` does to such a value what `state.apply` does to a plain one. It compares words only when somebody
asks who wrote them: a part that was written keeps what stood there before. What was there when the stretch of events
began is `Earlier`: its origin is asked of the stretch before.

What counts as a copy, and so keeps its owners: what events of training carry between a variable's own fields and its
lists of candidates; a whole field that is written as it stands in an entry of such a list; an entry that is written
into a list, as a whole or field by field, as it stands in one or as the variable held it. An entry made of what the
variable held, or of the entry it takes the place of, owns only its new words. Nothing else does: words that an update
moves from one field to another, or that are written into another variable, belong to that update.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history.alignment import key
from eventcore.history.nodes import (
    MISSING,
    Continued,
    Copied,
    Earlier,
    Fields,
    Items,
    Node,
    Place,
    Pool,
    Written,
    duplicate,
    list_of,
    object_of,
    opened,
    same,
    value_of,
    written,
)
from eventcore.history.population import BOOKKEEPING, score_names
from eventcore.history.positions import heads_of
from eventcore.history.slots import PREDICTIONS
from eventcore.history.touching import BY_KIND, touched
from eventcore.history.trail import Marks

LISTS = ("seed_candidates", "candidates", "best_candidates", "history")
"""The lists whose entries are candidates: a value that equals an entry's was copied from it."""

_LEFT = re.compile(r"run (?:'[^']*'|\"[^\"]*\") at seq (\d+)$")
"""Origin of what an earlier process left in the same run: a seq of this line of history; another run's has a URL."""

APART = frozenset(BOOKKEEPING) - {"examples"}

_Values = dict[str, Any]
"""The fields of the variable, with their nodes."""


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
        self.root: Fields = object_of(
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
            self._marks[seq] = object_of(marks, self.root.origin)

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

    def _put(
        self, name: str, value: Any, seq: int, sources: Sequence[Any] = (), before: _Values | None = None
    ) -> None:
        """Write a field; it is compared with `sources`, and with what it replaces.

        Args:
            name: Its name.
            value: What is written.
            seq: The event.
            sources: What it was made of.
            before: The fields before the event, if it writes several.
        """
        held, before = self.root.get(name), self.root if before is None else before
        if held is not None and same(value_of(held), value):
            return
        found: Any = self._copy_of(name, value, seq, before) if name not in APART else None
        if found is None:
            found = Written(value, seq, (*sources, held) if held is not None else tuple(sources))
        if name in LISTS and isinstance(value, list) and value:
            inside = opened(found)
            inside[:] = [self._entered(item, seq, before) for item in inside]
            found = inside
        self.root[name] = found

    def _copy_of(self, name: str, value: Any, seq: int, before: _Values) -> Copied | None:
        """Return a copy of a candidate's field if the value is one, the latest first."""
        if value in ("", [], {}, None) or isinstance(value, (bool, int, float)):
            return None
        for entry in _entries(before):
            if name in entry and same(value_of(entry[name]), value):
                return Copied(duplicate(entry[name]), seq)
        return None

    def _entered(self, node: Any, seq: int, before: _Values) -> Any:
        """Return what enters a list of candidates: a copy of an entry, or one made of what the variable held."""
        if not isinstance(node, Written) or node.seq != seq or not isinstance(node.value, dict):
            return node
        value: dict[str, Any] = node.value
        for entry in _entries(before):
            if len(entry) == len(value) and all(
                name in value and same(value_of(item), value[name]) for name, item in entry.items()
            ):
                return Copied(duplicate(entry), seq)
        held = {name: Copied(duplicate(item), seq) for name, item in before.items() if name not in APART}
        sources = (*node.sources, object_of(held, Written({}, seq)))
        made: Fields = opened(Written(value, seq, sources, Pool(sources, value, node.pool)))
        for name, item in made.items():
            made[name] = self._field(name, item, seq, before)
        return made

    def _field(self, name: str, node: Any, seq: int, before: _Values) -> Any:
        """Return a field of an entry: a copy of another entry's if the event wrote it as it stands there."""
        if isinstance(node, Written) and node.seq == seq:
            return self._copy_of(name, node.value, seq, before) or node
        return node

    def _open(self, path: Sequence[str | int]) -> Any:
        """Return the container at a path, opened in place."""
        node: Any = self.root
        for step in path:
            node[step] = opened(node[step])
            node = node[step]
        return node

    def _declared(self, seq: int, event: e.VariableDeclared) -> None:
        left = _LEFT.match(event.origin or "")
        if left is not None and int(left[1]) < seq:
            self.root = opened(Continued(int(left[1]), (), event.value, seq))
            return
        whole = Written(event.value, seq)
        self.root = object_of({name: Written(item, seq) for name, item in event.value.items()}, whole)

    def _updated(self, seq: int, event: e.VariableUpdated) -> None:
        before = dict(self.root)
        for name, value in event.payload.items():
            self._put(name, value, seq, (), before)
            if name == PREDICTIONS and name in before:
                self._give_rollouts(before[name], event.rollout)

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
        before = dict(self.root)
        for name in [name for name in self.root if name not in value]:
            del self.root[name]
            self.root.emptied = seq
        for name, item in value.items():
            self._put(name, item, seq, (), before)

    def _edited(self, seq: int, event: e.EditedFromOutside) -> None:
        if not event.path:
            self._replaced(seq, event.value)
        else:
            self._set(event.path[:-1], event.path[-1], event.value, seq)

    def _set(self, path: Sequence[str | int], step: Any, value: Any, seq: int) -> None:
        """Write what lies at a step from a container."""
        if not path:
            return self._put(step, value, seq)
        container = self._open(path)
        sources = _held(container, step)
        if path[0] not in LISTS:
            container[step] = written(value, seq, sources)
        elif len(path) == 1:
            container[step] = self._entered(written(value, seq, sources), seq, self.root)
        else:
            if len(path) == 2 and step in self.root and step not in APART:
                sources += (Copied(duplicate(self.root[step]), seq),)
            node = written(value, seq, sources)
            container[step] = self._field(step, node, seq, self.root) if len(path) == 2 else node

    def _patched(self, seq: int, event: e.ValuePatched) -> None:
        container, op, args = self._open(event.path), event.op, event.args
        candidates = len(event.path) == 1 and event.path[0] in LISTS
        if op == p.SET:
            self._set(event.path, args[0], args[1], seq)
        elif op == p.MERGE:
            for name, value in args[0].items():
                self._set(event.path, name, value, seq)
        elif op == p.SPLICE:
            place = slice(*args[:3])
            before = list_of(container[place], None)
            entering = opened(Written(args[3], seq, (before,)))
            if candidates:
                entering = [self._entered(item, seq, self.root) for item in entering]
            container[place] = entering
        elif op == p.REPEAT:
            copies = [Copied(duplicate(item), seq) for _ in range(args[0] - 1) for item in container]
            list.extend(container, copies) if args[0] > 0 else list.clear(container)
        elif candidates:
            p.perform(
                container, op, args, lambda value, _: self._entered(Written(value, seq), seq, self.root)
            )
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
            self.root["examples"] = list_of(items, node)

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
            self._open(("candidates",)).append(object_of(entry, Written({}, seq)))
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
        chosen = list_of([duplicate(holder[at]) for holder, at in found], Written([], seq))
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


def _held(container: Any, step: Any) -> tuple[Any, ...]:
    return (container[step],) if isinstance(container, Items) or step in container else ()


def _entries(values: _Values) -> Iterator[Fields]:
    """Yield the entries of the lists of candidates, opened in place, the latest first."""
    for place in reversed(LISTS):
        held = values.get(place)
        if held is None or not (held if isinstance(held, Items) else value_of(held)):
            continue
        inside: Items = opened(held)
        values[place] = inside
        for at in range(len(inside) - 1, -1, -1):
            if isinstance(inside[at], Fields) or isinstance(value_of(inside[at]), dict):
                inside[at] = opened(inside[at])
                yield inside[at]


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
"""Events that carry whole candidates about."""


_NAMING = (e.VariableDeclared, e.VariableUpdated, e.VariableAssigned, e.ValuePatched, e.EditedFromOutside)
"""Events that have in them the names of the fields they put somewhere; to take a field away, some need not name it."""


def mixing(event: e.Event) -> bool:
    """Whether an event may put something into a field that was in another: then every field of its stretch matters."""
    if isinstance(event, COPYING):
        return True
    if not isinstance(event, (e.VariableUpdated, e.VariableAssigned, e.ValuePatched, e.EditedFromOutside)):
        return False
    names = touched(event)
    return names is None or any(name in LISTS for name in names)


def marks(fields: frozenset[str] | None) -> Marks:
    """Return what every event has that may put something into one of the fields: a name in it, or a head.

    Args:
        fields: Names of the fields, None for any.
    """
    if fields is None:
        return Marks(None, (b"",), frozenset())
    heads: list[bytes] = []
    for kind in e.KINDS.values():
        if "variable" not in kind.__struct_fields__ or kind in _NAMING or kind is e.FieldRead:
            continue
        names = None if kind in COPYING else BY_KIND.get(kind)
        if names is None or not fields.isdisjoint(names):
            heads += heads_of(kind)
    return Marks(fields, tuple(name.encode() for name in fields), frozenset(heads))
