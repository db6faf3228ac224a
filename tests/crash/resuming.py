"""Kill trainings, start them again, and compare how they end: `python tests/crash/resuming.py --kills 10000`.

A training (`tests/replay/training.py`) notes every call it makes in a file, as a provider's bill would. It is
killed with SIGKILL at random instants and at named places, in the training and in its resumption, several times in
a row. After each kill another process opens the store. The promises:

- the state it ends with has the digest of the same training that nobody killed;
- a call whose outcome the log had when the process was killed is not on the bill again;
- at most the calls under way at once are in doubt after a kill; `verify` finds nothing; the run replays.

This process never opens a store itself; trainings and readers are forks of it.
"""

from __future__ import annotations

import argparse
import functools
import gc
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

import eventcore as ec
import eventcore.backends.lmdb  # pyright: ignore[reportUnusedImport]
import eventcore.backends.sqlite  # pyright: ignore[reportUnusedImport]
import tests.replay.training as training
from eventcore.history import events as e
from eventcore.replay.rerun import ENVIRONMENT, Found, Order
from tests.replay.forks import fork_off

BACKENDS = ("lmdb", "sqlite")
CONCURRENCY = (1, 8, 32)
OPTIMIZERS = ("few-shot", "best", "evolutionary", "omega", "omega-merging")
SAVES = ("", "program.json", "program.lmdb", "program.sqlite", "home")
SIZE = ["--examples", "8", "--batch", "3", "--epochs", "2", "--slowness", "0.002", "--failures", "0.03"]
AT_ONCE = 2
"""Calls a rollout of that training may have under way at the same time."""

KILLS_PER_STORY = 12
DIES = "dies in"
"""What a process says last that is killed at a named place."""

PLACES = (
    ("eventcore.training.loop:Fit._epoch", 3),
    ("eventcore.training.loop:Fit._batch", 5),
    ("eventcore.training.loop:Fit._validate", 3),
    ("eventcore.training.scoring:CompiledReward.score", 6),
    ("eventcore.optimizers.optimizer:Optimizer.propose", 4),
    ("eventcore.optimizers.optimizer:Optimizer.maybe_add_candidate", 4),
    ("eventcore.optimizers.optimizer:Optimizer.compete", 3),
    ("eventcore.replay.effects:Effect._intend", 30),
    ("eventcore.replay.effects:Effect.completed", 30),
    ("eventcore.replay.waiting:Wait.start", 30),
    ("eventcore.replay.waiting:Wait.arrive", 30),
    ("eventcore.replay.replayer:Replayer.begin", 1),
    ("eventcore.replay.replayer:Replayer._consumed", 250),
    ("eventcore.replay.resuming:Resumption._go_on", 1),
    ("eventcore.history.recording:RecordingRun.end_replay", 1),
    ("eventcore.history.log:Log._write", 40),
    ("eventcore.backends.lmdb:LmdbBackend.claim", 1),
    ("eventcore.backends.sqlite:SqliteBackend.claim", 1),
    ("eventcore.saving.portable:write_file", 2),
    ("eventcore.saving.portable:_require_replaceable", 2),
    ("eventcore.saving.portable:_sync_folder", 2),
    ("eventcore.saving.copies:copy_run", 2),
    ("eventcore.saving.copies:copy_events", 2),
    ("eventcore.history.run:Run.close", 1),
)  # fmt: skip
"""Places to be killed at, and at which call of them at most."""


class Broken(Exception):
    """A promise was broken."""


# --- the processes -----------------------------------------------------------------------------


def arm(place: str, count: int, after: bool) -> None:
    """Have this process killed at the `count`-th call of a function, before it or after it."""
    name, _, path = place.partition(":")
    owner: Any = importlib.import_module(name)
    *holders, last = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    original = getattr(owner, last)
    left = count

    def die() -> None:
        os.write(1, f"{DIES} {place}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(original)
    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            die()
        found = original(*arguments, **named)
        if left == 0:
            die()
        return found

    setattr(owner, last, dying)


def _waited(pid: int, seconds: float, grows: Path | None = None) -> int | None:
    """Wait for a process, until its time is over, or a file grows; its status if it has ended."""
    over = time.monotonic() + seconds
    size = _size(grows)
    while time.monotonic() < over and _size(grows) == size:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.001)
    return None


def _size(path: Path | None) -> int:
    return path.stat().st_size if path is not None and path.exists() else 0


def train(arguments: list[str], place: tuple[str, int, bool] | None = None) -> None:
    """Be the training, to be killed at a place or from outside."""
    if place is not None:
        arm(*place)
    sys.argv = ["training.py", *arguments]
    training.main()


def read(url: str, thorough: bool, answer: Path) -> None:
    """Write down what a store holds: outcomes and calls in doubt by what was asked, and the state."""
    outcomes: Counter[str] = Counter()
    found: dict[str, Any] = {"head": 0, "digest": "", "doubt": {}, "finished": False}
    if os.path.exists(url.partition(":")[2]):
        with ec.open(url, read_only=True) as store:
            if "training" in store:
                run = store["training"]
                asked: dict[int, str] = {}
                for record in run.events(1):
                    event = record.event
                    if isinstance(event, e.EffectStarted):
                        asked[record.seq] = on_the_bill(event.request)
                    elif isinstance(event, (e.EffectCompleted, e.EffectFailed)):
                        outcomes[asked.pop(event.cause)] += 1
                    elif isinstance(event, e.TrainEnded):
                        found["finished"] = event.reason == "done"
                if sorted(asked) != [record.seq for record in run.in_doubt()]:
                    raise Broken(f"in doubt: {run.in_doubt()}, by the log {asked}")
                found |= {"head": run.head, "digest": run.state.digest, "doubt": Counter(asked.values())}
                if run.cost().calls != outcomes.total():
                    raise Broken(f"cost says {run.cost().calls} calls, the log {outcomes.total()}")
            if thorough and (problems := store.verify()):
                raise Broken(f"verify: {problems}")
    answer.write_text(json.dumps({**found, "outcomes": outcomes}))


def on_the_bill(request: dict[str, Any]) -> str:
    """How the training notes a call."""
    asked = (str(request["messages"]),) if "messages" in request else tuple(request["texts"])
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


# --- one story -----------------------------------------------------------------------------------


class Story:
    """A training that is killed until it comes to its end.

    Args:
        folder: Where it all is.
        backend: "lmdb" or "sqlite".
        chance: Decides everything.
        reference: Digest a training of these arguments ends with.
    """

    def __init__(
        self, folder: Path, backend: str, chance: random.Random, reference: Callable[[list[str]], str]
    ) -> None:
        self.repeated = self.asking = 0
        self.places = Counter[str]()
        self.url = f"{backend}:{folder / 'runs'}"
        self._folder, self._chance = folder, chance
        self.concurrency = chance.choice(CONCURRENCY)
        optimizer = chance.choice(OPTIMIZERS)
        self._common = ["--optimizer", optimizer, "--concurrency", str(self.concurrency), *SIZE]
        self._expected = reference(self._common)
        save = "" if "omega" in optimizer else chance.choice(SAVES)  # OMEGA's model here is not to be saved
        target = str(folder / "runs") if save == "home" else str(folder / save)
        self.arguments = [
            self.url,
            str(folder / "bill"),
            *self._common,
            *(["--save", target] if save else []),
        ]
        if save == "home" and backend == "sqlite":
            self.arguments[-1] = self.url
        self._before: Counter[str] = Counter()
        self._billed: Counter[str] = Counter()

    def tell(self) -> None:
        """Kill it up to so many times, then let it end.

        Raises:
            Broken: A promise was broken.
        """
        for _ in range(self._chance.randint(1, KILLS_PER_STORY)):
            if not self._killed():
                break
            self._compare(self._read(thorough=False))
        else:
            self._finish(fork_off(lambda: train(self.arguments), self._folder / "output"))
        found = self._read(thorough=True)
        self._compare(found)
        if found["doubt"] or not found["finished"]:
            raise Broken(f"it has ended, and its log says {found}")
        if found["digest"] != self._expected:
            raise Broken(f"it ends with the state {found['digest'][:16]}, not {self._expected[:16]}")
        if self._chance.random() < 0.3:
            self._replay(found["head"])

    def _killed(self) -> bool:
        """Start it and kill it; False if it came to its end first."""
        chance = self._chance
        place: tuple[str, int, bool] | None = None
        if chance.random() < 0.5:
            name, most = chance.choice(PLACES)
            place = (name, chance.randint(1, most), chance.random() < 0.5)
        pid = fork_off(lambda: train(self.arguments, place), self._folder / "output")
        if place is None and chance.random() < 0.7:  # while it asks; the others are killed on the way there
            status = _waited(pid, 0.3, self._folder / "bill")
            seconds = chance.uniform(0, 0.02)
        else:
            status, seconds = None, chance.uniform(0, 0.12) if place is None else chance.uniform(0.05, 0.3)
        if status is None:
            status = _waited(pid, seconds)
        if status is None:
            os.kill(pid, signal.SIGKILL)  # nobody has waited for it: its number is still its own
            status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            self.places[place[0] if place is not None and self._died_there(place[0]) else "random"] += 1
            return True
        self._ended_well(status)
        return False

    def _died_there(self, place: str) -> bool:
        return (self._folder / "output").read_text(errors="replace").endswith(f"{DIES} {place}\n")

    def _finish(self, pid: int) -> None:
        self._ended_well(os.waitpid(pid, 0)[1])

    def _ended_well(self, status: int) -> None:
        if status != 0:
            output = (self._folder / "output").read_text(errors="replace")
            raise Broken(f"it ended with status {status}: {output[-700:]}")

    def _read(self, thorough: bool) -> dict[str, Any]:
        answer = self._folder / "answer"
        answer.unlink(missing_ok=True)
        self._finish(fork_off(lambda: read(self.url, thorough, answer), self._folder / "output"))
        found: dict[str, Any] = json.loads(answer.read_text())
        return found

    def _compare(self, found: dict[str, Any]) -> None:
        """Every call of the last process has an outcome that was not there before it, or is in doubt now."""
        doubt, outcomes = Counter(found["doubt"]), Counter(found["outcomes"])
        if doubt.total() > AT_ONCE * self.concurrency:
            raise Broken(f"{doubt.total()} calls are in doubt, with {self.concurrency} rollouts at once")
        if lost := self._before - outcomes:
            raise Broken(f"outcomes were lost: {lost}")
        bill = self._folder / "bill"
        billed = Counter(bill.read_text().split() if bill.exists() else ())
        made = billed - self._billed
        if again := made - (outcomes - self._before) - doubt:
            raise Broken(f"calls whose outcome was recorded were made again: {again}")
        self.asking += bool(doubt)
        self.repeated = billed.total() - outcomes.total()
        self._before, self._billed = outcomes, billed

    def _replay(self, head: int) -> None:
        report = self._folder / "report"
        order = Order("replay", self.url, "training", str(report))
        environment = {ENVIRONMENT: msgspec.json.encode(order).decode()}
        os.waitpid(fork_off(lambda: train(self.arguments), self._folder / "output", **environment), 0)
        found = msgspec.json.decode(report.read_bytes(), type=Found)
        if found.divergence is not None or found.position != head:
            raise Broken(f"it does not replay: {found}")
        if Counter((self._folder / "bill").read_text().split()) != self._billed:
            raise Broken("a replay made calls")


# --- the campaign --------------------------------------------------------------------------------


class References:
    """What trainings end with that nobody kills, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, str] = {}

    def __call__(self, common: list[str]) -> str:
        key = " ".join(common)
        if key not in self._digests:
            number = len(self._digests)
            url, answer = f"lmdb:{self._folder / f'reference-{number}'}", self._folder / "answer"
            bill = str(self._folder / f"bill-{number}")
            os.waitpid(fork_off(lambda: train([url, bill, *common]), self._folder / "output"), 0)
            os.waitpid(fork_off(lambda: read(url, False, answer), self._folder / "output"), 0)
            self._digests[key] = json.loads(answer.read_text())["digest"]
        return self._digests[key]


def campaign(backend: str, kills: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Carry out kills on one backend and return the figures."""
    started, broken, stories, repeated, asking = time.monotonic(), 0, 0, 0, 0
    places: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="eventcore-resuming-"))
    reference = References(folder)
    while places.total() < kills:
        own = folder / f"story-{stories}"
        own.mkdir()
        story = Story(own, backend, random.Random(f"{backend} {seed} {stories}"), reference)
        stories += 1
        try:
            story.tell()
        except Broken as error:
            broken += 1
            say(f"{backend}: story {stories - 1} with --seed {seed}: {error}; see {own}: {story.arguments}")
        else:
            shutil.rmtree(own, ignore_errors=True)
        places += story.places
        repeated, asking = repeated + story.repeated, asking + story.asking
        if stories % 200 == 0:
            say(f"{backend}: {places.total()} kills, {broken} broken")
    if not broken:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - started, 1)
    return {
        "backend": backend, "kills": places.total(), "stories": stories, "broken": broken,
        "at_random": places["random"], "places": len(places) - 1, "asking": asking, "repeated": repeated,
        "seconds": seconds,
    }  # fmt: skip


def main() -> int:
    """Read the command line, run, print one line per backend; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description="Kill trainings, start them again, compare how they end.")
    parser.add_argument("--kills", type=int, default=200, help="in all, divided among the backends")
    parser.add_argument("--backend", choices=(*BACKENDS, "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print figures as JSON lines")
    chosen = parser.parse_args()
    gc.collect()
    gc.freeze()  # the collector of a fork need not look at, and so copy, what is here
    backends = BACKENDS if chosen.backend == "both" else (chosen.backend,)
    broken = 0
    for backend in backends:
        figures = campaign(
            backend, chosen.kills // len(backends), chosen.seed, lambda text: print(text, flush=True)
        )
        broken += figures["broken"]
        shown = (
            "{backend}: {kills} kills ({at_random} at random instants, the others at {places} places; {asking} with "
            "calls under way) of {stories} trainings, {broken} broken promises, {repeated} calls in doubt made again, "
            "{seconds} s"
        )
        print(json.dumps(figures) if chosen.json else shown.format(**figures), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
