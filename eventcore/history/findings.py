"""What looking back returns: a list of differences, the changes of a place; both show themselves.

They are the list and the iterator they look like. What shows them, in a console or a notebook, reads at most
what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from time import localtime, strftime
from typing import Any

import msgspec

from eventcore.history.timetravel import Change, Difference, Word, value_differences, word_diff

ROWS = 20
"""Differences or changes a `repr` shows; the rest are counted, or said to be there."""

SHORT = 60
"""Characters of a value a `repr` shows."""

CONTEXT = 40
"""Characters of unchanged text kept on either side of a change."""

PLACES = 3
"""Places in a value that a change shows; the rest are counted."""

DELETED = "(deleted)"
"""Stands for a value that is there no more; null is a value."""

SIGNS = {"add": "+", "remove": "-", "replace": "~"}

_encode = msgspec.json.Encoder().encode


class Diff(list[Difference]):
    """Differences between two states, in order; applied one after the other they turn the first into the second.

    Attributes:
        before: Which state the first was: "main@3".
        after: Which the second was.
    """

    def __init__(self, found: Iterable[Difference], before: str, after: str) -> None:
        super().__init__(found)
        self.before = before
        self.after = after

    def __repr__(self) -> str:
        if not self:
            return f"Diff({self.before} to {self.after}: no difference)"
        lines = [f"  {difference_text(difference)}" for difference in self[:ROWS]]
        if len(self) > ROWS:
            lines.append(f"  … and {len(self) - ROWS} more")
        places = "1 difference" if len(self) == 1 else f"{len(self)} differences"
        return "\n".join([f"Diff({self.before} to {self.after}: {places})", *lines])

    def _repr_html_(self) -> str:
        from eventcore.history.html import diff_html

        return diff_html(self)


class History(Iterator[Change]):
    """The changes of a variable, or of one place in it, oldest first: an iterator that can be looked at.

    Attributes:
        run: Name of the run.
        variable: Path of the variable.
        pointer: JSON pointer to the place, "" for the whole value.
    """

    def __init__(self, run: str, variable: str, pointer: str, find: Callable[[], Iterator[Change]]) -> None:
        self.run = run
        self.variable = variable
        self.pointer = pointer
        self._find = find
        self._rest = find()

    def __next__(self) -> Change:
        return next(self._rest)

    def first(self, count: int) -> list[Change]:
        """Return the first changes of all, whatever was iterated over already."""
        return list(islice(self._find(), count))

    def __repr__(self) -> str:
        found = self.first(ROWS + 1)
        lines = [f"  {change_text(change)}" for change in found[:ROWS]]
        if len(found) > ROWS:
            lines.append("  … and more")
        return "\n".join([f"History({self.variable}{self.pointer} in run {self.run!r})", *lines])

    def _repr_html_(self) -> str:
        from eventcore.history.html import history_html

        return history_html(self)


def brief(value: Any, limit: int = SHORT) -> str:
    """Return a value as JSON on one line, cut with an ellipsis; text that a terminal would obey is escaped."""
    given = value[: limit + 1] if isinstance(value, str) else value
    text = "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}"
        for char in _encode(given).decode(errors="replace")
    )
    return text if len(text) <= limit else text[: limit - 1] + "…"


def words_of(before: Any, after: Any, words: tuple[Word, ...] = ()) -> tuple[Word, ...]:
    """Return the stretches of a changed text; nothing when either side is no text."""
    if words or not (isinstance(before, str) and isinstance(after, str)):
        return words
    return word_diff(before, after)


def difference_text(difference: Difference) -> str:
    """Return a difference on one line."""
    place = f"{SIGNS[difference.op]} {difference.variable}{difference.pointer}"
    if difference.op == "add":
        return f"{place}  {brief(difference.after)}"
    if difference.op == "remove":
        return f"{place}  {brief(difference.before)}"
    return f"{place}  {_replaced(difference)}"


def _replaced(difference: Difference) -> str:
    """Return what became what: of texts too long to be shown whole, what changed in them."""
    before, after = difference.before, difference.after
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > SHORT:
        return words_line(words_of(before, after, difference.words), _shown)
    return f"{brief(before)} -> {brief(after)}"


def _shown(op: str, text: str) -> str:
    said = brief(text, len(text) * 6 + 2)[1:-1]
    return f"[-{said}-]" if op == "-" else f"{{+{said}+}}" if op == "+" else said


def words_line(words: Sequence[Word], show: Callable[[str, str], str], whole: bool = False) -> str:
    """Return compared text on one line.

    Args:
        words: Its stretches.
        show: Makes of the op of a stretch and its text what is printed.
        whole: Keep long unchanged stretches, which else are cut.
    """
    words = _gathered(words)
    parts: list[str] = []
    for at, word in enumerate(words):
        text = word.text
        if word.op == "=" and not whole:
            text = _cut(text, first=at == 0, last=at == len(words) - 1)
        parts.append(show(word.op, text))
    return "".join(parts)


def _gathered(words: Sequence[Word]) -> list[Word]:
    """Read changes with only blanks between them as one change: what a person would call a changed phrase."""
    found: list[Word] = []
    before, after = "", ""
    for at, word in enumerate(words):
        inside = word.op == "=" and not word.text.strip() and (before or after) and at + 1 < len(words)
        if word.op == "-" or inside:
            before += word.text
        if word.op == "+" or inside:
            after += word.text
        if word.op == "=" and not inside:
            found += _change(before, after)
            before, after = "", ""
            found.append(word)
    return found + _change(before, after)


def _change(before: str, after: str) -> list[Word]:
    return [Word(op, text) for op, text in (("-", before), ("+", after)) if text]


def _cut(text: str, first: bool, last: bool) -> str:
    """Keep of an unchanged stretch what is near a change."""
    head = "" if first else text[:CONTEXT]
    tail = "" if last else text[-CONTEXT:]
    return text if len(text) <= len(head) + len(tail) + 3 else f"{head}…{tail}"


def what_changed(change: Change) -> str:
    """Return what a change did: the new value, or of a value with parts the parts that are new, other or gone."""
    if not change.exists:
        return DELETED
    if not change.existed:
        return brief(change.after)
    found = value_differences(change.before, change.after)
    if len(found) == 1 and found[0].pointer == "":
        return _replaced(found[0]) if isinstance(change.before, str) else brief(change.after)
    shown = [difference_text(difference) for difference in found[:PLACES]]
    return "; ".join(shown + ([f"… and {len(found) - PLACES} more"] if len(found) > PLACES else []))


def change_text(change: Change) -> str:
    """Return a change on one line: seq, time, kind, what changed in the value, and who did it."""
    tail = [f"rollout={change.rollout}"] if change.rollout is not None else []
    tail += [f"from {change.origin}"] if change.origin else []
    tail += [f"at {change.source}"] if change.source else []
    said = "  ".join([clock(change.time), change.kind, what_changed(change), *tail])
    return f"{change.seq:>7}  {said}"


def clock(microseconds: int) -> str:
    """Return a time in the local zone, to the second."""
    try:
        return strftime("%Y-%m-%d %H:%M:%S", localtime(microseconds // 1_000_000))
    except (OverflowError, ValueError, OSError):
        return "-"
