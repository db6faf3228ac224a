"""State and `apply`: the fold that turns events into the values of all variables.

`apply(state, event)` is the only function that changes a state, live and on replay alike, so "live
equals replayed" holds by construction. A state is values only: no seq, time or run name is in it, and
its digest covers the variables' paths and values alone. Reading, recording and storing are elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from eventcore.errors import CorruptLog, NotFound
from eventcore.history import events as e
from eventcore.history import population
from eventcore.history.codec import DECODE_ERRORS, encoder
from eventcore.history.patches import perform, plain
from eventcore.history.slots import PREDICTIONS, SCALARS, PredictionRecord, VariableState
from eventcore.history.state_bytes import Parts, decode_parts, encode_parts

merge: Callable[[dict[str, Any], dict[str, Any]], None] = dict.update
"""Apply an update whose values are all scalars, past any recording view: `_updated`, in one call of C."""


NAMED = 10
"""Variables that the `repr` of a state names."""


class State:
    """All variables, locks, programs and labels at one point of a run.

    An ordinary value: it does not change when the run goes on.
    """

    __slots__ = ("_by_path", "_former", "_next", "_slots", "labels", "locked", "programs", "sources")

    def __init__(self) -> None:
        self._slots: dict[int, VariableState] = {}
        self._next = 0
        self._by_path: dict[str, VariableState] = {}
        self._former: dict[str, list[int]] = {}
        self.locked: set[str] = set()
        self.programs: dict[str, dict[str, Any]] = {}
        self.sources: list[str] = []
        self.labels: dict[str, int] = {}

    @property
    def variables(self) -> Mapping[str, dict[str, Any]]:
        """Values by path, in order of declaration; every access gives an independent plain copy."""
        return _Values(self._by_path)

    @property
    def next_number(self) -> int:
        """The number the next declared variable gets."""
        return self._next

    @property
    def digest(self) -> str:
        """BLAKE2b-256 (hex) of the canonical JSON of all values by path: equal values, equal digests."""
        return digest_of({path: slot.value for path, slot in self._by_path.items()})

    def names(self) -> list[str]:
        """Paths of all variables, in order of declaration."""
        return list(self._by_path)

    def slot(self, variable: str | int) -> VariableState:
        """Return one variable by path, by number, or by its name where that is unique.

        Raises:
            NotFound: There is none, or the name is ambiguous; the message lists the near ones.
        """
        if isinstance(variable, int):
            if variable in self._slots:
                return self._slots[variable]
            raise NotFound(
                f"cannot find variable number {variable} in this state; it has {list(self._slots)}"
            )
        if variable in self._by_path:
            return self._by_path[variable]
        return self._by_path[resolve(variable, self._by_path)]

    def has(self, number: int) -> bool:
        """Whether a variable of this number is there and was not replaced."""
        return number in self._slots

    def numbers(self, variable: str) -> list[int]:
        """Numbers of a variable and of those it replaced under the same path, oldest first."""
        slot = self.slot(variable)
        return [*self._former.get(slot.path, ()), slot.number]

    def live_slots(self) -> list[VariableState]:
        """The slots of all variables, in order of declaration."""
        return list(self._by_path.values())

    def absorb(self, truth: State) -> None:
        """Make this state equal to `truth`, touching only what differs, so that views elsewhere stay valid."""
        for slot in truth.live_slots():
            mine = self._slots.get(slot.number)
            if mine is not None:
                mine.mend(mine.value, slot.value)
                slot.value, slot.wrap = mine.value, mine.wrap
                for name in VariableState.__slots__:
                    setattr(mine, name, getattr(slot, name))
                truth._slots[slot.number] = truth._by_path[slot.path] = mine
        for name in State.__slots__:
            setattr(self, name, getattr(truth, name))

    def schema(self, variable: str) -> dict[str, Any]:
        """JSON schema of a variable."""
        schema: dict[str, Any] = plain(self.slot(variable).schema)
        return schema

    def trainable(self, variable: str) -> bool:
        """Whether optimizers may rewrite a variable."""
        return self.slot(variable).trainable

    def config(self, program: str) -> dict[str, Any]:
        """The config a program was declared with.

        Raises:
            NotFound: No program of that name was declared.
        """
        if program not in self.programs:
            known = ", ".join(self.programs) or "none"
            raise NotFound(f"cannot find program {program!r} in this state; it has: {known}")
        config: dict[str, Any] = plain(self.programs[program])
        return config

    def only(self, number: int, value: dict[str, Any]) -> VariableState:
        """Make this a state of one variable, by number, with a plain value: to fold some of its events apart."""
        slot = VariableState.__new__(VariableState)
        slot.number, slot.value, slot.wrap = number, value, None
        self._slots[number] = slot
        return slot

    def copy(self) -> State:
        """Return an independent plain copy. O(size of the state)."""
        return decode_state(encode_state(self))

    def __repr__(self) -> str:
        count = len(self._by_path)
        names = ", ".join([*list(self._by_path)[:NAMED], *(["…"] if count > NAMED else [])])
        variables = f"{count} variable{'' if count == 1 else 's'}{': ' if names else ''}{names}"
        return f"State({variables}; digest {self.digest[:12]})"

    def _repr_html_(self) -> str:
        from eventcore.history.html import state_html

        return state_html(self)


class _Values(Mapping[str, dict[str, Any]]):
    """A read-only mapping that copies what it hands out."""

    def __init__(self, by_path: dict[str, VariableState]) -> None:
        self._slots = by_path

    def __getitem__(self, path: str) -> dict[str, Any]:
        if path not in self._slots:
            path = resolve(path, self._slots)
        value: dict[str, Any] = plain(self._slots[path].value)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, path: object) -> bool:
        return path in self._slots

    def __repr__(self) -> str:
        return repr({path: self[path] for path in self})


def resolve(name: str, paths: Iterable[str]) -> str:
    """Return the one path that is `name` or ends in `/name`.

    Raises:
        NotFound: None or several; the message lists them or the near ones.
    """
    known = list(paths)
    if name in known:
        return name
    matches = [path for path in known if path.endswith("/" + name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise NotFound(
            f"cannot choose variable {name!r}: several paths end in it: {', '.join(matches)}; pass one"
        )
    import difflib

    candidates = dict.fromkeys([*known, *(path.rsplit("/", 1)[-1] for path in known)])
    near = difflib.get_close_matches(name, candidates, 3, 0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"there is: {', '.join(known[:10]) or 'none'}"
    raise NotFound(f"cannot find variable {name!r}; {hint}")


def digest_of(value: Any) -> str:
    """BLAKE2b-256 (hex) of the canonical JSON (sorted keys, UTF-8) of a value."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=32).hexdigest()


def size_of(value: Any) -> int:
    """About how many bytes a JSON value takes in the log; exact for containers."""
    kind = type(value)
    if kind is str:
        return len(value) + 5 if value.isascii() else len(value.encode()) + 5
    if kind in SCALARS:
        return 9
    return len(encoder.encode(value))


# --- apply -------------------------------------------------------------------------------------


def _declared(state: State, event: e.VariableDeclared) -> None:
    slot = VariableState(event)
    before = state._by_path.pop(event.path, None)
    if before is not None:
        state._slots.pop(before.number, None)
        state._former.setdefault(event.path, []).append(before.number)
    state._next = max(state._next, event.variable + 1)
    state._slots[event.variable] = slot
    state._by_path[event.path] = slot


def _updated(state: State, event: e.VariableUpdated) -> None:
    slot = state._slots[event.variable]
    for field, value in event.payload.items():
        slot.put(field, value, event.rollout)


def _assigned(state: State, event: e.VariableAssigned) -> None:
    state.slot(event.variable).replace(event.value)


def _patched(state: State, event: e.ValuePatched) -> None:
    slot = state.slot(event.variable)
    args = event.args
    if event.rollout is not None and event.path == [PREDICTIONS]:
        args = [
            [_record(item, event.rollout) for item in argument]
            if isinstance(argument, list)
            else _record(argument, event.rollout)
            for argument in args
        ]
    perform(slot.container(event.path), event.op, args, slot.enter)


def _record(entering: Any, rollout: str) -> Any:
    """Return what enters the current predictions as a record of a rollout."""
    if not isinstance(entering, dict):
        return entering
    record = PredictionRecord(entering)
    record.rollout = rollout
    return record


def _prediction(state: State, event: e.PredictionAppended) -> None:
    slot = state.slot(event.variable)
    record = PredictionRecord(event.record)
    record.rollout = event.rollout
    records = slot.value[PREDICTIONS]
    list.append(records, slot.enter(record, records))


def _trainability(state: State, event: e.TrainabilityChanged) -> None:
    slot = state.slot(event.variable)
    slot.trainable = event.trainable
    slot.own = event.own


def _edited(state: State, event: e.EditedFromOutside) -> None:
    slot = state.slot(event.variable)
    path, value = event.path, event.value
    if not path:
        slot.replace(value)
    elif len(path) == 1:
        slot.put(str(path[0]), value)
    else:
        perform(slot.container(path[:-1]), 0, [path[-1], value], slot.enter)


def _source(state: State, event: e.SourceSeen) -> None:
    while len(state.sources) <= event.source:
        state.sources.append("")
    state.sources[event.source] = event.line


def _program(state: State, event: e.ProgramDeclared) -> None:
    state.programs.pop(event.program, None)  # the last one declared stands last
    state.programs[event.program] = event.config


def _locked(state: State, event: e.TrackerLocked) -> None:
    state.locked.add(event.module)


def _label(state: State, event: e.LabelSet) -> None:
    state.labels[event.label] = event.seq


def _on_slot(part: Callable[[VariableState, Any], None]) -> Callable[[State, Any], None]:
    return lambda state, event: part(state.slot(event.variable), event)


_HANDLERS: dict[type[e.Event], Callable[[State, Any], None]] = {
    e.VariableDeclared: _declared,
    e.VariableUpdated: _updated,
    e.VariableAssigned: _assigned,
    e.ValuePatched: _patched,
    e.PredictionAppended: _prediction,
    e.TrainabilityChanged: _trainability,
    e.EditedFromOutside: _edited,
    e.SourceSeen: _source,
    e.ProgramDeclared: _program,
    e.TrackerLocked: _locked,
    e.LabelSet: _label,
    e.StateRestored: lambda state, event: state.absorb(decode_state(event.state)),
}
_ON_SLOTS: list[tuple[type[e.Event], Callable[[VariableState, Any], None]]] = [
    (e.RewardsAttributed, population.attributed),
    (e.PredictionsArchived, population.archived),
    (e.PredictionsClosed, population.closed),
    (e.PredictionsCleared, population.cleared),
    (e.CandidateProposed, population.proposed),
    (e.CandidateAdded, population.added),
    (e.PopulationSelected, population.selected),
    (e.CandidateChosen, population.chosen),
    (e.BestRemembered, population.remembered),
]
_HANDLERS.update({kind: _on_slot(part) for kind, part in _ON_SLOTS})
_handler = _HANDLERS.get


def apply(state: State, event: e.Event) -> None:
    """Change `state` by one event. The only function that does; O(what the event changes)."""
    handler = _handler(type(event))
    if handler is not None:
        handler(state, event)


def fold(state: State, events: Iterable[e.Event], first_seq: int = 1) -> State:
    """Apply events in order to `state` and return it.

    Args:
        state: Changed in place.
        events: Oldest first.
        first_seq: Seq of the first of them, for the error.

    Raises:
        CorruptLog: An event does not fit the state, with its seq.
    """
    find, updated, scalars = _handler, e.VariableUpdated, SCALARS
    slots = state._slots
    event: Any = None
    events = events if isinstance(events, list) else list(events)
    try:
        for event in events:
            kind = type(event)
            if kind is updated:  # `_updated` without its calls: most events of a log are these
                slot = slots[event.variable]
                held = slot.value if slot.wrap is None else None
                for field, value in event.payload.items():
                    if held is not None and (type(value) is str or type(value) in scalars):
                        held[field] = value
                    else:
                        slot.put(field, value, event.rollout)
            else:
                handler = find(kind)
                if handler is not None:
                    handler(state, event)
                    slots = state._slots  # one that restores a state puts others in their place
    except (LookupError, TypeError, AttributeError, ValueError, *DECODE_ERRORS) as error:
        seq = first_seq + next(place for place, other in enumerate(events) if other is event)
        raise CorruptLog(
            f"cannot fold event {seq}: it does not fit the state before it ({error!r})", seq
        ) from error
    return state


# --- bytes -------------------------------------------------------------------------------------


def encode_state(state: State) -> bytes:
    """Encode a whole state as MessagePack."""
    return encode_parts(
        Parts(
            state._next, state._by_path, state.locked, state.programs, state.sources, state.labels, state._former
        )
    )  # fmt: skip


def decode_state(data: bytes) -> State:
    """Undo `encode_state`.

    Raises:
        CorruptLog: The bytes are no state.
    """
    state = State()
    (
        state._next, state._by_path, state.locked, state.programs, state.sources, state.labels, state._former
    ), state._slots = decode_parts(data)  # fmt: skip
    return state
