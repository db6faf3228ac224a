"""A compiled program comes back compiled, with the state of its optimizer and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore import optimizers
from eventcore.errors import InvalidValue
from eventcore.saving import get_state_tree, set_state_tree
from eventcore.training import rewards
from tests.saving.samples import account, graph, used


def compiled(**arguments: Any) -> Any:
    program: Any = used(graph())
    program.compile(**{"optimizer": optimizers.RandomFewShot(), "reward": rewards.ExactMatch()} | arguments)
    return program


def optimizer_state(program: Any) -> dict[str, Any]:
    return {variable.path: variable.get_json() for variable in program.optimizer.variables}


@pytest.mark.parametrize("form", ["p.lmdb", "p.db", "p.json"])
def test_the_optimizer_comes_back_with_its_state(form: str, tmp_path: Path) -> None:
    program = compiled()
    program.optimizer.variables[0].update({"iterations": 7})
    program.save(tmp_path / form)
    loaded: Any = ec.Program.load(tmp_path / form)
    assert loaded.compiled
    assert type(loaded.optimizer) is optimizers.RandomFewShot
    assert optimizer_state(loaded) == optimizer_state(program)
    assert next(iter(optimizer_state(loaded).values()))["iterations"] == 7
    assert account(loaded) == account(program)


def test_the_optimizers_state_is_a_part_of_the_tree(tmp_path: Path) -> None:
    program = compiled()
    tree = get_state_tree(program)
    assert set(tree) == {
        "trainable_variables",
        "non_trainable_variables",
        "optimizer_trainable_variables",
        "optimizer_non_trainable_variables",
        "metrics_variables",
    }
    program.optimizer.variables[0].update({"iterations": 9})
    before = optimizer_state(program)
    program.save_variables(tmp_path / "p.variables.json")
    set_state_tree(program, tree)
    assert optimizer_state(program) != before
    program.load_variables(tmp_path / "p.variables.json")
    assert optimizer_state(program) == before


def test_a_reward_that_is_a_lambda_cannot_be_saved_and_the_program_runs_all_the_same(tmp_path: Path) -> None:
    program = compiled(reward=lambda y_true, y_pred: 1.0)
    used(program, "Bob")
    with pytest.raises(InvalidValue, match=r"compile_config/reward.*a lambda"):
        program.save(tmp_path / "p.json")
