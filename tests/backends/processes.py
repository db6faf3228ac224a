"""Starting the commands of `child.py` and talking to them; mounting small and read-only disks where that is allowed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("child.py")


class Child:
    """A process running one command, killed when the test ends."""

    def __init__(self, command: str, url: str, *arguments: object, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), command, url, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def read(self) -> str:
        """Read one line; a child that died instead is an error with its last words."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            words = self.process.stderr.read()
            raise AssertionError(f"the child ended with {self.process.wait()}: {words}")
        return line.rstrip("\n")

    def rest(self) -> list[str]:
        """Read all it says until it ends, which must be well."""
        out, err = self.process.communicate()
        assert self.process.returncode == 0, f"the child ended with {self.process.returncode}: {out}{err}"
        return out.splitlines()

    def go(self) -> None:
        """Tell it to go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        self.process.kill()
        self.process.wait()


def said(command: str, url: str, *arguments: object, **environment: str) -> list[str]:
    """Run a command to its end and return the lines it said."""
    with Child(command, url, *arguments, **environment) as child:
        return child.rest()


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Generator[Path]:
    """Mount something for a test; skip the test where that is not allowed."""
    place.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", *options, str(place)], capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@contextlib.contextmanager
def read_only_disk(folder: Path, place: Path) -> Generator[Path]:
    """Show a folder at another place where nothing can be written, not even by root."""
    with mounted(place, "--bind", str(folder)):
        done = subprocess.run(
            ["mount", "-o", "remount,ro,bind", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("mounting read-only is not allowed here")
        yield place
