"""The checks of a backend below which something breaks: failing calls, full tables, power cuts, torn ends of files.

Each finds out whether it can be done here and to this backend, and says so where not. What has to hold is always the
same: what was acknowledged is there, what was under way is there as a whole or not at all, and the store goes on.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventcore.errors import EventcoreError
from eventcore.history.backend import Backend
from eventcore.testing import interposed
from eventcore.testing.backend_child import command
from eventcore.testing.backend_script import judge, script
from eventcore.testing.backend_subject import PATIENCE, BackendSubject
from eventcore.testing.checks import Check, DoesNotApply, Tally

FAILURES, LEAST_FAILURES, SECONDS_OF_FAILURES = 24, 9, 1.0
CUTS, LEAST_CUTS, SECONDS_OF_CUTS = 160, 16, 2.0
TEARS = 60


@contextmanager
def _fast_folder() -> Generator[Path]:
    path = Path(tempfile.mkdtemp(prefix="eventcore-check-", dir=interposed.a_fast_folder()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _library(name: str) -> Path:
    made = interposed.library(name)
    if made is None:
        raise DoesNotApply("needs Linux and a C compiler (cc) to stand between the backend and its files")
    return made


def _said(task: dict[str, Any], environment: dict[str, str] | None, tally: Tally) -> list[dict[str, Any]]:
    """Have a process do a task, and return what it said; one that dies of it is a failure."""
    with subprocess.Popen(
        command(task), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            tally.fail(f"it did not come to its end within {PATIENCE:.0f} seconds")
    said = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if process.returncode:
        last = next((one["trying"] for one in reversed(said) if "trying" in one), "")
        how = signal.Signals(-process.returncode).name if process.returncode < 0 else errors[-800:]
        tally.fail(f"the process died of it {last}: {how}".replace(" :", ":"))
    return said


def _opener(subject: BackendSubject, path: Path) -> None:
    """Make sure that the backend is durable and another process can open it."""
    subject.opener(str(path / "probe"))


def a_failing_call_loses_nothing_acknowledged(subject: BackendSubject, tally: Tally) -> None:
    """Carry out a script over and over; each time another write or sync fails."""
    with _fast_folder() as path:
        _opener(subject, path)
        openers = [subject.opener_of(str(path / f"store {number}")) for number in range(FAILURES + 1)]
        task = {"action": "endure", "openers": openers, "number": subject.number, "count": 12}
        task |= {"least": LEAST_FAILURES, "seconds": SECONDS_OF_FAILURES}
        environment = interposed.failing(_library(interposed.FAULTS), path)
        first, *tried = _said(task, environment, tally)
        tally.require(not first["wrong"], f"without any failure: {first['wrong']}")
        if not first["calls"]:
            raise DoesNotApply(
                "no call that writes or syncs was seen: its files are not written through libc"
            )
        for one in tried:
            if one["failed"]:
                tally.require(not one["wrong"], f"a call failed ({one['fault']}): {one['wrong']}")
        for one in _said({**task, "action": "look", "openers": openers[: len(tried)]}, None, tally):
            tally.require(not one["wrong"], f"a call failed, and in another process: {one['wrong']}")


def running_out_of_descriptors_is_an_error(subject: BackendSubject, tally: Tally) -> None:
    """Open a store while the process may open no more files, or one, or two, until it opens."""
    with _fast_folder() as path:
        _opener(subject, path)
        task = {"action": "starve", "opener": subject.opener_of(str(path / "store")),
                "number": subject.number, "count": 12}  # fmt: skip
        refused = 0
        for one in _said(task, None, tally):
            refused += one["refused"]
            tally.require(not one["wrong"], one["wrong"])
        if not refused:
            raise DoesNotApply("it takes no descriptor to open a store")


def a_power_cut_loses_nothing_acknowledged(subject: BackendSubject, tally: Tally) -> None:
    """Record the calls of a writing process, take back some of what was not synced, and open what is left."""
    with _fast_folder() as path:
        _opener(subject, path)
        root = path / "root"
        root.mkdir()
        common = {"number": subject.number, "count": 40}
        writer = {"action": "write_recorded", "opener": subject.opener_of(str(root / "store")), **common}
        trace = path / "trace"
        library = _library(interposed.RECORDER)
        _said(writer, interposed.recorded(library, root, trace), tally)
        places = [path / f"cut {number}" for number in range(CUTS)]
        openers = [(str(place), subject.opener_of(str(place / "store"))) for place in places]
        task = {"action": "cut", "root": str(root), "trace": str(trace), "openers": openers, **common}
        task |= {"least": LEAST_CUTS, "seconds": SECONDS_OF_CUTS}
        first, *rest = _said(task, None, tally)
        if "impossible" in first:
            raise DoesNotApply(f"what it does to its files cannot be recorded: {first['impossible']}")
        if not first["writes"]:
            raise DoesNotApply("it writes no file at its place")
        judged = [one for one in rest if "wrong" in one]
        for one in judged:
            tally.require(not one["wrong"], f"after a power cut: {one['wrong']}")
        if not judged:
            raise DoesNotApply("at no moment was anything written and not synced: a power cut is like a kill")


# --- torn ends ------------------------------------------------------------------------------------------


def a_torn_end_is_not_taken_for_data(subject: BackendSubject, tally: Tally) -> None:
    """Append to a store, and tear what that added to the ends of its files; all before it is there."""
    steps, _ = script(subject.number, 14)
    chance = random.Random(subject.number)
    with _fast_folder() as path:
        _opener(subject, path)
        place = path / "root" / "store"
        place.parent.mkdir()
        backend = subject.open(str(place))
        torn = opened = 0
        for done, step in enumerate(steps):
            before = _files(place.parent)
            step.do(backend)
            after = _files(place.parent)
            for number in range(-(-TEARS // len(steps))):
                left = _torn(before, after, chance)
                if left is not None and done:
                    torn += 1
                    opened += _judge_torn(subject, path / f"torn {done} {number}", left, done, tally)
        backend.close()
    if not torn:
        raise DoesNotApply("what is appended is not added to the end of a file")
    tally.require(opened, f"after each of {torn} torn ends the store refuses to open: nothing is left of it")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _torn(
    before: dict[str, bytes], after: dict[str, bytes], chance: random.Random
) -> dict[str, bytes] | None:
    """Return the files as they were, with a part of what was added to one of them; None if nothing was."""
    grown = sorted(
        name
        for name, data in after.items()
        if name in before and len(data) > len(before[name]) and data.startswith(before[name])
    )
    if not grown:
        return None
    name = chance.choice(grown)
    size = len(before[name])
    return {**before, name: before[name] + _spoilt(after[name], size, chance)}


def _spoilt(data: bytes, size: int, chance: random.Random) -> bytes:
    """Return what may be left of the bytes behind `size`: their beginning, or all with zeros or others among them."""
    first = chance.randrange(size, len(data))
    kind = chance.randrange(3)
    if kind == 0:
        return data[size:first]
    length = min(len(data) - first, chance.choice((1, 7, 512)))
    there = chance.randrange(len(data) - length + 1)
    hole = bytes(length) if kind == 1 else data[there : there + length]
    return data[size:first] + hole + data[first + length :]


def _judge_torn(
    subject: BackendSubject, folder: Path, left: dict[str, bytes], done: int, tally: Tally
) -> bool:
    """Open the store among torn files: it holds what it held, or refuses with an error of the tree."""
    for name, data in left.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    _, states = script(subject.number, 14)
    backend: Backend | None = None
    try:
        backend = subject.open(str(folder / "store"))
        _, wrong = judge(backend, states, done)
        tally.require(not wrong, f"with a torn end: {wrong}")
        return True
    except EventcoreError:
        tally.count()
        return False
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError) as error:
        tally.fail(f"a torn end came out as {type(error).__name__}: {error}: raise a StorageError")
    finally:
        if backend is not None:
            backend.close()


BREAKAGE_CHECKS: tuple[Check[BackendSubject], ...] = (
    Check(
        "a_failing_call_loses_nothing_acknowledged",
        "Whichever write or sync fails, that is an error, nothing acknowledged is lost, and the store goes on.",
        a_failing_call_loses_nothing_acknowledged,
    ),
    Check(
        "running_out_of_descriptors_is_an_error",
        "A store that cannot be opened for want of descriptors says so, is unharmed, and leaves none behind.",
        running_out_of_descriptors_is_an_error,
    ),
    Check(
        "a_power_cut_loses_nothing_acknowledged",
        "Of what was not synced a power cut may take anything; what was acknowledged is there, and is whole.",
        a_power_cut_loses_nothing_acknowledged,
    ),
    Check(
        "a_torn_end_is_not_taken_for_data",
        "What was half written when everything stopped is never read as data, nor hides what came before it.",
        a_torn_end_is_not_taken_for_data,
    ),
)
"""The checks of this module, in order."""
