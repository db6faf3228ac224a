"""A variable in a state: its number, its path, its value, and how values enter it.

The slot is where the fold writes. Which event writes what is in `state.py` and `population.py`; the bytes of
a slot are in `state_bytes.py`.

Live states differ from replayed ones in one way: a variable in use gives its slot a `wrap` function, which
turns containers that enter into recording views. The views *are* the stored value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eventcore.history import events as e
from eventcore.history.patches import Wrap, plain

PREDICTIONS = "current_predictions"
"""The field whose records carry their rollout; its list object stays the same for ever."""

SCALARS = frozenset({str, int, float, bool, type(None)})
"""Types of the JSON values that are no containers."""


class PredictionRecord(dict[str, Any]):
    """A prediction record: an object that remembers which rollout made it, outside its JSON."""

    __slots__ = ("rollout",)
    rollout: str | None


class VariableState:
    """One variable in a state: its value and what the log says about it.

    Attributes:
        number: Number of the variable in its run.
        path: Its path.
        schema: JSON schema; never changed in place.
        value: The whole value; in a live state its containers are recording views.
        trainable: Whether optimizers may rewrite it.
        own: The variable's own flag.
        reason: Why it is not trainable although asked for, or None.
        origin: Where its first value came from, or None for an initializer.
        description: In words.
        wrap: Applied to values that enter; None keeps them plain.
    """

    __slots__ = (
        "description",
        "number",
        "origin",
        "own",
        "path",
        "reason",
        "schema",
        "trainable",
        "value",
        "wrap",
    )

    def __init__(self, event: e.VariableDeclared) -> None:
        self.number = event.variable
        self.path = event.path
        self.schema: dict[str, Any] = event.schema
        self.value: dict[str, Any] = plain(event.value)
        self.trainable = event.trainable
        self.own = event.own
        self.reason = event.reason
        self.origin = event.origin
        self.description = event.description
        self.wrap: Wrap | None = None

    def enter(self, value: Any, container: Any) -> Any:
        """Return an event's value in the form this state keeps, sharing no container with the event."""
        return _copied(value) if self.wrap is None else self.wrap(value, container)

    def put(self, field: str, value: Any, rollout: str | None = None) -> None:
        """Store a value; the list of current predictions keeps its identity, and new records their rollout."""
        if field == PREDICTIONS:
            held = self.value.get(field)
            if isinstance(held, list) and isinstance(value, list):
                records = [_owned(item, held, place, rollout) for place, item in enumerate(value)]
                list.__setitem__(held, slice(None), [self.enter(item, held) for item in records])
                return
        dict.__setitem__(self.value, field, self.enter(value, self.value))

    def replace(self, value: dict[str, Any]) -> None:
        """Store a whole value."""
        for field in [field for field in self.value if field not in value]:
            dict.__delitem__(self.value, field)
        for field, item in value.items():
            self.put(field, item)

    def mend(self, place: Any, truth: Any) -> None:
        """Make a container of the value equal to `truth`, replacing only what differs: views stay what they are."""
        if isinstance(place, dict):
            for key in [key for key in dict.keys(place) if key not in truth]:
                dict.__delitem__(place, key)
            for key, item in truth.items():
                held = dict.get(place, key, self)
                if held is self or not self._mended(held, item):
                    dict.__setitem__(place, key, self.enter(item, place))
        else:
            del_from, common = len(truth), min(len(place), len(truth))
            list.__delitem__(place, slice(del_from, None))
            for index in range(common):
                if not self._mended(list.__getitem__(place, index), truth[index]):
                    list.__setitem__(place, index, self.enter(truth[index], place))
            list.extend(place, [self.enter(item, place) for item in truth[common:]])

    def _mended(self, held: Any, truth: Any) -> bool:
        """Whether `held` is, or has been made, equal to `truth`; plain containers have no place among views."""
        kinds = (dict, list)
        foreign = self.wrap is not None and type(held) in kinds
        if not foreign and any(isinstance(held, kind) and isinstance(truth, kind) for kind in kinds):
            self.mend(held, truth)
            if isinstance(truth, PredictionRecord) and hasattr(held, "rollout"):
                record: Any = held
                record.rollout = truth.rollout
            return True
        return not differ(held, truth)

    def container(self, path: Iterable[Any]) -> Any:
        """Return what lies at a path of keys and indexes."""
        place: Any = self.value
        for step in path:
            place = (
                dict.__getitem__(place, step) if isinstance(place, dict) else list.__getitem__(place, step)
            )
        return place


def _owned(item: Any, held: list[Any], place: int, rollout: str | None) -> Any:
    """Return an item of a list of records with its rollout: its own, an equal earlier record's, or `rollout`."""
    if not isinstance(item, dict) or isinstance(item, PredictionRecord):
        return item
    before = list.__getitem__(held, place) if place < len(held) else None
    record = PredictionRecord(item)
    record.rollout = getattr(before, "rollout", None) if before == item else rollout
    return record


def _copied(value: Any) -> Any:
    """Return a plain value that shares nothing; a record goes on remembering its rollout."""
    kind = type(value)
    if kind is str or kind is int or kind is float:
        return value
    if kind is PredictionRecord:
        record = PredictionRecord(plain(value))
        record.rollout = value.rollout
        return record
    return plain(value)


def differ(a: Any, b: Any) -> bool:
    """Whether two places hold different scalars, or anything that is no scalar at all."""
    return type(a) not in SCALARS or type(a) is not type(b) or a != b or repr(a) != repr(b)  # -0.0 equals 0.0
