"""Which fields of a variable events may change, so that a search for who changed a field can pass over the others.

What is said here may be more than what happened, never less: an event that may put anything anywhere touches all
fields. What events really do is in `state.py`; where a record of this is kept, chunk by chunk, is in `index.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from eventcore.history import events as e
from eventcore.history.slots import PREDICTIONS

RULES = 1
"""Version of what is said here: count it up when a kind of event begins to touch more than it did. Records kept by
other rules are not believed."""

BY_KIND: dict[type[e.Event], frozenset[str]] = {
    e.FieldRead: frozenset(),
    e.TrainabilityChanged: frozenset(),
    e.EffectStarted: frozenset(),
    e.PredictionAppended: frozenset((PREDICTIONS,)),
    e.RewardsAttributed: frozenset((PREDICTIONS, "nb_visit", "cumulative_reward")),
    e.PredictionsArchived: frozenset((PREDICTIONS, "predictions")),
    e.PredictionsClosed: frozenset((PREDICTIONS,)),
    e.PredictionsCleared: frozenset(("predictions", "candidates")),
}
"""Fields that events of a kind touch, whatever is in them."""

Groups = list[tuple[list[str] | None, list[int]]]
"""Names of fields, None for all fields, and the numbers of the variables in which just these may have changed."""


def touched(event: e.Event) -> Collection[str] | None:
    """Return the fields of its variable an event may change, None for all of them."""
    kind = type(event)
    if kind is e.VariableUpdated:
        return event.payload  # type: ignore[attr-defined, no-any-return]
    if isinstance(event, (e.ValuePatched, e.EditedFromOutside)):
        return (str(event.path[0]),) if event.path else None
    return BY_KIND.get(kind)


class Touches:
    """Collects which fields of which variables may change in a stretch of events."""

    def __init__(self) -> None:
        self._fields: dict[int, set[str]] = {}
        self._whole: set[int] = set()

    def feed(self, numbers: Sequence[int | None], events: Sequence[e.Event]) -> None:
        """Take note of events; `numbers` says for each which variable it concerns, None for none."""
        for number in {*numbers} - self._fields.keys():
            if number is not None:
                self._fields[number] = set()
        kinds = {*map(type, events)}
        if kinds == {e.VariableUpdated}:
            self._feed_updates(numbers, [event.payload for event in events])  # type: ignore[attr-defined]
        elif kinds != {e.FieldRead}:
            self._feed_mixed(numbers, events)

    def _feed_updates(self, numbers: Sequence[Any], payloads: list[dict[str, Any]]) -> None:
        names = set[str]().union(*payloads)
        owners = set(numbers)
        if len(names) == 1 or len(owners) == 1:  # to ask each is slower
            for number in owners:
                self._fields[number] |= names
        else:
            for number, payload in zip(numbers, payloads, strict=True):
                self._fields[number].update(payload)

    def _feed_mixed(self, numbers: Sequence[int | None], events: Sequence[e.Event]) -> None:
        for number, event in zip(numbers, events, strict=True):
            if number is None or type(event) is e.FieldRead:
                continue
            names = touched(event)
            if names is None:
                self._whole.add(number)
            else:
                self._fields[number].update(names)

    def groups(self) -> Groups:
        """Return what was collected."""
        found: dict[tuple[str, ...] | None, list[int]] = {}
        for number in sorted(self._fields):
            names = None if number in self._whole else tuple(sorted(self._fields[number]))
            found.setdefault(names, []).append(number)
        return [(None if names is None else list(names), numbers) for names, numbers in found.items()]


def fields_of(groups: Groups, number: int) -> frozenset[str] | None:
    """Return which fields of a variable may have changed, None if any may have."""
    for names, numbers in groups:
        if number in numbers:
            return None if names is None else frozenset(names)
    return None
