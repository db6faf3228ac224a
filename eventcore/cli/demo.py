"""`eventcore demo`: the tour; what it does is in `eventcore.examples.demo`."""

from __future__ import annotations

import contextlib
import sys

import click
import msgspec

from eventcore.cli.output import print_json
from eventcore.cli.program import DAMAGED
from eventcore.cli.stores import json_option


@click.command(short_help="Run the tour: events, time travel, a fork, save and load.")
@click.option(
    "--store", metavar="PATH", help="Where to keep it. Default: eventcore-demo.lmdb in this folder."
)
@json_option
def demo(store: str | None, as_json: bool) -> int:
    """Run the tour: events, time travel, a fork, save and load.

    Makes a store in this folder, or starts a new run in the one it made before, and ends with commands to
    paste. With --json the tour itself goes to stderr and what it made to stdout.
    """
    from eventcore.examples import demo as tour

    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        made = tour.main(store if store is not None else tour.DEFAULT_STORE)
    if as_json:
        print_json(msgspec.to_builtins(made))
    return 0 if made.ok else DAMAGED
