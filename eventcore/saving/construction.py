"""Making a program from its record, checking it, and moving it into the run it is to live in.

A program is first made in a scratch run in memory and held against what was saved. Only when everything fits
is the first event written where it counts, so a load that fails leaves nothing behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import eventcore.modules.core as core_modules
import eventcore.programs as programs
from eventcore.errors import ConfigMismatch, InvalidValue, NotFound, SchemaMismatch
from eventcore.history.positions import Position
from eventcore.history.run import Run
from eventcore.history.scope import in_run
from eventcore.history.store import open as open_store
from eventcore.models.validation import validator_for
from eventcore.modules.calling import settle
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.modules.ownership import modules_below
from eventcore.programs.program import Program
from eventcore.saving.comparison import same_structure
from eventcore.saving.memory_runs import run_in_memory
from eventcore.saving.program_record import SavedProgram, place_of, saved_variables, variables_of
from eventcore.saving.reading import deserialize_object
from eventcore.variables.scope import at_path
from eventcore.variables.staying import Stay
from eventcore.variables.variable import Variable

BUILDING_BLOCKS = (core_modules, programs)
"""Imported so that what programs are made of is registered before one is made again."""
# These stand above this module and are reached through the library's public names.
_COMPILED_WITH = ("optimizers", "rewards", "metrics", "LanguageModel", "EmbeddingModel", "Generator")


def build(
    saved: SavedProgram, run: Run, custom_objects: Mapping[str, Any] | None = None, stay: Stay | None = None
) -> Any:
    """Make a saved program, with the values it had, living in `run` (see `move`).

    Raises:
        ConfigMismatch: The classes make other variables today; both sides are listed. Nothing was changed.
        UnknownClass: A class is not among those the user's code has defined. Nothing was changed.
    """
    scratch = run_in_memory("loading", 0)
    try:
        with in_run(scratch), at_path(""):
            _know_the_library()
            program = deserialize_object(dict(saved.record), custom_objects)
            if not isinstance(program, Module):
                raise InvalidValue(f"cannot load {saved.title}: it is {program!r}, not a program")
            require_fit(variables_of(program), saved)
            restore_flags(program, saved)
            for variable in variables_of(program):
                found = saved.variables[variable.path]
                variable.trainable = found.trainable
                if variable.get_json() != found.value:
                    variable.restore(found.value, saved.place)
        move(program, run, saved.place, stay)
    finally:
        scratch.store.close()
    return program


def _know_the_library() -> None:
    """Load the parts of eventcore that programs are compiled with, whatever was saved: then they are registered."""
    library = sys.modules["eventcore"]
    for name in _COMPILED_WITH:
        if name in library.__all__:
            getattr(library, name)


def move(program: Module, run: Run, origin: str, stay: Stay | None = None) -> None:
    """Let a program live in `run` from now on.

    Where another one in use has the same paths there, it lives in a run of its own in memory instead, until
    the other is gone: then its next call moves it to the run that is current.
    """
    variables = variables_of(program)
    paths = [variable.path for variable in variables]
    if len(set(paths)) < len(paths):
        twice = sorted({path for path in paths if paths.count(path) > 1})
        raise ConfigMismatch(f"cannot load '{program.name}': it has two variables at {', '.join(twice)}")
    if any(run.is_taken(path, collect=False) for path in paths) and any(map(run.is_taken, paths)):
        if run.store.backend.durable:
            sys.stderr.write(
                f"eventcore: a program in use in run {run.name!r} has the variables of {program.name!r}; the one that "
                "was loaded lives in memory beside it, and moves to the current run when the other is gone\n"
            )
        run, stay = run_in_memory(run.name, run.seed), Stay(always=False)
    with in_run(run):
        for variable in variables:
            variable.adopt(origin)
        settle(program)
    for variable in variables:
        variable.stays = stay


# --- what fits ---------------------------------------------------------------------------------


def require_fit(variables: Iterable[Variable], saved: SavedProgram) -> None:
    """Hold the variables of a program against what was saved, before anything is changed.

    Raises:
        ConfigMismatch: Something is missing, unexpected, or of another schema; everything is listed.
    """
    have = {variable.path: variable for variable in variables}
    missing = tuple(path for path in have if path not in saved.variables)
    unexpected = tuple(path for path in saved.expected() if path not in have)
    other = [
        f"{path} ({reason})"
        for path, variable in have.items()
        if path in saved.variables and (reason := _misfit(variable, saved, path))
    ]
    if not (missing or unexpected or other):
        return
    parts = [f"missing there: {', '.join(missing)}"] if missing else []
    parts += [f"unexpected there: {', '.join(unexpected)}"] if unexpected else []
    parts += [f"of another schema: {'; '.join(other)}"] if other else []
    raise ConfigMismatch(
        f"cannot load {saved.title}: its variables are not those the code makes today; {'. '.join(parts)}. "
        "Nothing was changed; load it with the code that saved it, or load the parts that fit with load_variables",
        missing,
        unexpected,
    )


def _misfit(variable: Variable, saved: SavedProgram, path: str) -> str | None:
    found, schema = saved.variables[path], variable.get_schema()
    if not same_structure(found.schema, schema):
        return _fields_differ(found.schema, schema)
    try:
        validator_for(schema).check(found.value, path)
    except SchemaMismatch as error:
        return str(error)
    return None


def _fields_differ(then: dict[str, Any], now: dict[str, Any]) -> str:
    before, today = then.get("properties", {}), now.get("properties", {})
    gone = [name for name in before if name not in today]
    new = [name for name in today if name not in before]
    changed = [name for name in before if name in today and not same_structure(before[name], today[name])]
    parts = [
        f"{what} {', '.join(names)}"
        for what, names in (("it had", gone), ("it has now", new), ("changed:", changed))
        if names
    ]
    return "; ".join(parts) or "its rules changed"


def restore_flags(program: Module, saved: SavedProgram) -> None:
    """Freeze and thaw modules as they were.

    Raises:
        ConfigMismatch: A module that was frozen is not there.
    """
    if "frozen" not in saved.record:
        return
    frozen = set(saved.record["frozen"])
    below = {core_of(module).path: module for module in modules_below(program)}
    lost = tuple(sorted(frozen - below.keys()))
    if lost:
        raise ConfigMismatch(
            f"cannot load {saved.title}: it had frozen modules that the code does not make today: {', '.join(lost)}",
            unexpected=lost,
        )
    for module in modules_below(program):
        flag = core_of(module).path not in frozen
        if module.trainable != flag:
            module.trainable = flag


# --- from a run --------------------------------------------------------------------------------


def saved_in_run(run: Run, at: Position | None = None) -> SavedProgram:
    """Return the program a run declared last, as of a seq.

    Raises:
        NotFound: The run declared no program.
    """
    seq = run.head if at is None else run.seq(at)
    state = run.at(seq) if at is not None or not run.writable else run.state
    # A program is declared at its first call; before that, its later record says what it is.
    programs = state.programs or run.state.programs
    if not programs:
        raise NotFound(
            f"cannot build a program from {place_of(run, seq)}: no program was used there. A run declares the program "
            "that is called or saved in it; modules alone, without a Program around them, cannot be built from it"
        )
    name = list(programs)[-1]
    record = (state if state.programs else run.state).config(name)
    if record.get("config") is None:
        raise NotFound(
            f"cannot build program {name!r} from {place_of(run, seq)}: it could not be written down when it was first "
            f"used: {record.get('unsaved', 'nothing is known about why')}"
        )
    saved = SavedProgram(record, saved_variables(state), place_of(run, seq))
    later = [path for path in saved.expected() if path not in state.variables]
    if later and at is not None:
        raise NotFound(
            f"cannot build program {name!r} from {saved.place}: it was not there yet, {', '.join(later)} came later; "
            "pass a later seq"
        )
    return saved


def program_from_run(
    run: Run, at: Position | None = None, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Build the program a run declared, with the values it had.

    In a run open for writing the program lives in that run and goes on from the values recorded there.
    At an earlier seq, or in a run opened for reading, it lives in a copy of the run's history in memory, and
    stays there whatever run is current, so that nothing it does reaches the past or the present; fork the
    run to go on from there.

    Args:
        run: The run.
        at: Seq or label to go back to; None for the head.
        custom_objects: Classes and functions by name, beside those defined in this process.

    Raises:
        NotFound: No program was used in the run.
        UnknownClass: Its class is not among those the user's code has defined.
        ConfigMismatch: The code makes other variables today.
    """
    saved = saved_in_run(run, at)
    if run.writable and at is None:
        return build(saved, run, custom_objects)
    copy = _copy_in_memory(run, run.head if at is None else run.seq(at))
    program = build(saved, copy, custom_objects, Stay(always=True))
    if isinstance(program, Program):
        program.live_apart(copy)
    return program


def _copy_in_memory(run: Run, seq: int) -> Run:
    store = open_store("memory:")
    if seq and run.reader().first_stored() == 1:
        store.import_run(run, at=seq)
    return run_in_memory(run.name, run.seed, store)
