"""What is done in the process in which something breaks: calls fail, descriptors run out, the power is cut.

Started by `backend_breakage` through `backend_child`. It says one line of JSON for each thing it tried: what was
`wrong`, "" for nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventcore.errors import StorageError
from eventcore.history.backend import Backend
from eventcore.testing.backend_script import Contents, Step, judge, script
from eventcore.testing.interposed import Faults, mark
from eventcore.testing.powercut_disk import Call, Disk, Kind, read_trace

Opener = dict[str, Any]
Open = Callable[[Opener], Backend]
SHORT = 0
"""In place of an errno: a write that falls short."""


def tell(**said: Any) -> None:
    """Say what was tried and what was wrong."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _closed(backend: Backend | None) -> None:
    if backend is not None:
        with contextlib.suppress(Exception):
            backend.close()


# --- calls that fail ---------------------------------------------------------------------------------


def endure(task: dict[str, Any], open_store: Open) -> None:
    """Carry out a script once for each failure: one call of it fails, and what was acknowledged stays."""
    steps, states = script(task["number"], task["count"])
    faults, openers = Faults(), list(task["openers"])
    faults.plan(0, 0)
    wrong = _through(openers.pop(), steps, states, open_store, faults)
    calls = faults.calls
    tell(wrong=wrong, failed=0, calls=calls)
    if wrong or not calls:
        return
    places = random.Random(task["number"]).sample(range(len(openers)), len(openers))
    began = time.monotonic()
    for tried, (place, opener) in enumerate(zip(places, openers, strict=True)):
        if tried >= task["least"] and time.monotonic() - began > task["seconds"]:
            return
        code = (errno.EIO, errno.ENOSPC, SHORT)[tried % 3]
        faults.plan(1 + place * calls // len(openers), code)
        wrong = _through(opener, steps, states, open_store, faults)
        tell(wrong=wrong, failed=faults.failed, fault=errno.errorcode.get(code, "a write that fell short"))


def look(task: dict[str, Any], open_store: Open) -> None:
    """Open stores in which a script was carried out by another process: all of it is there."""
    _, states = script(task["number"], task["count"])
    for opener in task["openers"]:
        tell(wrong=_unharmed(opener, states, open_store))


def _through(
    opener: Opener, steps: list[Step], states: list[Contents], open_store: Open, faults: Faults | None = None
) -> str:
    """Carry out a script, opening the store again after each error; says what is wrong."""
    done = errors = 0
    while True:
        backend: Backend | None = None
        try:
            backend = open_store(opener)
            done, wrong = judge(backend, states, done)
            while not wrong and done < len(steps):
                before = faults.failed_syncs if faults is not None else 0
                steps[done].do(backend)
                done += 1
                if faults is not None and faults.failed_syncs > before:
                    wrong = "what was to be synced was acknowledged all the same"
            backend.close()
            return wrong or _again(opener, states, open_store)
        except StorageError as error:
            errors += 1
            _closed(backend)
            if errors > 3:
                return f"after one call failed it does not go on: {type(error).__name__}: {error}"
        except Exception as error:
            _closed(backend)
            return f"it came out as {type(error).__name__}: {error}: raise a StorageError"


def _again(opener: Opener, states: list[Contents], open_store: Open) -> str:
    backend = open_store(opener)
    _, wrong = judge(backend, states, len(states) - 1)
    backend.close()
    return wrong


# --- descriptors that run out -------------------------------------------------------------------------


def starve(task: dict[str, Any], open_store: Open) -> None:
    """Open a store with fewer descriptors than it takes, more each time, until it opens."""
    import resource

    steps, states = script(task["number"], task["count"])
    opener = task["opener"]
    tell(wrong=_through(opener, steps, states, open_store), refused=False)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    for free in range(40):
        wrong, refused = _opened_with(free, opener, states, open_store)
        tell(wrong=wrong or _unharmed(opener, states, open_store), refused=refused, free=free)
        if wrong or not refused:
            return


def _opened_with(free: int, opener: Opener, states: list[Contents], open_store: Open) -> tuple[str, bool]:
    """Open with some descriptors left; says what is wrong, and whether that was refused."""
    taken = _all_descriptors()
    for _ in range(min(free, len(taken))):
        os.close(taken.pop())
    backend: Backend | None = None
    try:
        backend = open_store(opener)
        return judge(backend, states, len(states) - 1)[1], False
    except StorageError:
        _closed(backend)
        left = _all_descriptors()
        taken += left
        leaked = free - len(left)
        return (f"an opening that failed leaves {leaked} descriptors open" if leaked > 0 else ""), True
    except Exception as error:
        return (
            f"with {free} descriptors left it raised {type(error).__name__}: {error}: raise a StorageError",
            True,
        )
    finally:
        for descriptor in taken:
            os.close(descriptor)
        _closed(backend)


def _all_descriptors() -> list[int]:
    taken: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    return taken


def _unharmed(opener: Opener, states: list[Contents], open_store: Open) -> str:
    try:
        return _again(opener, states, open_store)
    except Exception as error:
        return f"it does not open any more: {type(error).__name__}: {error}"


# --- power cuts -----------------------------------------------------------------------------------------


def write_recorded(task: dict[str, Any], open_store: Open) -> None:
    """Carry out a script and write into the recording how far it was acknowledged."""
    steps, _ = script(task["number"], task["count"])
    backend = open_store(task["opener"])
    for done, step in enumerate(steps, 1):
        step.do(backend)
        mark(b"%d" % done)
        if done % 7 == 0:
            backend.close()
            backend = open_store(task["opener"])
    tell(wrong="")
    os._exit(0)  # as if it were killed: nothing is closed


def cut(task: dict[str, Any], open_store: Open) -> None:
    """Cut the power at many moments of a recording, and judge the stores that are left."""
    steps, states = script(task["number"], task["count"])
    root = Path(task["root"])
    try:
        calls = read_trace(Path(task["trace"]))
        whole = Disk(root)
        for call in calls:
            whole.follow(call)
    except ValueError as error:
        tell(impossible=str(error))
        return
    if unlike := whole.unlike(root):
        tell(impossible=f"{unlike[0]} is not what the recorded calls made of it")
        return
    tell(writes=sum(call.kind is Kind.WRITE for call in calls))
    chance = random.Random(task["number"])
    moments = _moments([call.kind for call in calls], len(task["openers"]), chance)
    began, judged = time.monotonic(), 0
    for moment, (place, opener) in zip(moments, task["openers"], strict=True):
        done, taken = _cut_at(calls, moment, root, Path(place), chance)
        if not taken:
            continue  # As if it had been killed: another check.
        tell(trying=f"after {done} steps")
        tell(wrong=_left_over(opener, steps, states, done, open_store))
        judged += 1
        if judged >= task["least"] and time.monotonic() - began > task["seconds"]:
            return


def _cut_at(
    calls: list[Call], moment: int, root: Path, place: Path, chance: random.Random
) -> tuple[int, int]:
    """Leave what a power cut before a call leaves; returns the steps acknowledged by then, and what was taken."""
    disk, done = Disk(root), 0
    for call in calls[:moment]:
        disk.follow(call)
        done = int(call.data) if call.kind is Kind.MARK else done
    place.mkdir()
    return done, disk.cut(chance, place, calls[moment] if moment < len(calls) else None)


def _moments(kinds: list[Kind], count: int, chance: random.Random) -> list[int]:
    """Choose when the power is cut: after an acknowledgement, a write, a change of a name or size; whenever."""
    marks = [at for at, kind in enumerate(kinds, 1) if kind is Kind.MARK]
    writes = [at for at, kind in enumerate(kinds, 1) if kind is Kind.WRITE]
    others = [
        at for at, kind in enumerate(kinds, 1) if kind not in (Kind.MARK, Kind.WRITE, Kind.SYNC, Kind.MAPPED)
    ]
    classes = [found for found in (marks, writes, others, range(len(kinds) + 1)) if found]
    return [chance.choice(classes[place % len(classes)]) for place in range(count)]


def _left_over(opener: Opener, steps: list[Step], states: list[Contents], done: int, open_store: Open) -> str:
    """Open what a power cut left, judge it, and go on with the script by one step."""
    try:
        backend = open_store(opener)
        held, wrong = judge(backend, states, done)
        if not wrong and held < len(steps):
            steps[held].do(backend)
            held += 1
        backend.close()
        if wrong:
            return wrong
        backend = open_store(opener)
        _, wrong = judge(backend, states[: held + 1], held)
        backend.close()
        return wrong and f"gone on with afterwards: {wrong}"
    except Exception as error:
        return f"{type(error).__name__}: {error}, after {done} steps were acknowledged"


BROKEN: dict[str, Callable[[dict[str, Any], Open], None]] = {
    "endure": endure,
    "look": look,
    "starve": starve,
    "write_recorded": write_recorded,
    "cut": cut,
}
"""What may be asked of a process."""
