"""How things look on a terminal and in a pipe: JSON, columns, colour, times, and text that is safe to print.

What comes from a log may hold anything, escape sequences of terminals included, so text passes through
`printable` or is JSON. Colour is for terminals only and honours NO_COLOR.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from eventcore.errors import InvalidValue, StorageError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_encoder = msgspec.json.Encoder()

SHORT = 60
"""Characters of a value that are shown where there is no room for all of it."""


def prepare_streams() -> None:
    """Make text printable whatever the encoding of the streams: a character is escaped, not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def coloured() -> bool:
    """Whether to use colour: stdout is a terminal that has it, and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def paint(text: str, colour: str | None, on: bool) -> str:
    """Return the text in a colour if colour is on; "dim" is one of the colours."""
    if not on or colour is None:
        return text
    return click.style(text, dim=True) if colour == "dim" else click.style(text, fg=colour)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    write_bytes(msgspec.json.format(_encoder.encode(value), indent=2) + b"\n")


def json_line(value: Any) -> bytes:
    """Return a value as one line of JSON."""
    return _encoder.encode(value) + b"\n"


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout, buffered. JSON is UTF-8 whatever the terminal's encoding."""
    sys.stdout.buffer.write(data)


@contextmanager
def into_file(path: str) -> Generator[None]:
    """Refuse a path that no file can be written at as bad input, named as the user gave it.

    Raises:
        InvalidValue: There is no such folder, no leave to write there, or the like.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.filename is None:  # a full disk, a reader that left: the path is not what is wrong
            raise
        why = error.strerror or type(error).__name__
        raise InvalidValue(
            f"cannot write {path!r}: {why}; pass the path of a file in a folder that is there"
        ) from error


def write_page(path: str, title: str, body: str) -> None:
    """Write one self-contained page: no script, no style sheet and no picture from anywhere else.

    Raises:
        InvalidValue: No file can be written at the path.
    """
    import html

    head = f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
    with into_file(path):
        Path(path).write_text(
            f'{head}\n<body style="margin:2em;max-width:70em">{body}</body>\n', encoding="utf-8"
        )


def printable(text: str) -> str:
    """Return text without control characters: each is shown as its escape."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def short(value: Any, limit: int = SHORT) -> str:
    """Return a value as JSON in at most `limit` characters, cut with an ellipsis.

    Looks at no more of a large value than is shown.
    """
    text = _clipped(value, limit + 1)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def full(value: Any) -> str:
    """Return a whole value as JSON on one line."""
    return printable(_encoder.encode(value).decode())


def _clipped(value: Any, room: int) -> str:
    if isinstance(value, str):
        return full(str(value[:room]))
    if isinstance(value, dict):
        return _joined((f"{full(str(key[:room]))}:{{}}" for key in value), value.values(), "{}", room)
    if isinstance(value, (list, tuple)):
        return _joined(("{}" for _ in value), value, "[]", room)
    return full(value)


def _joined(forms: Iterable[str], values: Iterable[Any], brackets: str, room: int) -> str:
    parts: list[str] = []
    used = 0
    for form, value in zip(forms, values, strict=False):
        if used > room:
            break  # What is there is longer than what is shown, so the bracket that closes it is cut off.
        part = form[:-2] + _clipped(value, room - used)
        parts.append(part)
        used += len(part) + 1
    return brackets[0] + ",".join(parts) + brackets[1]


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lay rows out in columns two spaces apart; those in `right` are set to the right."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(widths[at]) if at in right else cell.ljust(widths[at]) for at, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: frozenset[int] = frozenset(),
    *,
    plain_header: bool = True,
    colours: Sequence[str | None] = (),
    spare: Sequence[int] = (),
) -> None:
    """Print a table: drawn by rich on a terminal, and in a pipe plain columns that other programs can cut.

    Args:
        header: Names of the columns.
        rows: Printable text.
        right: Columns that are set to the right.
        plain_header: Whether the names stand above the plain columns, too.
        colours: A colour of each row on a terminal; none for all of them.
        spare: Columns that are left out on a terminal too narrow for all, the first of these first.
    """
    if not rows and not plain_header:
        return
    if not coloured():
        for line in columns([header, *rows] if plain_header else rows, right):
            click.echo(line)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    shown = _fitting(header, rows, console.width, spare)
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for at in shown:
        table.add_column(header[at], justify="right" if at in right else "left", overflow="fold")
    for number, row in enumerate(rows):
        table.add_row(*(Text(row[at]) for at in shown), style=colours[number] if colours else None)
    console.print(table)
    left_out = [name for at, name in enumerate(header) if at not in shown]
    if left_out:
        click.echo(paint(f"left out here: {', '.join(left_out)}; see --json", "dim", True), err=True)


def _fitting(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int, spare: Sequence[int]
) -> list[int]:
    """Return the columns to show in a width: all, or all but as many of the spare ones as it takes."""
    from rich.cells import cell_len

    needed = [2 + max(cell_len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    left_out: list[int] = []
    for at in spare:
        if sum(needed) - sum(needed[gone] for gone in left_out) - 2 <= width:
            break
        left_out.append(at)
    return [at for at in range(len(header)) if at not in left_out]


def count(number: int, word: str) -> str:
    """Return "1 event", "1,204 events"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Return bytes in the unit people read."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def local_time(seconds: float) -> str:
    """Return a time in the local zone, to the second."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "-"


class Clock:
    """Formats the times of events, to the millisecond; events of one second cost one conversion."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, microseconds: int) -> str:
        """Return the local time of an event."""
        second, rest = divmod(microseconds, 1_000_000)
        if second != self._second:
            self._second, self._text = second, local_time(second)
        return f"{self._text}.{rest // 1000:03d}"
