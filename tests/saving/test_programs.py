"""A program that was saved and loaded is equal to the one it was (L28), whatever the form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from tests.saving.samples import Chain, Greet, Name, Persona, Rename, account, graph, used, values

FORMS = ["saved", "saved.lmdb", "saved.sqlite", "saved.sqlite3", "saved.db", "saved.json"]


@pytest.mark.parametrize("form", FORMS)
def test_every_value_description_flag_and_argument_comes_back(form: str, tmp_path: Path) -> None:
    program = used(graph(), "Ada", "Bob")
    program.variables[0].update({"habits": {"tone": {"loud": [1, 2.5, None]}}})
    program.save(tmp_path / form)
    loaded = ec.Program.load(tmp_path / form)
    assert account(loaded) == account(program)
    assert ec.wait(loaded(Name(name="Zoe"))).get_json() == {"greeting": "[pirate] hello Zoe"}
    assert loaded.variables[1].get("by_name")["Ada"] == {"seen": [1, None, {"deep": True}]}


@pytest.mark.parametrize("form", FORMS)
def test_own_flags_of_variables_and_flags_of_inner_modules_come_back(form: str, tmp_path: Path) -> None:
    program = Chain([Rename(Greet("given"), times=2)], name="chain")
    ec.wait(program(Name(name="Ada")))
    rename: Any = program.links[0]
    rename.own[0].trainable = False
    rename.own[1].state.trainable = False
    program.save(tmp_path / form)
    loaded: Any = ec.Program.load(tmp_path / form)
    assert account(loaded) == account(program)
    own = loaded.links[0].own
    assert [module.trainable for module in own] == [False, True]
    assert [module.state.trainable for module in own] == [False, False]
    own[0].trainable = True
    assert [module.state.trainable for module in own] == [True, False]


@pytest.mark.parametrize("form", FORMS)
def test_a_module_used_twice_is_one_module_afterwards(form: str, tmp_path: Path) -> None:
    link = Rename(Greet("shared"))
    program = Chain((link, link), note={"same": link}, name="chain")
    ec.wait(program(Name(name="Ada")))
    program.save(tmp_path / form)
    loaded: Any = ec.Program.load(tmp_path / form)
    assert isinstance(loaded.links, tuple)
    assert loaded.links[0] is loaded.links[1] is loaded.note["same"]
    assert account(loaded) == account(program)


def test_a_program_never_called_is_saved_as_it_is_and_built_by_its_first_call(tmp_path: Path) -> None:
    program = Chain([Rename(times=1)], name="chain")
    program.save(tmp_path / "p.json")
    before = account(program)
    loaded = ec.Program.load(tmp_path / "p.json")
    assert account(loaded) == before
    assert not loaded.built
    ec.wait(loaded(Name(name="Ada")))
    assert len(loaded.variables) == 2


def test_a_program_without_variables_is_saved_too(tmp_path: Path) -> None:
    for form in FORMS:
        program = Chain([ec.Identity(name="same")], name="bare")
        program.save(tmp_path / form)
        assert account(ec.Program.load(tmp_path / form)) == account(program)


def test_a_sequence_comes_back(tmp_path: Path) -> None:
    program = ec.Sequential([Rename(), Rename(times=2)], name="two", description="Two renames.")
    ec.wait(program(Name(name="Ada")))
    program.save(tmp_path / "p.db")
    loaded = ec.Program.load(tmp_path / "p.db")
    assert account(loaded) == account(program)


def test_what_get_config_made_json_itself_reaches_from_config_as_that_json(tmp_path: Path) -> None:
    program = Chain([Guided(Greet("inner"), "own")], name="guided")
    ec.wait(program(Name(name="Ada")))
    program.save(tmp_path / "p.json")
    loaded: Any = ec.Program.load(tmp_path / "p.json")
    assert account(loaded) == account(program)
    assert loaded.links[0].inner.state.get("persona") == "inner"
    assert loaded.links[0].seen_config["inner"]["class_name"] == "Greet"


class Guided(ec.Module):
    """Written the way the guide shows, with its own get_config."""

    seen_config: Any = None

    def __init__(
        self,
        inner: ec.Module,
        persona: str,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable)
        self.inner = inner
        self.persona = persona
        self.state = self.add_variable({"persona": persona}, Persona, name="state")

    async def call(self, inputs: Any) -> Any:
        return await self.inner(inputs)

    def get_config(self) -> dict[str, Any]:
        return {
            "inner": ec.saving.serialize_synalinks_object(self.inner),
            "persona": self.persona,
            "name": self.name,
            "description": self.description,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Guided:
        inner = ec.saving.deserialize_synalinks_object(config["inner"])
        made = cls(**{**config, "inner": inner})
        made.seen_config = config
        return made


def test_the_value_a_variable_was_loaded_with_wins_over_the_one_its_constructor_gives(tmp_path: Path) -> None:
    program = graph(persona="seed")
    program.variables[0].update({"persona": "learned"})
    program.save(tmp_path / "p.json")
    assert ec.Program.load(tmp_path / "p.json").variables[0].get("persona") == "learned"


def test_the_events_of_a_load_say_where_the_values_came_from(tmp_path: Path, run: ec.Run) -> None:
    program = used(graph())
    program.save(tmp_path / "p.lmdb")
    seq = run.head
    with ec.open("memory:").run("other") as other:
        loaded = ec.Program.load(tmp_path / "p.lmdb")
        assert all(variable.run is other for variable in loaded.variables)
        declared: list[Any] = [record.event for record in other.events(kind="VariableDeclared")]
    assert [event.path for event in declared] == [v.path for v in program.variables]
    assert {event.origin for event in declared} == {f"run 'test' of lmdb:{tmp_path / 'p.lmdb'} at seq {seq}"}
    assert [event.value for event in declared] == list(values(program).values())


def test_a_load_reads_at_a_seq_or_label_and_writes_nothing_into_what_it_read(tmp_path: Path) -> None:
    with ec.open(tmp_path / "runs").run("a") as run:
        program = used(graph())
        early = run.flush()
        program.variables[0].update({"persona": "academic"})
        program.save(tmp_path / "runs")
    run.store.close()
    before = {path: path.read_bytes() for path in (tmp_path / "runs").glob("data*")}
    with ec.open("memory:").run("b"):
        old = ec.Program.load(tmp_path / "runs", at=early)
        assert old.variables[0].get("persona") == "pirate"
        old.variables[0].update({"persona": "changed"})
        now = ec.Program.load(tmp_path / "runs", run="a")
        assert now.variables[0].get("persona") == "academic"
    assert {path: path.read_bytes() for path in (tmp_path / "runs").glob("data*")} == before


def test_a_program_loaded_beside_one_in_use_is_a_second_one_and_neither_disturbs_the_other(
    tmp_path: Path, run: ec.Run
) -> None:
    program = used(graph())
    program.save(tmp_path / "p.json")
    loaded = ec.Program.load(tmp_path / "p.json")
    start, head = values(program), run.head
    loaded.variables[0].update({"persona": "second"})
    assert ec.wait(loaded(Name(name="Bob"))).get("greeting") == "[second] hello Bob"
    assert (values(program), run.head) == (start, head)
    assert ec.wait(program(Name(name="Bob"))).get("greeting") == "[pirate] hello Bob"
    program.variables[0].update({"persona": "first"})
    assert (program.variables[0].get("persona"), loaded.variables[0].get("persona")) == ("first", "second")
    loaded.save(tmp_path / "second.json")
    assert values(ec.Program.load(tmp_path / "second.json")) == values(loaded)


def test_a_loaded_program_moves_to_the_current_run_once_the_other_is_gone(
    tmp_path: Path, run: ec.Run
) -> None:
    program = used(graph())
    program.save(tmp_path / "p.json")
    program = ec.Program.load(tmp_path / "p.json")
    assert all(variable.run is not run for variable in program.variables)
    ec.wait(program(Name(name="Bob")))
    assert all(variable.run is run for variable in program.variables)
    assert run.state.variables[program.variables[1].path]["count"] == 2


def test_whoever_loads_beside_a_program_in_a_store_on_disk_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ec.open(tmp_path / "runs").run("a"):
        program = used(graph())
        program.save(tmp_path / "runs")
        beside = ec.Program.load(tmp_path / "runs")
        assert "lives in memory beside it" in capfd.readouterr().err
        assert account(beside) == account(program)
    with ec.open("memory:").run("b"):
        ec.Program.load(tmp_path / "runs")
    assert capfd.readouterr().err == ""


def test_to_json_and_program_from_json_are_the_file_without_the_file(tmp_path: Path) -> None:
    program = used(graph())
    text = program.to_json()
    program.save(tmp_path / "p.json")
    assert (tmp_path / "p.json").read_text() == text
    assert account(ec.saving.program_from_json(text)) == account(program)


def test_equal_programs_give_equal_files(tmp_path: Path) -> None:
    program = used(graph())
    program.save(tmp_path / "1.json")
    loaded = ec.Program.load(tmp_path / "1.json")
    loaded.save(tmp_path / "2.json")
    one, two = ((tmp_path / name).read_text().splitlines() for name in ("1.json", "2.json"))
    assert [line for line in one if '"origin"' not in line] == [
        line for line in two if '"origin"' not in line
    ]


def test_fields_keep_the_order_a_language_model_sees_them_in(tmp_path: Path) -> None:
    program = used(graph())
    program.save(tmp_path / "p.json")
    loaded = ec.Program.load(tmp_path / "p.json")
    for old, new in zip(program.variables, loaded.variables, strict=True):
        assert list(old.get_schema()["properties"]) == list(new.get_schema()["properties"])
        assert list(old.get_json()) == list(new.get_json())


def test_a_class_defined_again_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    def define(word: str) -> type[ec.Module]:
        class Cell(ec.Module):
            async def call(self, inputs: Any) -> Any:
                return Name(name=word)

        return Cell

    first = define("old")
    program = Chain([first(name="cell")], name="notebook")
    ec.wait(program(Name(name="Ada")))
    program.save(tmp_path / "p.json")
    second = define("new")
    loaded: Any = ec.Program.load(tmp_path / "p.json")
    assert type(loaded.links[0]) is second
    assert ec.wait(loaded(Name(name="Ada"))).get("name") == "new"


def test_a_program_loaded_inside_a_running_loop_and_inside_a_name_scope_is_the_same(tmp_path: Path) -> None:
    program = used(graph())
    program.save(tmp_path / "p.db")

    async def load() -> Any:
        with ec.name_scope("elsewhere"):
            return ec.Program.load(tmp_path / "p.db")

    assert account(ec.wait(load())) == account(program)


def test_a_program_made_in_a_name_scope_comes_back_with_its_paths(tmp_path: Path) -> None:
    with ec.name_scope("outer"):
        program = used(graph())
    assert program.variables[0].path.startswith("outer/")
    program.save(tmp_path / "p.json")
    assert account(ec.Program.load(tmp_path / "p.json")) == account(program)
