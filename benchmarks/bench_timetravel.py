"""Looking back at a run of 1,000,000 events: the first line of `log`, `diff`, `export`, and the memory of commands.

The run is that of `bench_million.py`.

- `log`: from starting a process of `python -m eventcore log` until its first line is there. What a bare interpreter
  takes is printed beside it and taken off; importing eventcore is not.
- `diff`: `run.diff` of 100 random pairs of seqs, p99, best of the repetitions. Both states are folded from their
  nearest snapshots, and compared.
- `export`: `run.export` of all events into a file, opened and closed in it; no fsync. pyarrow is imported before.
- Memory: the peak of a process that runs one command on the whole run, its output thrown away. Pages of the store
  that the kernel maps into it are in it.

No baselines but the interpreter: the bounds are absolute, and the best repetition is judged.

Defends: 200 ms, 60 ms, 200,000 events/s, 200 MB.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import eventcore as ec
from benchmarks.bench_million import WRITING
from benchmarks.figure import Figure, amount, each, percentile, rate
from eventcore.history.exporting import parquet_schema

PEAK = """
import os, sys
from eventcore.cli import main
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""
"""Not `ru_maxrss`: a process inherits that of the one which started it."""


def first_line(command: Sequence[str]) -> float:
    """Return how many milliseconds pass from starting a process to its first line."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        taken = time.perf_counter() - started
        process.stdout.close()
        process.kill()
    return taken * 1_000


def diffs(run: ec.Run, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Return how many milliseconds each `diff` took."""
    taken: list[float] = []
    for a, b in pairs:
        started = time.perf_counter()
        run.diff(a, b)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken


def exported(run: ec.Run, path: Path) -> float:
    """Return how many events a second were exported."""
    started = time.perf_counter()
    count = run.export(path)
    seconds = time.perf_counter() - started
    path.unlink()
    return rate(count, seconds)


def peak(arguments: Sequence[str]) -> float:
    """Return the peak memory of a command, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments], check=True, stderr=subprocess.PIPE, text=True
    )
    return int(done.stderr.split()[-1]) * 1_024 / 1_000_000


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    parquet_schema()  # imports pyarrow, which is not what is measured
    count, repeats, places = (20_000, 3, 10) if quick else (1_000_000, 5, 100)
    path = directory / "store"
    subprocess.run([sys.executable, "-c", WRITING, str(path), str(count)], check=True)
    said = f"{amount(count)} events"
    bare = min(first_line([sys.executable, "-c", "print()"]) for _ in range(repeats))
    lines = [first_line([sys.executable, "-m", "eventcore", "log", str(path)]) for _ in range(repeats)]
    yield Figure(
        what=f"first line of `eventcore log` on {said}, after the interpreter's start",
        measured=each(lines, "ms") + " in all",
        baseline=f"{bare:.3g} ms bare interpreter",
        value=min(lines) - bare,
        bound=200,
        at_least=False,
        unit="ms",
    )
    with ec.open(path, read_only=True) as store:
        run = store["measured"]
        chosen = random.Random(5)
        runs = [
            diffs(run, [(chosen.randint(1, run.head), chosen.randint(1, run.head)) for _ in range(places)])
            for _ in range(repeats)
        ]
        slow = [percentile(taken, 99) for taken in runs]
        yield Figure(
            what=f"`diff` of two random seqs of {said}, p99",
            measured=each(slow, "ms") + f", p50 {percentile(runs[0], 50):.3g} ms",
            value=min(slow),
            bound=60,
            at_least=False,
            unit="ms",
        )
        for form in ("jsonl", "parquet"):
            rates = [exported(run, directory / f"events.{form}") for _ in range(repeats)]
            yield Figure(
                what=f"`export` of {said}, {form}",
                measured=each(rates, "/s"),
                value=max(rates),
                bound=200_000,
                at_least=True,
                unit="/s",
            )
    commands = {
        "log": ["log", str(path)],
        "history": ["history", str(path), "persona_0/persona"],
        "diff": ["diff", str(path), "1", str(count)],
        "races": ["races", str(path)],
        "export": ["export", str(path), "--parquet", str(directory / "events.parquet")],
        "show": ["show", str(path)],
    }
    peaks = {name: peak(arguments) for name, arguments in commands.items()}
    os.unlink(directory / "events.parquet")
    yield Figure(
        what=f"peak memory of a command on {said}, the worst",
        measured=", ".join(f"{name} {megabytes:.0f}" for name, megabytes in peaks.items()) + " MB",
        value=max(peaks.values()),
        bound=200,
        at_least=False,
        unit="MB",
    )
