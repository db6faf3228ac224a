"""Name scopes: where in the tree of modules a variable is being made.

Scopes live in a context variable, so concurrent builds in one loop do not mix their paths.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from eventcore.errors import InvalidValue
from eventcore.history.values import is_text

_Frame = tuple[str, object]
_frames: ContextVar[tuple[_Frame, ...]] = ContextVar("eventcore_name_scopes", default=())


def check_name(name: object, what: str = "thing") -> str:
    """Return `name` if it can name something.

    Raises:
        InvalidValue: Not a non-empty string, or it holds a slash.
    """
    if not isinstance(name, str) or not name or "/" in name or not is_text(name):
        raise InvalidValue(f"cannot name a {what} {name!r}: a name is a non-empty string without '/'")
    return name


@contextmanager
def name_scope(
    name: str, caller: object = None, deduplicate: bool = True, override_parent: str | None = None
) -> Generator[str]:
    """Prefix the paths of variables made inside with `name`.

    Args:
        name: One step of the path.
        caller: Who opens it; with `deduplicate`, a scope the same caller has just opened is not repeated.
        deduplicate: See `caller`.
        override_parent: A path that replaces the scopes outside; `""` for none.

    Yields:
        The path inside.

    Raises:
        InvalidValue: A name that is empty or holds a slash.
    """
    check_name(name, "scope")
    frames = _frames.get()
    if override_parent is not None:
        frames = tuple((step, None) for step in override_parent.split("/") if step)
    repeated = deduplicate and caller is not None and frames and frames[-1] == (name, caller)
    token = _frames.set(frames if repeated else (*frames, (name, caller)))
    try:
        yield current_path()
    finally:
        _frames.reset(token)


@contextmanager
def at_path(path: str) -> Generator[None]:
    """Be in exactly these scopes, whatever is open outside: where something saved was made the first time.

    Args:
        path: Scopes joined by slashes, `""` for none.
    """
    token = _frames.set(tuple((step, None) for step in path.split("/") if step))
    try:
        yield
    finally:
        _frames.reset(token)


def current_path() -> str:
    """Return the open scopes joined by slashes, `""` outside any."""
    return "/".join(step for step, _ in _frames.get())
