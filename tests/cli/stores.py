"""Stores for the tests of the command line, and ways to call it: in this process and in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import eventcore as ec
from eventcore.cli.program import program
from eventcore.history import events
from tests.structure.source import ROOT

SCHEMA = {
    "type": "object",
    "title": "Notes",
    "properties": {
        "persona": {"type": "string"},
        "count": {"type": "integer"},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}
FIRST = "A pirate who shouts at everybody he meets, and means it."
SECOND = "A pirate who whispers to everybody he meets, and means it."
DECLARED = 3
"""Seq at which the variable of `make_store` is declared: after the run's start and its source line."""

COMMANDS_THAT_READ = ("runs", "log", "show", "diff", "verify", "backup", "doctor")


def make_store(path: Path, scheme: str = "lmdb") -> Path:
    """A store with a run `main`, one variable in it, and a fork of it, `other`, both closed."""
    with ec.open(f"{scheme}:{path}") as store:
        with store.run("main", seed=7) as run:
            variable = ec.Variable({"persona": FIRST, "count": 0, "notes": []}, SCHEMA, name="voice")
            variable.update({"persona": SECOND})
            variable["notes"].append("one")
            variable.get("count")
        with run.fork("other", at=DECLARED) as fork:
            fork.record(
                events.EditedFromOutside(
                    *fork.stamp(), variable=0, path=["persona"], value="\x1b[31mred", note="by hand"
                )
            )
    return path


def make_long_store(path: Path, updates: int) -> Path:
    """A store with one run in which a counter was updated many times."""
    with ec.open(path) as store, store.run("long") as run:
        variable = ec.Variable(
            {"count": 0}, {"type": "object", "properties": {"count": {"type": "integer"}}}, name="v"
        )
        for number in range(updates):
            run.record(events.VariableUpdated(*run.stamp(), variable.number, {"count": number}, -1), 16)
    return path


def call(*arguments: object, **environment: str) -> Result:
    """Run a command in this process."""
    runner = CliRunner(env={"NO_COLOR": None, "EVENTCORE_STORE": None, **environment})
    return runner.invoke(program, [str(argument) for argument in arguments])


def call_json(*arguments: object) -> Any:
    """Run a command with `--json` in this process and return the document it printed."""
    result = call(*arguments, "--json")
    assert result.stderr == ""
    return json.loads(result.stdout)


def command(*arguments: object) -> list[str]:
    """The command line that runs a command in a process of its own."""
    return [sys.executable, "-m", "eventcore", *(str(argument) for argument in arguments)]


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that finds this checkout from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def spawn(*arguments: object, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**more),
        check=False,
        timeout=120,
    )
