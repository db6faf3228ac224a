"""The machine of modules sees what a module keeps outside its variables, and lets sound modules pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.testing import run_module_machine
from eventcore.testing.checks import CheckFailed
from eventcore.testing.module_machine import machine_of
from tests.mutants.modules_replayed import OnlyInEarnest, Stamped
from tests.mutants.sound_modules import Greeter, Mirror, Name, Outer, chain_of_thought
from tests.testing.test_module_inputs import Both, program_of_two


@pytest.fixture(autouse=True)
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))


class CountsCalls(Greeter):
    """Counts in an attribute, and says nothing of it."""

    calls = 0

    def words(self, inputs: Any) -> str:
        """Count."""
        self.calls += 1
        return super().words(inputs)


class HoldsTheLast(Greeter):
    """Holds the last question where no attribute shows it, and answers with it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        last = [""]

        def exchanged(name: str) -> str:
            last[0], before = name, last[0]
            return before

        self.exchanged = exchanged

    def words(self, inputs: Any) -> str:
        """With the last one."""
        return f"{super().words(inputs)} after {self.exchanged(inputs.get('name'))}"


class Draws(Greeter):
    """Draws from the run's own random numbers."""

    def words(self, inputs: Any) -> str:
        """With a number."""
        return f"{super().words(inputs)} {ec.random('words').randrange(1000)}"


@pytest.mark.parametrize(
    "sound", [Greeter, Outer, Mirror, Stamped, Draws, Both, program_of_two, chain_of_thought]
)
def test_sound_modules_go_on_after_they_are_made_again(sound: Callable[[], Any]) -> None:
    inputs = None if sound in (Both, program_of_two) else Name
    assert run_module_machine(sound, inputs, examples=6) > 60


def machine(factory: Callable[[], Any] = Greeter) -> Any:
    made = machine_of(factory, Name)()
    made.begin()
    return made


@pytest.mark.parametrize(
    ("faulty", "away", "said"),
    [
        (CountsCalls, "call", "a call changed the attribute counts_calls.calls, 2 to 3: it is lost"),
        (HoldsTheLast, "go_on_in_a_fork", "answered .*, and its twin"),
        (HoldsTheLast, "save_and_load", "answered .*, and its twin"),
        (OnlyInEarnest, "restart", "started again, the same steps end before seq"),
    ],
)
def test_hidden_state_is_found(faulty: Callable[[], Any], away: str, said: str) -> None:
    state = machine(faulty)
    state.take("call", place=1, training=False)
    with pytest.raises(AssertionError, match=said):
        arguments: dict[str, dict[str, Any]] = {
            "save_and_load": {"suffix": ".json"},
            "call": {"place": 0, "training": False},
        }
        state.take(away, **arguments.get(away, {}))
        state.take("call", place=0, training=False)
    state.teardown()


@pytest.mark.campaign
@pytest.mark.parametrize("faulty", [CountsCalls, HoldsTheLast])
def test_the_machine_finds_hidden_state_by_itself(faulty: Callable[[], Any]) -> None:
    with pytest.raises(CheckFailed, match=r"a call changed the attribute|and its twin"):
        run_module_machine(faulty, Name, examples=100, steps=12)


@pytest.mark.parametrize("away", ["restart", "go_on_in_a_fork", "save_and_load"])
def test_the_module_is_another_one_afterwards_with_the_same_values(away: str) -> None:
    state = machine()
    state.take("call", place=0, training=True)
    state.take("rewrite", number=3)
    state.take("freeze", frozen=True)
    before, values = state.bench.module, [variable.get_json() for variable in state.bench.module.variables]
    state.take(away, **({"suffix": ".json"} if away == "save_and_load" else {}))
    assert state.bench.module is not before
    assert [variable.get_json() for variable in state.bench.module.variables] == values
    assert not state.bench.module.trainable
    state.take("call", place=1, training=True)
    state.teardown()


def test_after_it_was_loaded_it_can_be_started_again() -> None:
    state = machine()
    state.take("call", place=0, training=True)
    state.take("save_and_load", suffix=".lmdb")
    state.take("call_at_once", place=0, count=3, order=2)
    state.take("restart")
    state.take("call", place=0, training=True)
    state.take("go_on_in_a_fork")
    assert not state.life.repeatable
    state.teardown()


def test_what_a_machine_cannot_use_is_said_before_it_runs() -> None:
    with pytest.raises(InvalidValue, match="pass what makes one"):
        machine_of(Greeter(), Name)
