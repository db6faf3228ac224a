"""Changing a value of a run by hand: the edit is an event like any other, and checked like any other.

The place is named `VARIABLE/POINTER`, the variable by its path or by its name where that is unique.
"""

from __future__ import annotations

from typing import Any

import msgspec

from eventcore.errors import InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history.run import Run
from eventcore.history.slots import VariableState
from eventcore.history.state import State, size_of
from eventcore.history.timetravel import join_pointer, parse_pointer, variable_known
from eventcore.history.values import copy_json
from eventcore.models.validation import validator_for


def parse_edit(text: str) -> tuple[str, Any]:
    """Split `VARIABLE/POINTER=JSON` into the place and the value; a value that is no JSON is a string.

    Raises:
        InvalidValue: There is no place, or no value.
    """
    place, equals, value = text.partition("=")
    if not equals or not place.strip():
        raise InvalidValue(
            f"cannot use the edit {text!r}: pass VARIABLE/POINTER=JSON, e.g. "
            "state_generator/instructions='\"Be brief.\"'"
        )
    try:
        return place, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return place, value


def declared_after(run: Run, seq: int, place: str) -> int | None:
    """Return where the variable that `place` begins with is declared for the first time behind a seq, or None."""
    if seq >= run.head:
        return None
    wanted = place.strip("/") + "/"
    for record in run.events(seq + 1, kind=e.VariableDeclared):
        if isinstance(record.event, e.VariableDeclared):
            path = record.event.path
            if wanted.startswith((f"{path}/", f"{path.rpartition('/')[2]}/")):
                return record.seq
    return None


def edit(run: Run, place: str, value: Any, note: str = "edited by hand") -> int:
    """Record that a person changed a value, and return the seq of that.

    Args:
        run: Open for writing.
        place: `VARIABLE/POINTER`; the variable alone for its whole value.
        value: The new value, JSON.
        note: Why.

    Raises:
        NotFound: No such variable, or no such place in it.
        SchemaMismatch: The value does not fit the variable's schema; nothing was recorded.
    """
    event = edit_event(run, run.state, place, value, note)
    return run.record(event, size_of(event.value) + len(note))


def edit_event(run: Run, state: State, place: str, value: Any, note: str) -> e.EditedFromOutside:
    """Make the event of an edit and check that it fits a state; otherwise like `edit`."""
    slot, pointer = _split(state, place)
    whole: dict[str, Any] = copy_json(slot.value)
    path = _write(slot, whole, parse_pointer(pointer), value)
    checked = validator_for(slot.schema).check(whole, f"variable {slot.path!r}")
    found: Any = checked
    for step in path:
        found = found[step]
    return e.EditedFromOutside(*run.stamp(), slot.number, path, found, note)


def _split(state: State, place: str) -> tuple[VariableState, str]:
    """Find the variable by the longest beginning of `place` that names one."""
    steps = place.strip("/").split("/")
    for count in range(len(steps), 0, -1):
        name = "/".join(steps[:count])
        if variable_known(state, name):
            rest = steps[count:]
            return state.slot(name), "".join(f"/{step}" for step in rest)
    state.slot(steps[0])  # says what there is
    raise NotFound(f"cannot find a variable by {place!r}")


def _write(slot: VariableState, whole: dict[str, Any], steps: list[str], value: Any) -> list[str | int]:
    """Put a value into `whole` and return the path to it."""
    if not steps:
        whole.clear()
        whole.update(value if isinstance(value, dict) else {"": value})
        return []
    at: Any = whole
    path: list[str | int] = []
    for number, step in enumerate(steps):
        key = _key(slot, at, step, steps[:number])
        path.append(key)
        if number == len(steps) - 1:
            at[key] = value
        else:
            at = at[key]
    return path


def _key(slot: VariableState, at: Any, step: str, before: list[str]) -> str | int:
    if isinstance(at, dict) and step in at:
        return step
    if isinstance(at, list) and step.isdecimal() and int(step) < len(at):
        return int(step)
    pointer = ""
    for earlier in before:
        pointer = join_pointer(pointer, earlier)
    there = (
        f"it has {', '.join(at)}" if isinstance(at, dict)
        else f"it is a list of {len(at)}" if isinstance(at, list)
        else f"it is {type(at).__name__}"
    )  # fmt: skip
    raise NotFound(f"cannot edit {step!r} at {slot.path}{pointer}: there is no such place; {there}")
