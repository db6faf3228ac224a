"""A program that was compiled and trained is saved whole, and goes on where it stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import eventcore as ec
from eventcore import optimizers
from eventcore.saving import get_state_tree, register_serializable
from eventcore.training import metrics, rewards
from tests.training.programs import Answer, Echo, Question, Speaker, program_of


@pytest.fixture(autouse=True)
def run() -> Iterator[Any]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("first", seed=1) as run:
        yield run


def questions(count: int) -> tuple[list[Question], list[Answer]]:
    return [Question(key=str(n)) for n in range(count)], [Answer(key=str(n % 3)) for n in range(count)]


@register_serializable()
async def near(y_true: Any, y_pred: Any, scale: float = 1.0) -> float:
    """Higher for longer words."""
    return scale * len(y_pred.get("key")) / 10


@register_serializable()
def longer(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Append a letter."""
    return {"word": (fields["word"] + rng.choice("ab"))[:9]}


def trained(kind: str) -> Any:
    made: dict[str, Any] = {
        "few-shot": lambda: optimizers.RandomFewShot(population_size=3, sampling="best", name="few"),
        "evolution": lambda: optimizers.EvolutionaryOptimizer(mutation=longer, selection="best"),
    }
    program = program_of(Echo(name="echo") if kind == "few-shot" else Speaker(name="speaker"))
    program.compile(
        reward=rewards.RewardFunctionWrapper(near, scale=2.0, in_mask=["key"]),
        optimizer=made[kind](),
        metrics=["accuracy", metrics.FBetaScore("micro", 2.0), "calls"],
    )
    fit(program)
    return program


def fit(program: Any, **options: Any) -> Any:
    x, y = questions(20)
    return ec.wait(
        program.fit(x, y, batch_size=4, epochs=2, validation_split=0.2, verbose=0, **options)
    ).history


def account(program: Any) -> dict[str, Any]:
    """All there is to it."""
    return {
        "state": get_state_tree(program),
        "values": {v.path: v.get_json() for v in [*program.variables, *program.optimizer.variables]},
        "optimizer": program.optimizer.get_config(),
        "reward": rewards.serialize(program.reward.rewards[0]),
        "metrics": [(metric.get_config(), metric.result()) for metric in program.metrics],
        "counts": (program.optimizer.iterations, program.optimizer.epochs),
    }


@pytest.mark.parametrize("kind", ["few-shot", "evolution"])
@pytest.mark.parametrize("form", ["p.json", "p.lmdb", "p.db"])
def test_a_trained_program_comes_back_whole_and_training_goes_on_as_if_it_had_never_stopped(
    kind: str, form: str, tmp_path: Path
) -> None:
    program = trained(kind)
    program.save(tmp_path / form)
    held = account(program)
    with ec.open("memory:") as store, store.run("same", seed=7):
        going_on = fit(program)
        end = account(program)["values"]
    ec.clear_session()
    with ec.open("memory:") as store, store.run("other", seed=7) as run:
        loaded: Any = ec.Program.load(tmp_path / form)
        assert account(loaded) == held
        assert fit(loaded) == going_on
        assert account(loaded)["values"] == end
        run.flush()
        assert run.at(run.head).digest == run.state.digest
        assert store.verify() == []


def test_values_alone_are_enough_for_a_program_compiled_alike(tmp_path: Path) -> None:
    program = trained("few-shot")
    program.save_variables(tmp_path / "p.variables.json")
    held = account(program)
    ec.clear_session()
    with ec.open("memory:") as store, store.run("alike", seed=1):
        alike = program_of(Echo(name="echo"))
        alike.compile(**trained_config())
        alike.load_variables(tmp_path / "p.variables.json")
        assert account(alike)["values"] == held["values"]
        assert account(alike)["counts"] == held["counts"] == (8, 2)
        fit(alike)
        assert account(alike)["counts"] == (16, 4)


def trained_config() -> dict[str, Any]:
    return {
        "reward": rewards.RewardFunctionWrapper(near, scale=2.0, in_mask=["key"]),
        "optimizer": optimizers.RandomFewShot(population_size=3, sampling="best", name="few"),
        "metrics": ["accuracy", metrics.FBetaScore("micro", 2.0), "calls"],
    }


SCRIPT = """
import sys
import eventcore as ec
from tests.training import test_saving as t

with ec.open("memory:") as store, store.run("there", seed=7) as run:
    loaded = ec.Program.load(sys.argv[1])
    print(t.fit(loaded)["reward"], loaded.optimizer.epochs)
"""


def test_another_process_goes_on_the_same(tmp_path: Path) -> None:
    program = trained("evolution")
    program.save(tmp_path / "p.lmdb")
    with ec.open("memory:") as store, store.run("here", seed=7):
        here = f"{fit(program)['reward']} {program.optimizer.epochs}"
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "p.lmdb")],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60, check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "5", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert there.stdout.strip() == here
