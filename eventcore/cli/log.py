"""`eventcore log`: the events of a run as lines, streamed.

Events are read block by block, so the first line of a long log appears at once and memory stays small,
whatever its length.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from eventcore.cli.event_text import EventText, event_json
from eventcore.cli.output import coloured, json_line, write_bytes
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, run_argument, store_argument
from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history.naming import Names

if TYPE_CHECKING:
    from eventcore.history.run import Run

WINDOW = 4096
"""Events read at a time when going backwards."""


@click.command(short_help="Print the events of a run, oldest first.")
@store_argument
@run_argument
@click.option("--from", "start", metavar="SEQ", help="First seq, or a label. Default: 1.")
@click.option("--to", "stop", metavar="SEQ", help="Last seq, or a label. Default: the head.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Begin N events before the end.")
@click.option("--variable", metavar="PATH", help="Only events of this variable: its path, or its name.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only events of this kind; may be repeated."
)
@click.option("--rollout", metavar="ID", help="Only events of this rollout.")
@click.option("--reverse", is_flag=True, help="Newest first.")
@click.option("--follow", is_flag=True, help="Then wait for more, until Ctrl-C.")
@force_option
@json_option
def log(
    store: str | None,
    run: str | None,
    start: str | None,
    stop: str | None,
    last: int | None,
    variable: str | None,
    kinds: tuple[str, ...],
    rollout: str | None,
    reverse: bool,
    follow: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Print the events of a run, oldest first.

    Each line: seq, local time, kind, variable/pointer, the value in short, and where there are any the
    rollout, the seq of the cause (cause=) and the line of the program that did it (at). With --json, one
    object per line, values in full.
    """
    if follow and (reverse or stop is not None):
        raise click.UsageError("--follow waits for what comes after the end: leave out --reverse and --to")
    if last is not None and start is not None:
        raise click.UsageError("--last and --from both say where to begin: leave one out")
    with reading(store, force) as opened:
        chosen = chosen_run(opened, run)
        head = chosen.head
        first = _first(chosen, start, last, head, follow)
        to = head if stop is None else min(head, chosen.seq(stop))
        selection = Selection(chosen, first, to, variable, _kinds(kinds), rollout)
        if follow:
            events = selection.following()
        else:
            events = selection.backwards() if reverse else selection.forwards()
        _print(events, selection.names, as_json, flush_from=head if follow else None)
    return 0


def _first(run: Run, start: str | None, last: int | None, head: int, follow: bool) -> int:
    """Return the seq to begin at; one that is followed may lie beyond the head."""
    if last is not None:
        return max(1, head - last + 1)
    if start is None:
        return 1
    if follow and start.isdigit():
        return max(1, int(start))
    return max(1, run.seq(start))


class Selection:
    """The events asked for, in either direction.

    Attributes:
        names: Names by number, complete for every event that was handed out.
    """

    def __init__(
        self, run: Run, first: int, last: int, variable: str | None, kinds: set[str], rollout: str | None
    ) -> None:
        self._run = run
        self._first, self._last = first, last
        self._variable = variable
        self._kinds, self._rollout = kinds, rollout
        self.names = Names()
        self._numbers: set[int] | None = None

    def forwards(self) -> Iterator[tuple[int, e.Event]]:
        """Yield events oldest first."""
        self._get_ready(needs_all_names=self._variable is not None)
        if self._first <= self._last:
            found = self._run.events(self._first, self._last, variable=self._variable)
            yield from self._filtered(found)

    def backwards(self) -> Iterator[tuple[int, e.Event]]:
        """Yield events newest first."""
        self._get_ready(needs_all_names=True)
        high = self._last
        while high >= self._first:
            low = max(self._first, high - WINDOW + 1)
            yield from self._filtered(reversed(list(self._run.events(low, high))))
            high = low - 1

    def following(self) -> Iterator[tuple[int, e.Event]]:
        """Yield events oldest first, then new ones as they come."""
        self._get_ready(needs_all_names=self._variable is not None)
        return self._filtered(self._run.follow(self._first))

    def _get_ready(self, needs_all_names: bool) -> None:
        """Learn the names that no event in the selection will introduce."""
        run = self._run
        if needs_all_names:
            state = run.at(run.head)
            self.names.take(state)
            if self._variable is not None:
                self._numbers = set(state.numbers(self._variable))
        elif self._first > 1 and self._last:
            self.names.take(run.at(min(self._first - 1, run.head)))

    def _filtered(self, events: Iterator[tuple[int, e.Event]]) -> Iterator[tuple[int, e.Event]]:
        for seq, event in events:
            self.names.learn(event)
            if self._numbers is not None and getattr(event, "variable", None) not in self._numbers:
                continue
            if self._kinds and type(event).__name__ not in self._kinds:
                continue
            if self._rollout is not None and event.rollout != self._rollout:
                continue
            yield seq, event


def _kinds(wanted: tuple[str, ...]) -> set[str]:
    """Check the names of kinds; case does not matter."""
    known = {name.lower(): name for name in e.KINDS}
    for kind in wanted:
        if kind.lower() not in known:
            raise InvalidValue(f"cannot filter by kind {kind!r}: the kinds are {', '.join(sorted(e.KINDS))}")
    return {known[kind.lower()] for kind in wanted}


def _print(
    events: Iterator[tuple[int, e.Event]], names: Names, json_lines: bool, flush_from: int | None
) -> None:
    """Print events; the first at once, and from `flush_from` on each as it comes."""
    text = EventText(names, coloured())
    first = True
    for seq, event in events:
        if json_lines:
            write_bytes(json_line(event_json(seq, event, names)))
        else:
            sys.stdout.write(text.line(seq, event) + "\n")
        if first or (flush_from is not None and seq >= flush_from):
            sys.stdout.flush()
            first = False
