"""`program.save(path)` and `Program.load(path)`: which form a path asks for, and what happens to it.

Into the store a program lives in, saving makes everything durable and stores a snapshot. Into another store
it copies the run's whole history. A `.json` file holds the present values alone. Copying itself is in
`copies`, the file form in `portable`, building in `construction`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from eventcore.errors import InvalidValue, NotFound, StorageError
from eventcore.history import events as e
from eventcore.history.positions import Position
from eventcore.history.run import Run
from eventcore.history.scope import current_run, in_run
from eventcore.history.store import open as open_store
from eventcore.history.urls import canonical_url
from eventcore.modules.calling import settle
from eventcore.saving import portable
from eventcore.saving.construction import build, saved_in_run
from eventcore.saving.copies import copy_run
from eventcore.saving.program_record import SavedProgram, describe_program, variables_of

_SCHEMES = {"": "lmdb", ".lmdb": "lmdb", ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite"}
_JSON = ".json"
_URL = re.compile(r"^[a-z][a-z0-9+.-]+:")
_ALLOWED = (
    "no suffix or .lmdb (a directory), .sqlite or .db (one file), .json (the values without their history)"
)


def save_program(program: Any, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Save a program.

    The suffix of the path chooses the form: none or `.lmdb` an LMDB store, `.sqlite` or `.db` an SQLite one,
    `.json` a file of the present values. A store gets the run's whole history and a snapshot; in the store
    the program lives in, only the snapshot is added. A store that is there keeps its runs: the program's
    is added to them, or continued where an earlier save of the same run ended.

    Args:
        program: The program.
        path: Where to; also a URL such as `sqlite:runs.db`.
        overwrite: False refuses to touch what an earlier save left there. True never loses another run.

    Raises:
        InvalidValue: Another suffix; the program cannot be made again from JSON; something else is at the path.
        DuplicateName: The store has another run of that name.
        StorageError: It cannot be written.
    """
    target = os.fspath(path)
    run = _whole_in_one_run(program)
    if _is_home(target, run):
        record_program(program, run)
        if run.writable:
            run.snapshot()
        return
    url = url_of(target)
    if run.replaying is not None and not run.replaying.goes_on:
        if url is not None:
            record_program(program, run)
        return  # a replay changes nothing anywhere
    if url is None:
        run.flush()
        data = portable.encode(portable.program_snapshot(program, run))
        if run.replaying is None or not portable.is_written(target, data):
            portable.write_file(target, data, overwrite)
        return
    record_program(program, run)
    copy_run(run, url, overwrite)


def _whole_in_one_run(program: Any) -> Run:
    """Return the run all variables live in; those that are spread over several come to the current one."""
    runs: dict[int, Run] = {id(variable.run): variable.run for variable in variables_of(program)}
    if len(runs) == 1:
        return next(iter(runs.values()))
    with in_run(current_run()):
        settle(program)
    return current_run()


def record_program(program: Any, run: Run) -> None:
    """Write the program's record into the run it lives in, unless it stands there already, as the last one."""
    record = describe_program(program)
    known = run.live.programs if run.writable else run.state.programs
    if list(known)[-1:] == [program.name] and known[program.name] == record:
        return
    with in_run(run):
        run.record(e.ProgramDeclared(*run.stamp(), program=program.name, config=record))


def _is_home(target: str, run: Run) -> bool:
    if run.store.url == "memory:":
        return False
    wanted, home = canonical_url(target), run.store.url
    if wanted == home:
        return True
    path = home.partition(":")[2]
    mine = url_of(target, strict=False)
    place = target if mine is None else mine.partition(":")[2]
    return os.path.exists(path) and os.path.exists(place) and os.path.samefile(path, place)


def url_of(target: str, strict: bool = True) -> str | None:
    """Return the URL of the store a path stands for, None for a JSON file.

    Raises:
        InvalidValue: With `strict`, a suffix that stands for nothing.
    """
    if not target or "\0" in target:
        raise InvalidValue(f"cannot use the path {target!r}; a path has {_ALLOWED}")
    if _URL.match(target) and not os.path.exists(target):
        if target.startswith("memory:"):
            raise InvalidValue(f"cannot use {target}: nothing outlives it; a path has {_ALLOWED}")
        return target
    suffix = os.path.splitext(target.rstrip("/"))[1]
    if suffix == _JSON:
        return None
    if suffix in _SCHEMES:
        return f"{_SCHEMES[suffix]}:{target}"
    if strict:
        raise InvalidValue(
            f"cannot use the path {target!r}: received the suffix {suffix!r}; a path has {_ALLOWED}"
        )
    return f"lmdb:{target}"


def load_program(
    path: str | os.PathLike[str],
    run: str | None = None,
    at: Position | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Load a program; it lives in the current run, and what was read is never written to.

    Nothing is changed unless everything fits: classes are found, the code makes the same variables today, and
    every value fits its schema. While another program with the same paths is in use in the current run, the
    loaded one lives in a run of its own in memory.

    Args:
        path: Where it was saved, or any store in which a program was used.
        run: Name of the run, where the store has several.
        at: Seq or label in that run; None for its head.
        custom_objects: Classes and functions by name, beside those defined in this process.

    Returns:
        The program, ready to be called.

    Raises:
        NotFound: Nothing there, no such run, or no program was used in it.
        InvalidValue: Several runs and no `run`, which lists them; or a file that is no saved program.
        ConfigMismatch: The code makes other variables today; missing and unexpected are listed.
        UnknownClass: A class is not among those the user's code has defined.
        StorageError: It cannot be read, or is from a newer version.
    """
    target = os.fspath(path)
    exists = os.path.isdir(target)
    url = url_of(target, strict=not exists)
    if url is None:
        if run is not None or at is not None:
            raise InvalidValue(
                f"cannot load run {run!r} at {at!r} of {target}: a .json file holds one state; leave out run and at"
            )
        return build(portable.read_program(target), current_run(), custom_objects)
    return build(_read_store(url, target, run, at), current_run(), custom_objects)


def _read_store(url: str, target: str, run: str | None, at: Position | None) -> SavedProgram:
    place = url.partition(":")[2]
    if url.startswith(("lmdb:", "sqlite:")) and not os.path.exists(place):
        raise NotFound(f"cannot load {target}: there is nothing at {os.path.abspath(place)}")
    home = current_run()
    if home.store.url == canonical_url(url) and home.writable:
        home.flush()  # what this process wrote there is part of what it wants to read
    with open_store(url, read_only=True) as store:
        names = store.runs()
        if run is None and len(names) != 1:
            if not names:
                raise NotFound(f"cannot load {target}: the store there has no run")
            raise InvalidValue(
                f"cannot choose a run of {target}: it has {len(names)}: {', '.join(names)}; pass run="
            )
        try:
            return saved_in_run(store[names[0] if run is None else run], at)
        except (EOFError, RecursionError) as error:
            raise StorageError(f"cannot load {target}: {error!r}") from error
