"""`eventcore backup`: a complete copy of a store, taken while it may be written."""

from __future__ import annotations

import os

import click

from eventcore.cli.output import count, print_json
from eventcore.cli.stores import force_option, json_option, reading


@click.command(short_help="Copy a store, also while it is being written.")
@click.argument("store")
@click.argument("path", type=click.Path())
@force_option
@json_option
def backup(store: str, path: str, force: bool, as_json: bool) -> int:
    """Copy a store, also while it is being written.

    The copy is complete, compact and consistent: a store of the same kind at PATH, which must not exist.
    """
    with reading(store, force) as opened:
        opened.backup(path)
        target = os.path.abspath(path)
        runs = len(opened.rows())
        if as_json:
            print_json({"store": opened.url, "path": target, "runs": runs})
        else:
            click.echo(f"copied {count(runs, 'run')} of {opened.url} to {target}")
    return 0
