"""Blame and bisect on a run of 1,000,000 events: the one that `bench_million.py` writes.

- `blame` of a text that is rewritten all the time: a variable owning 5 % of the events, spread evenly.
- `blame` of a text last rewritten half a million events ago, in a stretch of 10,000 rewritings.
- `blame` of a field nobody touched since the beginning, of a variable that owns 5 % of the events: the index says
  chunk by chunk that it was another field they changed. Without that record, as in stores from before there was one,
  every block is read: 120 ms to read, check and decompress the 80 MB, another 60 to 100 to find where events begin.
- `bisect` with a predicate that looks at one field: some twenty states are folded.
- Memory: the largest resident set of `eventcore blame` and of `eventcore why`, each in a process of its own.

Every time is the best of the repetitions, of calls within one process whose first call has come before.
Defends: 100 ms each; 1 s; 200 MB.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventcore as ec
from benchmarks.bench_million import CLUSTERED, SPREAD, VARIABLES, WRITING
from benchmarks.figure import Figure, amount, each

BUSY = VARIABLES - 1
assert BUSY not in (SPREAD, CLUSTERED)

COMMAND = """
import contextlib, io, resource, sys
from eventcore.cli.program import program
with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
    code = program.run(sys.argv[1:])
assert code == 0, code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def taken(call: Callable[[], Any], repeats: int) -> list[float]:
    """Return how many milliseconds each call took after a first one."""
    call()
    found: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1_000)
    return found


def resident(*arguments: str) -> float:
    """Return the largest resident set, in MB, of a process that runs one command."""
    command = [sys.executable, "-c", COMMAND, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def turned(run: ec.Run) -> Callable[[], int]:
    """Return a bisection for when a text got the words it ends with."""
    path = f"persona_{CLUSTERED}"
    last = run.state.slot(path).value["persona"]

    def changed(state: Any) -> bool:
        return path in state.variables and state.slot(path).value["persona"] == last

    return lambda: run.bisect(changed)


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    count, repeats = (20_000, 3) if quick else (1_000_000, 5)
    path = directory / "store"
    subprocess.run([sys.executable, "-c", WRITING, str(path), str(count)], check=True)
    said = amount(count)
    with ec.open(path, read_only=True) as store:
        run = store["measured"]
        cases: list[tuple[str, Callable[[], Any], float]] = [
            (
                "`blame` of a text rewritten all the time",
                lambda: run.blame(f"persona_{BUSY}", "/persona"),
                100,
            ),
            (
                "`blame` of a text last rewritten half the run ago",
                lambda: run.blame(f"persona_{CLUSTERED}", "/persona"),
                100,
            ),
            (
                "`blame` of a field untouched since the beginning, of a busy variable",
                lambda: run.blame(f"persona_{BUSY}", "/examples/0"),
                100,
            ),
            ("`bisect` with a cheap predicate", turned(run), 1_000),
        ]
        for what, call, bound in cases:
            times = taken(call, repeats)
            yield Figure(
                what=f"{what}, {said} events",
                measured=each(times, "ms"),
                value=min(times),
                bound=bound,
                at_least=False,
                unit="ms",
            )
    for command in (["blame", str(path), f"persona_{BUSY}"], ["why", str(path), f"persona_{BUSY}"]):
        size = resident(*command)
        yield Figure(
            what=f"memory of `eventcore {command[0]}`, {said} events",
            measured=f"{size:.0f} MB",
            value=size,
            bound=200,
            at_least=False,
            unit="MB",
        )
