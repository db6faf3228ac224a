"""Machines that somebody adds rules to: their failing histories are programs that fail again, whatever was added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

import eventcore
from eventcore.errors import InvalidValue
from eventcore.history.backend import Backend
from eventcore.testing import BackendMachine, ModuleMachine, ModuleSubject
from eventcore.testing.cases import imported
from eventcore.testing.module_machine import machine_of
from tests.mutants.journal import Journal
from tests.mutants.sound_modules import Greeter, Name
from tests.testing.test_machines import program_of, run_as_a_script, shown

FEW = settings(max_examples=30, stateful_step_count=8, deadline=None)
"""What somebody writes who knows hypothesis, and not what the machines need of it."""


@pytest.fixture(autouse=True)
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))


class Pushed(ModuleMachine):
    subject = ModuleSubject(Greeter, Name)

    @rule(strength=st.integers(0, 30))
    def push(self, strength: int) -> None:
        assert strength < 7, "pushed too hard"


class SaysLittle(ModuleMachine):
    subject = ModuleSubject(Greeter, [Name(name="Ada", words=[]), Name(name="Bob", words=[])])

    @invariant()
    def it_was_not_called(self) -> None:
        assert not any(rule == "call" for rule, _ in self.taken), "it was called"


class PushedJournal(BackendMachine):
    def open(self, place: str) -> Backend:
        return Journal.open(place)

    @precondition(lambda self: self.model)
    @rule(strength=st.integers(0, 30))
    def push(self, strength: int) -> None:
        assert strength < 7, "pushed too hard"


class Watched(ModuleMachine):
    subject = ModuleSubject(Greeter, Name)


class Rewritten(ModuleMachine):
    subject = ModuleSubject(Greeter, Name)
    alone = False

    @rule(persona=st.sampled_from(["curt", "friendly", "loud"]))
    def become(self, persona: str) -> None:
        def work(program: Any) -> None:
            program.get_variable("persona").update({"persona": persona})

        if self.alone:
            work(self.bench.module)
        else:
            self.both(work)
            assert self.twin.module.get_variable("persona").get_json()["persona"] == persona


class RewrittenAlone(Rewritten):
    alone = True


def failure_of(machine: Any) -> str:
    """What the test of a machine says besides the error."""
    machine.TestCase.settings = FEW
    with pytest.raises(AssertionError) as caught:
        machine.TestCase("runTest").runTest()
    return "\n".join(caught.value.__notes__)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("machine", [Pushed, PushedJournal])
def test_a_rule_of_ones_own_is_in_the_program(machine: Any) -> None:
    said = failure_of(machine)
    program = program_of(said)
    assert f"from {__name__} import {machine.__name__}\n" in program
    assert 'state.take("push", strength=7)' in program
    assert "AssertionError: pushed too hard" in run_as_a_script(program).stderr
    assert "push(strength=7)" in shown(said, "show") or machine is Pushed


@pytest.mark.slow
@pytest.mark.campaign
def test_an_invariant_of_ones_own_holds_in_the_program_too() -> None:
    program = program_of(failure_of(SaysLittle))
    assert "AssertionError: it was called" in run_as_a_script(program).stderr


def test_settings_of_ones_own_do_not_keep_a_sound_module_from_passing() -> None:
    Watched.TestCase.settings = settings(FEW, max_examples=10)
    Watched.TestCase("runTest").runTest()
    assert Watched.steps > 20


def test_a_rule_of_ones_own_that_writes_does_so_to_the_twin_as_well() -> None:
    Rewritten.TestCase.settings = settings(FEW, max_examples=20)
    Rewritten.TestCase("runTest").runTest()
    with pytest.raises(AssertionError, match=r"one's own changes both by `self\.both`"):
        becomes_curt(RewrittenAlone)
    becomes_curt(Rewritten)


def becomes_curt(machine: type[Rewritten]) -> None:
    state = machine()
    state.begin()
    try:
        state.take("become", persona="curt")
        state.take("restart")
    finally:
        state.teardown()


def test_a_machine_of_what_is_no_backend_says_what_to_return() -> None:
    opened = type("Opened", (BackendMachine,), {"open": lambda self, place: eventcore.open("memory:")})
    machine = opened()
    with pytest.raises(InvalidValue, match=r"cannot run Opened: its `open` returned Store\('memory:'\)"):
        machine.begin()
    machine.teardown()


@pytest.mark.parametrize("subject", [None, Greeter])
def test_a_machine_without_a_subject_says_what_to_write(subject: Any) -> None:
    machine = type("Bare", (ModuleMachine,), {} if subject is None else {"subject": subject})
    with pytest.raises(InvalidValue, match=r"cannot run Bare: .* write `subject = ModuleSubject\("):
        machine()


def test_a_lambda_and_inputs_that_were_made_stand_in_the_program() -> None:
    machine = machine_of(lambda: Greeter(), [Name(name="Ada", words=[])])
    state = machine()
    state.begin()
    state.teardown()
    program = machine.case().split("\n\n")[0]
    assert "factory = found_at(" in program and "inputs = examples_from(" in program
    done = run_as_a_script(
        program.replace(
            "    state.begin()", "    state.begin()\n    state.take('call', place=0, training=True)"
        )
    )
    assert done.returncode == 0, done.stderr


def test_what_no_program_can_find_is_named_with_the_reason() -> None:
    held = object()
    lines, name = imported(lambda: held, "factory")
    assert name == "factory"
    assert lines[0].startswith("# define factory here: ") and "cannot be told to another process" in lines[0]


@pytest.mark.parametrize("machine", [Watched, PushedJournal])
def test_a_case_that_cannot_be_saved_is_printed_with_the_way_out(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "file" / "cases"))
    state = machine()
    state.begin()
    state.teardown()
    said = machine.case()
    assert "state.begin()" in said
    assert "NotADirectoryError" in said and "set $EVENTCORE_CASES to a folder that can be written" in said
