"""Cut the power of a writing process, over and over, and count what was lost: `python tests/backends/powercut.py`.

A writer (`powercut_writer.py`) uses a store while every call on its files is recorded. The recording is then cut off
anywhere, some of what was not synced by then is taken away (both by `eventcore.testing`), the store is opened by the
real library and compared with what the writer was promised (`powercut_promises.py`). Says nothing about a disk
that lies about a sync, nor about one that tears a sector.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from eventcore.backends import lmdb_check, lmdb_file
from eventcore.testing.interposed import RECORDER, a_fast_folder, compiled, recorded
from eventcore.testing.powercut_disk import Disk, Kind, read_trace
from tests.backends.powercut_promises import STORE, Damaged, Lost, Promises, examine

HERE = Path(__file__)
STATES_PER_TRACE = 1_250
SECONDS_PER_STATE = 60
PROMISES = (b'["durable"', b'["created"', b'["deleted"', b'["state"', b'["copied"')


# --- recording ----------------------------------------------------------------------------------------


def record(library: Path, folder: Path, backend: str, seed: int, spoilt: str = "") -> None:
    """Run a writer; `folder` gets its `trace` and, below `root`, its files."""
    root = folder / "root"
    root.mkdir(parents=True)
    environment = {**recorded(library, root, folder / "trace"), "PYTHONPATH": str(HERE.parents[2])}
    writer = str(HERE.with_name("powercut_writer.py"))
    subprocess.run(
        [sys.executable, writer, f"{backend}:{root / STORE}", str(seed), spoilt], env=environment, check=True
    )


# --- one power cut after another, in a process that may die of it -------------------------------------


class Cutter:
    """Cuts the power of one recorded writer at given moments and examines what is left."""

    def __init__(self, folder: Path, backend: str, seed: int) -> None:
        self.folder, self.backend, self.seed = folder, backend, seed
        self.calls = read_trace(folder / "trace")
        self.disk, self.promises = Disk(folder / "root"), Promises()
        self._at = 0
        promised, writing = list[int](), list[int]()
        for at, call in enumerate(self.calls, 1):
            if call.kind is Kind.WRITE:
                writing.append(at)
            elif call.kind is Kind.MARK and call.data.startswith(PROMISES):
                promised.append(at)
        self._moments = (promised, writing, range(len(self.calls) + 1))

    def moment(self, state: int) -> tuple[int, random.Random]:
        """Return how many calls come before the power cut of a state, and its chance."""
        chance = random.Random(f"{self.seed} {self.folder.name} {state}")
        # Right after a promise it must be kept; between two writes most is in doubt.
        return chance.choice(chance.choice(self._moments)), chance

    def go_to(self, moment: int) -> None:
        """Follow the writer until then."""
        for call in self.calls[self._at : moment]:
            if call.kind is Kind.MARK:
                self.promises.hear(call.data)
            else:
                self.disk.follow(call)
        self._at = moment

    def cut(self, chance: random.Random, place: Path) -> int:
        """Leave on `place` what the power cut leaves, and count what it took back."""
        flying = self.calls[self._at] if self._at < len(self.calls) and chance.random() < 0.5 else None
        return self.disk.cut(chance, place, flying)

    def examine(self, state: int, place: Path) -> dict[str, Any]:
        """Cut at a moment that is not before the last one, and say what became of the store."""
        moment, chance = self.moment(state)
        self.go_to(moment)
        taken = self.cut(chance, place)
        said = {"state": state, "acknowledged": self.promises.acknowledged(), "taken": taken}
        try:
            return said | {"events": examine(f"{self.backend}:{place / STORE}", self.promises, chance)}
        except (Lost, Damaged) as error:
            return said | {"broken": type(error).__name__.lower(), "detail": str(error)}


def work(folder: Path, backend: str, seed: int, states: list[int]) -> None:
    """Examine states, oldest moment first; say which one is next and what became of it, a line each."""
    # Without another process: nobody else has the file open, and there are thousands.
    setattr(lmdb_check, "verify_in_child", lmdb_file.verify_file)  # noqa: B010
    cutter = Cutter(folder, backend, seed)
    for state in sorted(states, key=lambda one: cutter.moment(one)[0]):
        print(json.dumps({"next": state}), flush=True)
        signal.alarm(SECONDS_PER_STATE)  # a damaged file may be walked in circles
        with tempfile.TemporaryDirectory(dir=folder) as place:
            print(json.dumps(cutter.examine(state, Path(place))), flush=True)
    signal.alarm(0)


# --- the campaign -------------------------------------------------------------------------------------


def examined(folder: Path, backend: str, seed: int, states: list[int]) -> Iterator[dict[str, Any]]:
    """Yield what became of each state. A process that dies of one is replaced for the rest."""
    left = set(states)
    while left:
        job = json.dumps([str(folder), backend, seed, sorted(left)])
        command = [sys.executable, str(HERE), "--work", job]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            state = -1
            for line in process.stdout:
                said = json.loads(line)
                state = said.get("next", state)
                if "state" in said:
                    left.discard(state)
                    yield said
        if process.returncode == 0:
            return
        if process.returncode > 0 or state not in left:
            raise RuntimeError(f"a worker on {folder} ended with {process.returncode}")
        left.discard(state)
        yield {"state": state, "broken": "died", "detail": f"status {process.returncode}"}


def campaign(
    library: Path,
    backend: str,
    states: int,
    *,
    seed: int = 1,
    spoilt: str = "",
    processes: int = 2,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Cut the power as often as asked and return the figures; broken promises are told as they are found."""
    started, figures, keep = time.monotonic(), Counter[str](), False
    for key in ("states", "acknowledged", "events", "took", "lost", "damaged", "died"):
        figures[key] = 0
    folder = Path(tempfile.mkdtemp(prefix="eventcore-powercut-", dir=a_fast_folder()))
    traces = max(1, -(-states // STATES_PER_TRACE))
    try:
        for number in range(traces):
            place = folder / f"trace-{number}"
            record(library, place, backend, seed + number, spoilt)
            count = states // traces + (number < states % traces)
            broken = _cut_all(place, backend, seed, count, processes, figures)
            for found in broken[:3] if not spoilt else ():
                say(
                    f"{backend}: {found['broken']}: {found['detail']}; again: {again(place, backend, seed, found)}"
                )
                keep = True
            if not broken or spoilt:
                shutil.rmtree(place)
    finally:
        if not keep:
            shutil.rmtree(folder)
    return {"backend": backend, **figures, "seconds": round(time.monotonic() - started, 1)}


def again(place: Path, backend: str, seed: int, found: dict[str, Any]) -> str:
    """Return the command that examines one state again."""
    return f"{sys.executable} {HERE} --work '{json.dumps([str(place), backend, seed, [found['state']]])}'"


def _cut_all(
    place: Path, backend: str, seed: int, count: int, processes: int, figures: Counter[str]
) -> list[dict[str, Any]]:
    """Examine all states of one recording in several processes; return those that were broken."""
    shares = [list(range(first, count, processes)) for first in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        results = list(pool.map(lambda share: list(examined(place, backend, seed, share)), shares))
    broken: list[dict[str, Any]] = []
    for said in (one for share in results for one in share):
        figures["states"] += 1
        figures["acknowledged"] += said.get("acknowledged", 0)
        figures["events"] += said.get("events", 0)
        figures["took"] += said.get("taken", 0) > 0
        if "broken" in said:
            figures[said["broken"]] += 1
            broken.append(said)
    return broken


SHOWN = (
    "{backend}: {states} power cuts ({took} took something back), {acknowledged} acknowledged events "
    "checked, lost in {lost} states, damaged {damaged}, died {died}, {seconds} s"
)


def _command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cut the power of a writing process; count what was lost.")
    parser.add_argument("--states", type=int, default=500, help="in all, divided among the backends")
    parser.add_argument("--backend", choices=("lmdb", "sqlite", "both"), default="both")
    parser.add_argument(
        "--spoilt", default="", help="open the backend without sync: see SPOILT in the writer"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", help="examine states of a recording; used by the campaign itself")
    return parser.parse_args()


def main() -> int:
    """Read the command line, run, print one line per backend; 1 when a promise was broken."""
    chosen = _command_line()
    if chosen.work:
        folder, backend, seed, states = json.loads(chosen.work)
        work(Path(folder), backend, seed, states)
        return 0
    backends = ("lmdb", "sqlite") if chosen.backend == "both" else (chosen.backend,)
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(RECORDER, Path(folder))
        if library is None:
            print("needs Linux and a C compiler", file=sys.stderr)
            return 2
        broken = 0
        for backend in backends:
            figures = campaign(
                library,
                backend,
                chosen.states // len(backends),
                seed=chosen.seed,
                spoilt=chosen.spoilt,
                processes=chosen.processes,
            )
            broken += figures["lost"] + figures["damaged"] + figures["died"]
            print(SHOWN.format(**figures), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
