"""`eventcore show`: the state at any seq, one variable of it, or one event.

A state is shown one field per line, so that `grep` finds a field; a single variable is shown whole.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
import msgspec

from eventcore.cli.event_text import event_json
from eventcore.cli.output import coloured, full, paint, print_json, print_table, printable, short
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, run_argument, store_argument
from eventcore.errors import InvalidValue
from eventcore.history.naming import Names
from eventcore.history.timetravel import join_pointer

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.state import State
    from eventcore.history.store import Store


@click.command(short_help="Print the state of a run at any seq, or one event.")
@store_argument
@run_argument
@click.argument("variable", required=False)
@click.option("--at", metavar="SEQ", help="As of this seq, label, epoch or time. Default: the head.")
@click.option("--event", metavar="SEQ", help="Print this one event instead of the state.")
@force_option
@json_option
def show(
    store: str | None,
    run: str | None,
    variable: str | None,
    at: str | None,
    event: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Print the state of a run at any seq, or one event.

    With VARIABLE (a path, or a name where it is unique) its whole value is printed as JSON. RUN may be left
    out when the store has a single run, also before VARIABLE.
    """
    if event is not None and (at is not None or variable is not None):
        raise click.UsageError("--event prints one event: leave out --at and VARIABLE")
    with reading(store, force) as opened:
        chosen, path = _subject(opened, run, variable)
        if event is not None:
            _show_event(chosen, chosen.seq(event), as_json)
            return 0
        seq = chosen.head if at is None else chosen.seq(at)
        state = chosen.at(seq)
        if path is not None:
            _show_variable(chosen, seq, state, state.slot(path).path, as_json)
        elif as_json:
            print_json(_document(chosen, seq, state))
        else:
            _show_state(chosen, seq, state)
    return 0


def _subject(store: Store, run: str | None, variable: str | None) -> tuple[Run, str | None]:
    """Tell `STORE VARIABLE` from `STORE RUN`: the former is possible where there is a single run."""
    if run is not None and variable is None and run not in store and len(store) == 1:
        return chosen_run(store, None), run
    return chosen_run(store, run), variable


def _show_event(run: Run, seq: int, as_json: bool) -> None:
    if seq < 1:
        raise InvalidValue(f"cannot show event {seq} of run {run.name!r}: the first event is 1")
    names = Names()
    names.take(run.at(run.head))
    record = event_json(seq, next(iter(run.events(seq, seq))).event, names)
    if as_json:
        print_json({"run": run.name, **record})
        return
    if record.get("source"):
        record["source"] = record["source"].removeprefix(os.path.join(os.getcwd(), ""))
    width = max(len(field) for field in record)
    for field, value in record.items():
        text = (
            printable(value)
            if isinstance(value, str) and field in ("kind", "variable", "source")
            else full(value)
        )
        click.echo(f"{paint(field.ljust(width), 'dim', coloured())}  {text}")


def _show_variable(run: Run, seq: int, state: State, path: str, as_json: bool) -> None:
    value = state.variables[path]
    if as_json:
        print_json({"run": run.name, "seq": seq, "variable": path, **_described(state, path)})
        return
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _described(state: State, path: str) -> dict[str, Any]:
    slot = state.slot(path)
    return {
        "value": state.variables[path],
        "trainable": slot.trainable,
        "reason": slot.reason,
        "description": slot.description,
        "schema": state.schema(path),
    }


def _document(run: Run, seq: int, state: State) -> dict[str, Any]:
    return {
        "run": run.name,
        "seq": seq,
        "head": run.head,
        "digest": state.digest,
        "variables": {path: _described(state, path) for path in state.names()},
        "locked": sorted(state.locked),
        "programs": sorted(state.programs),
        "labels": state.labels,
    }


def _show_state(run: Run, seq: int, state: State) -> None:
    heading = f"# run {printable(run.name)} at seq {seq} of {run.head}, digest {state.digest[:16]}"
    click.echo(paint(heading, "dim", coloured()))
    rows: list[tuple[str, str]] = []
    for path, value in state.variables.items():
        rows += [(printable(path + join_pointer("", field)), short(item)) for field, item in value.items()]
    print_table(("PLACE", "VALUE"), rows, plain_header=False)
