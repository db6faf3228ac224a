"""The portable form: one JSON file with the program's record and every value, without its history.

Keys stand in the order they were declared in, since the order of a schema's fields is what a language model
sees; equal programs give equal bytes all the same. A file is replaced as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec

from eventcore._version import __version__
from eventcore.errors import InvalidValue, NotFound, StorageError, UnknownFormat
from eventcore.history.run import Run
from eventcore.history.scope import current_run
from eventcore.saving.construction import build
from eventcore.saving.program_record import (
    SavedProgram,
    SavedVariable,
    describe_program,
    place_of,
    variables_of,
)

JsonDict = dict[str, Any]

FORMAT = 1
PROGRAM = "program"
VARIABLES = "variables"
_HEAD = b'{\n  "eventcore_version"'
FIRST_MEMBERS = ("eventcore_version", "format", "kind")


def program_snapshot(program: Any, run: Run) -> JsonDict:
    """Return a program with all values as one JSON value."""
    record = describe_program(program)
    record["variables"] = {
        variable.path: {
            "value": variable.get_json(),
            "schema": variable.get_schema(),
            "trainable": variable.own_trainable,
            "description": variable.description,
        }
        for variable in variables_of(program)
    }
    seed = {"seed": run.seed, "origin": place_of(run, run.head)}
    return {**head(PROGRAM), **record, **seed}


def head(kind: str) -> JsonDict:
    """The first members of every file: who wrote it, in which format, and what it is."""
    return dict(zip(FIRST_MEMBERS, (__version__, FORMAT, kind), strict=True))


def to_json(program: Any) -> str:
    """Write a program with every value as JSON text, which `program_from_json` reads.

    Raises:
        InvalidValue: It holds something that could not be made again.
    """
    return encode(program_snapshot(program, home_of(program))).decode()


def home_of(program: Any) -> Run:
    """The run a program lives in; the current one while it has no variables."""
    for variable in variables_of(program):
        home: Run = variable.run
        return home
    return current_run()


def program_from_json(text: str | bytes, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Make a program from what `to_json` wrote; it lives in the current run.

    Raises:
        InvalidValue: It is not such a text.
        UnknownFormat: A newer eventcore wrote it.
        ConfigMismatch: The code makes other variables today; nothing was changed.
        UnknownClass: A class is not among those the user's code has defined.
    """
    data = text.encode() if isinstance(text, str) else text
    return build(parse_program(data, "the JSON given"), current_run(), custom_objects)


# --- reading -----------------------------------------------------------------------------------


def read_program(path: str) -> SavedProgram:
    """Read a program from a file."""
    return parse_program(read_file(path), path)


def read_file(path: str) -> bytes:
    """Read a whole file.

    Raises:
        NotFound: There is none.
        StorageError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise NotFound(f"cannot load {path}: there is no such file") from None
    except OSError as error:
        raise StorageError(f"cannot load {path}: {error.strerror}") from error


def parse_program(data: bytes, place: str) -> SavedProgram:
    """Read a program from the bytes of a file.

    Raises:
        InvalidValue: Not JSON, or not a program.
        UnknownFormat: A newer format.
    """
    found = parse(data, place, PROGRAM)
    listed: Any = found.get("variables")
    try:
        variables = msgspec.convert(listed, dict[str, SavedVariable])
        if not isinstance(found["class_name"], str) or not isinstance(found["config"], dict):
            raise KeyError("class_name")
        record = {key: value for key, value in found.items() if key not in FIRST_MEMBERS}
        record["variables"] = list(variables)
        where = found.get("origin")
    except (msgspec.ValidationError, KeyError) as error:
        raise InvalidValue(
            f"cannot load {place}: it is not a saved program ({error}); it may have been edited or cut short"
        ) from error
    return SavedProgram(record, variables, f"{place} ({where})" if where else place)


def parse(data: bytes, place: str, kind: str) -> JsonDict:
    """Read the JSON of a file and check what it says of itself.

    Raises:
        InvalidValue: Not JSON, or not a file of this kind.
        UnknownFormat: A newer format.
    """
    import orjson

    try:
        found: Any = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        what = "it is empty" if not data.strip() else f"it is no JSON, or was cut short ({error})"
        raise InvalidValue(f"cannot load {place}: {what}; save it again") from error
    if not isinstance(found, dict) or not isinstance(found.get("format"), int) or "kind" not in found:
        raise InvalidValue(
            f"cannot load {place}: it is JSON, but nothing eventcore saved; program.save(path) writes such files"
        )
    if found["format"] > FORMAT:
        raise UnknownFormat(
            f"cannot load {place}: eventcore {found.get('eventcore_version')} wrote it in format {found['format']}, "
            f"this is {__version__}, which reads up to {FORMAT}; install a newer eventcore"
        )
    if found["kind"] != kind:
        wanted = "Program.load" if found["kind"] == PROGRAM else "program.load_variables"
        raise InvalidValue(f"cannot load {place}: it holds saved {found['kind']}, not {kind}; use {wanted}")
    return found


# --- writing -----------------------------------------------------------------------------------


def encode(snapshot: JsonDict) -> bytes:
    """Encode a snapshot: two spaces, members in the order given.

    Raises:
        InvalidValue: It is nested too deep for JSON.
    """
    import orjson

    try:
        return orjson.dumps(snapshot, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        raise InvalidValue(
            f"cannot write JSON: {error}; save into a store instead, e.g. 'program.lmdb'"
        ) from error


def write_file(path: str, data: bytes, overwrite: bool) -> None:
    """Replace a file as a whole: written beside it, made durable, then renamed.

    Raises:
        InvalidValue: Something else is there, or anything at all and `overwrite` is False.
        StorageError: The disk refuses; what was there is untouched.
    """
    _require_replaceable(path, overwrite)
    folder = os.path.dirname(os.path.abspath(path))
    temporary = None
    try:
        os.makedirs(folder, exist_ok=True)
        number, temporary = tempfile.mkstemp(prefix=".eventcore-", suffix=".tmp", dir=folder)
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    except OSError as error:
        raise StorageError(f"cannot save to {path}: {error.strerror}; nothing there was changed") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def is_written(path: str, data: bytes) -> bool:
    """Whether exactly these bytes are at a path already: code that is run again has nothing to save there."""
    return os.path.isfile(path) and os.path.getsize(path) == len(data) and read_file(path) == data


def _require_replaceable(path: str, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        raise InvalidValue(f"cannot save to {path}: it is a directory; pass a path of a file")
    if not overwrite:
        raise InvalidValue(f"cannot save to {path}: it exists; pass overwrite=True, or another path")
    beginning = read_file(path)[: len(_HEAD)]
    if beginning.strip() and beginning != _HEAD:
        raise InvalidValue(
            f"cannot save to {path}: the file there is nothing eventcore saved; delete it, or pass another path"
        )


def _sync_folder(folder: str) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot; the file itself is durable already
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
