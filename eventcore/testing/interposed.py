"""Libraries that stand between a process and its C library: one makes calls fail, the other records them.

They are two C files beside this one, compiled when they are first needed; where that is not possible (no compiler,
not Linux) nothing is lost but the checks that need them, which say so.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FAULTS, RECORDER = "faults", "powercut"
"""The libraries: see `faults.c` and `powercut.c`."""


@functools.cache
def library(name: str) -> Path | None:
    """Return a library compiled for this machine, None where that is not possible. Compiled once per process."""
    folder = tempfile.mkdtemp(prefix="eventcore-interposed-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return compiled(name, Path(folder))


def compiled(name: str, folder: Path) -> Path | None:
    """Compile a library into a folder; None where there is no C compiler or it does not compile."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    made = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, check=False)
    return made if done.returncode == 0 else None


def failing(made: Path, folder: Path) -> dict[str, str]:
    """Return the environment of a process whose calls on files below a folder may be made to fail."""
    return {**os.environ, "LD_PRELOAD": str(made), "FAULT_PATH": str(folder), "FAULT_CALL": "0"}


def recorded(made: Path, folder: Path, trace: Path) -> dict[str, str]:
    """Return the environment of a process whose calls on files below a folder are recorded."""
    return {
        **os.environ,
        "LD_PRELOAD": str(made),
        "POWERCUT_ROOT": str(folder),
        "POWERCUT_TRACE": str(trace),
    }


class Faults:
    """The failures of this process's own calls; for a process started with the environment of `failing`."""

    def __init__(self) -> None:
        self._loaded: Any = ctypes.CDLL(None)

    def plan(self, call: int, code: int) -> None:
        """Have one call fail, counted from now; 0 for none. The code is an errno, 0 for a write that falls short."""
        self._loaded.fault_plan(call, code)

    @property
    def calls(self) -> int:
        """How many calls there were since the plan was made."""
        return int(self._loaded.fault_calls())

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return int(self._loaded.fault_failed())

    @property
    def failed_syncs(self) -> int:
        """How many of those were syncs of files; of folders they do not count."""
        return int(self._loaded.fault_failed_syncs())


def mark(text: bytes) -> None:
    """Write something into the recording of this process, between the calls that were made and those to come."""
    loaded: Any = ctypes.CDLL(None)
    loaded.powercut_mark(text, ctypes.c_size_t(len(text)))


def a_fast_folder() -> str | None:
    """Where files cost nothing, for stores that are written and read once."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
