"""The determinism doctor: which unrecorded source makes a script's run come out differently.

The script runs once, in a scratch store, with its calls really made. Then it is replayed in another world:
another clock, other random numbers and identifiers, another hash seed, other switches of threads. If that
diverges, the sources are changed one at a time, and those that alone make it diverge are named.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from eventcore.errors import InvalidValue, NotFound, ReplayFailed
from eventcore.history.run import Run
from eventcore.history.store import open as open_store
from eventcore.replay.divergence import Divergence
from eventcore.replay.rerun import Found, Order
from eventcore.replay.rerunning import ReplayReport, command_of, report_of, started
from eventcore.replay.worlds import SOURCES, Taken, World

OTHER = "other"
"""What a world does not decide: timers, files, the environment, the order in which threads came."""

ADVICE = {
    "clock": "use ec.now()",
    "random": "use ec.random(purpose)",
    "uuid": "use ec.uuid()",
    "hash": "sort sets, and whatever is ordered by hash(), before it is used",
    "threads": "run plain functions with ec.to_thread()",
    OTHER: "make what it depends on an effect: @ec.effect, ec.sleep(), ec.to_thread()",
}


class Cause(msgspec.Struct, frozen=True):
    """A source that makes a run come out differently.

    Attributes:
        source: "clock", "random", "uuid", "hash", "threads" or "other".
        run: Name of the run.
        divergence: Where it first shows.
        lines: The user's lines that take something from that source, where they can be seen.
        advice: What would help.
    """

    source: str
    run: str
    divergence: Divergence
    lines: list[str]
    advice: str


class Diagnosis(msgspec.Struct, frozen=True):
    """What the doctor found.

    Attributes:
        runs: Names of the runs the script made.
        events: How many events were compared.
        effects: How many effects were really made, once.
        causes: Sources of difference, the one that shows first first; empty when there is none.
        harmless: Lines that take something from the world which does not reach the events.
    """

    runs: list[str]
    events: int
    effects: int
    causes: list[Cause]
    harmless: list[str]


def diagnose(script: str | os.PathLike[str] | Sequence[str], *arguments: str) -> Diagnosis:
    """Run a script, replay it in another world, and name what makes the difference.

    Args:
        script: A Python script, or a whole command as a list.
        arguments: Arguments of the script.

    Raises:
        NotFound: There is no such script, or no such program.
        InvalidValue: It is none: a directory, a file that is neither a script nor a program, nothing at all.
        ReplayFailed: It failed, or recorded nothing.
    """
    command = [*_command(script), *arguments]
    with tempfile.TemporaryDirectory(prefix="eventcore-doctor-") as folder:
        url, world = os.path.join(folder, "runs.lmdb"), World()
        order = Order("record", url, "", os.path.join(folder, "recorded"), world=world)
        _record(command, order)
        taken = _taken(order)
        with open_store(url) as store:
            names = [name for name in store.runs() if store[name].head > 1]
            if not names:
                raise ReplayFailed(f"cannot examine {' '.join(command)}: it recorded nothing")
            examined = [_Examined(store[name], command, folder, world, taken) for name in names]
            causes = [cause for each in examined for cause in each.causes()]
            return Diagnosis(
                names, sum(each.run.head for each in examined), sum(each.effects for each in examined),
                sorted(causes, key=lambda cause: cause.divergence.seq), _harmless(taken, causes),
            )  # fmt: skip


def _command(script: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """Return the command that runs a script, if there is something to be run."""
    is_script = isinstance(script, (str, os.PathLike))
    first = os.fspath(script) if isinstance(script, (str, os.PathLike)) else next(iter(script), "")
    if not first.strip():
        raise InvalidValue(
            f"cannot examine {first!r}: it names no script; pass one, such as train.py, or a command, such as "
            "'python -m train'"
        )
    if os.path.isdir(first):
        raise InvalidValue(
            f"cannot examine {first!r}: it is a directory; pass a script, such as {os.path.join(first, 'train.py')}"
        )
    if is_script and os.path.isfile(first):
        return command_of(first)
    if not is_script and shutil.which(first):
        return command_of(script)
    if os.path.isfile(first):
        raise InvalidValue(
            f"cannot examine {first!r}: its name does not end in .py, and it is no program that may be run; if it is "
            f"a Python script, pass 'python {first}'"
        )
    kind = "script" if is_script else "script and no such program"
    raise NotFound(f"cannot examine {first!r}: there is no such {kind} here ({os.getcwd()})")


def _record(command: list[str], order: Order) -> None:
    try:
        done = started(command, order, catch=False)
    except OSError as error:
        raise InvalidValue(
            f"cannot examine {' '.join(command)}: it cannot be run: {error.strerror or error}; pass a Python script"
        ) from error
    if done.returncode:
        raise ReplayFailed(f"cannot examine {' '.join(command)}: it ended with exit code {done.returncode}")


def _taken(order: Order) -> Taken:
    try:
        return msgspec.json.decode(Path(order.report).read_bytes(), type=Found).taken
    except FileNotFoundError:
        return {}


def _harmless(taken: Taken, causes: Sequence[Cause]) -> list[str]:
    blamed = {cause.source for cause in causes}
    return [line for source, lines in taken.items() if source not in blamed for line in lines]


class _Examined:
    """One run of the script.

    Args:
        run: The run.
        command: What made it.
        folder: Where reports go.
        world: The world it was made in.
        taken: What the user's lines took from that world.
    """

    def __init__(self, run: Run, command: Sequence[str], folder: str, world: World, taken: Taken) -> None:
        self.run = run
        self.effects = 0
        self._command = command
        self._folder = folder
        self._world = world
        self._taken = taken

    def causes(self) -> list[Cause]:
        """Name the sources that make this run come out differently."""
        if self._replayed(self._world.with_another(*SOURCES)).identical:
            return []
        found: list[Cause] = []
        other = self._replayed(self._world).divergence
        if other is not None:
            found.append(self._cause("threads" if "threads" in self._taken else OTHER, other))
        for source in SOURCES:
            left = self._replayed(self._world.with_another(source)).divergence
            # What differs in the same world too is not this source's doing.
            if left is not None and (other is None or left.seq < other.seq):
                found.append(self._cause(source, left))
        return found

    def _replayed(self, world: World) -> ReplayReport:
        order = Order(
            "replay", self.run.store.url, self.run.name, os.path.join(self._folder, "replayed"), world=world
        )
        done = started(self._command, order, catch=True)
        report = report_of(self.run, order, self._command, done)
        os.unlink(order.report)
        self.effects = max(self.effects, report.effects)
        return report

    def _cause(self, source: str, left: Divergence) -> Cause:
        return Cause(source, self.run.name, left, self._taken.get(source, []), ADVICE[source])
