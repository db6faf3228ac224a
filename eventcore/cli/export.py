"""`eventcore export`: the events of a run as a table, for DuckDB, pandas and the like.

What the table holds is `eventcore.history.exporting`'s business.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from eventcore.cli.output import count, into_file, print_json, printable
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, run_argument, store_argument

if TYPE_CHECKING:
    from eventcore.history.run import Run

STDOUT = "-"


@click.command(short_help="Write the events of a run as a table: JSON lines or Parquet.")
@store_argument
@run_argument
@click.option("--parquet", metavar="FILE", help="Write Parquet. Needs pyarrow.")
@click.option(
    "--jsonl",
    metavar="[FILE]",
    is_flag=False,
    flag_value=STDOUT,
    help="Write JSON lines; to stdout without FILE.",
)
@click.option("--from", "start", metavar="SEQ", help="First seq, label, epoch:N or time. Default: 1.")
@click.option("--to", "stop", metavar="SEQ", help="Last seq, label, epoch:N or time. Default: the head.")
@force_option
@json_option
def export(
    store: str | None,
    run: str | None,
    parquet: str | None,
    jsonl: str | None,
    start: str | None,
    stop: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Write the events of a run as a table: one row per event, oldest first.

    \b
    seq       position of the event in the run: 1, 2, 3, ...
    time      when it was recorded: microseconds since 1970; in Parquet a UTC timestamp
    run       name of the run
    rollout   the example going through the program that it belongs to, or null
    cause     seq of the event that led to it, or null
    kind      what happened, as `eventcore log` names it
    variable  path of the variable, or null
    pointer   JSON pointer to the place in the variable, "" for all of it
    payload   its other fields: a JSON object; in Parquet its text

    The table keeps these columns in later versions. A FILE appears when it is complete.
    """  # noqa: D301 - click wants the backspace itself
    if (parquet is None) == (jsonl is None):
        raise click.UsageError("export takes --parquet FILE or --jsonl [FILE], one of them")
    target, form = (parquet, "parquet") if parquet is not None else (jsonl, "jsonl")
    assert target is not None
    if target == STDOUT and form == "parquet":
        raise click.UsageError("--parquet takes the name of a file: Parquet is not for a terminal or a pipe")
    with reading(store, force) as opened:
        chosen = chosen_run(opened, run)
        if target == STDOUT:
            _to_stdout(chosen, start, stop)
            return 0
        with into_file(target):
            rows = chosen.export(target, form, 1 if start is None else start, stop)
        path = os.path.abspath(target)
        if as_json:
            print_json({"run": chosen.name, "path": path, "format": form, "events": rows})
        else:
            click.echo(f"exported {count(rows, 'event')} of run {printable(chosen.name)} to {path}")
    return 0


def _to_stdout(run: Run, start: str | None, stop: str | None) -> None:
    from eventcore.history.exporting import write_jsonl

    reader = run.reader()
    first = 1 if start is None else max(1, run.seq(start))
    write_jsonl(reader, sys.stdout.buffer, first, run.head if stop is None else run.seq(stop))
