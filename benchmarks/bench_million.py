"""A run of 1,000,000 events: its size, opening it, going to any point of it, and one variable's history.

The run is written by `variable.update` at full speed in a process of its own: 20 variables that together
hold a state of nearly 100 KB, so that snapshots have something to store. Two of them own 1 % of the events
each: `spread` every hundredth, `clustered` 10,000 in a row. The other 98 % go to the rest in turn.

- Bytes: disk blocks of all the store's files, so free pages, index, snapshots and schemas are in it, over
  the number of events. No baseline: the raw size of the encoded events is printed beside it.
- Opening: `ec.open` and `store.reopen(name)`, in a fresh process each time, from when the names of
  `bench_import.py` are imported until the run can be written to. Importing LMDB's and zstd's bindings is in it.
  The best of several is judged.
- `at(k)`: 300 random places; p99 over all of them, best of the repetitions.
- `history`: every change of a variable with its value before and after, against the same by a full scan: a loop
  over `run.events()` keeps the events of this variable, and the same code derives the changes from them. Both work
  on the same run and take turns. (The engine's own loop, without a Record per event, takes about a third less than
  `run.events()`; it is what `history` falls back to where the index is damaged.)

Defends: 70 bytes, 50 ms, 20 ms; 2 times as fast as the scan when spread, 10 times when clustered.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import eventcore as ec
from benchmarks.bench_import import NAMES
from benchmarks.figure import Figure, amount, each, middle, percentile, ratio
from benchmarks.workload import encoded_size, personas, updates, variables, written
from eventcore.history.state import encode_state
from eventcore.history.timetravel import changes

VARIABLES = 20
SPREAD, CLUSTERED = 0, 1
LARGE = 1_900
"""Characters of the example each variable holds from the beginning: with the schemas, the state has nearly 100 KB."""

OPENING = f"""
import sys, time
import eventcore as ec
{NAMES}
started = time.perf_counter()
store = ec.open(sys.argv[1])
run = store.reopen("measured")
print(time.perf_counter() - started)
"""

WRITING = """
import sys
from benchmarks.bench_million import write
write(sys.argv[1], int(sys.argv[2]))
"""


def owner(number: int, count: int) -> int:
    """Return which variable the event `number` goes to."""
    if count // 2 <= number < count // 2 + count // 100:
        return CLUSTERED
    if number % 100 == 50:
        return SPREAD
    return 2 + number % (VARIABLES - 2)


def write(path: str, count: int) -> None:
    """Write the run; called in a process of its own."""
    texts = personas(min(count, 100_000))
    with ec.open(path) as store, store.run("measured"):
        actors = variables(VARIABLES)
        for number, actor in enumerate(actors):
            note = " ".join(personas(LARGE // len(texts[0]), seed=1000 + number))
            actor.update({"examples": [{"inputs": {"name": note}, "outputs": {"greeting": texts[number]}}]})
        for number in range(count):
            actors[owner(number, count)].update({"persona": texts[number % len(texts)]})


def opening(path: Path) -> float:
    """Return how many milliseconds a fresh process takes to open the store and go on with its run."""
    done = subprocess.run(
        [sys.executable, "-c", OPENING, str(path)], check=True, capture_output=True, text=True
    )
    return float(done.stdout) * 1_000


def travels(run: ec.Run, places: list[int]) -> list[float]:
    """Return how many milliseconds each `at` took."""
    taken: list[float] = []
    for place in places:
        started = time.perf_counter()
        run.at(place)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken


def indexed(run: ec.Run, path: str) -> tuple[int, float]:
    started = time.perf_counter()
    found = list(run.history(path))
    return len(found), time.perf_counter() - started


def scanned(run: ec.Run, number: int) -> tuple[int, float]:
    sources = run.state.sources
    started = time.perf_counter()
    mine = ((seq, event) for seq, event in run.events() if getattr(event, "variable", None) == number)
    found = list(changes(mine, "", sources))
    return len(found), time.perf_counter() - started


def histories(run: ec.Run, number: int, repeats: int) -> tuple[list[float], list[float]]:
    """Return how many milliseconds the index and the scan took, by turns."""
    ours: list[float] = []
    scan: list[float] = []
    for _ in range(repeats):
        expected, seconds = scanned(run, number)
        scan.append(seconds * 1_000)
        found, seconds = indexed(run, f"persona_{number}")
        ours.append(seconds * 1_000)
        if found != expected:
            raise AssertionError(f"history has {found} changes, the scan {expected}")
    return ours, scan


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    count, repeats, places = (20_000, 3, 20) if quick else (1_000_000, 5, 300)
    path = directory / "store"
    subprocess.run([sys.executable, "-c", WRITING, str(path), str(count)], check=True)
    said = amount(count)
    per_event = written(path) / count
    yield Figure(
        what=f"bytes per small event on disk, snapshots and index included ({said} events)",
        measured=f"{per_event:.1f} bytes",
        baseline=f"{encoded_size(updates(10_000)):.1f} bytes encoded",
        value=per_event,
        bound=70,
        at_least=False,
        unit="bytes",
    )
    openings = [opening(path) for _ in range(repeats + 2)]
    yield Figure(
        what=f"opening a store of {said} events and going on with its run, in a new process",
        measured=each(openings, "ms"),
        value=min(openings),
        bound=50,
        at_least=False,
        unit="ms",
    )
    with ec.open(path, read_only=True) as store:
        run = store["measured"]
        chosen = random.Random(11)
        runs = [travels(run, [chosen.randint(1, run.head) for _ in range(places)]) for _ in range(repeats)]
        slow = [percentile(taken, 99) for taken in runs]
        state = len(encode_state(run.state)) / 1_000
        yield Figure(
            what=f"`at(k)` at random places of {said} events, state of {state:.0f} KB, p99",
            measured=each(slow, "ms") + f", p50 {middle(runs[0]):.3g} ms",
            value=min(slow),
            bound=20,
            at_least=False,
            unit="ms",
        )
        for number, bound, how in ((SPREAD, 2, "spread evenly"), (CLUSTERED, 10, "clustered")):
            ours, scan = histories(run, number, repeats)
            yield Figure(
                what=f"`history` of a variable owning 1 % of {said} events, {how}; against a full scan",
                measured=each(ours, "ms"),
                baseline=each(scan, "ms"),
                value=ratio(scan, ours),
                bound=bound,
                at_least=True,
                unit="×",
            )
