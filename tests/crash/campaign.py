"""Kill writers at random moments and count what was lost: `python tests/crash/campaign.py --kills 10000`.

A writer is a process that changes a variable, flushes now and then, and tells over a pipe what it appended and what
`run.durable` then was. It is killed with SIGKILL; another process opens the store and reports what it finds. The
model is what came over the pipe: every acknowledged event must be there, as it was told, with no gap and no
duplicate. Tells nothing about power cuts: a killed process leaves its writes to the kernel.

This process never opens a store itself; each writer and each reader is a fork of it that opens the store anew.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

import eventcore.backends.lmdb
import eventcore.backends.sqlite
from eventcore.history import events as e
from eventcore.history import index, snapshots
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.variables import Variable

KILLS_PER_STORE = 20
_ENGINES = (eventcore.backends.lmdb, eventcore.backends.sqlite)  # imported once, before any fork


class Counted(msgspec.Struct):
    """What a writer writes: a number that only grows, a list and some text."""

    n: int = 0
    items: list[int] = []
    text: str = ""


class Broken(Exception):
    """A promise was broken."""


# --- the processes -----------------------------------------------------------------------------


def fork_off(work: Callable[[Callable[[bytes], None]], None]) -> tuple[int, int]:
    """Run `work` in a fork and return (process id, end of the pipe it tells things over)."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    status = 1
    try:
        os.close(ours)
        work(lambda line: _write_all(theirs, line + b"\n"))
        status = 0
    except BaseException:
        _write_all(theirs, b"E" + traceback.format_exc().replace("\n", "|").encode() + b"\n")
    finally:
        os._exit(status)


def _write_all(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]


def write(url: str, seed: int, tell: Callable[[bytes], None]) -> None:
    """Change a variable until killed, telling each append and each durable head."""
    chance = random.Random(seed)
    index.CHUNK, snapshots.SNAPSHOT_FLOOR = 40, 2_000
    store = stores.open(url)
    with store.reopen("main") if "main" in store else store.run("main") as run:
        go_on(run, chance, tell)


def go_on(run: Run, chance: random.Random, tell: Callable[[bytes], None]) -> None:
    """Count further from what is there, without end."""
    variable = Variable(data_model=Counted, name="counted")
    n: int = variable.get("n")
    tell(b"O%d" % run.head)
    eager = chance.choice((0.02, 0.3, 0.9))
    while True:
        n += 1
        change(variable, run, n, chance)
        tell(b"A%d %d" % (run.head, n))
        if chance.random() < eager:
            tell(b"D%d" % run.flush())
        if chance.random() < 0.03:
            tell(b"D%d" % run.snapshot())
        if chance.random() < 0.01:
            run.fork(at=chance.randint(0, run.durable)).close()
        tell(b"D%d" % run.durable)


def change(variable: Variable, run: Run, n: int, chance: random.Random) -> None:
    """Make some events; the last one carries `n`."""
    if chance.random() < 0.3:
        variable.get("items").append(n)
    if chance.random() < 0.05:
        variable.get("items").clear()
    if chance.random() < 0.1:
        variable.update({"text": "word " * chance.randint(1, 4_000)})
    variable.update({"n": n})


def read(url: str, thorough: bool, tell: Callable[[bytes], None]) -> None:
    """Report every event of the run, whether the values fold, and what `verify` says."""
    store = stores.open(url, read_only=True)
    run = store["main"]
    last = None
    for seq, event in run.events():
        n = -1
        if isinstance(event, e.VariableUpdated) and "n" in event.payload:
            n = last = event.payload["n"]
        tell(b"S%d %d" % (seq, n))
    folded = run.state.variables
    if last is not None and folded["counted"]["n"] != last:
        raise Broken(f"the state says n={folded['counted']['n']}, the log {last}")
    tell(b"H%d" % run.head)
    if thorough:
        problems = store.verify()
        if problems:
            raise Broken(f"verify: {problems}")
    store.close()


# --- the model ---------------------------------------------------------------------------------


class Told:
    """What writers said over the pipe: the number each seq carries, and how far is acknowledged."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.acknowledged = 0
        self.events = 0

    def forget_after(self, head: int) -> None:
        """What was never acknowledged and is not there was allowed to go; its seqs are given out again."""
        self.numbers = {seq: n for seq, n in self.numbers.items() if seq <= head}

    def hear(self, line: bytes) -> None:
        kind, rest = line[:1], line[1:]
        if kind == b"A":
            seq, n = map(int, rest.split())
            self.numbers[seq] = n
            self.events += 1
        elif kind == b"D":
            self.acknowledged = max(self.acknowledged, int(rest))
        elif kind == b"E":
            raise Broken(f"the writer failed: {rest.decode()}")

    def compare(self, lines: Iterator[bytes]) -> int:
        """Compare with what a reader found; return the head it found."""
        expected, head = 1, -1
        found: dict[int, int] = {}
        for line in lines:
            if line[:1] == b"E":
                raise Broken(f"the reader failed: {line[1:].decode()}")
            if line[:1] == b"H":
                head = int(line[1:])
                continue
            seq, n = map(int, line[1:].split())
            if seq != expected:
                raise Broken(f"seq {seq} where {expected} is next")
            expected += 1
            found[seq] = n
        if head != expected - 1:
            raise Broken(f"the head is {head} and the events end at {expected - 1}")
        if head < self.acknowledged:
            raise Broken(f"acknowledged up to {self.acknowledged}, found up to {head}")
        for seq, n in self.numbers.items():
            if seq <= head and found[seq] != n:
                raise Broken(f"seq {seq} was told to carry {n} and carries {found[seq]}")
        return head


def lines_of(pipe: int) -> Iterator[bytes]:
    """Yield whole lines until the other end is gone; a line that was cut short was never said."""
    with os.fdopen(pipe, "rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield line.rstrip(b"\n")


# --- the campaign ------------------------------------------------------------------------------


def one_kill(url: str, chance: random.Random, told: Told, thorough: bool) -> None:
    """Start a writer, kill it at a random moment, and compare what it said with what is there."""
    seed = chance.getrandbits(32)
    pid, pipe = fork_off(lambda tell: write(url, seed, tell))
    if chance.random() < 0.8:
        select.select([pipe], [], [], 5)  # let it open; the others are killed on the way there
    time.sleep(chance.uniform(0, 0.025))
    os.kill(pid, signal.SIGKILL)
    for line in lines_of(pipe):
        told.hear(line)
    os.waitpid(pid, 0)
    if not told.acknowledged and not Path(url.partition(":")[2]).exists():
        return
    pid, pipe = fork_off(lambda tell: read(url, thorough, tell))
    try:
        head = told.compare(lines_of(pipe))
    except Broken as broken:
        if told.acknowledged == 0 and "NotFound" in str(broken):
            return  # killed before the run was made
        raise
    finally:
        os.waitpid(pid, 0)
    told.forget_after(head)


def campaign(backend: str, kills: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Carry out kills on one backend and return the figures."""
    started, events, broken = time.monotonic(), 0, 0
    folder = Path(tempfile.mkdtemp(prefix="eventcore-crash-"))
    try:
        for first in range(0, kills, KILLS_PER_STORE):
            url, told = f"{backend}:{folder / f'store-{first}'}", Told()
            count = min(KILLS_PER_STORE, kills - first)
            for number in range(count):
                chance = random.Random(f"{backend} {seed} {first + number}")
                try:
                    one_kill(url, chance, told, thorough=number == count - 1)
                except Broken as error:
                    broken += 1
                    say(f"{backend}: kill {first + number} with --seed {seed}: {error}; see {url}")
                    break
            else:
                shutil.rmtree(folder / f"store-{first}", ignore_errors=True)
            events += told.events
            if first % 1000 == 0 and first:
                say(f"{backend}: {first} kills, {broken} broken")
    finally:
        if not broken:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - started, 1)
    return {"backend": backend, "kills": kills, "changes": events, "broken": broken, "seconds": seconds}


def main() -> int:
    """Read the command line, run, print one line per backend; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description="Kill writers at random moments; count what was lost.")
    parser.add_argument("--kills", type=int, default=200, help="in all, divided among the backends")
    parser.add_argument("--backend", choices=("lmdb", "sqlite", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print figures as JSON lines")
    chosen = parser.parse_args()
    backends = ("lmdb", "sqlite") if chosen.backend == "both" else (chosen.backend,)
    broken = 0
    for backend in backends:
        figures = campaign(
            backend, chosen.kills // len(backends), chosen.seed, lambda text: print(text, flush=True)
        )
        broken += figures["broken"]
        shown = "{backend}: {kills} kills, {changes} changes told, {broken} broken promises, {seconds} s"
        print(json.dumps(figures) if chosen.json else shown.format(**figures), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
