"""Stop and kill a toy run of GEPA, start it again, and count what differs: `python tests/integrations/campaign.py`.

Seven runs are stopped, by GEPA's own stop condition or by the run's budget; eight are killed with SIGKILL before
or after a call of a model has left, some of them twice. Every process has its own PYTHONHASHSEED. Each run must
end like the one that was left alone, and what its models were asked, put together, must be what that one asked:
no call whose answer was recorded is made again. With `--unaided` GEPA does without eventcore, over its own
checkpoint, and the same is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import eventcore as ec

TOY = Path(__file__).with_name("toy_gepa.py")

STOPS: tuple[tuple[str, ...], ...] = (
    ("--metric-calls 10",), ("--metric-calls 40",), ("--metric-calls 75",), ("--metric-calls 120",),
    ("--budget 5",), ("--budget 70",), ("--budget 140",),
)  # fmt: skip
KILLS: tuple[tuple[str, ...], ...] = (
    ("--kill-before 1",), ("--kill-after 8",), ("--kill-before 33",), ("--kill-after 57",), ("--kill-after 160",),
    ("--kill-before 95", "--kill-after 20"), ("--kill-after 101", "--kill-before 2"),
    ("--kill-after 66", "--kill-after 60"),
)  # fmt: skip


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        outcome: What it printed last.
        calls: The calls whose answers were recorded, in order, each process's put together.
        doubtful: Calls that had left without an answer being recorded.
        made: All calls of models.
    """

    outcome: dict[str, Any]
    calls: list[str]
    doubtful: int
    made: int


class Runs:
    """Runs toys in a folder, each process under a PYTHONHASHSEED of its own.

    Args:
        folder: Where stores and lists of calls go.
        length: `--metric-calls` of the whole run.
        unaided: Whether GEPA does without eventcore.
    """

    def __init__(self, folder: Path, length: int, unaided: bool = False) -> None:
        self.folder = folder
        self.hash_seeds = count(1)
        self.processes = 0
        self._length = length
        self.unaided = unaided

    def run(self, name: str, interruptions: tuple[str, ...]) -> Ended:
        """Run one toy, interrupted in these ways, to its end."""
        store, calls = self.folder / f"{name}.lmdb", self.folder / f"{name}.calls"
        acknowledged: list[str] = []
        doubtful = made = answered = 0
        outcome: dict[str, Any] = {}
        for how in (*interruptions, ""):
            outcome = self._process(store, calls, how)
            lines = calls.read_text().splitlines() if calls.exists() else []
            now = len(lines) - made if self.unaided else completed(store) - answered
            acknowledged += lines[made : made + now]
            doubtful += len(lines) - made - now
            made, answered = len(lines), answered + now
        return Ended(outcome, acknowledged, doubtful, made)

    def _process(self, store: Path, calls: Path, how: str) -> dict[str, Any]:
        command = [sys.executable, str(TOY), str(store), str(calls)]
        if self.unaided:
            command.append("--unaided")
            how = how.replace("--budget", "--metric-calls")
        if "--metric-calls" not in how:
            command += ["--metric-calls", str(self._length)]
        environment = {**os.environ, "PYTHONHASHSEED": str(next(self.hash_seeds))}
        self.processes += 1
        done = subprocess.run(
            [*command, *how.split()], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != (-9 if "kill" in how else 0):
            raise RuntimeError(f"{how or 'to the end'}: {done.returncode}\n{done.stdout}{done.stderr}")
        return {} if done.returncode else dict[str, Any](json.loads(done.stdout.splitlines()[-1]))


def completed(store: Path) -> int:
    """How many calls have their answers in the log."""
    if not store.exists():
        return 0
    with ec.open(store, read_only=True) as opened:
        return sum(1 for _ in opened["toy"].events(kind="EffectCompleted")) if "toy" in opened else 0


def compared(
    cases: tuple[tuple[str, ...], ...], runs: Runs, say: Callable[[str], None]
) -> Iterator[tuple[bool, int, int]]:
    """Run each case, and yield whether it ended like the run left alone, and calls repeated and in doubt."""
    alone = runs.run("alone", ())
    for number, interruptions in enumerate(cases):
        ended = runs.run(f"case-{number}", interruptions)
        same = {**ended.outcome, "head": 0} == {**alone.outcome, "head": 0}
        repeated = max(0, ended.made - ended.doubtful - alone.made)
        if not same or ended.calls != alone.calls:
            say(
                f"{' then '.join(interruptions)}: ended {'alike' if same else 'elsewhere'}, {repeated} calls repeated"
            )
        yield same and (runs.unaided or ended.calls == alone.calls), repeated, ended.doubtful


def campaign(
    say: Callable[[str], None], cases: tuple[tuple[str, ...], ...] = STOPS + KILLS, length: int = 150,
    unaided: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Carry out the cases and return the figures."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="eventcore-gepa-"))
    runs = Runs(folder, length, unaided)
    try:
        found = list(compared(cases, runs, say))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "cases": len(found),
        "alike": sum(alike for alike, _, _ in found),
        "repeated": sum(repeated for _, repeated, _ in found),
        "in_doubt": sum(doubtful for _, _, doubtful in found),
        "hash_seeds": runs.processes,
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> int:
    """Run, print one line; 1 when a run ended elsewhere or repeated a call."""
    parser = argparse.ArgumentParser(description="Stop and kill runs of GEPA; count what differs.")
    parser.add_argument("--unaided", action="store_true", help="GEPA alone, over its own checkpoint")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    chosen = parser.parse_args()
    figures = campaign(lambda text: print(text, file=sys.stderr, flush=True), unaided=chosen.unaided)
    shown = (
        "GEPA, stopped 7 times and killed 8: {alike} of {cases} ended like the run left alone, {repeated} calls with "
        "recorded answers repeated, {in_doubt} in doubt made twice; {hash_seeds} values of PYTHONHASHSEED, {seconds} s"
    )
    print(json.dumps(figures) if chosen.json else shown.format(**figures))
    return 0 if figures["alike"] == figures["cases"] and not figures["repeated"] else 1


if __name__ == "__main__":
    sys.exit(main())
