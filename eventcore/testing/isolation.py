"""Doing something in a process of its own that begins as this one is now: what it leaves behind ends with it.

A cache in a module's file that one check has warmed would hide from the next what it looks for, and a check that
hangs, or ends the process, would take the others with it. The process is forked, so nothing has to be imported again,
and what it has to say comes back as JSON. It does not help against a process with other hash seeds: that is
`eventcore.testing.elsewhere`.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import connection
from typing import IO, Any, TypeVar

import msgspec

T = TypeVar("T")

IN_PROCESS = "EVENTCORE_CHECKS_IN_PROCESS"
"""Environment variable: 1 does everything in one process, so that a debugger can step through it."""
GRACE = 5.0
"""Seconds a process gets to say where it hangs."""
ENDING = 1.0
"""Seconds a process gets to end after it has said what came of it."""

_PDEATHSIG = 1
LIBRARIES = frozenset({"eventcore", "hypothesis", "lmdb", "orjson", "zstandard"})
"""Imported here once a fork has needed them, so that the next need not do it again."""

INSIDE = "EVENTCORE_INSIDE_A_CHECK"
"""Environment variable of processes that a check starts: what they fork ends with the check."""

_inside = bool(os.environ.get(INSIDE))


class Told(msgspec.Struct):
    """What came of something that was done in a process of its own.

    Attributes:
        value: What it returned, as JSON; None if it did not return.
        raised: Name of the exception that ended it, with its module: "builtins.ValueError"; "" if it returned.
        message: What the exception said.
        details: Its traceback.
        imported: Modules of ours, and of libraries that hold nothing of the user's, that it imported.
    """

    value: Any = None
    raised: str = ""
    message: str = ""
    details: str = ""
    imported: list[str] = msgspec.field(default_factory=lambda: list[str]())


def can_isolate() -> bool:
    """Whether a process of ours may be forked here: not on Windows, and not where the system's libraries forbid it."""
    forks = "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
    forks = forks and not multiprocessing.current_process().daemon
    return forks and os.environ.get(IN_PROCESS, "") in ("", "0")


def end_with_parent() -> None:
    """Have this process killed when the one that started it is gone, where the system can do that."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def told_in_a_fork(work: Callable[[], Any], limit: float | None = None) -> Told:
    """Call a function in a fork of this process and return what came of it; never raises what it raised.

    Args:
        work: The function; what it returns must be JSON.
        limit: Seconds it may take; None for no limit.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.TemporaryFile() as lines:
        process = context.Process(target=_work, args=(work, theirs, lines), name="eventcore-check")
        with warnings.catch_warnings():
            # Python warns of threads a fork does not take along; what is waited for in it was begun in it.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        try:
            told = _awaited(process, ours, lines, limit)
        finally:
            ours.close()
            _end(process)
    for name in told.imported:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return told


def in_a_fork(work: Callable[[], T]) -> T:
    """Call a function in a fork of this process, and return what it returns, as JSON.

    Raises:
        AssertionError: It raised; an exception made of one message is raised as it was.
    """
    if not can_isolate():
        return work()
    told = told_in_a_fork(work)
    if told.raised:
        raise _again(told)
    value: T = told.value
    return value


def _again(told: Told) -> BaseException:
    module, _, name = told.raised.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    if isinstance(cls, type) and issubclass(cls, Exception):
        with contextlib.suppress(Exception):
            same = cls(told.message)
            if str(same) == told.message:
                return same
    return AssertionError(f"{name}: {told.message}\n{told.details}")


# --- in the fork -----------------------------------------------------------------------------------


def _work(work: Callable[[], Any], theirs: Any, lines: IO[bytes]) -> None:
    global _inside
    if not _inside:
        os.setpgid(0, 0)
    _inside = True
    end_with_parent()
    gc.freeze()  # what the parent process holds is not ours to finalize
    # Not `dump_traceback_later`: where the parent process has used it, as pytest does, it waits for a thread there.
    faulthandler.register(signal.SIGUSR2, file=lines)
    before = set(sys.modules)
    try:
        value = work()
        new = sorted(name for name in set(sys.modules) - before if name.partition(".")[0] in LIBRARIES)
        said = msgspec.json.encode(Told(value=value, imported=new))
    except BaseException as error:
        cls = type(error)
        details = "".join(traceback.format_exception(error))
        said = msgspec.json.encode(Told(None, f"{cls.__module__}.{cls.__qualname__}", str(error), details))
    theirs.send_bytes(said)
    theirs.close()


# --- in the process that waits -----------------------------------------------------------------------


def _awaited(process: Any, ours: Any, lines: IO[bytes], limit: float | None) -> Told:
    ready = connection.wait([ours, process.sentinel], limit)
    try:
        said: bytes | None = ours.recv_bytes() if ours in ready or ours.poll() else None
    except EOFError:
        said = None
    if said is not None:
        return msgspec.convert(json.loads(said), Told)
    if not ready:
        stacks = _stacks_of(process, lines)
        return Told(None, "builtins.TimeoutError", f"it had not ended after {limit:g} seconds", stacks)
    process.join(ENDING)
    return Told(None, "builtins.SystemExit", f"it ended the process ({_how(process.exitcode)})", "")


def _stacks_of(process: Any, lines: IO[bytes]) -> str:
    """Have a process write down where it is, and read that."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGUSR2)
    written, until = -1, time.monotonic() + GRACE
    while time.monotonic() < until and (written <= 0 or os.fstat(lines.fileno()).st_size != written):
        written = os.fstat(lines.fileno()).st_size
        connection.wait([process.sentinel], 0.05)
    lines.seek(0)
    return lines.read().decode(errors="replace")


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _end(process: Any) -> None:
    """End a process and all it has started; its number stays its own until it is joined."""
    connection.wait([process.sentinel], ENDING)
    if not _inside:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():
        process.kill()
    process.join()
