"""Finding what a command is about: the store, the run, the seq; and the arguments all commands share.

Stores are opened for reading only, so a command never creates or changes one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventcore.errors import InvalidValue

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.store import Store

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def force_option(function: F) -> F:
    """Add `--force`."""
    return click.option("--force", is_flag=True, help="Open a store on a network file system.")(function)


def store_argument(function: F) -> F:
    """Add `[STORE]`, the first argument."""
    return click.argument("store", required=False)(function)


def run_argument(function: F) -> F:
    """Add `[RUN]`, the second argument."""
    return click.argument("run", required=False)(function)


@contextmanager
def reading(url: str | None, force: bool = False, **options: Any) -> Generator[Store]:
    """Open a store for reading; it is closed at the end of the block.

    Raises:
        InvalidValue: It is in memory, so there is nothing another process could read.
        NotFound: There is no such store.
    """
    from eventcore.history.store import open
    from eventcore.history.urls import split

    if split(url)[0] == "memory":
        raise InvalidValue(
            f"cannot read {url!r}: a store in memory belongs to the process that made it; "
            "pass the path of a store on disk"
        )
    with open(url, read_only=True, force=force, **options) as store:
        yield store


def chosen_run(store: Store, name: str | None) -> Run:
    """Return a run for reading: the named one, or else the only one.

    Raises:
        NotFound: There is none of that name.
        InvalidValue: None is named and there are several, or none at all.
    """
    if name is not None:
        return store[name]
    names = store.runs()
    if len(names) == 1:
        return store[names[0]]
    if not names:
        raise InvalidValue(f"cannot choose a run of {store.url}: it has none yet")
    raise InvalidValue(
        f"cannot choose a run of {store.url}: it has {len(names)}; name one of: {', '.join(names)}"
    )


def split_place(paths: list[str], place: str) -> tuple[str, str]:
    """Cut `path/pointer` where the path of a variable, or its unique name, ends.

    A variable that is there wins over a place in another; nothing known leaves all of it to be looked up, which
    then says what is near.
    """
    names = {path.rsplit("/", 1)[-1] for path in paths} | set(paths)
    at = len(place)
    while at > 0:
        if place[:at] in names or any(path.endswith("/" + place[:at]) for path in paths):
            return place[:at], place[at:]
        at = place.rfind("/", 0, at)
    return place, ""


def subject(store: Store, places: tuple[str, ...], command: str) -> tuple[Run, str, str]:
    """Tell `VARIABLE /POINTER` from `RUN VARIABLE /POINTER`: a pointer begins with a slash or is empty.

    Without a pointer the variable and the place in it may be written as one.

    Args:
        store: Where the run is.
        places: The arguments behind the store.
        command: Name of the command, for what is said of arguments that are too many or too few.
    """
    names, pointer = list(places), None
    if len(names) > 1 and (names[-1] == "" or names[-1].startswith("/")):
        pointer = names.pop()
    if len(names) not in (1, 2):
        raise click.UsageError(f"{command} takes STORE [RUN] VARIABLE [/POINTER]")
    place = names[-1]
    if len(names) == 1 and place in store and not _in_only_run(store, place):
        known = ", ".join(store[place].state.names()[:10]) or "none"
        raise click.UsageError(
            f"{command} takes STORE [RUN] VARIABLE [/POINTER]: {place!r} is a run, VARIABLE is missing; it has: {known}"
        )
    run = chosen_run(store, names[0] if len(names) == 2 else None)
    if pointer is None:
        place, pointer = split_place(run.state.names(), place)
    return run, place, pointer


def _in_only_run(store: Store, place: str) -> bool:
    """Whether a place stands for a variable although no run is named: there is one run, and it has it."""
    if len(store) != 1:
        return False
    paths = chosen_run(store, None).state.names()
    return split_place(paths, place)[0] in {*paths, *(path.rsplit("/", 1)[-1] for path in paths)}
