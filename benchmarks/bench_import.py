"""What `import eventcore` costs a process that does nothing else with it.

Measured as whole processes, `python -c "import eventcore"` against `python -c pass`, taking turns, so that
finding, reading and linking the modules is counted. Bytecode is cached, as it is for every run but the first.
The difference of the two best is judged. None of litellm, hypothesis and rich may come along: if one does, no
figure is printed and the benchmark fails. Defends: at most 100 ms over bare Python.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, each

UNWANTED = ("litellm", "hypothesis", "rich")


def milliseconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - started) * 1_000


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    """Yield the one figure; nothing is written to `directory`."""
    milliseconds(f"import eventcore, sys; assert not sys.modules.keys() & set({UNWANTED!r})")
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(3 if quick else 12):
        bare.append(milliseconds("pass"))
        ours.append(milliseconds("import eventcore"))
    yield Figure(
        what="`import eventcore` over bare Python",
        measured=each(ours, "ms"),
        baseline=each(bare, "ms"),
        value=min(ours) - min(bare),
        bound=100,
        at_least=False,
        unit="ms",
    )
