"""`eventcore log`: the events of a run as lines, streamed.

Events are read block by block, so the first line of a long log appears at once and memory stays small,
whatever its length.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from eventcore.cli.event_text import EventText, event_json
from eventcore.cli.output import coloured, json_line, printable, write_bytes
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, run_argument, store_argument
from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history.naming import HEADER_FIELDS, Names, pointer_of
from eventcore.history.positions import moment, tagged

if TYPE_CHECKING:
    from eventcore.history.run import Run

WINDOW = 4096
"""Events read at a time when going backwards."""


@click.command(short_help="Print the events of a run, oldest first.")
@store_argument
@run_argument
@click.option("--from", "start", metavar="SEQ", help="First seq, label, epoch:N or time. Default: 1.")
@click.option("--to", "stop", metavar="SEQ", help="Last seq, label, epoch:N or time. Default: the head.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Begin N events before the end.")
@click.option("--variable", metavar="PATH", help="Only events of this variable: its path, or its name.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only events of this kind; may be repeated."
)
@click.option("--rollout", metavar="ID", help="Only events of this rollout.")
@click.option("--epoch", type=click.IntRange(min=0), metavar="N", help="Only what happened in this epoch.")
@click.option(
    "--since", metavar="TIME", help="Only from this time on: 2026-01-31T12:00, or 90s, 15m, 2h, 3d ago."
)
@click.option("--until", metavar="TIME", help="Only up to this time.")
@click.option("--text", metavar="TEXT", help="Only events with this in a value, a name or a line of code.")
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
    epoch: int | None,
    since: str | None,
    until: str | None,
    text: str | None,
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
    if follow and (reverse or stop is not None or until is not None):
        raise click.UsageError(
            "--follow waits for what comes after the end: leave out --reverse, --to and --until"
        )
    if last is not None and start is not None:
        raise click.UsageError("--last and --from both say where to begin: leave one out")
    with reading(store, force) as opened:
        chosen = chosen_run(opened, run)
        head = chosen.head
        first = _first(chosen, start, last, head, follow)
        to = head if stop is None else min(head, chosen.seq(stop))
        first = first if since is None else max(first, seq_at(chosen, since, before=True) + 1)
        to = to if until is None else min(to, seq_at(chosen, until))
        wanted = Wanted(chosen, _kinds(kinds), rollout, epoch, text)
        selection = Selection(chosen, first, to, variable, wanted)
        if follow:
            events = selection.following()
        else:
            events = selection.backwards() if reverse else selection.forwards()
        printed = _print(events, selection.names, as_json, flush_from=head if follow else None)
        if not printed and head and not follow:
            click.echo(f"eventcore: {wanted.nothing(first, to)}", err=True)
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

    def __init__(self, run: Run, first: int, last: int, variable: str | None, wanted: Wanted) -> None:
        self._run = run
        self._first, self._last = first, last
        self._variable = variable
        self._wanted = wanted
        self.names = wanted.names
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
            if self._wanted.has(seq, event):
                yield seq, event


class Wanted:
    """What the options ask of an event.

    Attributes:
        names: Names by number, for what is looked for in them.
    """

    def __init__(
        self, run: Run, kinds: set[str], rollout: str | None, epoch: int | None, text: str | None
    ) -> None:
        self.names = Names()
        self._run = run.name
        self._kinds, self._rollout = kinds, rollout
        self._epoch = None if epoch is None else Epoch(run, epoch)
        self._text = None if text is None else _folded(text)

    def has(self, seq: int, event: e.Event) -> bool:
        """Whether an event is asked for."""
        if self._epoch is not None and not self._epoch.has(seq, event):
            return False
        if self._kinds and type(event).__name__ not in self._kinds:
            return False
        if self._rollout is not None and event.rollout != self._rollout:
            return False
        return self._text is None or self._text in self._said(event)

    def nothing(self, first: int, last: int) -> str:
        """Say that no event from one seq to another is asked for, and why where that is known."""
        where = f"run {printable(repr(self._run))}"
        if self._epoch is not None and not self._epoch.began:
            return f"no event of {where} matches: epoch {self._epoch.number} never began in it"
        return (
            f"no event of {where} matches; looked at {f'seq {first} to {last}' if first <= last else 'none'}"
        )

    def _said(self, event: e.Event) -> bytes:
        """Everything an event says: its values, the place, the rollout and the line of code."""
        values = [getattr(event, field) for field in event.__struct_fields__ if field not in HEADER_FIELDS]
        path = self.names.path(event)
        place = None if path is None else path + pointer_of(event)
        return json_line([values, place, event.rollout, self.names.source(event)]).lower()


def _folded(text: str) -> bytes:
    """Return a text as it would stand in JSON, in lower case; bytes of the shell that are no text are replaced."""
    return json_line(text.encode(errors="surrogateescape").decode(errors="replace"))[1:-2].lower()


class Epoch:
    """The stretches of a run that belong to one epoch, of every training in it.

    Attributes:
        number: Number of the epoch.
    """

    def __init__(self, run: Run, epoch: int) -> None:
        self.number = epoch
        self._inside = False
        self._stretches: list[tuple[int, int]] = []
        reader = run.reader()
        self._known = reader.head()
        began = 0
        marks = (e.EpochBegan, e.EpochEnded, e.TrainEnded)
        for seq, event in tagged(reader, marks, reader.first_stored(), self._known):
            was, self._inside = self._inside, self._after(event)
            if self._inside and not was:
                began = seq
            elif was and not self._inside:
                self._stretches.append((began, seq - isinstance(event, e.EpochBegan)))
        if self._inside:
            self._stretches.append((began, self._known))

    @property
    def began(self) -> bool:
        """Whether the run has the epoch."""
        return bool(self._stretches)

    def _after(self, event: e.Event) -> bool:
        """Whether what comes after an event is in the epoch."""
        if isinstance(event, e.EpochBegan):
            return event.epoch == self.number
        return self._inside and not isinstance(event, (e.EpochEnded, e.TrainEnded))

    def has(self, seq: int, event: e.Event) -> bool:
        """Whether an event is in the epoch; those beyond the head at the beginning have to come in order."""
        if seq <= self._known:
            return any(first <= seq <= last for first, last in self._stretches)
        was, self._inside = self._inside, self._after(event)
        return self._inside or (was and not isinstance(event, e.EpochBegan))


def seq_at(run: Run, time: str, before: bool = False) -> int:
    """Return the last seq up to a time, given as ISO 8601 or as how long ago it is.

    Args:
        run: The run.
        time: "2026-01-31T12:00", "15m".
        before: Leave out events of that very microsecond.
    """
    found = moment(time)
    if found is None:
        raise InvalidValue(
            f"cannot read the time {time!r}; pass one like 2026-01-31T12:00:00, or how long ago: 90s, 15m, 2h, 3d"
        )
    try:
        return run.seq(found - timedelta(microseconds=int(before)))
    except OverflowError:  # the first of all times
        return 0


def _kinds(wanted: tuple[str, ...]) -> set[str]:
    """Check the names of kinds; case does not matter."""
    known = {name.lower(): name for name in e.KINDS}
    for kind in wanted:
        if kind.lower() not in known:
            raise InvalidValue(f"cannot filter by kind {kind!r}: the kinds are {', '.join(sorted(e.KINDS))}")
    return {known[kind.lower()] for kind in wanted}


def _print(
    events: Iterator[tuple[int, e.Event]], names: Names, json_lines: bool, flush_from: int | None
) -> bool:
    """Print events, the first at once, and from `flush_from` on each as it comes; return whether there was any."""
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
    return not first
