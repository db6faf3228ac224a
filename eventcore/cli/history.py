"""`eventcore history`: every change of a variable, or of one place in it, with what changed in the text.

Finding the changes is `Run.history`'s work; here each becomes a line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from eventcore.cli.diff import line_of, words_text
from eventcore.cli.output import Clock, coloured, full, json_line, paint, printable, short, write_bytes
from eventcore.cli.program import NO
from eventcore.cli.stores import force_option, json_option, reading, subject
from eventcore.history.findings import DELETED, PLACES
from eventcore.history.timetravel import astray, value_differences, word_diff

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.timetravel import Change, Difference


@click.command(short_help="Print every change of a variable, or of one place in it.")
@click.argument("store")
@click.argument("places", nargs=-1, metavar="[RUN] VARIABLE [/POINTER]")
@click.option("--from", "start", metavar="SEQ", help="First seq, label, epoch:N or time. Default: 1.")
@click.option("--full", "whole", is_flag=True, help="Print values and unchanged text in full.")
@force_option
@json_option
def history(
    store: str, places: tuple[str, ...], start: str | None, whole: bool, force: bool, as_json: bool
) -> int:
    """Print every change of a variable, or of one place in it, oldest first.

    VARIABLE is a path or a name where that is unique, POINTER a JSON pointer into its value; they may be written as
    one, as in state_generator/instructions. Each line: seq, local time, kind, what changed, and where there
    are any the rollout and the line of the program that did it. With --json, one object per line: `before` is missing
    where there was nothing before, `after` where the place was deleted. Exit code 1 when it never held anything.
    """
    with reading(store, force) as opened:
        run, path, pointer = subject(opened, places, "history")
        found = run.history(path, pointer, 1 if start is None else start)
        line = _Line(whole)
        seen = False
        for change in found:
            seen = True
            if as_json:
                write_bytes(json_line(_plain(change, found.variable, pointer)))
            else:
                click.echo(line.of(change))
        if not seen:
            click.echo(f"eventcore: {_nothing(run, found.variable, pointer, start)}", err=True)
    return 0 if seen else NO


def _nothing(run: Run, variable: str, pointer: str, start: str | None) -> str:
    """Say why a place has no changes: none after the seq asked for, or it never held anything."""
    changed = [change.seq for change in run.history(variable, pointer)] if start is not None else []
    place = printable(variable + pointer)
    if changed:
        return f"{place} did not change from {start} on: its last change is seq {changed[-1]}"
    wrong = astray(run.state.variables[variable], pointer) or "it was never changed"
    return f"{place} never held anything: {printable(wrong)}"


class _Line:
    """Puts changes into lines."""

    def __init__(self, whole: bool) -> None:
        self._whole = whole
        self._colour = coloured()
        self._clock = Clock()
        self._here = os.path.join(os.getcwd(), "")

    def of(self, change: Change) -> str:
        """Return one change as a line."""
        tail = [f"rollout={printable(change.rollout)}"] if change.rollout is not None else []
        tail += [f"from {printable(change.origin)}"] if change.origin else []
        tail += [f"at {printable(change.source.removeprefix(self._here))}"] if change.source else []
        parts = [
            paint(f"{change.seq:>7}", "dim", self._colour),
            paint(self._clock.text(change.time), "dim", self._colour),
            paint(change.kind, "yellow", self._colour),
            self._changed(change),
        ]
        return "  ".join([*parts, paint("  ".join(tail), "dim", self._colour)]).rstrip()

    def _changed(self, change: Change) -> str:
        before, after = change.before, change.after
        if not change.exists:
            return paint(DELETED, "red", self._colour)
        if isinstance(before, str) and isinstance(after, str):
            return words_text(word_diff(before, after), self._whole, self._colour)
        if change.existed and isinstance(before, (dict, list)) and type(before) is type(after):
            return self._parts(value_differences(before, after))
        return (full if self._whole else short)(after)

    def _parts(self, found: list[Difference]) -> str:
        """Return what changed in a value with parts: place by place."""
        shown = found if self._whole else found[:PLACES]
        parts = [line_of(difference, self._whole, self._colour) for difference in shown]
        more = [f"… and {len(found) - len(shown)} more"] if len(found) > len(shown) else []
        return "; ".join(parts + more)


def _plain(change: Change, variable: str, pointer: str) -> dict[str, Any]:
    """Return a change for JSON; a side on which there was nothing is left out, since null is a value."""
    values = {"before": change.before} if change.existed else {}
    values |= {"after": change.after} if change.exists else {}
    return {
        "seq": change.seq,
        "time": change.time,
        "kind": change.kind,
        "variable": variable,
        "pointer": pointer,
        **values,
        "rollout": change.rollout,
        "cause": change.cause or None,
        "source": change.source,
        "origin": change.origin,
    }
