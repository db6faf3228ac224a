"""The bytes of a whole state: what a snapshot holds and what `StateRestored` carries.

A state hands over its parts and is made of them again; what changes them is the fold, in `state.py`. How a
snapshot is stored (its header, its checksum, its compression) is in `snapshots.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from eventcore.errors import CorruptLog
from eventcore.history.codec import DECODE_ERRORS, decode_json, encoder
from eventcore.history.slots import PREDICTIONS, PredictionRecord, VariableState

_WITH_ROLLOUTS = (PREDICTIONS, "predictions")


class Parts(NamedTuple):
    """What a state is made of."""

    next_number: int
    by_path: dict[str, VariableState]
    locked: set[str]
    programs: dict[str, dict[str, Any]]
    sources: list[str]
    labels: dict[str, int]
    former: dict[str, list[int]]


def encode_parts(parts: Parts) -> bytes:
    """Encode the parts of a state as MessagePack."""
    slots = [
        (s.number, s.path, s.schema, s.value, s.trainable, s.own, s.reason, s.origin, s.description,
         _rollouts(s))
        for s in parts.by_path.values()
    ]  # fmt: skip
    return encoder.encode(
        (
            parts.next_number,
            slots,
            sorted(parts.locked),
            parts.programs,
            parts.sources,
            parts.labels,
            parts.former,
        )
    )


def decode_parts(data: bytes) -> tuple[Parts, dict[int, VariableState]]:
    """Undo `encode_parts`.

    Returns:
        The parts, and the variables by number.

    Raises:
        CorruptLog: The bytes are no state.
    """
    try:
        next_number, rows, locked, programs, sources, labels, former = decode_json(data)
        slots = [_decode_slot(row) for row in rows]
        by_number = {slot.number: slot for slot in slots}
        by_path = {slot.path: slot for slot in slots}
        return Parts(next_number, by_path, set(locked), programs, sources, labels, former), by_number
    except (LookupError, TypeError, AttributeError, ValueError, *DECODE_ERRORS) as error:
        raise CorruptLog(f"cannot decode a snapshot: {error!r}") from error


def _rollouts(slot: VariableState) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for field in _WITH_ROLLOUTS:
        records = slot.value.get(field)
        if isinstance(records, list) and any(hasattr(record, "rollout") for record in records):
            found[field] = [getattr(record, "rollout", None) for record in records]
    return found


def _decode_slot(row: list[Any]) -> VariableState:
    slot = VariableState.__new__(VariableState)
    slot.number, slot.path, slot.schema, slot.value, slot.trainable, slot.own = row[:6]
    slot.reason, slot.origin, slot.description, rollouts = row[6:]
    slot.wrap = None
    for field, owners in rollouts.items():
        records = slot.value[field]
        for place, rollout in enumerate(owners):
            if isinstance(records[place], dict):
                records[place] = PredictionRecord(records[place])
                records[place].rollout = rollout
    return slot
