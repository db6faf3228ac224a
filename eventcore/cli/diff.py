"""`eventcore diff`: what differs between two seqs of a run, or of two runs, place by place and word by word.

Comparing is `Run.diff`'s work; here it is only put into words and colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from eventcore.cli.output import coloured, full, paint, print_json, printable, short
from eventcore.cli.program import NO
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, split_place
from eventcore.history.findings import words_line
from eventcore.history.timetravel import Word, word_diff

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.store import Store
    from eventcore.history.timetravel import Difference

_SIGNS = {"add": ("+", "green"), "remove": ("-", "red"), "replace": ("~", None)}


@click.command(short_help="Print what differs between two seqs, of one run or of two.")
@click.argument("store")
@click.argument("places", nargs=-1, metavar="[RUN] A B")
@click.option(
    "--variable", metavar="PATH", help="Only this variable, or this place in it, as in state/instructions."
)
@click.option("--full", "whole", is_flag=True, help="Print values and unchanged text in full.")
@force_option
@json_option
def diff(
    store: str, places: tuple[str, ...], variable: str | None, whole: bool, force: bool, as_json: bool
) -> int:
    """Print what differs between two seqs, of one run or of two.

    A and B are seqs, labels, epochs (epoch:2) or times; RUN@SEQ is one of another run, and RUN alone its last:
    `diff STORE main@40 warmer`. Each difference is one line: what happened (+ added, - removed, ~ changed), the
    variable and the JSON pointer, the values; in text, [-removed-] and {+added+} words. Exit code 0 when nothing
    differs, 1 when something does.
    """
    if len(places) not in (2, 3):
        raise click.UsageError("diff takes STORE [RUN] A B, where A and B are seqs, labels or RUN@SEQ")
    with reading(store, force) as opened:
        named = places[0] if len(places) == 3 else None
        one, a = placed(opened, named, places[-2])
        other, b = placed(opened, named, places[-1])
        pointer = ""
        if variable is not None:
            variable, pointer = split_place([*one.state.names(), *other.state.names()], variable)
        found = [d for d in one.diff(a, b, variable, other) if _touches(d.pointer, pointer)]
        if as_json:
            print_json(
                {
                    "run": one.name,
                    "other": other.name,
                    "a": a,
                    "b": b,
                    "same": not found,
                    "differences": [_plain(d) for d in found],
                }
            )
        else:
            for difference in found:
                click.echo(line_of(difference, whole, coloured()))
    return NO if found else 0


def placed(store: Store, run: str | None, place: str) -> tuple[Run, int]:
    """Return the run and the seq a place stands for: `SEQ`, `RUN@SEQ`, or `RUN` for its last event.

    Args:
        store: Where the runs are.
        run: The run of a place that names none; None for the store's only one.
        place: A seq or whatever stands for one, perhaps of a run.
    """
    name, at, seq = place.rpartition("@")
    if at and name in store and seq:
        chosen = store[name]
        return chosen, chosen.seq(seq)
    if run is None and place in store:
        chosen = store[place]
        return chosen, chosen.head
    if at and name and run is None:
        return store[name], 0  # raises, naming the runs there are
    chosen = chosen_run(store, run)
    return chosen, chosen.seq(place)


def _touches(place: str, asked: str) -> bool:
    """Whether one of two pointers leads to the other's place, or into it."""
    return f"{place}/".startswith(f"{asked}/") or f"{asked}/".startswith(f"{place}/")


def _plain(difference: Difference) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(difference)
    return found


def line_of(difference: Difference, whole: bool, colour: bool) -> str:
    """Return one difference as a line."""
    sign, shade = _SIGNS[difference.op]
    place = printable(difference.variable + difference.pointer)
    value = full if whole else short
    before, after = difference.before, difference.after
    if difference.op == "add":
        text = paint(value(after), shade, colour)
    elif difference.op == "remove":
        text = paint(value(before), shade, colour)
    elif isinstance(before, str) and isinstance(after, str):
        text = words_text(difference.words or word_diff(before, after), whole, colour)
    else:
        text = f"{paint(value(before), 'red', colour)} -> {paint(value(after), 'green', colour)}"
    return f"{paint(sign, shade, colour)} {place}  {text}"


def words_text(words: Sequence[Word], whole: bool, colour: bool) -> str:
    """Return compared text on one line; long unchanged stretches are cut unless `whole`."""

    def show(op: str, text: str) -> str:
        said = full(text)[1:-1]
        if op == "=":
            return said
        if colour:
            return paint(said, "red" if op == "-" else "green", True)
        return f"[-{said}-]" if op == "-" else f"{{+{said}+}}"

    return words_line(words, show, whole)
