"""Lost updates: writes based on a value that another rollout had meanwhile replaced.

Reads are events, so the log alone tells: a rollout read a field, somebody else changed it, and the first
replaced it without having read it again. Nothing here judges what a program meant to do, and reads that are not
recorded (`get_json`, runs with `record_reads=False`) are not seen. Nor does the log say whose reads those outside any
rollout were: where the same field was then written outside any rollout, they are counted as not judged.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec

from eventcore.history import events as e
from eventcore.history import patches as p
from eventcore.history.codec import encoder
from eventcore.history.patches import plain
from eventcore.history.population import BOOKKEEPING
from eventcore.history.slots import PREDICTIONS
from eventcore.history.state import State, apply
from eventcore.history.timetravel import join_pointer

Place = tuple[int, str]
"""A variable's number and a field of it: what a read names."""

Target = tuple[Any, ...]
"""Steps from a variable's value to what an event changed."""

ALIVE = 50_000
"""Rollouts whose knowledge is kept: one that read nothing while so many others did is taken to be over."""

_CONTAINER = object()
"""Stands for a list or an object that was read: whether it changed is known from the events alone."""

_ADDS = frozenset({p.APPEND, p.EXTEND, p.INSERT, p.REORDER, p.REPEAT})
"""Changes in place that lose nothing of what others wrote."""

_USERS = (e.VariableUpdated, e.VariableAssigned, e.EditedFromOutside)
"""Events in which a user's code, or a person, replaces fields."""

_CREDIT = (
    e.RewardsAttributed,
    e.PredictionsArchived,
    e.PredictionsClosed,
    e.PredictionsCleared,
    e.CandidateAdded,
)


class Race(msgspec.Struct, frozen=True, gc=False):
    """A write that replaced what its writer had not seen.

    Attributes:
        variable: Path of the variable.
        pointer: JSON pointer to what was overwritten.
        rollout: The rollout that wrote.
        read: Seq at which it had last read the field.
        seq: Seq of its write.
        source: The line of its write, or None.
        other: The rollout whose value was overwritten; None for code outside any rollout.
        other_seq: Seq at which that one had written.
        other_source: The line of that write, or None.
        lost: What was overwritten.
        written: What was written over it; None for something deleted in place.
        certain: False for a change in place, which goes through a view that shows what others wrote: the log
            cannot tell whether the writer looked.
    """

    variable: str
    pointer: str
    rollout: str
    read: int
    seq: int
    source: str | None
    other: str | None
    other_seq: int
    other_source: str | None
    lost: Any
    written: Any
    certain: bool = True

    def __str__(self) -> str:
        other = f"rollout {self.other}" if self.other is not None else "code outside any rollout"
        return (
            f"{self.variable}{self.pointer}: rollout {self.rollout} read at {self.read} and wrote at {self.seq} "
            f"({self.source or 'unknown line'}) over what {other} wrote at {self.other_seq} "
            f"({self.other_source or 'unknown line'})"
        )


class Races(list[Race]):
    """Lost updates in the order of their writes.

    Attributes:
        unjudged: Reads outside any rollout of fields that were then written outside any rollout. One of several
            tasks that do so at once can lose what another wrote, and nothing tells.
    """

    unjudged: int = 0

    def __repr__(self) -> str:
        total = "1 lost update" if len(self) == 1 else f"{len(self)} lost updates"
        lines = [f"  {race}" for race in self]
        if self.unjudged:
            lines.append(f"  {unjudged_text(self.unjudged)}")
        return "\n".join([f"Races({total})", *lines])


def unjudged_text(count: int) -> str:
    """Return in words how many reads were not judged, and what makes them so that they are."""
    reads = "1 read" if count == 1 else f"{count} reads"
    return (
        f"{reads} outside any rollout not judged: the log does not say which task made them; "
        "predict, evaluate and fit call a program in rollouts"
    )


class _Change(msgspec.Struct, gc=False):
    """One change of a field: when, by whom, at which line, and what inside it."""

    seq: int
    rollout: str | None
    source: int
    target: Target


class _Known(msgspec.Struct, gc=False):
    """What a rollout knows of a field.

    Attributes:
        read: Seq of its last read.
        since: Seq of its last read or replacement: what others wrote later it has not seen.
        value: The scalar it saw or wrote, or `_CONTAINER`.
        before: `read` and `since` before its last read, which may have been made only to reach a container.
    """

    read: int
    since: int
    value: Any
    before: tuple[int, int] | None = None


class _Changes:
    """The last changes of a field: by whom it was changed last, and by whom other than that one."""

    __slots__ = ("last", "others", "within")

    def __init__(self) -> None:
        self.last: _Change | None = None
        self.others: _Change | None = None
        self.within: list[_Change] = []

    def add(self, change: _Change, keep: bool) -> None:
        if self.last is not None and self.last.rollout != change.rollout:
            self.others = self.last
        self.last = change
        if keep:
            self.within.append(change)

    def undo(self, after: int) -> None:
        """Forget changes after a seq."""
        kept = [change for change in (self.others, self.last) if change is not None and change.seq <= after]
        self.last, self.others = (kept[-1] if kept else None), (kept[0] if len(kept) > 1 else None)
        self.within = [change for change in self.within if change.seq <= after]

    def by_another(self, rollout: str, since: int) -> _Change | None:
        """Return the last change after `since` by anybody but `rollout`."""
        found = self.last if self.last is None or self.last.rollout != rollout else self.others
        return found if found is not None and found.seq > since else None

    def inside(self, rollout: str, since: int, target: Target) -> _Change | None:
        """Return the last change after `since` by anybody else that overlaps `target`."""
        for change in reversed(self.within):
            if change.seq <= since:
                return None
            shorter = min(len(change.target), len(target))
            if change.rollout != rollout and change.target[:shorter] == target[:shorter]:
                return change
        return None


def races(
    records: Iterable[tuple[int, e.Event]], state: State | None = None, possible: bool = False
) -> Races:
    """Return lost updates in the order of their writes: one pass over a log, O(n).

    A rollout's write of a field is one when the rollout had read the field, another rollout (or code outside any)
    changed it after that, and the value at the moment of the write is not the one that was read. Appending and
    inserting lose nothing and are never reported.

    Args:
        records: Events with their seqs, oldest first.
        state: The state before the first of them; changed in place.
        possible: Also report changes in place of what another rollout changed since the field was read.
    """
    finder = _Finder(State() if state is None else state, possible)
    found = Races()
    for seq, event in records:
        found += finder.look(seq, event)
    found.unjudged = finder.unjudged
    return found


class _Finder:
    """Goes through a log once and remembers who knows what.

    Attributes:
        unjudged: Reads outside any rollout of what was then written there.
    """

    def __init__(self, state: State, possible: bool) -> None:
        self._state = state
        self._possible = possible
        self._known: OrderedDict[str, dict[Place, _Known]] = OrderedDict()
        self._changes: dict[Place, _Changes] = {}
        self._outside: Counter[tuple[int, str | None]] = (
            Counter()
        )  # reads outside any rollout, None of all fields
        self.unjudged = 0
        self._before = 0  # seq of the last event that is not the introduction of a line

    def look(self, seq: int, event: e.Event) -> Iterable[Race]:
        """Take note of one event and return the lost updates it is."""
        kind = type(event)
        found: Iterable[Race] = ()
        if kind is e.FieldRead:
            if event.rollout is not None:
                self._read(seq, event)
            elif _outside(event):
                self._outside[event.variable, event.field] += 1  # type: ignore[attr-defined]
        elif kind is e.ValuePatched and event.path:  # type: ignore[attr-defined]
            found = self._patched(seq, event)
        elif kind is e.PredictionAppended:
            self._changed(seq, event, (PREDICTIONS,))
            apply(self._state, event)
        elif hasattr(event, "variable") and kind is not e.EffectStarted:
            found = self._replaced(seq, event)
        else:
            if kind is e.EpochBegan:  # no rollout outlives its epoch
                self._known.clear()
                self._changes.clear()
            elif kind is e.StateRestored:
                self._undone(event.back_to)  # type: ignore[attr-defined]
            apply(self._state, event)
        if kind is not e.SourceSeen:
            self._before = seq
        return found

    def _undone(self, after: int) -> None:
        """What happened after a seq was taken back: nobody knows of it, and it changed nothing."""
        self._outside.clear()
        for known in self._known.values():
            for place in [place for place, mine in known.items() if mine.since > after]:
                del known[place]
        for changes in self._changes.values():
            changes.undo(after)

    def _read(self, seq: int, event: Any) -> None:
        slot = self._state.slot(event.variable) if self._state.has(event.variable) else None
        if slot is None:
            return  # an object whose path was taken by another one
        known = self._known.setdefault(event.rollout, {})
        self._known.move_to_end(event.rollout)  # what comes first has been silent for the longest time
        if len(self._known) > ALIVE:
            self._known.popitem(last=False)
        for field in slot.value if event.field is None else (event.field,):
            if field in slot.value:
                place, value = (event.variable, field), slot.value[field]
                earlier = known.get(place)
                known[place] = _Known(
                    seq, seq, _seen(value), None if earlier is None else (earlier.read, earlier.since)
                )

    def _replaced(self, seq: int, event: Any) -> list[Race]:
        """An event that replaces whole fields: compare each with what its rollout knew of it."""
        before = self._fields(event)
        if _outside(event) and type(event) in _USERS:
            for field in (None, *before):
                self.unjudged += self._outside.pop((event.variable, field), 0)
        # Comparing the engine's own lists would cost their length in every batch: they count as changed.
        compared = isinstance(event, _USERS)
        codes = {
            field: _code(value)
            for field, value in before.items()
            if compared or _seen(value) is not _CONTAINER
        }
        lost = {field: plain(before[field]) for field in self._stale(event, before)}
        apply(self._state, event)
        after = self._state.slot(event.variable)
        known = self._known.get(event.rollout or "", {})
        found: list[Race] = []
        for field in before:
            place, value = (event.variable, field), after.value.get(field)
            if field in lost:
                change = self._changes[place].by_another(event.rollout, known[place].since)
                assert change is not None
                found.append(
                    self._race(seq, event, (field,), known[place].read, change, lost[field], plain(value))
                )
            # Of scalars that are written again the last writer is named; whether they differ, `_stale` sees.
            if codes.get(field) != _code(value) or _seen(value) is not _CONTAINER:
                self._changed(seq, event, (field,))
            if place in known:
                known[place] = _Known(known[place].read, seq, _seen(value))
        return found

    def _fields(self, event: Any) -> dict[str, Any]:
        """The fields an event may replace, with their values before it."""
        if isinstance(event, (e.VariableDeclared, e.TrainabilityChanged)):
            return {}
        value = self._state.slot(event.variable).value
        if isinstance(event, e.VariableAssigned):
            return {field: value.get(field) for field in {**value, **event.value}}
        if isinstance(event, e.VariableUpdated):
            return {field: value.get(field) for field in event.payload}
        if isinstance(event, e.EditedFromOutside) and event.path:
            return {str(event.path[0]): value.get(str(event.path[0]))}
        if isinstance(event, _CREDIT):
            return {field: value[field] for field in BOOKKEEPING if field in value and field != "examples"}
        return dict(value)

    def _stale(self, event: Any, before: dict[str, Any]) -> list[str]:
        """The fields among those about to be replaced whose value the rollout has not seen."""
        known = self._known.get(event.rollout or "")
        if not known:
            return []
        found: list[str] = []
        for field, value in before.items():
            place = (event.variable, field)
            mine, changes = known.get(place), self._changes.get(place)
            if mine is None or changes is None or changes.by_another(event.rollout, mine.since) is None:
                continue
            now = _seen(value)
            if now is _CONTAINER or (now is not mine.value and _code(now) != _code(mine.value)):
                found.append(field)
        return found

    def _patched(self, seq: int, event: Any) -> list[Race]:
        """A change in place: others see it as a change; it is itself at most possibly a lost update."""
        found: list[Race] = []
        if self._possible and event.rollout is not None and event.op not in _ADDS:
            place = (event.variable, event.path[0])
            known = self._known.get(event.rollout, {}).get(place)
            changes = self._changes.get(place)
            if known is not None and changes is not None:
                found = self._overlapping(seq, event, known, changes)
        for target in _targets(event):
            self._changed(seq, event, target)
        apply(self._state, event)
        return found

    def _overlapping(self, seq: int, event: Any, known: _Known, changes: _Changes) -> list[Race]:
        read, since = known.read, known.since
        if known.read == self._before and known.before is not None:
            read, since = known.before  # the last read was made only to reach the container
        found: list[Race] = []
        for target in _targets(event):
            change = changes.inside(event.rollout, since, target)
            if change is not None:
                lost = _at(self._state.slot(event.variable).value, target)
                written = _written(event, target)
                found.append(self._race(seq, event, target, read, change, lost, written, certain=False))
        return found

    def _changed(self, seq: int, event: Any, target: Target) -> None:
        changes = self._changes.setdefault((event.variable, target[0]), _Changes())
        changes.add(_Change(seq, event.rollout, getattr(event, "source", -1), target), self._possible)

    def _race(
        self, seq: int, event: Any, target: Target, read: int, change: _Change, lost: Any, written: Any,
        certain: bool = True,
    ) -> Race:  # fmt: skip
        pointer = ""
        for step in target:
            pointer = join_pointer(pointer, step)
        return Race(
            self._state.slot(event.variable).path, pointer, event.rollout, read,
            seq, self._line(getattr(event, "source", -1)),
            change.rollout, change.seq, self._line(change.source), lost, written, certain,
        )  # fmt: skip

    def _line(self, source: int) -> str | None:
        sources = self._state.sources
        return sources[source] if 0 <= source < len(sources) else None


def _outside(event: e.Event) -> bool:
    """Whether an event belongs to no rollout; what training does itself it does in turn."""
    return event.rollout is None and not event.cause


def _seen(value: Any) -> Any:
    return _CONTAINER if isinstance(value, (dict, list)) else value


def _code(value: Any) -> bytes:
    """Bytes that are equal for equal values of equal types."""
    return encoder.encode(value)


def _targets(event: e.ValuePatched) -> list[Target]:
    """What a change in place concerns: the places it sets or removes, or the whole container."""
    path, op = tuple(event.path), event.op
    if op in (p.SET, p.DELETE):
        return [(*path, event.args[0])]
    if op == p.MERGE:
        return [(*path, key) for key in event.args[0]]
    if op in (p.APPEND, p.EXTEND):
        return [(*path, None)]  # behind the end: no place that others have set
    return [path]


def _at(value: Any, target: Target) -> Any:
    for step in target:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return plain(value)


def _written(event: e.ValuePatched, target: Target) -> Any:
    if event.op == p.SET:
        return plain(event.args[1])
    return plain(event.args[0][target[-1]]) if event.op == p.MERGE else None
