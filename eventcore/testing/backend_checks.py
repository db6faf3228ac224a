"""`check_backend`: the whole contract of storage, checked in one line.

    ec.testing.check_backend(lambda place: f"mine:{place}")

Every test of the conformance suite is one check, and beside them stand random histories against a model of plain
dicts, processes that are killed, processes that race, a disk that is full, and system calls that are counted. What
a backend cannot do (outlive its process, open twice) is found out and left out by name.
"""

from __future__ import annotations

import inspect
import random
import shutil
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import seed, settings
from hypothesis.internal.conjecture import engine
from hypothesis.reporting import with_reporter
from hypothesis.stateful import run_state_machine_as_test

from eventcore.backends.wrappers import Faulty
from eventcore.errors import EventcoreError
from eventcore.history.backend import Backend
from eventcore.testing.backend_base import ALL, block
from eventcore.testing.backend_breakage import BREAKAGE_CHECKS
from eventcore.testing.backend_child import command, start
from eventcore.testing.backend_machine import BackendMachine, machine_of
from eventcore.testing.backend_processes import end_server
from eventcore.testing.backend_subject import PATIENCE, BackendSubject, UrlFactory, abilities, folder
from eventcore.testing.backends import BackendConformance
from eventcore.testing.checks import (
    LIMIT,
    BoundCheck,
    Check,
    CheckFailed,
    DoesNotApply,
    Expected,
    Report,
    Tally,
    Way,
    bound,
    run_checks,
)
from eventcore.testing.profiles import ANY_HEALTH

SHORTENING = 15
"""Seconds in which a failing history is made shorter."""

# --- the conformance suite, test by test -----------------------------------------------------------


def _suite(subject: BackendSubject, opened: list[Faulty]) -> BackendConformance:
    suite = BackendConformance()

    def open_counted(place: str, **options: Any) -> Backend:
        backend = Faulty(subject.open(place, **options))
        opened.append(backend)
        return backend

    suite.open = open_counted  # type: ignore[method-assign]
    suite.can_open_read_only, suite.can_open_twice = abilities(subject)
    return suite


def _conformance(name: str) -> Callable[[BackendSubject, Tally], None]:
    def run(subject: BackendSubject, tally: Tally) -> None:
        opened: list[Faulty] = []
        suite = _suite(subject, opened)
        test = getattr(suite, name)
        with folder() as path:
            given: dict[str, Any] = {"tmp_path": path}
            try:
                if "backend" in inspect.signature(test).parameters:
                    given["backend"] = suite.open(suite.place(path))
                wanted = {
                    key: value for key, value in given.items() if key in inspect.signature(test).parameters
                }
                test(**wanted)
            except pytest.skip.Exception as reason:
                raise DoesNotApply(str(reason)) from None
            except pytest.fail.Exception as failure:
                raise CheckFailed(f"{failure} ({_line_of(failure)})") from failure
            except AssertionError as failure:
                raise CheckFailed(f"{_line_of(failure)} {failure}".strip()) from failure
            finally:
                _close_all(opened)
            tally.count(sum(sum(backend.calls.values()) for backend in opened))

    return run


def _line_of(failure: BaseException) -> str:
    """Return the line of the suite that failed."""
    frames = [frame for frame in traceback.extract_tb(failure.__traceback__) if "backend_" in frame.filename]
    return (frames[-1].line or "") if frames else ""


def _close_all(opened: list[Faulty]) -> None:
    for backend in opened:
        try:
            backend.close()
        except EventcoreError:
            pass


# --- histories and processes -----------------------------------------------------------------------


HISTORIES = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=ANY_HEALTH,
)


@contextmanager
def _shortened_quickly() -> Generator[None]:
    """Look for a shorter history for some seconds; hypothesis would for five minutes, and has no setting for that."""
    with mock.patch.object(engine, "MAX_SHRINKING_SECONDS", SHORTENING, create=True), with_reporter(_silent):
        yield


def _silent(text: object) -> None:
    """What hypothesis would print is in the report."""


def random_histories(subject: BackendSubject, tally: Tally) -> None:
    """Drive it through random histories beside a model of plain dicts."""
    opened: list[Faulty] = []

    def open_counted(self: BackendMachine, place: str) -> Backend:
        opened.append(Faulty(subject.open(place)))
        return opened[-1]

    found = machine_of(subject.factory)
    machine: type[BackendMachine] = type(found.__name__, (found,), {"open": open_counted})

    try:
        with _shortened_quickly():
            run_state_machine_as_test(seed(subject.number)(machine), settings=HISTORIES)
    except Exception as failure:
        first = failure.exceptions[0] if isinstance(failure, ExceptionGroup) else failure
        said = str(first) if isinstance(first, AssertionError) else f"{type(first).__name__}: {first}"
        raise CheckFailed(f"{said or _line_of(first)}\n{machine.case()}") from failure
    finally:
        _close_all(opened)
        end_server()
        tally.count(sum(sum(backend.calls.values()) for backend in opened))
    if machine.alone:
        tally.note(f"no other process took part: {machine.alone}")


def a_kill_loses_nothing_acknowledged(subject: BackendSubject, tally: Tally) -> None:
    """Kill writing processes, and look for what they said was acknowledged."""
    rng = random.Random(subject.number)
    with folder() as path:
        place = str(path / "store")
        opener = subject.opener(place)
        acknowledged = 0
        for _ in range(3):
            child = start({"action": "write", "opener": opener})
            assert child.stdout is not None
            wanted = acknowledged + rng.randint(3, 40)
            for line in child.stdout:
                if line.startswith("acknowledged"):
                    acknowledged = int(line.split()[1])
                    if acknowledged >= wanted:
                        break
            child.send_signal(signal.SIGKILL)
            rest, errors = child.communicate(timeout=PATIENCE)
            told = [int(line.split()[1]) for line in rest.splitlines() if line.startswith("acknowledged ")]
            acknowledged = max([acknowledged, *told])
            if not acknowledged:
                tally.fail(f"the writing process acknowledged nothing:\n{errors}")
            _judge_blocks(subject, place, acknowledged, tally)


def _judge_blocks(
    subject: BackendSubject, place: str, acknowledged: int, tally: Tally, further: bool = False
) -> None:
    """Hold the store against what was acknowledged: every block there, whole, in order, nothing between.

    Args:
        subject: What is checked.
        place: Where the store is.
        acknowledged: How many blocks there must be.
        tally: Counts.
        further: Each block was appended with a snapshot and a posting, which share its fate.
    """
    backend = subject.open(place)
    try:
        row = backend.run("main")
        tally.require(row is not None, "the run itself is gone")
        assert row is not None
        found = list(backend.blocks(row.id, 1, ALL))
        tally.require(
            len(found) >= acknowledged and row.head >= acknowledged,
            f"{acknowledged} blocks were acknowledged; {len(found)} are there, and the head is {row.head}",
        )
        for seq, mine in enumerate(found, start=1):
            size = 60_000 if len(mine.data) == 60_000 else 10 + seq * 37 % 5000
            tally.require(mine == block(seq, seq, size), f"block {seq} is not what was appended")
        if further:
            seqs = [block.first_seq for block in found]
            postings = [chunk.last_seq for chunk in backend.postings(row.id, 1)]
            tally.require(
                backend.snapshot_seqs(row.id) == postings == seqs,
                "of what was appended in one call some is there and some is not",
            )
        problems = list(backend.problems())
        tally.require(not problems, f"the store says it is damaged: {problems[:1]}")
    finally:
        backend.close()


def of_two_processes_one_wins(subject: BackendSubject, tally: Tally) -> None:
    """Let two processes append to one run at the same time."""
    with folder() as path:
        place = str(path / "store")
        opener = subject.opener(place)
        if not abilities(subject)[1]:
            raise DoesNotApply("the backend cannot be opened twice")
        backend = subject.open(place)
        backend.create_run("main")
        backend.close()
        count = 40
        children = [
            start({"action": "race", "opener": opener, "count": count, "size": size}) for size in (20, 21)
        ]
        told = _race(children)
        won = [{int(line.split()[1]) for line in lines if line.startswith("won")} for lines in told]
        tally.require(
            not won[0] & won[1], f"both processes were told that they appended {sorted(won[0] & won[1])[:3]}"
        )
        tally.require(won[0] | won[1] == set(range(1, count + 1)), "some seq was won by neither process")
        backend = subject.open(place)
        row = backend.run("main")
        assert row is not None
        for each in backend.blocks(row.id, 1, ALL):
            size = 20 if each.first_seq in won[0] else 21
            tally.require(
                each == block(each.first_seq, each.first_seq, size), f"block {each.first_seq} is the loser's"
            )
        tally.require(row.head == count, f"{count} blocks were appended, and the head is {row.head}")
        backend.close()


def _race(children: list[subprocess.Popen[str]]) -> list[list[str]]:
    for child in children:
        assert child.stdout is not None
        line = child.stdout.readline()
        if line.startswith("busy"):
            for other in children:
                other.kill()
                other.communicate()
            raise DoesNotApply(f"a second process is refused: {line.partition(' ')[2].strip()}")

    def give_up() -> None:
        for child in children:
            child.kill()

    timer = threading.Timer(PATIENCE, give_up)
    timer.start()
    try:
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        found = [child.communicate() for child in children]
    finally:
        timer.cancel()
    for output, errors in found:
        if not output.endswith("done\n"):
            raise CheckFailed(f"a racing process did not come to its end:\n{errors or output[-500:]}")
    return [output.splitlines() for output, _ in found]


def a_full_disk_loses_nothing_acknowledged(subject: BackendSubject, tally: Tally) -> None:
    """Forbid files to grow, append until that is noticed, and look for what was acknowledged."""
    with folder() as path:
        place = str(path / "store")
        child = start({"action": "fill", "opener": subject.opener(place), "limit": 3_000_000, "count": 400})
        output, errors = child.communicate(timeout=PATIENCE)
        lines = output.splitlines()
        acknowledged = sum(line.startswith("acknowledged") for line in lines)
        failed = next((line for line in lines if line.startswith("failed")), None)
        if failed is None:
            tally.require(
                acknowledged == 400,
                f"the process died where no file may grow:\n{errors[-800:] or output[-300:]}",
            )
            tally.fail("400 blocks of 60 KB were acknowledged while no file may be larger than 3 MB")
        tally.require(
            "StorageError" in failed,
            f"a full disk was reported as {failed.partition(' ')[2]}: raise a StorageError",
        )
        later = [int(line.split()[1]) for line in lines if line.startswith("later")]
        tally.require(
            len(later) == 3,
            f"when there was room again it did not go on: {lines[-1].removeprefix('stuck ')}\n{errors[-800:]}",
        )
        _judge_blocks(subject, place, later[-1], tally, further=True)
        tally.require(
            acknowledged <= later[0] - 1 <= acknowledged + 1,
            f"{acknowledged} blocks were acknowledged; when there was room again {later[0] - 1} were there",
        )


def acknowledged_means_synced(subject: BackendSubject, tally: Tally) -> None:
    """Count the system calls that make appends durable."""
    if shutil.which("strace") is None:
        raise DoesNotApply("strace is not installed, so system calls cannot be counted")
    counts: list[int] = []
    for appends in (2, 12):
        with folder() as path:
            opener = subject.opener(str(path / "store"))
            trace = path / "trace"
            done = subprocess.run(
                ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync,syncfs", "-o", str(trace),
                 *command({"action": "write", "opener": opener, "count": appends})],
                capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            if done.returncode or not trace.exists():
                raise DoesNotApply(f"the process could not be traced: {done.stderr[-300:]}")
            counts.append(sum("sync(" in line for line in trace.read_text().splitlines()))
    more = counts[1] - counts[0]
    tally.require(
        more >= 10, f"10 more appends were acknowledged with {more} more calls of fsync or its like"
    )


def _sentence(name: str) -> str:
    text = name.removeprefix("test_").replace("_", " ")
    return text[0].upper() + text[1:] + "."


def _conformance_checks() -> list[Check[BackendSubject]]:
    names = [name for name in dir(BackendConformance) if name.startswith("test_")]
    return [Check(name.removeprefix("test_"), _sentence(name), _conformance(name)) for name in names]


BACKEND_CHECKS: tuple[Check[BackendSubject], ...] = (
    *_conformance_checks(),
    Check(
        "random_histories",
        "Whatever is done in whatever order, the store holds what a few dicts would.",
        random_histories,
    ),
    Check(
        "a_kill_loses_nothing_acknowledged",
        "What an append acknowledged is there after the process was killed, whole and in order.",
        a_kill_loses_nothing_acknowledged,
    ),
    Check(
        "of_two_processes_one_wins",
        "Of two processes that append to one run, exactly one succeeds at each seq and the other is told.",
        of_two_processes_one_wins,
    ),
    Check(
        "a_full_disk_loses_nothing_acknowledged",
        "A disk that is full is an error, everything acknowledged before is there, and with room again it goes on.",
        a_full_disk_loses_nothing_acknowledged,
    ),
    Check(
        "acknowledged_means_synced",
        "An append returns after the operating system was told to write it to the disk.",
        acknowledged_means_synced,
    ),
    *BREAKAGE_CHECKS,
)
"""Every check of backends, in order."""


def check_backend(
    url_factory: UrlFactory,
    expected_failed_checks: Expected = None,
    *,
    only: Collection[str] | None = None,
    seed: int = 0,
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> Report:
    """Check a storage backend.

    Args:
        url_factory: f(place) -> the URL of a store at a path where nothing is yet; or the backend's class.
        expected_failed_checks: Names of checks that are known to fail, best with the reason: `{name: reason}`.
        only: Run only these checks.
        seed: Decides the random histories, and when processes are killed.
        limit: Seconds each check may take; None for no limit.
        isolated: Each check in a process of its own; as in `check_module`.

    Returns:
        What every check found; printing it gives a table.

    Raises:
        ChecksFailed: Something is wrong (an AssertionError whose message is the report).
        InvalidValue: A check of that name does not exist.
    """
    subject = BackendSubject(url_factory, seed)
    way = Way("check_backend", limit, isolated)
    return run_checks(f"backend {subject.name}", BACKEND_CHECKS, subject, expected_failed_checks, only, way)


def backend_checks_of(
    url_factory: UrlFactory,
    expected_failed_checks: Expected = None,
    *,
    seed: int = 0,
    limit: float | None = LIMIT,
    isolated: bool = True,
) -> list[BoundCheck[BackendSubject]]:
    """Return the checks one by one, for `parametrize_with_checks`; arguments as in `check_backend`."""
    way = Way("check_backend", limit, isolated)
    return bound(BACKEND_CHECKS, BackendSubject(url_factory, seed), expected_failed_checks, way)
