"""Who wrote this: for every word of a text, and every other part of a value, the event that put it there.

The answer is found backwards from the newest event: a stretch of the variable's own events at a time, between two
snapshots, until every word has its owner. Nothing is folded that the question does not touch. What lies behind an
event (the step of training, the model call, the rewards) is in `origins.py`; how it looks is in `blame_view.py`.

What is a copy, which belongs to whoever wrote the original, is said in `provenance.py`. A snapshot is where a stretch
begins and nothing more: no answer depends on whether there is one.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import CorruptLog, InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history.alignment import NEW, matched, word_spans, words
from eventcore.history.index import EVERY
from eventcore.history.nodes import (
    MISSING,
    Continued,
    Copied,
    Earlier,
    Fields,
    Items,
    Place,
    Written,
    same,
    value_of,
)
from eventcore.history.provenance import COPYING, LISTS, Provenance, marks, mixing
from eventcore.history.slots import PREDICTIONS
from eventcore.history.state import decode_state
from eventcore.history.timetravel import astray, join_pointer, lookup, parse_pointer
from eventcore.history.touching import touched
from eventcore.history.trail import Trail

if TYPE_CHECKING:
    from eventcore.history.reading import Reader

RECORDS = frozenset((PREDICTIONS, "predictions"))

FOLDED_AWAY = 0
"""Seq of the owner of what is older than the oldest event a bounded run in memory still has."""


class Piece(msgspec.Struct, frozen=True):
    """A stretch of text, or another value, with one owner.

    Attributes:
        pointer: JSON pointer to the text or value in the variable.
        value: The words with the blanks around them, or the whole value when it is no text.
        span: Where the words begin and end in their text, None for a value that is no text.
        seq: The event that put it there; 0 when that is no longer in the log.
        copies: Events that copied it from place to place since, newest first.
    """

    pointer: str
    value: Any
    span: tuple[int, int] | None
    seq: int
    copies: tuple[int, ...] = ()


class _Slot:
    """One word, or one value that is no text, whose owner is looked for."""

    __slots__ = ("copies", "seq")

    def __init__(self) -> None:
        self.seq = FOLDED_AWAY
        self.copies: tuple[int, ...] = ()


class _Question(msgspec.Struct):
    """Who wrote these words at a place?

    Attributes:
        path: Where, as of the event asked about.
        wanted: Place of a word among the words there -> whose owner it is; 0 for what is no text.
        copies: Events met on the way, newest first.
    """

    path: Place
    wanted: dict[int, _Slot]
    copies: tuple[int, ...]


class Asked(msgspec.Struct):
    """A part of a value that is asked about.

    Attributes:
        pointer: Where it is.
        path: The same, as steps.
        value: The text or value there.
        span: The characters asked about, None for all of it.
    """

    pointer: str
    path: Place
    value: Any
    span: tuple[int, int] | None = None


def blamed(reader: Reader, number: int, seq: int, parts: list[Asked]) -> list[Piece]:
    """Find who wrote parts of a variable as it was at an event.

    Args:
        reader: The run.
        number: Number of the variable.
        seq: As of which event.
        parts: Texts and scalars of the variable's value then.

    Returns:
        The pieces, in the order of the parts; neighbouring words with one owner are one piece.
    """
    asked = [(part, _slots(part)) for part in parts]
    walk = _Walk(reader, number)
    for part, slots in asked:
        walk.ask(seq, _Question(part.path, dict(slots), ()))
    walk.run()
    return [piece for part, slots in asked for piece in _pieces(part, slots)]


def leaves(pointer: str, path: Place, value: Any) -> Iterator[Asked]:
    """Yield the texts and scalars in a value; an empty list or object is one too."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from leaves(join_pointer(pointer, name), (*path, name), item)
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield from leaves(join_pointer(pointer, at), (*path, at), item)
    else:
        yield Asked(pointer, path, value)


def asked_at(value: dict[str, Any], pointer: str, span: tuple[int, int] | str | None) -> list[Asked]:
    """Return the parts of a variable's value a pointer and a span stand for.

    Raises:
        NotFound: Nothing lies there, or the words do not occur.
        InvalidValue: A span that is not inside the text, or of something that is no text.
    """
    wrong = astray(value, pointer)
    if wrong is not None:
        raise NotFound(f"cannot follow JSON pointer {pointer!r}: {wrong}")
    found: Any = value
    path: Place = ()
    for text in parse_pointer(pointer):
        step: Any = int(text) if isinstance(found, list) else text
        path, found = (*path, step), found[step]
    if span is None:
        return list(leaves(pointer, path, found))
    if not isinstance(found, str):
        raise InvalidValue(
            f"cannot take a span of {pointer or 'the whole value'!r}: it is no text but {type(found).__name__}; "
            "leave the span out, or point at a text"
        )
    return [Asked(pointer, path, found, _span(found, span))]


def _span(text: str, span: Any) -> tuple[int, int]:
    if isinstance(span, str):
        start = text.find(span) if span else -1
        if start < 0:
            raise NotFound(f"cannot find {span!r} in the text {_short(text)!r}")
        return start, start + len(span)
    numbers: tuple[Any, ...] = tuple(span) if isinstance(span, (tuple, list)) else ()
    if len(numbers) != 2 or not all(type(number) is int for number in numbers):
        raise InvalidValue(f"cannot use span {span!r}: pass (start, end), or words that occur in the text")
    start, end = numbers
    if not 0 <= start < end <= len(text):
        raise InvalidValue(
            f"cannot take span {start}:{end} of a text of {len(text)} characters; "
            f"pass 0 <= start < end <= {len(text)}"
        )
    return start, end


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _slots(part: Asked) -> dict[int, _Slot]:
    """Return an empty slot for every word asked about, by its place; one at 0 for what has no words."""
    if not isinstance(part.value, str):
        return {0: _Slot()}
    low, high = part.span or (0, len(part.value))
    spans = word_spans(part.value)
    places = [at for at, (start, end) in enumerate(spans) if start < high and end > low]
    nearest = max((at for at, (start, _) in enumerate(spans) if start < high), default=0)  # to blanks alone
    return {at: _Slot() for at in places or [nearest]}


def _pieces(part: Asked, slots: dict[int, _Slot]) -> Iterator[Piece]:
    spans = word_spans(part.value) if isinstance(part.value, str) else []
    if not spans:
        for slot in slots.values():
            span = (0, len(part.value)) if isinstance(part.value, str) else None
            yield Piece(part.pointer, part.value, span, slot.seq, slot.copies)
        return
    low, high = part.span or (0, len(part.value))
    groups: list[tuple[int, _Slot]] = []
    for at, slot in slots.items():
        if not groups or (groups[-1][1].seq, groups[-1][1].copies) != (slot.seq, slot.copies):
            groups.append((at, slot))
    starts = [low, *(spans[at][0] for at, _ in groups[1:]), high]
    for (_, slot), start, end in zip(groups, starts, starts[1:], strict=False):
        yield Piece(part.pointer, part.value[start:end], (start, end), slot.seq, slot.copies)


class _Walk:
    """Goes backwards through a variable's events until every question is answered."""

    def __init__(self, reader: Reader, number: int) -> None:
        self._reader = reader
        self._number = number
        self._kept = reader.first_stored()
        self._trail = Trail(reader, number)
        self._taken_back = Trail(reader, EVERY)
        self._open: dict[int, list[_Question]] = {}
        self._newest: list[int] = []
        self._others: dict[int, _Walk] = {}

    def ask(self, seq: int, question: _Question) -> None:
        """Add a question about the variable as of an event; without that event the owner stays unknown."""
        if seq < self._kept:
            return _own(question.wanted, FOLDED_AWAY, question.copies)
        if seq not in self._open:
            heapq.heappush(self._newest, -seq)
        self._open.setdefault(seq, []).append(question)

    def run(self) -> None:
        """Answer everything."""
        while self._newest:
            seq = -heapq.heappop(self._newest)
            self._stretch(seq, self._open.pop(seq))
        for other in self._others.values():
            other.run()

    def _stretch(self, seq: int, questions: list[_Question]) -> None:
        """Answer questions as of `seq` by the events since the snapshot before it; what is older is asked again."""
        first, asked_of = self._snapshot_before(seq), 0
        if first < self._kept:  # a bounded run in memory: what these events began with is no longer known
            for question in questions:
                _own(question.wanted, FOLDED_AWAY, question.copies)
            return
        restored: e.StateRestored | None = None
        for at, taken_back in self._taken_back.events(first, seq):
            assert isinstance(taken_back, e.StateRestored)
            first, asked_of, restored = at + 1, taken_back.back_to, taken_back
        fields = {str(question.path[0]) for question in questions if question.path}
        if not fields.isdisjoint(RECORDS):  # records go from one of these fields to the other
            fields |= RECORDS
        whole = not all(question.path for question in questions)
        wanted = marks(None if whole else frozenset(fields))
        if not self._trail.any_of(first, seq, wanted, lambda event: self._matters(event, fields)):
            for question in questions:
                self.ask(first - 1 if restored is None else asked_of, question)
            return
        records = self._trail.events(first, seq)
        if restored is not None:
            state = decode_state(restored.state)
        else:
            good, state = self._reader.nearest_snapshot(seq - 1)
            records = self._trail.events(good, first - 1) + records
            asked_of = good - 1
        whole = whole or any(mixing(event) for _, event in records)
        fields.update(LISTS)  # what is in them a field may be a copy of
        marked = {parent for _, event in records for parent in getattr(event, "parents", ())}
        value = state.slot(self._number).value if state.has(self._number) else None
        found = Provenance(self._number, value, asked_of, self._lazily, frozenset(marked))
        for at, event in records:
            if whole or self._matters(event, fields):
                found.apply(at, event)
        for question in questions:
            self._answer(found.at(question.path), question, seq)

    def _snapshot_before(self, seq: int) -> int:
        """Return the first seq after the newest snapshot before an event, without unpacking it."""
        for part in reversed(self._reader.segments(1, seq - 1)):
            stored = self._reader.backend.snapshot(part.run, part.last)
            if stored is not None and stored.seq >= part.first - 1:
                return stored.seq + 1
        return 1

    def _matters(self, event: e.Event, fields: set[str]) -> bool:
        if isinstance(event, COPYING):
            return True
        names = touched(event)
        return names is None or not fields.isdisjoint(names)

    def _lazily(self, seq: int, field: str) -> Earlier:
        """Return a field as it was at an event further back, read only when it is compared with."""

        def load() -> Any:
            if seq < self._kept:
                return MISSING
            event = next(iter(self._reader.events_at([seq])))[1]
            fields = getattr(event, "fields", {})
            if field in fields:
                return fields[field]
            state = self._reader.state_at(seq)
            return state.slot(self._number).value.get(field, MISSING) if state.has(self._number) else MISSING

        return Earlier(seq, (field,), load=load)

    def _answer(self, node: Any, question: _Question, seq: int) -> None:
        """Follow words from node to node, to the event that wrote them or to the stretch before."""
        todo = [(node, question.wanted, question.copies)]
        while todo:
            node, wanted, copies = todo.pop()
            while isinstance(node, Copied):
                node, copies = node.source, (*copies, node.seq)
            if isinstance(node, (Items, Fields)):
                if node.emptied:
                    _own(wanted, node.emptied, copies)
                    continue
                todo.append((node.origin, wanted, copies))
            elif isinstance(node, Continued):
                self._before(node, wanted, copies)
            elif isinstance(node, Earlier):
                self.ask(node.seq, _Question(node.path, wanted, copies))
            elif isinstance(node, Written):
                if node.explained or (isinstance(node.value, str) and words(node.value)):
                    todo += _sources_of_words(node, wanted, copies)
                else:
                    todo += _source_of_value(node, wanted, copies)
            else:
                raise CorruptLog(
                    f"cannot follow {question.path} back from seq {seq}: nothing lies there", seq
                )

    def _before(self, node: Continued, wanted: dict[int, _Slot], copies: tuple[int, ...]) -> None:
        """Ask the variable that was at the same path before, in the process that left the value there."""
        number = self._number_before(node)
        if number is None:
            return _own(wanted, node.declared, copies)
        if number not in self._others:
            self._others[number] = _Walk(self._reader, number)
        self._others[number].ask(node.seq, _Question(node.path, wanted, (*copies, node.declared)))

    def _number_before(self, node: Continued) -> int | None:
        """Return the number of the variable a declaration went on with; None if it did not hold this value."""
        if node.seq < self._kept:
            return None
        ((_, event),) = self._reader.events_at([node.declared])
        assert isinstance(event, e.VariableDeclared)
        state = self._reader.state_at(node.seq)
        if event.path not in state.names():
            return None
        held = state.variables[event.path]
        if lookup(held, [str(step) for step in node.path], MISSING) != node.value:
            return None
        return state.slot(event.path).number


def _own(wanted: dict[int, _Slot], seq: int, copies: tuple[int, ...]) -> None:
    for slot in wanted.values():
        slot.seq, slot.copies = seq, copies


_Todo = tuple[Any, dict[int, _Slot], tuple[int, ...]]


def _source_of_value(node: Written, wanted: dict[int, _Slot], copies: tuple[int, ...]) -> Iterator[_Todo]:
    for source in node.sources:
        if same(value_of(source), node.value):
            yield source, wanted, copies
            return
    _own(wanted, node.seq, copies)


def _sources_of_words(node: Written, wanted: dict[int, _Slot], copies: tuple[int, ...]) -> Iterator[_Todo]:
    """Tell the words the event wrote from those that were there: in what it replaced, or in a part of that."""
    if node.explained is None:
        node.explained = (mine := words(node.value)), _explained(node, mine)
    mine, found = node.explained
    older: dict[int, tuple[Any, dict[int, _Slot]]] = {}
    written: dict[int, _Slot] = {}
    for at, slot in wanted.items():
        place = found.get(at) or (None if node.pool is None else node.pool.find(mine[at]))
        if place is None:
            written[at] = slot
        else:
            _, slots = older.setdefault(id(place[0]), (place[0], {}))
            if place[1] in slots:  # two words were one: the second asks for itself
                yield place[0], {place[1]: slot}, copies
            else:
                slots[place[1]] = slot
    _own(written, node.seq, copies)
    for source, slots in older.values():
        yield source, slots, copies


def _explained(node: Written, mine: list[str]) -> dict[int, tuple[Any, int]]:
    """Return for each word that was in a source the source and the word's place there.

    All words take part, so that a span has the owners it has in the whole. What a later source has in common with an
    earlier one explains no second occurrence of a word, except in a stretch of words that came over together.
    """
    found: dict[int, tuple[Any, int]] = {}
    unused: dict[str, list[tuple[Any, int]]] = {}
    earlier: list[list[str]] = []
    for source in node.sources:
        before = value_of(source)
        theirs = words(before) if isinstance(before, str) else []
        if not theirs or theirs in earlier:
            continue
        shared = {at for other in earlier for at, old in enumerate(matched(other, theirs)) if old != NEW}
        left = [at for at in range(len(mine)) if at not in found]
        places = matched(theirs, [mine[at] for at in left])
        pairs = {at: old for at, old in zip(left, places, strict=True) if old != NEW}
        pairs = {at: old for at, old in pairs.items() if old not in shared or _in_company(at, old, pairs)}
        found |= {at: (source, old) for at, old in pairs.items()}
        for old in sorted(set(range(len(theirs))) - set(pairs.values()) - shared):
            unused.setdefault(theirs[old], []).append((source, old))
        earlier.append(theirs)
    left = [at for at in range(len(mine)) if at not in found]
    counts = Counter(mine[at] for at in left)
    for at in left:  # what no source alone has often enough, all of them together may have
        places_left = unused.get(mine[at], [])
        if counts[mine[at]] <= len(places_left):
            found[at] = places_left.pop()
            counts[mine[at]] -= 1
    return found


def _in_company(at: int, old: int, pairs: dict[int, int]) -> bool:
    return pairs.get(at - 1) == old - 1 or pairs.get(at + 1) == old + 1
