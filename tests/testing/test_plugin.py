"""The pytest plugin, in a pytest of its own: fixtures, one id per check, profiles, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import eventcore as ec
from eventcore.examples.personalize import Name, Personalize
from eventcore.testing import module_checks_of, parametrize_with_checks

@parametrize_with_checks(module_checks_of(Personalize, inputs=[Name(name="Ada"), Name(name="Bob")]))
def test_personalize(check):
    assert check().exercised

def test_the_run_is_current_and_empty(eventcore_run):
    variable = ec.Variable(data_model=Name.__class__("M", (ec.DataModel,), {"__annotations__": {"n": int}, "n": 0}))
    assert variable.run is eventcore_run and eventcore_run.store.url == "memory:"

def test_the_store_is_durable(eventcore_store):
    assert eventcore_store.url.startswith("lmdb:") and eventcore_store.runs() == []

def test_the_profile_is_ours():
    from hypothesis import settings
    assert settings().deadline is None and settings().derandomize
"""


def run_pytest(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_plugin_gives_fixtures_profiles_and_one_id_for_each_check(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    said = run_pytest(tmp_path, "-v", "--hypothesis-profile=eventcore-ci", "test_it.py")
    assert "test_personalize[rewards_reach_their_records] PASSED" in said, said
    assert "test_the_store_is_durable PASSED" in said
    assert "22 passed" in said and "failed" not in said


def test_the_plugin_imports_nothing_until_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert 'eventcore.testing.pytest_plugin' in sys.modules\n"
        "    assert not {'lmdb', 'litellm', 'eventcore.modules.module'} & set(sys.modules)\n"
    )
    assert "1 passed" in run_pytest(tmp_path, "test_it.py")
