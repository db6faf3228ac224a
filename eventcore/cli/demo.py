"""`eventcore demo`: the tour; what it does is in `eventcore.examples.demo`."""

from __future__ import annotations

import click


@click.command(short_help="Run the tour: events, time travel, a fork, save and load.")
@click.option(
    "--store", metavar="PATH", help="Where to keep it. Default: eventcore-demo.lmdb in this folder."
)
def demo(store: str | None) -> int:
    """Run the tour: events, time travel, a fork, save and load.

    Makes a store in this folder, or starts a new run in the one it made before, and ends with commands to
    paste.
    """
    from eventcore.examples import demo as tour

    return tour.main(store if store is not None else tour.DEFAULT_STORE)
