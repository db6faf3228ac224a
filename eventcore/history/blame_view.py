"""What `run.blame` returns: the pieces, their origins, and how they look in a console, a notebook and a page.

Finding them is the work of `blame.py` and `origins.py`; nothing here reads more than it is asked to show.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from eventcore.errors import InvalidValue, NotFound
from eventcore.history.alignment import words
from eventcore.history.blame import Piece, asked_at, blamed
from eventcore.history.declarations import path_then
from eventcore.history.origins import Evidence, Origin, Origins
from eventcore.history.origins import gone_on as gone_on
from eventcore.history.patches import plain

if TYPE_CHECKING:
    from eventcore.history.run_reader import RunReader

_HUES = (210, 30, 120, 280, 0, 170, 55, 320)
"""Colours of owners on a page, in order of appearance; they come round again."""

ROWS = 40
"""Pieces a `repr` shows; the rest are counted."""


class Blame:
    """Who wrote a place of a variable, piece by piece.

    Attributes:
        run: Name of the run.
        variable: Path of the variable.
        pointer: JSON pointer to the place.
        seq: As of which event.
        pieces: In the order of the value; neighbouring words with one owner are one piece.
    """

    def __init__(
        self, run: RunReader, variable: str, pointer: str, seq: int, pieces: list[Piece], origins: Origins
    ) -> None:
        self._store = run.store
        self.run = run.name
        self.variable = variable
        self.pointer = pointer
        self.seq = seq
        self.pieces = pieces
        self._origins = origins
        self._found: dict[int, Origin] = {}

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def owners(self) -> list[Origin]:
        """The events that wrote something that is still there, in the order of the log."""
        return [self.origin(seq) for seq in sorted({piece.seq for piece in self.pieces})]

    def origin(self, seq: int) -> Origin:
        """Return what an event was: when, where in the program, which step of training.

        Args:
            seq: Of an owner, or of a copy.
        """
        if seq not in self._found:
            self._found[seq] = self._origins.find(seq)
        return self._found[seq]

    def evidence(self, seq: int) -> Evidence:
        """Return what an owner went by: the model call whose answer has the words, and the rewards it was shown."""
        texts = [str(piece.value) for piece in self.pieces if piece.seq == seq and piece.span]
        return self._origins.evidence(self.origin(seq), [word for text in texts for word in words(text)])

    def before(self, seq: int) -> list[Blame]:
        """Return who wrote, in the run a value was brought from, what the event that brought it owns here.

        Args:
            seq: Of an owner.

        Returns:
            One for each place; none when nothing was brought, or when that run is not in this store.
        """
        brought = gone_on(self.origin(seq).note)
        if brought is None or brought[0] != self._store.url or brought[1] not in self._store:
            return []
        found: list[Blame] = []
        for piece in self.pieces:
            if piece.seq == seq:
                words = piece.value.strip() if isinstance(piece.value, str) and piece.span else ""
                try:
                    run = self._store[brought[1]]
                    found.append(run.blame(self.variable, piece.pointer, words or None, int(brought[2])))
                except (NotFound, InvalidValue):  # it was moved, renamed or deleted since
                    continue
        return found

    def __repr__(self) -> str:
        lines = [
            f"Blame of {self.variable}{self.pointer} at seq {self.seq} of run {self.run!r}",
            *_rows(self),
        ]
        for seq, older in _further(self):
            lines += [f"  what {seq} brought, in run {older.run!r}", *_rows(older)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return blame_html(self)


def _rows(blame: Blame) -> list[str]:
    rows = [(f"{piece.seq:>8}", said(blame.origin(piece.seq)), shown(piece)) for piece in blame.pieces[:ROWS]]
    width = max((len(row[1]) for row in rows), default=0)
    lines = [f"{seq}  {what:<{width}}  {text}" for seq, what, text in rows]
    if len(blame.pieces) > ROWS:
        lines.append(f"          and {len(blame.pieces) - ROWS} more pieces")
    return lines


def _further(blame: Blame) -> Iterator[tuple[int, Blame]]:
    """Follow what was brought from other runs, and from others to them: the event that brought it, who wrote it."""
    shown, todo = 0, [blame]
    while todo and shown < ROWS:
        blame = todo.pop(0)
        for origin in blame.owners:
            for older in blame.before(origin.seq):
                yield origin.seq, older
                todo.append(older)
                shown += len(older)
                if shown >= ROWS:
                    return


def blame(
    run: RunReader,
    variable: str,
    pointer: str = "",
    span: tuple[int, int] | str | None = None,
    at: int | str | None = None,
) -> Blame:
    """Do what `run.blame` says."""
    reader = run.reader()
    seq = run.readable(reader) if at is None else run.seq(at)
    state = run.at(seq)
    slot = state.slot(path_then(run, variable, seq, state))
    pieces = blamed(reader, slot.number, seq, asked_at(plain(slot.value), pointer, span))
    return Blame(run, slot.path, pointer, seq, pieces, Origins(reader, state))


def shown(piece: Piece, limit: int = 70) -> str:
    """Return a piece on one line: its pointer and its words in short."""
    value = repr(piece.value)
    value = value if len(value) <= limit else value[: limit - 1] + "…"
    return f"{piece.pointer}  {value}" if piece.span is None or not piece.span[0] else f"  {value}"


def said(origin: Origin) -> str:
    """Return an origin in few words: what, when in training, where in the program."""
    if not origin.kind:
        return origin.note
    parts = [origin.kind]
    if origin.note:
        parts.append(f"({origin.note})")
    place = step_of(origin)
    if place:
        parts.append(place)
    if origin.rollout:
        parts.append(f"rollout {origin.rollout}")
    if origin.source:
        parts.append(f"at {origin.source.rsplit('/', 1)[-1]}")
    return " ".join(parts)


def step_of(origin: Origin) -> str:
    """Return "epoch 2 step 5", "" outside training."""
    names = (("epoch", origin.epoch), ("step", origin.step))
    return " ".join(f"{name} {number}" for name, number in names if number is not None)


def blame_html(blame: Blame) -> str:
    """Return the value with each piece in its owner's colour, and a table of the owners. Needs nothing else."""
    owners = {origin.seq: number for number, origin in enumerate(blame.owners)}
    parts: list[str] = []
    before: str | None = None
    for piece in blame.pieces:
        if piece.pointer != before:
            label = html.escape(piece.pointer or "(whole value)")
            parts.append(f"{'</div>' if before is not None else ''}<div><small>{label}</small><br>")
            before = piece.pointer
        text = piece.value if isinstance(piece.value, str) else repr(piece.value)
        title = html.escape(f"seq {piece.seq}: {said(blame.origin(piece.seq))}", quote=True)
        parts.append(f'<span title="{title}" style="{_colour(owners[piece.seq])}">{escaped(text)}</span>')
    parts.append("</div>" if before is not None else "")
    rows = "".join(
        f'<tr><td style="{_colour(number)};text-align:right">{seq}</td>'
        f"<td>{html.escape(said(blame.origin(seq)))}</td></tr>"
        for seq, number in owners.items()
    )
    for seq, older in _further(blame):
        rows += f"<tr><td></td><td>what {seq} brought, in run {escaped(repr(older.run))}</td></tr>" + "".join(
            f'<tr><td style="text-align:right">{piece.seq}</td>'
            f"<td>{html.escape(said(older.origin(piece.seq)))}: {escaped(shown(piece))}</td></tr>"
            for piece in older.pieces[:ROWS]
        )
    title = html.escape(f"{blame.variable}{blame.pointer} at seq {blame.seq} of run {blame.run}")
    return (
        f'<div style="font-family:sans-serif"><b>{title}</b>'
        f'<div style="white-space:pre-wrap;margin:.5em 0">{"".join(parts)}</div>'
        f"<table><tr><th>seq</th><th>written by</th></tr>{rows}</table></div>"
    )


def _colour(number: int) -> str:
    return f"background:hsl({_HUES[number % len(_HUES)]},70%,88%);color:#000"


def escaped(text: Any) -> str:
    """Return text for a page; control characters are shown, not sent to the browser."""
    safe = "".join(c if c >= " " or c in "\n\t" else f"\\x{ord(c):02x}" for c in str(text))
    return html.escape(safe)
