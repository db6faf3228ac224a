"""The values alone: as a tree and as a `.variables.json` file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import ConfigMismatch, InvalidValue, NotFound
from eventcore.saving import get_state_tree, set_state_tree
from tests.saving.samples import Greet, Name, Stats, graph, used, values


def test_a_tree_has_the_values_by_kind_and_path() -> None:
    program = used(graph())
    tree = get_state_tree(program)
    persona, stats = (variable.get_json() for variable in program.variables)
    assert tree == {
        "trainable_variables": {"greeter_greet": {"persona_greeter_greet": persona}},
        "non_trainable_variables": {"greeter_greet": {"stats": stats}},
        "metrics_variables": {},
    }
    tree["trainable_variables"]["greeter_greet"]["persona_greeter_greet"]["persona"] = "changed"
    assert program.variables[0].get("persona") == "pirate"


def test_a_tree_set_again_restores_dicts_lists_and_none(run: ec.Run) -> None:
    program = used(graph(), "Ada", "Bob")
    tree, before = get_state_tree(program), values(program)
    used(program, "Eve")
    program.variables[0].update({"habits": {"x": 1}})
    set_state_tree(program, tree, "a test")
    assert values(program) == before
    assigned: list[Any] = [record.event for record in run.events(kind="VariableAssigned")]
    assert {event.origin for event in assigned} == {"a test"}
    head = run.head
    set_state_tree(program, tree)
    assert run.head == head


def test_a_variable_is_found_under_either_part_and_by_its_whole_path() -> None:
    program = used(graph())
    before = values(program)
    used(program)
    set_state_tree(program, {"non_trainable_variables": before})
    assert values(program) == before


def test_a_path_that_begins_another_stands_in_one_piece() -> None:
    class Both(ec.Module):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.a = self.add_variable(data_model=Stats, name="inner")
            self.b = Greet(name="inner")

        async def call(self, inputs: Any) -> Any:
            return inputs

    module = Both(name="both")
    module.a.update({"count": 3})
    module.b.state.update({"persona": "deep"})
    tree = get_state_tree(module)
    assert set(tree["non_trainable_variables"]) == {"both/inner"}
    module.a.update({"count": 0})
    module.b.state.update({"persona": ""})
    set_state_tree(module, tree)
    assert (module.a.get("count"), module.b.state.get("persona")) == (3, "deep")


@pytest.mark.parametrize("tree", [{"variables": {}}, {"trainable_variables": {}, "x": {}}, [], 3])
def test_a_part_of_another_name_is_refused(tree: Any) -> None:
    with pytest.raises(InvalidValue, match="its parts are trainable_variables"):
        set_state_tree(used(graph()), tree)


def test_missing_unexpected_and_unfit_values_are_listed_and_nothing_is_changed(run: ec.Run) -> None:
    program = used(graph())
    tree, before, head = get_state_tree(program), values(program), run.head
    bad = json.loads(json.dumps(tree))
    bad["non_trainable_variables"]["greeter_greet"]["statistics"] = bad["non_trainable_variables"][
        "greeter_greet"
    ].pop("stats")
    bad["trainable_variables"]["greeter_greet"]["persona_greeter_greet"]["persona"] = 7
    bad["trainable_variables"]["other"] = {"deep": {"er": {"a": 1}}}
    with pytest.raises(ConfigMismatch, match="Nothing was changed") as caught:
        set_state_tree(program, bad)
    assert caught.value.missing == ("greeter_greet/stats",)
    assert set(caught.value.unexpected) == {"greeter_greet/statistics", "other/deep/er"}
    assert "persona" in str(caught.value)
    assert (values(program), run.head) == (before, head)


def test_variables_go_through_a_file(tmp_path: Path) -> None:
    program = used(graph(), "Ada", "Bob")
    before = values(program)
    program.save_variables(tmp_path / "p.variables.json")
    used(program, "Eve")
    program.load_variables(tmp_path / "p.variables.json")
    assert values(program) == before


def test_the_suffix_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    program = used(graph())
    for name in ("p.json", "p.variables", "variables.json.bak"):
        with pytest.raises(InvalidValue, match=r"must end in \.variables\.json"):
            program.save_variables(tmp_path / name)
        with pytest.raises(InvalidValue, match=r"must end in \.variables\.json"):
            program.load_variables(tmp_path / name)
    with pytest.raises(NotFound):
        program.load_variables(tmp_path / "none.variables.json")
    assert list(tmp_path.iterdir()) == []


def test_variables_of_another_program_do_not_fit(tmp_path: Path) -> None:
    used(graph("other")).save_variables(tmp_path / "p.variables.json")
    program = used(graph())
    before = values(program)
    with pytest.raises(ConfigMismatch, match=r"missing.*unexpected") as caught:
        program.load_variables(tmp_path / "p.variables.json")
    assert set(caught.value.missing) == {"greeter_greet/persona_greeter_greet", "greeter_greet/stats"}
    assert set(caught.value.unexpected) == {"other_greet/persona_other_greet", "other_greet/stats"}
    assert values(program) == before
    assert ec.wait(program(Name(name="Ada"))).get("greeting") == "[pirate] hello Ada"
