"""The machines: sound modules and backends survive them, and what fails is a short program and a log that opens."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import settings

import eventcore as ec
from eventcore.history.backend import Backend
from eventcore.testing import BackendMachine, check_backend
from eventcore.testing.backend_machine import machine_of as machine_of_backend
from eventcore.testing.backend_processes import end_server, server_is_running
from eventcore.testing.checks import CheckFailed, ChecksFailed
from eventcore.testing.module_machine import machine_of, run_module_machine
from tests.mutants.backends import ForgetsReleases, OffByOneHead
from tests.mutants.backends_broken import PostingsInALineOfTheirOwn
from tests.mutants.journal import Journal
from tests.mutants.modules import LosesCounts, WritesTheRawValue
from tests.mutants.sound_modules import Greeter, Name
from tests.testing import soak

TestGreeter = machine_of(Greeter, Name).TestCase
TestGreeter.settings = settings(TestGreeter.settings, max_examples=15, stateful_step_count=20)


def test_sound_modules_survive_many_steps() -> None:
    assert run_module_machine(Greeter, Name, examples=8) > 80


@pytest.mark.campaign
@pytest.mark.parametrize("faulty", [LosesCounts, WritesTheRawValue])
def test_a_failing_history_is_short_and_its_log_opens(
    faulty: type[Greeter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))
    with pytest.raises(CheckFailed) as caught:
        run_module_machine(faulty, Name)
    said = str(caught.value)
    assert said.count('state.take("call') == 1
    again = run_as_a_script(program_of(said))
    assert again.returncode != 0
    assert said.splitlines()[0].partition(": ")[2] in again.stderr
    found = re.search(r"eventcore show (\S+) (\S+)", said)
    assert found is not None
    with ec.open(found[1], read_only=True) as store:
        run = store[found[2]]
        assert any(type(record.event).__name__ == "VariableDeclared" for record in run.events())
        assert run.at(run.head).variables


def program_of(said: str) -> str:
    """The program printed among other things."""
    found = re.search(r"^ *import eventcore\n.*?state\.teardown\(\)$", said, re.DOTALL | re.MULTILINE)
    assert found is not None, said
    return textwrap.dedent(found[0])


def run_as_a_script(program: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=root, timeout=60
    )


def shown(said: str, command: str) -> str:
    """What the command line prints of the case that was saved."""
    found = re.search(r"eventcore show (\S+) (\S+)", said)
    assert found is not None, said
    done = subprocess.run(
        [sys.executable, "-m", "eventcore", command, found[1], found[2]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.campaign
def test_a_failing_history_of_a_backend_is_a_program_that_fails_and_a_log_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))
    with pytest.raises(ChecksFailed) as caught:
        check_backend(ForgetsReleases, only=["random_histories"])
    said = str(caught.value)
    again = run_as_a_script(program_of(said))
    assert again.returncode != 0
    assert "the row of run 1 'a': the store says RunRow(" in again.stderr and ", the model RunRow(" in said
    assert re.search(r"failed, exercised \d{3,} times", said)
    state, log = shown(said, "show"), shown(said, "log")
    assert "should_hold" in state
    assert re.search(r"(leave|reopen)\(\)", state)
    assert "step" in log


@pytest.mark.campaign
def test_the_same_program_runs_through_where_the_backend_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))
    with pytest.raises(ChecksFailed) as caught:
        check_backend(OffByOneHead, only=["random_histories"])
    program = program_of(str(caught.value)).replace("tests.mutants.backends", "eventcore.backends.memory")
    sound = run_as_a_script(program.replace("OffByOneHead", "MemoryBackend"))
    assert sound.returncode == 0, sound.stderr


class MachineOfAFaultyBackend(BackendMachine):
    def open(self, place: str) -> Backend:
        return OffByOneHead.open("")


@pytest.mark.campaign
def test_a_test_of_a_machine_says_where_the_failing_case_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))
    test = MachineOfAFaultyBackend.TestCase
    assert test is MachineOfAFaultyBackend.TestCase
    with pytest.raises(AssertionError) as caught:
        test("runTest").runTest()
    said = "\n".join(caught.value.__notes__)
    assert "import MachineOfAFaultyBackend\n" in program_of(said)
    assert run_as_a_script(program_of(said)).returncode != 0
    assert "should_hold" in shown(said, "show")


class MachineOfAJournal(BackendMachine):
    def open(self, place: str) -> Backend:
        return Journal.open(place)


def test_other_processes_open_a_store_as_the_machine_does_and_one_that_shuts_them_out_is_closed_for_them() -> (
    None
):
    state = MachineOfAJournal()
    state.begin()
    state.take("create", name="a", meta=b"", writer="w1")
    state.take("another_process_creates_and_claims", name="b", choice=0, writer="w4", off=0)
    state.take("another_process_appends", choice=0, sizes=[2, 3], payload=b"x", head_off=0, epoch_off=0)
    state.take("another_process_appends", choice=0, sizes=[1], payload=b"x", head_off=0, epoch_off=-1)
    state.take("a_process_is_killed", choice=1, whole=2, sizes=[4], payload=b"y", calls=1)
    state.take("a_process_is_killed", choice=1, whole=0, sizes=[4], payload=b"y", calls=0)
    heads = {run.name: run.head for run in state.model.values()}
    state.teardown()
    end_server()
    assert (state.alone, state.shuts_out, state.fates) == ("", True, [2, 1])
    assert heads == {"a": 6, "b": 12}
    assert not server_is_running()


def test_what_no_other_process_can_open_says_so() -> None:
    class Local(BackendMachine):
        def open(self, place: str) -> Backend:
            return Journal.open(place)

    state = Local()
    state.begin()
    state.teardown()
    assert "Local" in str(state.alone)
    assert not state.others_left


@pytest.mark.campaign
def test_a_history_in_which_a_process_is_killed_is_a_program_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))
    with pytest.raises(ChecksFailed) as caught:
        check_backend(PostingsInALineOfTheirOwn, only=["random_histories"])
    said = str(caught.value)
    assert 'state.take("a_process_is_killed"' in program_of(said)
    assert "AssertionError" in run_as_a_script(program_of(said)).stderr
    assert "should_hold" in shown(said, "show")


def test_what_cannot_be_imported_is_named_in_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))

    held = object()

    def local(place: str) -> str:
        assert held
        return f"memory:{place}"

    machine = machine_of_backend(local)
    state = machine()
    state.begin()
    state.teardown()
    assert "# define url_factory here: " in machine.case()


@pytest.mark.campaign
def test_all_backends_in_lockstep_differ_nowhere() -> None:
    steps, _ = soak.soak(300)
    assert steps >= 300
