"""Names in place of the numbers a log holds: which variable an event is about, where in it, from which line.

An event says "variable 3, source 7"; earlier events of the run say what these are. What people and other programs
read (lines, JSON, tables) has the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eventcore.history import events as e
from eventcore.history.timetravel import join_pointer

if TYPE_CHECKING:
    from eventcore.history.state import State

HEADER_FIELDS = frozenset({"time", "rollout", "cause", "variable", "source"})
"""Fields of events that are told in a form of their own, or as names."""

IN_JSON = {"kind": "effect", "seq": "labelled"}
"""Fields of events whose names every JSON record uses for something else."""


class Names:
    """Paths of variables and source lines by their numbers in one run."""

    def __init__(self) -> None:
        self.paths: dict[int, str] = {}
        self.sources: dict[int, str] = {}

    def take(self, state: State) -> None:
        """Take the names a state knows: all that were ever introduced before it."""
        for path in state.names():
            self.paths.update(dict.fromkeys(state.numbers(path), path))
        self.sources.update(enumerate(state.sources))

    def learn(self, event: e.Event) -> None:
        """Take note of a name an event introduces."""
        if isinstance(event, e.VariableDeclared):
            self.paths[event.variable] = event.path
        elif isinstance(event, e.SourceSeen):
            self.sources[event.source] = event.line

    def path(self, event: e.Event) -> str | None:
        """Path of the variable an event is about, None if it is about none."""
        number = getattr(event, "variable", None)
        return None if number is None else self.paths.get(number, f"#{number}")

    def source(self, event: e.Event) -> str | None:
        """The user's source line an event comes from, None if it has none."""
        if isinstance(event, e.SourceSeen):
            return event.line
        return self.sources.get(getattr(event, "source", -1))


def pointer_of(event: e.Event) -> str:
    """JSON pointer to the place in the variable an event is about, "" for the whole of it."""
    if isinstance(event, e.FieldRead):
        return "" if event.field is None else join_pointer("", event.field)
    if isinstance(event, e.VariableUpdated):
        return join_pointer("", next(iter(event.payload))) if len(event.payload) == 1 else ""
    if isinstance(event, e.PredictionAppended):
        return "/current_predictions"
    if isinstance(event, (e.ValuePatched, e.EditedFromOutside)):
        return pointer_to(event.path)
    return ""


def pointer_to(steps: Sequence[str | int]) -> str:
    """Return the JSON pointer of steps from a value to a place in it."""
    pointer = ""
    for step in steps:
        pointer = join_pointer(pointer, step)
    return pointer
