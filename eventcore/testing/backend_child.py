"""The process that is killed, filled up and raced with while a backend is checked; told over pipes what to do.

It opens the store, does one thing, and says on each line of its output what the backend acknowledged. It judges
nothing: that is the business of the process that started it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

from eventcore.errors import ConcurrentAppend, StorageError, StoreBusy
from eventcore.history.backend import Backend, Posting, RunRow, StoredSnapshot
from eventcore.history.urls import backend_class, open_backend, split
from eventcore.testing.backend_survival import BROKEN
from eventcore.testing.whereabouts import found_at

ENOUGH = 100_000
"""Appends of one process."""


def command(task: dict[str, Any]) -> list[str]:
    """Return the command line of a process that does a task."""
    code = "import sys, json; t = json.loads(sys.argv[1]); sys.path[:] = t['path']; "
    code += "from eventcore.testing.backend_child import main; main(t)"
    return [sys.executable, "-c", code, json.dumps({"path": sys.path, **task})]


def start(task: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a process that does a task."""
    return subprocess.Popen(
        command(task), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def opened(opener: dict[str, Any]) -> Backend:
    """Open the store a task names: by URL, by the class of the backend, or as a state machine opens it."""
    if "url" in opener:
        return open_backend(opener["url"])
    cls, place = found(opener), opener["place"]
    machine = "machine" in opener
    backend: Backend = cls.open(object.__new__(cls), place) if machine else cls.open(place)
    return backend


def found(opener: dict[str, Any]) -> Any:
    """Import the class that opens the store a task names."""
    if "url" in opener:
        return backend_class(split(opener["url"])[0])
    return found_at(opener["machine"] if "machine" in opener else opener["where"])


def main(task: dict[str, Any]) -> None:
    """Do one task."""
    if task["action"] in BROKEN:
        BROKEN[task["action"]](task, opened)
        return
    actions = {"write": _write, "race": _race, "fill": _fill}
    try:
        backend = opened(task["opener"])
    except StoreBusy as error:
        _tell(f"busy {error}")
        return
    actions[task["action"]](backend, task)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _write(backend: Backend, task: dict[str, Any]) -> None:
    """Append blocks one by one and say which the backend took; then stop where it is, without closing."""
    from eventcore.testing.backend_base import block

    row = backend.run("main") or backend.create_run("main")
    row = backend.claim(row.id, "child")
    _tell(f"open {row.head}")
    for seq in range(row.head + 1, row.head + 1 + task.get("count", ENOUGH)):
        backend.append(row.id, seq - 1, row.epoch, [block(seq, seq, 10 + seq * 37 % 5000)])
        _tell(f"acknowledged {seq}")


def _race(backend: Backend, task: dict[str, Any]) -> None:
    """Try for every seq, and say which were won."""
    from eventcore.testing.backend_base import block

    row = backend.run("main")
    assert row is not None
    _tell("ready")
    sys.stdin.readline()
    for seq in range(1, task["count"] + 1):
        try:
            backend.append(row.id, seq - 1, row.epoch, [block(seq, seq, task["size"])])
            _tell(f"won {seq}")
        except ConcurrentAppend:
            while backend.head(row.id) < seq:
                pass
    backend.close()
    _tell("done")


def _fill(backend: Backend, task: dict[str, Any]) -> None:
    """Append until no file may grow any more, say what the backend said then, and go on when they may again."""
    import resource

    row = backend.run("main") or backend.create_run("main")
    row = backend.claim(row.id, "child")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (task["limit"], hard))
    for seq in range(row.head + 1, row.head + 1 + task["count"]):
        try:
            _append_large(backend, row, seq)
        except Exception as error:
            names = [cls.__name__ for cls in type(error).__mro__]
            _tell(f"failed {seq} {json.dumps(names)}")
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            _go_on(backend, task["opener"])
            return
        _tell(f"acknowledged {seq}")


def _append_large(backend: Backend, row: RunRow, seq: int) -> None:
    from eventcore.testing.backend_base import block

    snapshot, posting = StoredSnapshot(seq, b"s%d" % seq), Posting(1, seq, b"p%d" % seq)
    backend.append(row.id, seq - 1, row.epoch, [block(seq, seq, 60_000)], snapshot, [posting])


def _go_on(backend: Backend, opener: dict[str, Any]) -> None:
    """Open the store again, now that there is room, and append three times."""
    with contextlib.suppress(StorageError):
        backend.close()
    try:
        backend = opened(opener)
        row = backend.run("main")
        assert row is not None
        for seq in range(row.head + 1, row.head + 4):
            _append_large(backend, row, seq)
            _tell(f"later {seq}")
        backend.close()
    except Exception as error:
        _tell(f"stuck {type(error).__name__}: {error}")
