"""The library measured against: `eventsourcing`, an aggregate that does what a variable does, on a SQLite file.

The aggregate holds a dict, and its one method merges some fields into it; the event carries what ours carries
besides, the rollout, the cause and the source line. It is written as the library's manual writes its aggregates, with
the `@event` decorator; to trigger events by hand is about a fifth faster. An event becomes a row of JSON in
a SQLite database in WAL mode with SQLite's own default of `synchronous=FULL`, so `save` returns once the
events are on the disk, as ours are when `run.durable` says so.

It does more than we do, versions and topics of aggregates, and less, no check against a schema: the figure says
what an application pays for a mutation, not which code is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

SAVED_AT_ONCE = 1024


class Actor(Aggregate):
    """An aggregate that holds a dict."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}

    @event("Updated")
    def update(self, changes: dict[str, Any], rollout: str | None, cause: int, source: int) -> None:
        self.value.update(changes)


def open_application(path: Path) -> Any:
    """Open the library on a SQLite file."""
    return Application(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)})


def write(application: Any, texts: Sequence[str], at_once: int = SAVED_AT_ONCE) -> UUID:
    """Update an aggregate once per text, saving every `at_once` events, and return its id."""
    actor = Actor()
    for start in range(0, len(texts), at_once):
        for text in texts[start : start + at_once]:
            actor.update({"persona": text}, None, 0, 0)
        application.save(actor)
    return actor.id


def replay(application: Any, actor: UUID) -> Any:
    """Read an aggregate's events from the disk and apply them."""
    return application.repository.get(actor)
