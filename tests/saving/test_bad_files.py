"""What cannot be loaded says why, and changes nothing (L29)."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import (
    ConfigMismatch,
    EventcoreError,
    InvalidValue,
    NotFound,
    StorageError,
    UnknownClass,
    UnknownFormat,
)
from tests.saving import samples
from tests.saving.samples import Chain, Greet, Name, Persona, Stats, graph, used, values

FORMS = ["p", "p.lmdb", "p.sqlite", "p.db", "p.json"]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_there(form: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=rf"cannot load .*{form}.*there is (nothing|no such file)"):
        ec.Program.load(tmp_path / form)
    assert os.listdir(tmp_path) == []


def test_a_store_without_a_run(tmp_path: Path) -> None:
    ec.open(tmp_path / "p").close()
    with pytest.raises(NotFound, match="has no run"):
        ec.Program.load(tmp_path / "p")


def test_several_runs_are_listed_and_one_that_is_not_there_too(tmp_path: Path) -> None:
    with ec.open(tmp_path / "p") as store:
        for name in ("a", "b"):
            with store.run(name):
                used(graph(name))
    with pytest.raises(InvalidValue, match="it has 2: a, b; pass run="):
        ec.Program.load(tmp_path / "p")
    with pytest.raises(NotFound, match=r"'c'.*it has: a, b"):
        ec.Program.load(tmp_path / "p", run="c")
    assert ec.Program.load(tmp_path / "p", run="b").name == "b"


def test_a_run_in_which_no_program_was_used(tmp_path: Path) -> None:
    with ec.open(tmp_path / "p") as store, store.run("a"):
        ec.wait(Greet(name="alone")(Name(name="Ada")))
    with pytest.raises(NotFound, match="no program was used there"):
        ec.Program.load(tmp_path / "p")


def test_a_seq_beyond_the_head_before_the_program_or_in_a_json_file(tmp_path: Path) -> None:
    with ec.open(tmp_path / "p") as store, store.run("a") as run:
        program = used(graph())
        program.save(tmp_path / "p.json")
        head = run.flush()
    with pytest.raises(InvalidValue, match=f"its log ends at {head}"):
        ec.Program.load(tmp_path / "p", at=head + 1)
    with pytest.raises(NotFound, match=r"it was not there yet.*pass a later seq"):
        ec.Program.load(tmp_path / "p", at=1)
    both: list[dict[str, Any]] = [{"at": 3}, {"run": "a"}]
    for wrong in both:
        with pytest.raises(InvalidValue, match=r"a .json file holds one state"):
            ec.Program.load(tmp_path / "p.json", **wrong)


def test_a_json_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    used(graph()).save(path)
    whole = path.read_bytes()
    for length in {0, 1, 2, 30, len(whole) // 2, len(whole) - 3}:
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidValue, match=r"it is empty|was cut short"):
            ec.Program.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "3",
        "null",
        '"text"',
        "{}",
        '{"rows": []}',
        '{"format": "1", "kind": "program"}',
        "\x00",
        "\ufeff{}",
    ],
)
def test_json_of_somebody_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InvalidValue, match=r"nothing eventcore saved|no JSON"):
        ec.Program.load(tmp_path / "p.json")


@pytest.mark.parametrize("lost", ["class_name", "config", "variables"])
def test_a_file_with_a_part_missing_or_of_another_type_is_refused(lost: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    used(graph()).save(path)
    content = json.loads(path.read_text())
    for wrong in (None, 3, [1], {"a": 3}):
        path.write_text(json.dumps({**content, lost: wrong}))
        with pytest.raises(EventcoreError):
            ec.Program.load(path)
    del content[lost]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidValue, match="it is not a saved program"):
        ec.Program.load(path)


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    used(graph()).save(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": 2, "eventcore_version": "9.9"}))
    with pytest.raises(UnknownFormat, match=r"eventcore 9.9 wrote it in format 2"):
        ec.Program.load(path)


def test_saved_variables_are_no_program_and_a_program_is_no_saved_variables(tmp_path: Path) -> None:
    program = used(graph())
    program.save_variables(tmp_path / "p.variables.json")
    with pytest.raises(InvalidValue, match=r"use program.load_variables"):
        ec.Program.load(tmp_path / "p.variables.json")
    program.save(tmp_path / "q.json")
    shutil.copy(tmp_path / "q.json", tmp_path / "q.variables.json")
    with pytest.raises(InvalidValue, match=r"use Program\.load"):
        program.load_variables(tmp_path / "q.variables.json")


@pytest.mark.parametrize("form", ["p.lmdb", "p.sqlite"])
def test_a_damaged_store_is_an_error_of_ours(form: str, tmp_path: Path) -> None:
    used(graph()).save(tmp_path / form)
    file = tmp_path / form / "data.mdb" if form == "p.lmdb" else tmp_path / form
    os.truncate(file, 4096 if form == "p.sqlite" else 5000)
    with pytest.raises(StorageError):
        ec.Program.load(tmp_path / form)
    os.truncate(file, 0)
    with pytest.raises(StorageError):
        ec.Program.load(tmp_path / form)


def test_a_path_that_is_a_file_where_a_directory_belongs_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "p.lmdb").write_text("text")
    (tmp_path / "q.json").mkdir()
    (tmp_path / "r.sqlite").mkdir()
    program = used(graph())
    for name in ("p.lmdb", "q.json", "r.sqlite"):
        with pytest.raises(EventcoreError):
            ec.Program.load(tmp_path / name)
        with pytest.raises(EventcoreError):
            program.save(tmp_path / name)
    assert (tmp_path / "p.lmdb").read_text() == "text"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    program = used(graph())
    with pytest.raises(StorageError, match="cannot save to"):
        program.save(tmp_path / "file" / "p.json")
    with pytest.raises(EventcoreError):
        ec.Program.load(tmp_path / "file" / "p.json")
    assert (tmp_path / "file").read_text() == "text"


# --- what does not fit ---------------------------------------------------------------------------


@pytest.fixture(params=["p.lmdb", "p.db", "p.json"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = tmp_path / request.param
    used(graph()).save(path)
    return path


def refused(saved: Path, error: type[Exception], match: str) -> Any:
    """Load into a run of its own and see that nothing was written there."""
    store = ec.open("memory:")
    with store.run("target") as target:
        bystander = used(graph("bystander"))
        target.flush()
        head, digest, before = target.head, target.state.digest, values(bystander)
        with pytest.raises(error, match=match) as caught:
            ec.Program.load(saved)
        assert (target.head, target.state.digest, values(bystander)) == (head, digest, before)
    store.close()
    return caught.value


def test_variables_missing_and_unexpected_are_listed_and_nothing_is_changed(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def other_build(self: Any, input_schema: Any) -> None:
        self.stats = self.add_variable(data_model=Stats, trainable=False, name="counts")
        self.more = self.add_variable(data_model=Stats, trainable=False, name="more")

    class Other(Greet):
        build = other_build

    Other.__qualname__ = "Greet"
    monkeypatch.setattr(samples, "Greet", Other)
    with ec.saving.CustomObjectScope({"Greet": Other}):
        error = refused(saved, ConfigMismatch, "missing there.*unexpected there")
    assert sorted(path.rpartition("/")[2] for path in error.missing) == ["counts", "more"]
    assert [path.rpartition("/")[2] for path in error.unexpected] == ["stats"]
    for path in (*error.missing, *error.unexpected):
        assert path in str(error)


def test_a_variable_of_another_schema_is_listed_with_the_fields_that_differ(saved: Path) -> None:
    class Changed(Persona):
        loudness: int = 0

    class Other(Greet):
        def __init__(self, persona: str = "x", extra: Any = None, **kwargs: Any) -> None:
            ec.Module.__init__(self, **kwargs)
            self.state = self.add_variable(data_model=Changed, name=f"persona_{self.name}")

    with ec.saving.CustomObjectScope({"Greet": Other}):
        refused(saved, ConfigMismatch, r"of another schema: .*persona_greeter_greet \(it has now loudness\)")


def test_words_of_a_schema_may_change_between_save_and_load(saved: Path) -> None:
    class Reworded(Persona):
        """Quite other words."""

        persona: str = ec.Field(default="other", description="Another tone.")

    class Other(Greet):
        def __init__(self, persona: str = "x", extra: Any = None, **kwargs: Any) -> None:
            ec.Module.__init__(self, **kwargs)
            self.state = self.add_variable(data_model=Reworded, name=f"persona_{self.name}")

    with ec.open("memory:").run("b"):
        loaded = ec.Program.load(saved, custom_objects={"Greet": Other})
        assert loaded.variables[0].get("persona") == "pirate"
        assert loaded.variables[0].description == "Quite other words."


def test_a_class_nobody_defined_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Vanishing(ec.Module):
        async def call(self, inputs: Any) -> Any:
            return inputs

    program = Chain([Vanishing(name="v")], name="vanishing")
    ec.wait(program(Name(name="Ada")))
    program.save(saved.with_name("v.json"))
    text = saved.with_name("v.json").read_text().replace("Vanishing", "Vanished")
    saved.with_name("v.json").write_text(text)
    refused(saved.with_name("v.json"), UnknownClass, "Vanished.*no code of this process has defined it")


def test_a_value_that_breaks_its_schema_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    program = used(graph())
    program.save(path)
    content = json.loads(path.read_text())
    content["variables"][program.variables[1].path]["value"]["count"] = "many"
    path.write_text(json.dumps(content))
    refused(path, ConfigMismatch, "count.*many")


def test_a_frozen_module_that_is_gone_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    program = used(graph())
    program.get_module("greeter_greet").trainable = False
    program.save(path)
    content = json.loads(path.read_text())
    assert content["frozen"] == ["greeter_greet"]
    path.write_text(json.dumps({**content, "frozen": ["elsewhere"]}))
    error = refused(path, ConfigMismatch, "elsewhere")
    assert error.unexpected == ("elsewhere",)


def test_a_constructor_that_fails_leaves_nothing_behind(saved: Path) -> None:
    class Other(Greet):
        def __init__(self, persona: str = "x", **kwargs: Any) -> None:
            super().__init__(persona, **kwargs)
            raise RuntimeError("no")

    with ec.saving.CustomObjectScope({"Greet": Other}):
        refused(saved, RuntimeError, "no")
