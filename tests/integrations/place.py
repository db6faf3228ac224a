"""A place where the same script runs in the same run again and again, each time like a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import eventcore as ec


class Place:
    """A store with one run, `prompts`.

    Args:
        folder: Where the store is made.
    """

    def __init__(self, folder: Path) -> None:
        self.url = folder / "runs.lmdb"

    def events(self, *kinds: str) -> list[Any]:
        """The events of these kinds, oldest first."""
        with ec.open(self.url, read_only=True) as store:
            return [record.event for record in store["prompts"].events() if record.kind in kinds]

    def state(self) -> ec.State:
        """The run's state at its head."""
        with ec.open(self.url, read_only=True) as store:
            return store["prompts"].state
