"""What `import eventcore` costs a process that does nothing else with it.

Measured as whole processes, `python -c "import eventcore"` against `python -c pass`, taking turns, so that
finding, reading and linking the modules is counted. Bytecode is cached, as it is for every run but the first.
Defends: at most 100 ms over bare Python.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, best

REPEATS = 12


def seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def figures(directory: Path) -> Iterator[Figure]:
    """Yield the one figure; nothing is written to `directory`."""
    seconds("import eventcore")
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(REPEATS):
        bare.append(seconds("pass"))
        ours.append(seconds("import eventcore"))
    yield Figure(
        what="`import eventcore` over bare Python",
        value=(best(ours) - best(bare)) * 1_000,
        bound=100,
        at_least=False,
        unit="ms",
    )
