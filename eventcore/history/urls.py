"""From a URL or path to an opened backend.

A bare path is LMDB, or by its suffix SQLite; `scheme:rest` names a backend. The shipped ones are found by name,
third parties' by the entry-point group `eventcore.backends`. Nothing found in a file decides what is imported.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history.backend import Backend

GROUP = "eventcore.backends"
DEFAULT_PATH = ".eventcore"

_SHIPPED = {
    "lmdb": ("eventcore.backends.lmdb", "LmdbBackend"),
    "memory": ("eventcore.backends.memory", "MemoryBackend"),
    "sqlite": ("eventcore.backends.sqlite", "SqliteBackend"),
}
_SQLITE_SUFFIXES = (".sqlite", ".sqlite3", ".db")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):(?://)?(.*)$", re.DOTALL)


def split(url: str | os.PathLike[str] | None) -> tuple[str, str]:
    """Return (scheme, rest) of a URL or path; None means `$EVENTCORE_STORE` or `.eventcore`.

    A path that ends in `.sqlite`, `.sqlite3` or `.db` is an SQLite file, unless a directory stands there: that is
    an LMDB store. Only its kind is looked at, for to open and close an SQLite file drops locks held on it.

    Raises:
        InvalidValue: An empty path.
    """
    if url is None:
        url = os.environ.get("EVENTCORE_STORE") or DEFAULT_PATH
    text = os.fspath(url) if isinstance(url, (str, os.PathLike)) else url
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidValue(f"cannot open a store at {text!r}: pass a path such as 'runs.lmdb', or 'memory:'")
    found = _SCHEME.match(text)
    # A single letter before the colon is a drive of Windows, not a scheme.
    if found is None or os.path.exists(text):
        by_suffix = text.lower().endswith(_SQLITE_SUFFIXES) and not os.path.isdir(text)
        return "sqlite" if by_suffix else "lmdb", text
    return found[1], found[2]


def backend_class(scheme: str) -> type[Any]:
    """Return the backend class of a URL scheme.

    Raises:
        InvalidValue: No backend has that scheme; the message lists the known ones.
    """
    if scheme in _SHIPPED:
        module, name = _SHIPPED[scheme]
        found: type[Any] = getattr(importlib.import_module(module), name)
        return found
    from importlib.metadata import entry_points

    others = {point.name: point for point in entry_points(group=GROUP)}
    if scheme not in others:
        known = ", ".join(f"{name}:" for name in sorted({*_SHIPPED, *others}))
        raise InvalidValue(
            f"cannot open a store of scheme {scheme!r}: known are {known}, or a bare path for LMDB, or "
            "SQLite if it ends in .sqlite or .db"
        )
    loaded: type[Any] = others[scheme].load()
    return loaded


def open_backend(url: str | os.PathLike[str] | None, **options: Any) -> Backend:
    """Open the backend a URL or path names; options go to its `open`."""
    scheme, rest = split(url)
    backend: Backend = backend_class(scheme).open(rest, **options)
    return backend


def canonical_url(url: str | os.PathLike[str] | None) -> str:
    """The URL by which the same store can be opened again from any folder."""
    scheme, rest = split(url)
    if scheme in ("lmdb", "sqlite"):
        return f"{scheme}:{os.path.abspath(rest)}"
    return f"{scheme}:{rest}"
