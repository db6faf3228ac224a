"""What `import eventcore` costs a process that does nothing else with it.

Measured as whole processes, `python -c "import eventcore"` against `python -c pass`, taking turns, so that
finding, reading and linking the modules is counted. Bytecode is cached, as it is for every run but the first.
The difference of the two best is judged. None of litellm, hypothesis and rich may come along: if one does, no
figure is printed and the benchmark fails.

Names of the package are imported when they are first used, so the import alone says little; the second figure
also uses the names of the guide's program, which brings asyncio, inspect and msgspec in. Defends: at most 100 ms
over bare Python for the import alone, 150 ms with these names.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, each

NAMES = "ec.open, ec.Module, ec.Program, ec.Input, ec.Trainable, ec.DataModel, ec.Field"
UNWANTED = ("litellm", "hypothesis", "rich")


def milliseconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - started) * 1_000


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    """Yield both figures; nothing is written to `directory`."""
    for what, code, bound in (
        ("`import eventcore` over bare Python", "import eventcore", 100),
        ("the same, with the names of the guide's program", f"import eventcore as ec; {NAMES}", 150),
    ):
        milliseconds(f"{code}; import sys; assert not sys.modules.keys() & set({UNWANTED!r})")
        bare: list[float] = []
        ours: list[float] = []
        for _ in range(3 if quick else 12):
            bare.append(milliseconds("pass"))
            ours.append(milliseconds(code))
        yield Figure(
            what=what,
            measured=each(ours, "ms"),
            baseline=each(bare, "ms"),
            value=min(ours) - min(bare),
            bound=bound,
            at_least=False,
            unit="ms",
        )
