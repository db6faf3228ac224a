"""`eventcore label`: where the labels of a run point at, how they moved, and moving one.

A label is an event: setting one opens the run for writing and appends it. Everything else only reads.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
import msgspec

from eventcore.cli.output import Clock, print_json, print_table, printable
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, run_argument, store_argument
from eventcore.errors import NotFound, StoreBusy

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.store import Store


@click.command(short_help="List the labels of a run, or set one.")
@store_argument
@run_argument
@click.argument("name", required=False)
@click.argument("position", required=False, metavar="[AT]")
@click.option("--history", "moved", is_flag=True, help="How labels were set and moved, not where they are.")
@force_option
@json_option
def label(
    store: str | None,
    run: str | None,
    name: str | None,
    position: str | None,
    moved: bool,
    force: bool,
    as_json: bool,
) -> int:
    """List the labels of a run, or set one.

    With NAME the label is set to AT: a seq, another label, epoch:2, epoch:2/step:5, a time; default the head. It is
    moved if it was set before. A label is accepted wherever a seq is.
    """
    if name is not None and not moved:
        return _set(store, run, name, position, force, as_json)
    with reading(store, force) as opened:
        chosen = _chosen(opened, run, name, position)
        found = chosen.labels(name)
        newest = {move.label: move for move in found}
        listed = found if moved else sorted(newest.values(), key=lambda move: move.position)
        if as_json:
            print_json({"run": chosen.name, "labels": msgspec.to_builtins(listed)})
            return 0
        clock = Clock()
        rows = [
            (printable(move.label), f"-> {move.position}", f"set at {move.seq}", clock.text(move.time))
            for move in listed
        ]
        print_table(("LABEL", "POSITION", "BY", "TIME"), rows, plain_header=False)
    return 0


def _set(
    url: str | None, run: str | None, name: str, position: str | None, force: bool, as_json: bool
) -> int:
    from eventcore.history.positions import check_label
    from eventcore.history.store import open

    with reading(url, force) as store:
        chosen = _chosen(store, run, name, position)
        run = chosen.name
        check_label(name)
        place = chosen.head if position is None else chosen.seq(position)
    with open(url, force=force) as store:
        writer = reopened(store, run)
        seq = writer.label(name, place)
        writer.flush()
    if as_json:
        print_json({"run": run, "label": name, "position": seq})
    else:
        click.echo(f"{printable(name)} -> {seq}")
    return 0


def _chosen(store: Store, run: str | None, name: str | None, position: str | None) -> Run:
    """Return the run that is named; where a label stands in its place, say how to set that.

    It is not set: the name may as well be a mistyped run's.
    """
    if run is not None and position is None and run not in store and len(store) == 1:
        only = store.runs()[0]
        words = ["label", store.url, only, run, *([] if name is None else [name])]
        raise NotFound(
            f"cannot find run {run!r}; the only one is {only!r}: to set a label, write "
            f"eventcore {printable(shlex.join(words))}"
        )
    return chosen_run(store, run)


def reopened(store: Store, name: str) -> Run:
    """Open a run nobody writes, to append to it by hand."""
    try:
        return store.reopen(name)
    except StoreBusy as error:
        raise StoreBusy(f"{error}; the process that writes it can set a label with run.label(...)") from error
