"""What is done in a process of its own leaves nothing behind, whatever becomes of that process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventcore import effect
from eventcore.errors import InvalidValue, NotFound
from eventcore.testing.cassettes import cassette
from eventcore.testing.checks import Check, ChecksFailed, Tally, Way, run_checks
from eventcore.testing.elsewhere import told_elsewhere
from eventcore.testing.isolation import IN_PROCESS, can_isolate, in_a_fork, told_in_a_fork
from tests.testing.found_elsewhere import tell_result

pytestmark = pytest.mark.skipif(
    not can_isolate(), reason="this system cannot fork a process that has threads"
)

WARM: list[int] = []


def warm() -> int:
    WARM.append(1)
    return len(WARM)


def raising(error: BaseException) -> Callable[[], Any]:
    def work() -> None:
        raise error

    return work


def for_ever() -> None:
    threading.Event().wait()


def test_what_was_left_behind_is_not_seen_by_the_next() -> None:
    assert [in_a_fork(warm), in_a_fork(warm)] == [1, 1]
    assert WARM == []


def test_an_exception_of_one_message_comes_back_as_it_was() -> None:
    with pytest.raises(InvalidValue, match=r"^no$"):
        in_a_fork(raising(InvalidValue("no")))
    with pytest.raises(AssertionError, match="UnicodeDecodeError"):
        in_a_fork(lambda: b"\xff".decode())
    with pytest.raises(NotFound, match="there"):
        in_a_fork(raising(NotFound("not there")))


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: os._exit(4), "exit code 4"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
    ],
)
def test_a_process_that_ends_without_a_word_is_told_of(work: Callable[[], Any], said: str) -> None:
    told = told_in_a_fork(work)
    assert told.raised == "builtins.SystemExit"
    assert said in told.message


def test_a_process_that_hangs_is_ended_and_says_where() -> None:
    told = told_in_a_fork(for_ever, limit=0.3)
    assert told.raised == "builtins.TimeoutError"
    assert told.message == "it had not ended after 0.3 seconds"
    assert "in for_ever" in told.details


def test_nothing_it_has_started_outlives_it() -> None:
    def starts() -> int:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid

    started = in_a_fork(starts)
    wait_for(lambda: has_ended(started))


def test_one_may_stand_in_another() -> None:
    assert in_a_fork(lambda: in_a_fork(lambda: os.getppid()) == os.getpid())


def test_a_debugger_may_have_it_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IN_PROCESS, "1")
    assert in_a_fork(os.getpid) == os.getpid()


# --- checks ----------------------------------------------------------------------------------------


def hangs(subject: object, tally: Tally) -> None:
    for_ever()


def exits(subject: object, tally: Tally) -> None:
    raise SystemExit(3)


def cold(subject: object, tally: Tally) -> None:
    tally.require(warm() == 1, "somebody was here before")


def test_checks_do_not_see_what_others_left_behind() -> None:
    checks = [Check("first", "Alone.", cold), Check("second", "Alone.", cold)]
    assert run_checks("two", checks, None).ok
    with pytest.raises(ChecksFailed) as together:
        run_checks("two", checks, None, way=Way(isolated=False))
    assert together.value.report.failed == ["second"]
    WARM.clear()


def test_a_check_that_hangs_or_ends_the_process_fails_and_the_others_go_on() -> None:
    checks = [Check("hangs", "Ends.", hangs), Check("exits", "Ends.", exits), Check("cold", "Alone.", cold)]
    with pytest.raises(ChecksFailed) as caught:
        run_checks("three", checks, None, way=Way("check_it", limit=0.3))
    report = caught.value.report
    assert report.failed == ["hangs", "exits"]
    assert "test_isolation.py" in report["hangs"].where and "in for_ever" in report["hangs"].where
    assert "it ended the process with 3" in report["exits"].message
    assert 'ec.testing.check_it(…, …, only=["hangs"], seed=0)' in str(report)


def calls_a_model(subject: object, tally: Tally) -> None:
    tally.require(asked("who?") == "WHO?", "it was not answered")


@effect(name="asked")
def asked(question: str) -> str:
    return question.upper()


def test_a_cassette_hears_of_the_calls_of_checks(tmp_path: Path) -> None:
    checks = [Check("calls", "Calls.", calls_a_model)]
    for recorded in (1, 0):
        with cassette(tmp_path / "it.sqlite", "once") as playing:
            assert run_checks("a call", checks, None).ok
        assert (playing.recorded, playing.played) == (recorded, 1 - recorded)


def asks_elsewhere(subject: object, tally: Tally) -> None:
    tally.require(told_elsewhere(tell_result, {}, 0) is None, "it was asked")


def test_processes_a_cassette_does_not_reach_make_no_calls(tmp_path: Path) -> None:
    with cassette(tmp_path / "it.sqlite", "once"):
        report = run_checks("a call", [Check("calls", "Calls.", asks_elsewhere)], None)
    assert report["calls"].status == "not applicable"
    assert "a cassette answers the calls of this process, and of no other" in report["calls"].message


HANGS = """
import os, sys, threading
from eventcore.testing.elsewhere import told_elsewhere
from eventcore.testing.isolation import in_a_fork
from tests.testing.found_elsewhere import tell_for_ever

in_a_fork(lambda: told_elsewhere(tell_for_ever, {"pids": sys.argv[1]}, 0))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_processes_end_with_the_one_that_was_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    paths = os.pathsep.join(path for path in sys.path if path)
    parent = subprocess.Popen(
        [sys.executable, "-c", HANGS, str(pids)], env={**os.environ, "PYTHONPATH": paths}
    )
    wait_for(lambda: pids.exists() and pids.read_text().endswith("\n"))
    parent.kill()
    parent.wait()
    wait_for(lambda: all(map(has_ended, pids.read_text().split())))


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(4000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come to that in 20 seconds")


def has_ended(pid: object) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Unusable:
    """A subject that cannot be checked."""

    def prepare(self) -> None:
        raise InvalidValue("cannot check this: pass that")


def test_what_cannot_be_checked_at_all_is_said_once() -> None:
    with pytest.raises(InvalidValue, match=r"^cannot check this: pass that$"):
        run_checks("nothing", [Check("cold", "Alone.", cold)], Unusable())


def broken(subject: object, tally: Tally) -> None:
    raise ValueError("the same")


def test_what_several_checks_stumble_over_is_printed_once() -> None:
    with pytest.raises(ChecksFailed) as caught:
        run_checks("two", [Check("one", "One.", broken), Check("two", "Two.", broken)], None)
    assert str(caught.value).count("ValueError: the same") == 1
    assert "as one" in str(caught.value)
