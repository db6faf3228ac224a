"""Every event of the system: one closed union, the vocabulary of the log.

An event is an immutable past-tense fact. Each class says who emits it and what `apply`
(in `eventcore.history.state`) does with it; an event without a word about `apply` changes
nothing of the state and is there to be read. Payloads are canonical JSON values that belong to the event
alone: whoever makes one hands over a value nobody else holds, and `apply` copies what it keeps.

Tags are small integers and are never reused. A new event or a new trailing field (with a
default) raises `VOCABULARY`; a change of meaning needs an upcaster in `codec.py`.
"""

from __future__ import annotations

from typing import Any

import msgspec

JsonDict = dict[str, Any]

VOCABULARY = 1
"""Version of this vocabulary, stored in every block so that an older reader can say what is too new for it."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=True):
    """What every event carries.

    Attributes:
        time: Microseconds since 1970, informational; order is the seq.
        rollout: Identity of the rollout that caused it, or None outside any.
        cause: Seq of the event that led to this one, 0 for none.
    """

    time: int
    rollout: str | None
    cause: int


class RunStarted(Event, frozen=True, array_like=True, gc=False, tag=1):
    """First event of a run that is not a fork, and of every later opening of a run for writing.

    Attributes:
        seed: The run's seed.
        facts: Map: versions of Python, eventcore and the packages it uses, argv, git commit, resumed.
    """

    seed: int
    facts: JsonDict


class ProgramDeclared(Event, frozen=True, array_like=True, gc=False, tag=2):
    """A program was used in this run for the first time. `apply` keeps its config by name.

    Attributes:
        program: Name of the program.
        config: Map that rebuilds it (`saving.serialize_object`).
    """

    program: str
    config: JsonDict


class VariableDeclared(Event, frozen=True, array_like=True, gc=False, tag=3):
    """A variable began to live in this run. `apply` adds it, replacing one of the same path.

    Attributes:
        variable: Number of the variable in the run: 0, 1, 2, ...
        path: Its path, unique in the state.
        schema: JSON schema.
        value: The whole value.
        trainable: Whether optimizers may rewrite it now.
        own: The variable's own flag, whatever modules above it say.
        reason: Why it is not trainable although that was asked for, or None.
        origin: Where the value came from when not from an initializer ("run 'a' at seq 41"), or None.
        description: What it is for, in words.
        source: Number of the source line that declared it, -1 for unknown.
    """

    variable: int
    path: str
    schema: JsonDict
    value: JsonDict
    trainable: bool
    own: bool
    reason: str | None
    origin: str | None
    description: str
    source: int


class FieldRead(Event, frozen=True, array_like=True, gc=False, tag=4):
    """A field was read (`get`), or the whole variable (`field` None)."""

    variable: int
    field: str | None


class VariableUpdated(Event, frozen=True, array_like=True, gc=False, tag=5):
    """`update`: `apply` merges the map `payload` into the value, key by key."""

    variable: int
    payload: JsonDict
    source: int


class VariableAssigned(Event, frozen=True, array_like=True, gc=False, tag=6):
    """`assign` or a load: `apply` replaces the whole value by the map `value`.

    Attributes:
        origin: Where the value came from if it was loaded, or None.
    """

    variable: int
    value: JsonDict
    source: int
    origin: str | None = None


class ValuePatched(Event, frozen=True, array_like=True, gc=False, tag=7):
    """An in-place change of a container inside a variable; `apply` carries out `op` at `path`.

    Attributes:
        path: Keys and indexes from the value to the container, as they were at this moment.
        op: One of the operations of `eventcore.history.patches`.
        args: The operation's arguments.
    """

    variable: int
    path: list[str | int]
    op: int
    args: list[Any]
    source: int


class PredictionAppended(Event, frozen=True, array_like=True, gc=False, tag=8):
    """A record was appended to `current_predictions`; `apply` appends it and remembers its rollout."""

    variable: int
    record: JsonDict
    source: int


class TrackerLocked(Event, frozen=True, array_like=True, gc=False, tag=9):
    """A module was called for the first time: its set of variables is final. `apply` adds it to the locks."""

    module: str


class TrainabilityChanged(Event, frozen=True, array_like=True, gc=False, tag=10):
    """A variable was frozen or thawed. `apply` stores both flags.

    Attributes:
        trainable: Whether optimizers may rewrite it now.
        own: The variable's own flag.
        reason: Who changed it, in words.
    """

    variable: int
    trainable: bool
    own: bool
    reason: str


class SourceSeen(Event, frozen=True, array_like=True, gc=False, tag=11):
    """A line of the user's code wrote for the first time. `apply` adds it to the table of sources.

    Attributes:
        source: Number of the line in the run: 0, 1, 2, ...
        line: "file:line in function".
    """

    source: int
    line: str


class EditedFromOutside(Event, frozen=True, array_like=True, gc=False, tag=12):
    """A person changed a value by hand, not the program. `apply` replaces the value at `path`.

    Attributes:
        path: Steps from the variable's value to the place, empty for the whole value.
        value: The new value.
        note: Why, in words.
    """

    variable: int
    path: list[str | int]
    value: Any
    note: str


class LabelSet(Event, frozen=True, array_like=True, gc=False, tag=13):
    """A label now points at a seq. Labels move; their history is these events. `apply` stores it."""

    label: str
    seq: int


AnyEvent = (
    RunStarted
    | ProgramDeclared
    | VariableDeclared
    | FieldRead
    | VariableUpdated
    | VariableAssigned
    | ValuePatched
    | PredictionAppended
    | TrackerLocked
    | TrainabilityChanged
    | SourceSeen
    | EditedFromOutside
    | LabelSet
)
"""The closed union. The codec decodes exactly these."""

KINDS: dict[str, type[Event]] = {cls.__name__: cls for cls in AnyEvent.__args__}
"""Event classes by name, for filters and the command line."""
