"""What `import eventcore` gives, and what it costs.

The public face is one sorted list (its order is ruff's RUF022), and importing it loads nothing that a
user who only wants a variable does not need.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import types
from importlib.metadata import entry_points
from pathlib import Path

import eventcore
from tests.structure.source import ROOT, pyproject, report

HEAVY = frozenset(
    {
        "click",
        "hypothesis",
        "litellm",
        "lmdb",
        "matplotlib",
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic",
        "pytest",
        "rich",
        "sqlite3",
        "zstandard",
    }
)
"""Loaded only by the part that needs them, on first use."""


def in_a_fresh_process(code: str, cwd: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_exists_and_is_listed_once() -> None:
    listed = list(eventcore.__all__)
    assert len(listed) == len(set(listed))
    report(
        "Every name in `eventcore.__all__` exists.", [name for name in listed if not hasattr(eventcore, name)]
    )


def test_the_namespace_holds_no_public_name_that_is_not_listed() -> None:
    names = json.loads(
        in_a_fresh_process(
            "import eventcore, json, types;"
            "print(json.dumps([n for n, v in vars(eventcore).items()"
            " if not n.startswith('_') and not isinstance(v, types.ModuleType)]))"
        )
    )
    stray = set(names) - set(eventcore.__all__) - {"TYPE_CHECKING", "annotations"}
    report("A public name is in `eventcore.__all__`, or starts with an underscore.", sorted(stray))


def test_every_listed_name_is_shown_by_dir() -> None:
    shown = json.loads(in_a_fresh_process("import eventcore, json; print(json.dumps(dir(eventcore)))"))
    assert not set(eventcore.__all__) - set(shown)


def test_importing_eventcore_loads_nothing_heavy() -> None:
    loaded = json.loads(
        in_a_fresh_process("import eventcore, json, sys; print(json.dumps(list(sys.modules)))")
    )
    report("`import eventcore` does not load", sorted(HEAVY.intersection(loaded)))


def test_importing_eventcore_writes_nothing(tmp_path: Path) -> None:
    in_a_fresh_process(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import eventcore", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_entry_point_and_script_leads_to_something() -> None:
    declared = pyproject()["project"]["entry-points"]["eventcore.backends"]
    installed = {point.name: point for point in entry_points(group="eventcore.backends")}
    assert set(declared) <= set(installed)
    for name in declared:
        assert isinstance(installed[name].load(), type)
    (script,) = entry_points(group="console_scripts", name="eventcore")
    assert callable(script.load())


def test_the_version_is_the_same_everywhere() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert eventcore.__version__ == declared
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{declared}]" in changelog
    assert isinstance(eventcore, types.ModuleType)
