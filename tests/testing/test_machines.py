"""The machines: sound modules and backends survive them, and what fails is a short program and a log that opens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import eventcore as ec
from eventcore.testing.checks import CheckFailed
from eventcore.testing.module_machine import machine_of, run_module_machine
from tests.mutants.modules import LosesCounts, WritesTheRawValue
from tests.mutants.sound_modules import Greeter, Name
from tests.testing import soak

TestGreeter = machine_of(Greeter, Name).TestCase


def test_sound_modules_survive_many_steps() -> None:
    assert run_module_machine(Greeter, Name, examples=8) > 80


@pytest.mark.parametrize("faulty", [LosesCounts, WritesTheRawValue])
def test_a_failing_history_is_short_and_its_log_opens(
    faulty: type[Greeter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_CASES", str(tmp_path / "cases"))
    with pytest.raises(CheckFailed) as caught:
        run_module_machine(faulty, Name)
    said = str(caught.value)
    assert said.count("state.call") == 1
    found = re.search(r"eventcore show (\S+) (\S+)", said)
    assert found is not None
    with ec.open(found[1], read_only=True) as store:
        run = store[found[2]]
        assert any(type(record.event).__name__ == "VariableDeclared" for record in run.events())
        assert run.at(run.head).variables


@pytest.mark.campaign
def test_all_backends_in_lockstep_differ_nowhere() -> None:
    steps, _ = soak.soak(300)
    assert steps >= 300
