"""`python -m benchmarks [NAME ...]` measures, and prints the table of figures.

Each `bench_NAME.py` beside this file has a function `figures(directory, quick)` that yields Figures. It runs in
a process of its own, so that no benchmark warms up or clutters the next, with a directory on a real disk. The
exit code is 1 when a bound is missed, 2 when a benchmark failed; with `--quick` bounds are not judged.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.figure import HEADER, Figure

HERE = Path(__file__).resolve().parent
MISSED = 3
"""Exit code of one benchmark's process; a traceback's is 1, which must not look like a missed bound."""
FAILED = 2


def names() -> list[str]:
    """The benchmarks there are, in alphabetical order."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def measure(name: str, directory: Path, quick: bool) -> bool:
    """Run one benchmark in this process, print its rows, and say whether every bound holds."""
    module = importlib.import_module(f"benchmarks.bench_{name}")
    figures: Callable[[Path, bool], Iterable[Figure]] = module.figures
    holds = True
    for figure in figures(directory, quick):
        print(figure.row(judged=not quick), flush=True)
        holds = holds and figure.holds
    return holds


def measure_apart(name: str, directory: Path, quick: bool) -> int:
    """Run one benchmark in a process of its own and return 0, 1 for a missed bound, or 2 for a failure."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as own:
        command = [sys.executable, "-m", "benchmarks", "--here", own, *["--quick"] * quick, name]
        code = subprocess.run(command, cwd=HERE.parent, check=False).returncode
    return {0: 0, MISSED: 1}.get(code, FAILED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Print the table of figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; default all")
    parser.add_argument("--directory", type=Path, default=HERE, help="where stores are made: on a real disk")
    parser.add_argument(
        "--quick", action="store_true", help="scaled down: shows that all run, judges nothing"
    )
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(names()))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names())}")
    if arguments.here is not None:
        (name,) = arguments.names
        return 0 if measure(name, arguments.here, arguments.quick) or arguments.quick else MISSED
    print(f"{_machine(arguments.directory)}\n\n{HEADER}", flush=True)
    codes = [measure_apart(name, arguments.directory, arguments.quick) for name in arguments.names or names()]
    print(f"\nload at the end {_load()}", flush=True)
    return max(codes)


def _machine(directory: Path) -> str:
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} processors, load {_load()}; stores in {directory}"
    )


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
