"""The guide's program prints what the guide says it prints, and keeps its promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import eventcore as ec
from eventcore.examples import personalize
from tests.structure.source import ROOT

EXPECTED = """\
============================================================
Trainable variables collected by the program
============================================================
- persona_personalize: fields = ['examples', 'current_predictions', 'predictions', 'seed_candidates', 'candidates', \
'best_candidates', 'history', 'nb_visit', 'cumulative_reward', 'persona']
Non-trainable variables (runtime state, not optimized):
- stats_personalize: fields = ['count']
============================================================
Running the program with the initial persona
============================================================
output: [A pirate who shouts.] hello Ada
============================================================
Simulating an optimizer step: assign() a new persona
============================================================
new persona: A precise, formal academic.
output: [A precise, formal academic.] hello Ada
============================================================
Non-trainable state: the call counter
============================================================
stats_personalize: count = 2
"""


def test_the_program_prints_what_the_guide_prints_byte_for_byte(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eventcore.examples.personalize"], cwd=tmp_path, capture_output=True,
        env={"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.stderr == b""
    assert done.stdout == EXPECTED.encode()
    assert list(tmp_path.iterdir()) == [], "without an opened store nothing is written anywhere"


def test_every_read_and_write_of_the_program_is_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    with ec.open("memory:every-read-and-write") as store, store.run("guide") as run:
        ec.wait(personalize.main())
        assert capsys.readouterr().out == EXPECTED
        updates = [event.payload for _, event in run.events(kind="VariableUpdated")]  # type: ignore[attr-defined]
        reads = [event.field for _, event in run.events(kind="FieldRead")]  # type: ignore[attr-defined]
    assert updates == [{"count": 1}, {"persona": personalize.ACADEMIC}, {"count": 2}]
    assert reads == ["count", "persona", "persona", "count", "persona", "count"]


def test_a_call_in_training_leaves_a_prediction_to_be_rewarded() -> None:
    with ec.open("memory:prediction") as store, store.run("guide") as run:
        program = ec.wait(personalize.build())
        ec.wait(program(personalize.Name(name="Ada"), training=True))
        (record,) = run.state.variables["persona_personalize"]["current_predictions"]
    assert record == {
        "inputs": {"name": "Ada"},
        "outputs": {"greeting": "[A pirate who shouts.] hello Ada"},
        "reward": None,
    }


def test_the_module_is_rebuilt_from_its_config() -> None:
    with ec.open("memory:config") as store:
        with store.run("one"):
            config = personalize.Personalize(persona="A poet.", name="personalize").get_config()
        with store.run("two"):
            module = personalize.Personalize.from_config(config)
            assert module.get_variable(name="persona_personalize").get("persona") == "A poet."


def test_an_inactive_branch_gives_nothing_and_is_not_counted() -> None:
    with ec.open("memory:inactive") as store, store.run("guide") as run:
        module = personalize.Personalize(name="personalize")
        assert ec.wait(module(None)) is None
        assert run.state.variables["stats_personalize"] == {"count": 0}
