"""What `eventcore doctor` looks at: versions, the machine, and the store.

Each check returns findings; none changes anything. What a backend knows of itself it says in `facts()`.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore._version import __version__
from eventcore.cli.output import count, size

if TYPE_CHECKING:
    from eventcore.history.store import Store

OK, NOTE, WARNING = "ok", "note", "warning"

TESTED = ((3, 11), (3, 13))
"""First and last Python the tests run on."""

LOW_DISK = 1024 * 1024 * 1024
"""Free bytes below which a store's disk is worth a warning."""

FULL_SLOTS = 0.8
"""Share of LMDB's reader slots in use from which on it is worth a warning."""

_REQUIRED = ("click", "lmdb", "msgspec", "orjson", "rich", "zstandard")
_OPTIONAL = ("litellm", "hypothesis")


class Observation(msgspec.Struct, frozen=True):
    """One line of the report.

    Attributes:
        subject: What it is about.
        level: "ok", "note" (good to know) or "warning" (something to act on).
        text: What was seen, and for a warning what to do.
    """

    subject: str
    level: str
    text: str


def machine() -> list[Observation]:
    """Look at Python, the packages and the machine."""
    found = [_python(), Observation("eventcore", OK, f"{__version__} in {Path(__file__).parent.parent}")]
    found += [_package(name, required=True) for name in _REQUIRED]
    found += [_package(name, required=False) for name in _OPTIONAL]
    found += [_lmdb(), _sqlite(), Observation("platform", OK, platform.platform())]
    box = container()
    if box is not None:
        found.append(
            Observation(
                "container",
                NOTE,
                f"{box}: open a store from one container at a time, and keep it on a volume",
            )
        )
    limit = address_space()
    if limit is not None:
        found.append(
            Observation(
                "address space",
                NOTE,
                f"limited to {size(limit)}: an LMDB store's map must fit, see map_size=",
            )
        )
    default = os.environ.get("EVENTCORE_STORE")
    if default:
        found.append(Observation("EVENTCORE_STORE", OK, default))
    return found


def _python() -> Observation:
    text = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if TESTED[0] <= sys.version_info[:2] <= TESTED[1]:
        return Observation("Python", OK, text)
    first, last = (".".join(map(str, version)) for version in TESTED)
    return Observation("Python", NOTE, f"{text}: tested are {first} to {last}")


def _package(name: str, required: bool) -> Observation:
    try:
        return Observation(name, OK, metadata.version(name))
    except metadata.PackageNotFoundError:
        if required:
            return Observation(name, WARNING, f"not installed: pip install {name}")
        return Observation(name, OK, "not installed (optional)")


def _lmdb() -> Observation:
    try:
        import lmdb
    except ImportError as error:
        return Observation("LMDB library", WARNING, f"cannot be loaded ({error}): the default store needs it")
    version = lmdb.version()
    text = ".".join(map(str, version))
    if tuple(version)[:2] == (0, 9):
        return Observation("LMDB library", OK, text)
    return Observation(
        "LMDB library", NOTE, f"{text}: new stores are written in the format of 0.9 all the same"
    )


def _sqlite() -> Observation:
    try:
        import sqlite3

        from eventcore.backends.sqlite_database import has_wal_reset_bug
    except ImportError as error:
        return Observation(
            "SQLite library", NOTE, f"cannot be loaded ({error}): sqlite: stores cannot be opened"
        )
    if not has_wal_reset_bug(sqlite3.sqlite_version_info):
        return Observation("SQLite library", OK, sqlite3.sqlite_version)
    return Observation(
        "SQLite library",
        NOTE,
        f"{sqlite3.sqlite_version} has the WAL-reset bug (fixed in 3.51.3, 3.50.7 and 3.44.6): "
        "a sqlite: store is written by one process at a time, others are refused",
    )


def container() -> str | None:
    """Return what kind of container this process runs in, None outside any."""
    if os.path.exists("/run/.containerenv"):
        return "podman container"
    if os.path.exists("/.dockerenv"):
        return "docker container"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes pod"
    try:
        groups = Path("/proc/1/cgroup").read_text()
    except OSError:
        return None
    return (
        "container" if any(word in groups for word in ("docker", "kubepods", "containerd", "lxc")) else None
    )


def address_space() -> int | None:
    """Return the limit of this process's address space in bytes, None without one."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def examine(store: Store) -> list[Observation]:
    """Look at an opened store: what its backend says, the disk below it, its runs."""
    facts = store.backend.facts()
    engine = " ".join(str(facts[key]) for key in ("engine", "engine_version") if key in facts)
    found = [Observation("store", OK, f"{store.url}, {engine}, {size(_number(facts, 'bytes'))}")]
    found += [Observation("store", WARNING, str(text)) for text in _listed(facts.get("warnings"))]
    found += _slots(facts)
    path = facts.get("path")
    if isinstance(path, str):
        found += disk(Path(path))
    return [*found, *_runs(store)]


def _number(facts: dict[str, object], key: str) -> int:
    value = facts.get(key)
    return value if isinstance(value, int) else 0


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _slots(facts: dict[str, object]) -> list[Observation]:
    used, most = _number(facts, "readers"), _number(facts, "max_readers")
    if not most:
        return []
    text = f"{used} of {most} in use"
    if used < most * FULL_SLOTS:
        return [Observation("reader slots", OK, text)]
    return [Observation("reader slots", WARNING, f"{text}: close readers, or end processes that hang")]


def disk(path: Path) -> list[Observation]:
    """Look at the disk a store lies on, and at who may read it."""
    from eventcore.backends.filesystem import mount_type, network_name

    found: list[Observation] = []
    kind = network_name(path)
    if kind is not None:
        found.append(
            Observation(
                "file system", WARNING, f"{kind}, a network file system: locks do not hold between hosts"
            )
        )
    else:
        found.append(Observation("file system", OK, mount_type(path) or "local"))
    free = shutil.disk_usage(path).free
    low = free < LOW_DISK
    found.append(
        Observation("disk", WARNING if low else OK, f"{size(free)} free{': free some space' if low else ''}")
    )
    mode = path.stat().st_mode & 0o077
    if mode:
        text = f"{path} is open to other users of this machine: chmod go-rwx {path}"
        found.append(Observation("permissions", WARNING, text))
    if not os.access(path, os.W_OK):
        found.append(Observation("permissions", NOTE, f"{path} cannot be written by this user"))
    return found


def _runs(store: Store) -> list[Observation]:
    from eventcore.history.ownership import is_alive

    rows = store.rows()
    found = [Observation("runs", OK, count(len(rows), "run"))]
    for row in rows:
        if row.writer and not is_alive(row.writer):
            text = f"{row.name!r} was left without being closed ({row.writer}); what it acknowledged is there"
            found.append(Observation("runs", NOTE, text))
    return found
