"""Other processes that open a store, do a thing or two and end, or are killed on the way: some milliseconds each.

One process is started when it is first needed. It opens no store itself; for each task it forks a child that does,
so that what was imported once need not be imported again, and no child knows what another has left in memory. A child
is killed at a call that is counted, not at a time, so that a history with a kill in it can be repeated. What is torn
below Python (inside one call of a library, or of the system) is the business of `backend_survival`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from types import FrameType
from typing import Any, Literal, TypeAlias

import msgspec

from eventcore.errors import ConcurrentAppend, EventcoreError, StoreBusy
from eventcore.history.backend import Backend, Block, Posting, RunRow, StoredSnapshot
from eventcore.testing.cases import SavingTestCase

LIMIT = 40
"""Seconds a child may take."""


class Create(msgspec.Struct, tag="create"):
    """A run to be made."""

    name: str
    meta: bytes = b""
    writer: str = ""


class Claim(msgspec.Struct, tag="claim"):
    """A run to be claimed, or released."""

    run: int
    writer: str
    expected: int | None = None


class Append(msgspec.Struct, tag="append"):
    """What one call appends."""

    run: int
    head: int
    epoch: int
    blocks: list[Block]
    snapshot: StoredSnapshot | None = None
    postings: list[Posting] = []


Asked: TypeAlias = "Create | Claim | Append"


class Task(msgspec.Struct):
    """What a child does.

    Attributes:
        opener: How it opens the store: see `backend_child.opened`.
        asked: What it asks of the backend, in order.
        dies: Whether it is killed after all that, without closing.
        calls: With `dies`: the call made during the last thing asked at which it is killed already; 0 for none.
    """

    opener: dict[str, Any]
    asked: list[Create | Claim | Append]
    dies: bool = False
    calls: int = 0


class Said(msgspec.Struct):
    """One thing a child said, or how it ended.

    Attributes:
        what: An answer, that the store is busy, that it failed, or that it ended.
        row: What was answered, if that is a row.
        error: Name of the error that was the answer; "" without one.
        message: What the error said.
        numbers: With `ConcurrentAppend`: expected and actual.
        code: How it ended.
    """

    what: Literal["answer", "busy", "failed", "ended"]
    row: RunRow | None = None
    error: str = ""
    message: str = ""
    numbers: tuple[int, int] = (0, 0)
    code: int = 0


def asked_of(backend: Backend, asked: Asked) -> Said:
    """Ask one thing of a backend and say what it answered."""
    row: RunRow | None = None
    try:
        if isinstance(asked, Create):
            row = backend.create_run(asked.name, meta=asked.meta, writer=asked.writer)
        elif isinstance(asked, Claim):
            row = backend.claim(asked.run, asked.writer, asked.expected)
        else:
            backend.append(asked.run, asked.head, asked.epoch, asked.blocks, asked.snapshot, asked.postings)
    except ConcurrentAppend as error:
        return Said("answer", None, "ConcurrentAppend", str(error), (error.expected, error.actual))
    except EventcoreError as error:
        return Said("answer", None, type(error).__name__, str(error))
    return Said("answer", row)


# --- where the tasks are given ---------------------------------------------------------------------


class Server:
    """The process that forks the children."""

    def __init__(self) -> None:
        code = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
        code += "from eventcore.testing.backend_processes import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def do(self, task: Task) -> list[Said]:
        """Have a child do a task; what it said, last of all how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said: list[Said] = []
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(task) + b"\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            said.append(msgspec.json.decode(line, type=Said))
            if said[-1].what == "ended":
                return said
        return [*said, Said("failed", message="the process that starts the others has ended")]

    def end(self) -> None:
        """End it, and with it the child there may be."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_servers: dict[int, Server] = {}


def elsewhere(task: Task) -> list[Said]:
    """Have another process do a task; what it said, last of all how it ended."""
    mine = os.getpid()
    if mine not in _servers:
        _servers[mine] = Server()
    return _servers[mine].do(task)


def server_is_running() -> bool:
    """Whether this process has started the one that forks the children, and not ended it."""
    return os.getpid() in _servers


@atexit.register
def end_server() -> None:
    """End the process that forks the children, if this one has started it."""
    server = _servers.pop(os.getpid(), None)
    if server is not None:
        server.end()


class EndingTestCase(SavingTestCase):
    """The `TestCase` of a machine, which leaves no process behind."""

    def __get__(self, obj: Any, typ: Any = None) -> Any:
        """Return the test of a machine, the same one each time."""
        test = super().__get__(obj, typ)
        if not getattr(test, "ends", False):
            test.runTest, test.ends = _ending(test.runTest), True
        return test


def _ending(run_test: Any) -> Any:
    @functools.wraps(run_test)
    def run_and_end(self: Any) -> None:
        try:
            run_test(self)
        finally:
            end_server()

    return run_and_end


def why_not(opener: dict[str, Any]) -> str:
    """Return why no other process can open a store; "" if one can. Give it a place where nothing is."""
    if not hasattr(os, "fork"):
        return "processes cannot be forked here"
    said = elsewhere(Task(opener, [Create("probe")]))
    wrong = [f"{one.error} {one.message}".strip() for one in said if one.message or one.code]
    return f"it could not open the store: {wrong[0]}" if wrong else ""


# --- in the other processes ------------------------------------------------------------------------


def serve() -> None:
    """Fork a child for every line of the input; ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    out = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        task = msgspec.json.decode(line, type=Task)
        _import(task.opener)
        gc.freeze()
        child = os.fork()
        if child == 0:
            _live(task, out)
        _, status = os.waitpid(child, 0)
        _tell(out, Said("ended", code=os.waitstatus_to_exitcode(status)))


def _import(opener: dict[str, Any]) -> None:
    """Import here what every child would have to."""
    from eventcore.testing.backend_child import found

    with contextlib.suppress(Exception):
        found(opener)


def _tell(out: int, said: Said) -> None:
    os.write(out, msgspec.json.encode(said) + b"\n")


def _live(task: Task, out: int) -> None:
    try:
        signal.alarm(LIMIT)
        _do(task, out)
    except BaseException as error:
        _tell(out, Said("failed", message=f"{type(error).__name__}: {error}"))
    finally:
        os._exit(0)


def _do(task: Task, out: int) -> None:
    from eventcore.testing.backend_child import opened

    death = Death(task.calls)
    if task.calls:
        threading.setprofile(death.nearer)
    try:
        backend = opened(task.opener)
    except StoreBusy as error:
        _tell(out, Said("busy", message=str(error)))
        return
    for number, asked in enumerate(task.asked, start=1):
        said = death.during(backend, asked) if number == len(task.asked) else asked_of(backend, asked)
        _tell(out, said)
    if task.dies:
        os.kill(os.getpid(), signal.SIGKILL)
    backend.close()


class Death:
    """Kills this process at a call of Python's that is counted, in whatever thread."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self._near = False

    def during(self, backend: Backend, asked: Asked) -> Said:
        """Ask one thing, and come nearer with every call."""
        if not self._left:
            return asked_of(backend, asked)
        self._near = True
        sys.setprofile(self.nearer)
        try:
            return asked_of(backend, asked)
        finally:
            sys.setprofile(None)
            self._near = False

    def nearer(self, frame: FrameType, event: str, what: Any) -> None:
        """One call more."""
        self._left -= self._near
        if self._near and self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
