"""One event in words and as JSON, with names in place of the numbers the log holds.

An event of a kind this module has no words for is shown field by field, so a new kind needs no change here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from eventcore.cli.output import Clock, paint, printable, short
from eventcore.history import events as e
from eventcore.history.naming import HEADER_FIELDS, IN_JSON, Names, pointer_of
from eventcore.history.patches import NAMES

_KIND_WIDTH = max(len(kind) for kind in e.KINDS)
_BOOKKEEPING = frozenset({"SourceSeen", "RunStarted", "ProgramDeclared", "VariableDeclared", "TrackerLocked"})


class EventText:
    """Formats events as lines.

    Args:
        names: Paths and source lines of the run.
        colour: Whether to use colour.
    """

    def __init__(self, names: Names, colour: bool) -> None:
        self._names = names
        self._colour = colour
        self._clock = Clock()
        self._here = os.path.join(os.getcwd(), "")

    def line(self, seq: int, event: e.Event) -> str:
        """Return seq, time, kind, place, value, and rollout, cause and source line where there are any."""
        kind = type(event).__name__
        place, text = self._place(event), _text(event)
        parts = [
            paint(f"{seq:>7}", "dim", self._colour),
            paint(self._clock.text(event.time), "dim", self._colour),
            paint(f"{kind:<{_KIND_WIDTH}}", _colour_of(kind), self._colour),
            printable(place) or "-",
        ]
        if text:
            parts.append(text)
        tail = self._tail(event)
        if tail:
            parts.append(paint("  ".join(tail), "dim", self._colour))
        return "  ".join(parts)

    def _place(self, event: e.Event) -> str:
        path = self._names.path(event)
        if path is not None:
            return path + pointer_of(event)
        name = next(
            (getattr(event, field) for field in ("program", "module", "label") if hasattr(event, field)), ""
        )
        return str(name)

    def _tail(self, event: e.Event) -> list[str]:
        tail: list[str] = []
        if event.rollout is not None:
            tail.append(f"rollout={printable(event.rollout)}")
        if event.cause:
            tail.append(f"cause={event.cause}")
        line = None if isinstance(event, e.SourceSeen) else self._names.source(event)
        if line:
            tail.append(f"at {printable(line.removeprefix(self._here))}")
        return tail


def event_json(seq: int, event: e.Event, names: Names) -> dict[str, Any]:
    """Return an event as a JSON object: its fields, and path and source line in place of numbers."""
    record: dict[str, Any] = {
        "seq": seq,
        "time": event.time,
        "kind": type(event).__name__,
        "rollout": event.rollout,
        "cause": event.cause or None,
    }
    path = names.path(event)
    if path is not None:
        record["variable"] = path
        record["pointer"] = pointer_of(event)
    for field in event.__struct_fields__:
        if field not in HEADER_FIELDS:
            record[IN_JSON.get(field, field)] = getattr(event, field)
    if isinstance(event, e.ValuePatched):
        record["op"] = NAMES.get(event.op, event.op)
    if hasattr(event, "source"):
        record["source"] = names.source(event)
    return record


def _text(event: e.Event) -> str:
    """What happened, in few words; the place is said elsewhere."""
    words = _WORDS.get(type(event))
    if words is not None:
        return words(event)
    known = HEADER_FIELDS | {"program", "module", "label"}
    fields = [field for field in event.__struct_fields__ if field not in known]
    return "  ".join(f"{field}={short(getattr(event, field))}" for field in fields)


def _run_started(event: e.RunStarted) -> str:
    resumed = "  resumed" if event.facts.get("resumed") else ""
    return f"seed={event.seed}{resumed}  argv={short(event.facts.get('argv'))}"


def _declared(event: e.VariableDeclared) -> str:
    reason = f"  ({printable(event.reason)})" if event.reason else ""
    origin = f"  from {printable(event.origin)}" if event.origin else ""
    trainable = "trainable" if event.trainable else "not trainable"
    return f"{short(event.value)}  {trainable}{reason}{origin}"


def _updated(event: e.VariableUpdated) -> str:
    return short(next(iter(event.payload.values())) if len(event.payload) == 1 else event.payload)


def _assigned(event: e.VariableAssigned) -> str:
    return short(event.value) + (f"  from {printable(event.origin)}" if event.origin else "")


def _patched(event: e.ValuePatched) -> str:
    return " ".join([NAMES.get(event.op, f"operation {event.op}"), *(short(value) for value in event.args)])


def _trainability(event: e.TrainabilityChanged) -> str:
    return f"{'trainable' if event.trainable else 'not trainable'}  ({printable(event.reason)})"


def _edited(event: e.EditedFromOutside) -> str:
    return short(event.value) + (f"  ({printable(event.note)})" if event.note else "")


def _effect_started(event: e.EffectStarted) -> str:
    return f"{printable(event.kind)}  {short(event.request)}"


def _effect_completed(event: e.EffectCompleted) -> str:
    model = f"  {printable(event.model)}" if event.model else ""
    cost = f"  ${event.cost:.6f}" if event.cost else ""
    return f"{short(event.answer)}{model}{cost}"


def _effect_reused(event: e.EffectReused) -> str:
    model = f"  {printable(event.model)}" if event.model else ""
    saved = f"  ${event.cost:.6f} saved" if event.cost else ""
    return f"{short(event.answer)}{model}{saved}  from {printable(event.origin)} at seq {event.origin_seq}"


def _logs(event: e.EpochEnded | e.BatchEnded) -> str:
    place = f"epoch={event.epoch}" + (f"  step={event.step}" if isinstance(event, e.BatchEnded) else "")
    found = (f"{printable(name)}={_number(value)}" for name, value in event.logs.items())
    return "  ".join([place, *found])


def _number(value: Any) -> str:
    """Return a number of the logs as people read it; `--json` has all its digits."""
    return f"{value:.4g}" if isinstance(value, float) else short(value)


_WORDS: dict[type[e.Event], Callable[[Any], str]] = {
    e.RunStarted: _run_started,
    e.ProgramDeclared: lambda event: short(event.config),
    e.VariableDeclared: _declared,
    e.FieldRead: lambda event: "",
    e.VariableUpdated: _updated,
    e.VariableAssigned: _assigned,
    e.ValuePatched: _patched,
    e.PredictionAppended: lambda event: f"append {short(event.record)}",
    e.TrackerLocked: lambda event: "",
    e.TrainabilityChanged: _trainability,
    e.SourceSeen: lambda event: printable(event.line),
    e.EditedFromOutside: _edited,
    e.EffectStarted: _effect_started,
    e.EffectCompleted: _effect_completed,
    e.EffectReused: _effect_reused,
    e.LabelSet: lambda event: f"-> {event.seq}",
    e.BatchEnded: _logs,
    e.EpochEnded: _logs,
    e.MetricLogged: lambda event: f"{printable(event.name)}={_number(event.value)}",
    e.StateRestored: lambda event: f"the state of {event.back_to}",
}


def _colour_of(kind: str) -> str:
    if kind == "FieldRead":
        return "dim"
    if kind.endswith("Failed"):
        return "red"
    return "cyan" if kind in _BOOKKEEPING else "yellow"
