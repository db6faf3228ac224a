"""`python -m benchmarks [NAME ...]` measures, and prints the table of figures.

Each `bench_NAME.py` beside this file has a function `figures(directory)` that yields Figures. It runs in a
process of its own, so that no benchmark warms up or clutters the next, with a directory on a real disk. The
exit code is 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.figure import HEADER, Figure

HERE = Path(__file__).resolve().parent


def names() -> list[str]:
    """The benchmarks there are, in alphabetical order."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def measure(name: str, directory: Path) -> bool:
    """Run one benchmark in this process, print its rows, and say whether every bound holds."""
    module = importlib.import_module(f"benchmarks.bench_{name}")
    figures: Callable[[Path], Iterable[Figure]] = module.figures
    holds = True
    for figure in figures(directory):
        print(figure.row(), flush=True)
        holds = holds and figure.holds
    return holds


def measure_apart(name: str, directory: Path) -> bool:
    """Run one benchmark in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as own:
        command = [sys.executable, "-m", "benchmarks", "--here", own, name]
        return subprocess.run(command, cwd=HERE.parent, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Print the table of figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; default all")
    parser.add_argument("--directory", type=Path, default=HERE, help="where stores are made: on a real disk")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(names()))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names())}")
    if arguments.here is not None:
        (name,) = arguments.names
        return 0 if measure(name, arguments.here) else 1
    print(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n\n{HEADER}",
        flush=True,
    )
    held = [measure_apart(name, arguments.directory) for name in arguments.names or names()]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
