"""What has to be known to make a program again: its record, and the record together with the values.

The record stands in the log (`ProgramDeclared`) and in portable files alike. Beyond what `serialize_object`
says of the program, it holds the paths of its variables and the modules that are frozen, so that a load can be
checked before anything is changed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from eventcore.history.run import Run
from eventcore.history.state import State
from eventcore.modules.internals import core_of
from eventcore.modules.ownership import modules_below
from eventcore.saving.writing import serialize_object
from eventcore.variables.variable import Variable

JsonDict = dict[str, Any]


class SavedVariable(msgspec.Struct, frozen=True):
    """One variable as it was saved.

    Attributes:
        value: The whole value.
        schema: Its JSON schema then.
        trainable: Its own flag, whatever modules above it said.
        description: What it was for.
    """

    value: JsonDict
    schema: JsonDict
    trainable: bool
    description: str = ""


class SavedProgram(msgspec.Struct, frozen=True):
    """A program as it was saved.

    Attributes:
        record: What `describe_program` returned.
        variables: By path. May hold variables of other programs of the same run.
        place: Where it was found, in words: "run 'a' of lmdb:/runs at seq 41".
    """

    record: JsonDict
    variables: dict[str, SavedVariable]
    place: str

    @property
    def title(self) -> str:
        """The program, in words."""
        return f"{self.record.get('class_name', 'a program')} of {self.place}"

    def expected(self) -> list[str]:
        """Paths of the variables the program had."""
        listed = self.record.get("variables")
        return list(self.variables) if listed is None else list(listed)


def variables_of(program: Any) -> list[Variable]:
    """Return every variable of a program, those of its optimizer and metrics included, each once."""
    found = {id(variable): variable for variable in program.variables}
    compiled = getattr(program, "get_compile_config", None)
    if compiled is not None and compiled():
        for part in (program.optimizer, *program.metrics):
            for variable in getattr(part, "variables", ()):
                found.setdefault(id(variable), variable)
    return list(found.values())


def describe_program(program: Any) -> JsonDict:
    """Return the record of a program.

    Raises:
        InvalidValue: It holds something that could not be made again.
    """
    record: JsonDict = serialize_object(program)
    record["variables"] = [variable.path for variable in variables_of(program)]
    record["frozen"] = [core_of(module).path for module in modules_below(program) if not module.trainable]
    return record


def saved_variables(state: State) -> dict[str, SavedVariable]:
    """Return the variables of a state as they would be saved."""
    values = state.variables
    return {
        slot.path: SavedVariable(values[slot.path], state.schema(slot.path), slot.own, slot.description)
        for slot in state.live_slots()
    }


def place_of(run: Run, seq: int) -> str:
    """Name a point of a run in words."""
    return f"run {run.name!r} of {run.store.url} at seq {seq}"
