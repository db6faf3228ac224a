"""A program saved by one process is loaded by another, whose classes stand in `__main__`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from tests.structure.source import ROOT

SCRIPT = '''
import json, sys
import eventcore as ec


class Name(ec.DataModel):
    name: str


class Persona(ec.Trainable):
    persona: str = "friendly"
    habits: dict = ec.Field(default_factory=dict)


class Greeting(ec.DataModel):
    greeting: str


class Greet(ec.Module):
    """Greets."""

    def __init__(self, persona="friendly", model=None, name=None, description=None, trainable=True):
        super().__init__(name=name, description=description, trainable=trainable)
        self.model = model
        self.state = self.add_variable({"persona": persona}, Persona, name="state")

    async def call(self, inputs, training=False):
        return self.model(greeting=f"[{self.state.get('persona')}] hello {inputs.get('name')}")


def show(program):
    print(json.dumps([program.name, {v.path: [v.get_json(), v.trainable] for v in program.variables},
                      ec.wait(program(Name(name="Ada"))).get_json()]))


def save(*paths):
    x = ec.Input(data_model=Name)
    y = ec.wait(Greet("pirate", model=Greeting)(x))
    program = ec.Program(inputs=x, outputs=y, name="greeter")
    program.variables[0].update({"persona": "learned", "habits": {"a": [1, None, {"b": 2.5}]}})
    program.variables[0].trainable = False
    for path in paths:
        program.save(path)
    show(program)


def load(*paths):
    for path in paths:
        with ec.open("memory:").run("mine"):
            show(ec.Program.load(path))


if __name__ == "__main__":
    {"save": save, "load": load}[sys.argv[1]](*sys.argv[2:])
'''


def run_script(path: Path, *arguments: str, ok: bool = True) -> list[Any]:
    done = subprocess.run(
        [sys.executable, str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=path.parent,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert (done.returncode == 0) is ok, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()] if ok else [done.stderr]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.slow
def test_a_program_of_main_is_loaded_by_another_process_from_every_form(script: Path) -> None:
    forms = ["p.lmdb", "p.sqlite", "p.json"]
    (saved,) = run_script(script, "save", *forms)
    assert saved[1]["greet/state"][0]["habits"] == {"a": [1, None, {"b": 2.5}]}
    assert run_script(script, "load", *forms) == [saved] * 3
    content = json.loads((script.parent / "p.json").read_text())
    modules = [entry for entry in content["config"]["modules"] if entry["class_name"] == "Greet"]
    assert [entry["module"] for entry in modules] == [None]


@pytest.mark.slow
def test_a_script_that_became_a_module_and_a_module_that_became_a_script_load_each_other(
    script: Path,
) -> None:
    (saved,) = run_script(script, "save", "from_main.json")
    importer = script.with_name("importer.py")
    importer.write_text("import sys, script\ngetattr(script, sys.argv[1])(*sys.argv[2:])\n")
    assert run_script(importer, "load", "from_main.json") == [saved]
    run_script(importer, "save", "from_module.lmdb", "from_module.json")
    assert run_script(script, "load", "from_module.lmdb", "from_module.json") == [saved] * 2


@pytest.mark.slow
def test_a_class_defined_in_two_modules_and_in_neither_of_the_saved_ones_is_ambiguous(script: Path) -> None:
    run_script(script, "save", "p.json")
    for name in ("one", "two"):
        script.with_name(f"{name}.py").write_text(SCRIPT)
    both = script.with_name("both.py")
    both.write_text("import one, two\none.load('p.json')\n")
    (error,) = run_script(both, ok=False)
    assert "cannot choose the class 'Greet'" in error
    assert "one and in two" in error
    both.write_text(
        "import one, two\nimport eventcore as ec\n"
        "one.show(ec.Program.load('p.json', custom_objects={'Greet': two.Greet, 'Greeting': two.Greeting}))\n"
    )
    assert len(run_script(both)) == 1


@pytest.mark.slow
def test_a_process_without_the_classes_is_told_which_is_missing_and_imports_nothing(script: Path) -> None:
    importer = script.with_name("importer.py")
    importer.write_text("import sys, script\ngetattr(script, sys.argv[1])(*sys.argv[2:])\n")
    run_script(importer, "save", "p.json", "p.lmdb")
    alone = script.with_name("alone.py")
    alone.write_text(
        "import json, sys, eventcore as ec\n"
        "for path in ('p.json', 'p.lmdb'):\n"
        "    try:\n"
        "        ec.Program.load(path)\n"
        "    except ec.errors.UnknownClass as error:\n"
        "        print(json.dumps([str(error), 'script' in sys.modules]))\n"
    )
    for message, imported in run_script(alone):
        assert "cannot find the class script.Greet" in message
        assert not imported


@pytest.mark.slow
def test_a_program_of_eventcores_own_modules_needs_nothing_but_eventcore(tmp_path: Path) -> None:
    class Pair(ec.DataModel):
        left: str
        right: str

    x = ec.Input(data_model=Pair, name="x")
    y = ec.wait(ec.OutMask(mask=["left"], name="m")(x))
    program: Any = ec.Program(inputs=x, outputs=y, name="own")
    program.compile(optimizer=ec.optimizers.RandomFewShot(), reward=ec.rewards.ExactMatch())
    program.save(tmp_path / "p.json")
    alone = tmp_path / "alone.py"
    alone.write_text(
        "import json, eventcore as ec\n"
        "p = ec.Program.load('p.json')\n"
        "print(json.dumps([p.compiled, ec.wait(p({'left': 'a', 'right': 'b'})).get_json()]))\n"
    )
    assert run_script(alone) == [[True, {"right": "b"}]]


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_file_that_was_there(script: Path) -> None:
    (saved,) = run_script(script, "save", "p.json")
    before = (script.parent / "p.json").read_bytes()
    done = subprocess.run(
        [sys.executable, str(script), "save", "p.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=script.parent,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 1
    assert "StorageError: cannot save to p.json" in done.stderr
    assert (script.parent / "p.json").read_bytes() == before
    assert run_script(script, "load", "p.json") == [saved]
    assert not list(script.parent.glob(".eventcore-*"))
