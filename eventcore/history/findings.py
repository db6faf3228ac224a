"""What looking back returns: a list of differences, the changes of a place; both show themselves.

They are the list and the iterator they look like. What shows them, in a console or a notebook, reads at most
what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import localtime, strftime
from typing import Any

import msgspec

from eventcore.history.timetravel import Change, Difference, Word, word_diff

ROWS = 20
"""Differences or changes a `repr` shows; the rest are counted, or said to be there."""

SHORT = 60
"""Characters of a value a `repr` shows."""

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
    return f"{place}  {brief(difference.before)} -> {brief(difference.after)}"


def change_text(change: Change) -> str:
    """Return a change on one line: seq, time, kind, what the value became, and who did it."""
    tail = [f"rollout={change.rollout}"] if change.rollout is not None else []
    tail += [f"from {change.origin}"] if change.origin else []
    tail += [f"at {change.source}"] if change.source else []
    said = "  ".join([clock(change.time), change.kind, brief(change.after), *tail])
    return f"{change.seq:>7}  {said}"


def clock(microseconds: int) -> str:
    """Return a time in the local zone, to the second."""
    try:
        return strftime("%Y-%m-%d %H:%M:%S", localtime(microseconds // 1_000_000))
    except (OverflowError, ValueError, OSError):
        return "-"
