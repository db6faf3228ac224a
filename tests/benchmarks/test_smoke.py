"""The benchmarks run and print sane numbers. Bounds are not judged here: this machine has other work to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ROWS = {
    "durable append of blocks": (0.01, 3),
    "`variable.update` sustained": (0.5, 1_000),
    "caller's latency of `update`, p50": (0.1, 1_000),
    "caller's latency of `update`, p99": (0.1, 100_000),
    "recorded `get` of a scalar": (1_000, 1e8),
    "fold of a log from the disk": (0.01, 1.5),
    "the same; against `eventsourcing` replaying": (0.5, 10_000),
    "`at(k)` at random places": (0.01, 10_000),
    "owning 1 % of 20,000 events, spread evenly": (0.01, 100),
    "owning 1 % of 20,000 events, clustered": (0.01, 1_000),
    "opening a store": (0.1, 10_000),
    "first line of `eventcore log`": (1, 10_000),
    "`diff` of two random seqs": (0.01, 10_000),
    "`export` of 20,000 events, jsonl": (1_000, 1e8),
    "`export` of 20,000 events, parquet": (1_000, 1e8),
    "`blame` of a text rewritten all the time": (0.01, 10_000),
    "`bisect` with a cheap predicate": (0.1, 100_000),
    "memory of `eventcore why`": (10, 1_000),
    "peak memory of a command": (10, 1_000),
    "bytes per small event on disk": (5, 500),
    "`import eventcore` over bare Python": (-100, 10_000),
    "recording a `fit` of 64 examples, calls of 50 ms": (-50, 1_000),
    "replay of a `fit` of 64 examples, calls of 50 ms": (0.5, 1_000),
}
"""A piece of each promised row's first cell -> bounds its value is between on any machine, however busy."""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--directory",
        str(tmp_path_factory.mktemp("disk")),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.campaign
def test_every_promised_figure_is_a_row_with_a_sane_value(printed: str) -> None:
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    for piece, (low, high) in ROWS.items():
        (row,) = [row for row in rows if piece in row[0]]
        value = re.match(r"-?[\d.,e+]+", row[3])
        assert value, row
        assert low <= float(value[0].replace(",", "")) <= high, row
        assert re.match(r"[≥≤] ", row[4]), row


@pytest.mark.campaign
def test_a_quick_run_judges_nothing(printed: str) -> None:
    assert "missed" not in printed
    assert "not judged" in printed


def test_an_unknown_benchmark_is_refused_with_the_names_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks", "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no benchmark is called speed; there are append, " in done.stderr
