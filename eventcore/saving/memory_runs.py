"""Runs in memory that are current nowhere: to try things out in, or to live in beside another program."""

from __future__ import annotations

from eventcore.history.run import Run
from eventcore.history.scope import process_scope
from eventcore.history.store import MEMORY_LIMIT, Store
from eventcore.history.store import open as open_store


def run_in_memory(name: str, seed: int, store: Store | None = None) -> Run:
    """Open a run in memory and leave the current run what it was.

    Args:
        name: Its name.
        seed: Its seed.
        store: A store in memory, perhaps with that run in it already; a new one when absent.
    """
    home = open_store("memory:", limit=MEMORY_LIMIT) if store is None else store
    if name in home:
        return home.reopen(name)
    before = process_scope.run
    run = home.run(name, seed=seed)
    run.before, process_scope.run = before, before
    return run
