"""Trainings in processes that start at once: forks of one process that has imported everything and opened nothing.

    with Forks() as forks:
        process = forks.start(["STORE", "BILL", "--optimizer", "omega"])
        assert process.end() == 0

A fork is a process of its own like any other: it has its own store, ends by its exit handlers, and can be killed.
Only its hash seed is that of the process it came from, so tests that are about hashes start real processes.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.structure.source import ROOT


def fork_off(work: Callable[[], None], output: str | Path = os.devnull, **environment: str) -> int:
    """Do `work` in a fork of this process, as a script would, and return its process id.

    Args:
        work: What it does; its exit handlers run afterwards, as those of a script.
        output: File that gets what it prints, appended.
        environment: Variables of its environment.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.environ.update(environment)
        code = _carried_out(work)
    finally:
        os._exit(code)


def _carried_out(work: Callable[[], None]) -> int:
    from eventcore.replay import rerun

    code = 0
    try:
        if rerun.ENVIRONMENT in os.environ:
            rerun.begin()
        work()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


class Process:
    """A fork under way."""

    def __init__(self, forks: Forks, pid: int, output: Path) -> None:
        self.pid = pid
        self._forks = forks
        self._output = output

    def end(self) -> int:
        """Wait for its end; its exit code, or minus the signal that ended it."""
        return os.waitstatus_to_exitcode(int(self._forks.ask({"wait": self.pid})))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal. It stays a zombie until `end`, so the id is its own."""
        os.kill(self.pid, number)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""


class Forks:
    """The process whose forks the trainings are. Use it in a `with` statement."""

    def __enter__(self) -> Forks:
        self._folder = tempfile.TemporaryDirectory(prefix="eventcore-forks-")
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.replay.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()
        self._folder.cleanup()

    def ask(self, job: Mapping[str, Any]) -> str:
        """Say one line to the server and return its answer."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def start(
        self, arguments: Sequence[object], module: str = "tests.replay.training", **environment: str
    ) -> Process:
        """Start `module.main()` with these arguments."""
        self._count += 1
        output = Path(self._folder.name) / str(self._count)
        job = {
            "start": [str(argument) for argument in arguments],
            "module": module,
            "output": str(output),
            "environment": environment,
        }
        return Process(self, int(self.ask(job)), output)

    def run(
        self, arguments: Sequence[object], module: str = "tests.replay.training", **environment: str
    ) -> str:
        """Run it to its end, which must be a good one, and return what it printed."""
        process = self.start(arguments, module, **environment)
        code = process.end()
        assert code == 0, f"ended with {code}: {process.output}"
        return process.output


def _started(job: Mapping[str, Any]) -> int:
    import importlib

    module = importlib.import_module(job["module"])

    def work() -> None:
        sys.argv = [f"{job['module']}.py", *job["start"]]
        module.main()

    return fork_off(work, job["output"], **job["environment"])


def serve() -> None:
    """Answer jobs, one a line, until there are no more."""
    # Imported before any fork.
    for name in ("eventcore.backends.lmdb", "eventcore.backends.sqlite", "tests.replay.training"):
        importlib.import_module(name)

    gc.collect()
    gc.freeze()  # the collector of a fork need not look at, and so copy, what is here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the forks
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            answer = os.waitpid(job["wait"], 0)[1]
        else:
            answer = _started(job)
        print(answer, flush=True)


if __name__ == "__main__":
    serve()
