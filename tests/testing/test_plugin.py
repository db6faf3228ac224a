"""The pytest plugin, in a pytest of its own: fixtures, one id per check, profiles, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eventcore.testing.modules import MODULE_CHECKS

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
@pytest.mark.campaign
def test_the_plugin_gives_fixtures_profiles_and_one_id_for_each_check(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    said = run_pytest(tmp_path, "-v", "--hypothesis-profile=eventcore-ci", "test_it.py")
    assert "test_personalize[rewards_reach_their_records] PASSED" in said, said
    assert "test_the_store_is_durable PASSED" in said
    assert f"{len(MODULE_CHECKS) + 3} passed" in said and "failed" not in said


STARTED_WITHOUT_WITH = """
import eventcore as ec

class Said(ec.DataModel):
    text: str = ""

def test_a_run_is_started_in_the_store(eventcore_store):
    run = eventcore_store.run("mine")
    assert ec.Variable(data_model=Said, name="one").run is run

def test_the_next_test_has_nothing_of_it():
    assert ec.Variable(data_model=Said, name="two").run.store.url == "memory:"
"""


def test_a_run_of_the_store_ends_with_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(STARTED_WITHOUT_WITH)
    said = run_pytest(tmp_path, "-q", "test_it.py")
    assert "2 passed" in said, said


TWO_SUBJECTS = """
import os
import eventcore as ec
from eventcore.examples.personalize import Name, Personalize
from eventcore.testing import module_checks_of, parametrize_with_checks

STARTED = os.getpid()

class Other(Personalize):
    def __init__(self, **options):
        assert (os.getpid() == STARTED) == bool(os.environ.get("EVENTCORE_CHECKS_IN_PROCESS"))
        super().__init__(**options)

inputs = [Name(name="Ada"), Name(name="Bob")]

@parametrize_with_checks(module_checks_of(Personalize, inputs=inputs), module_checks_of(Other, inputs=inputs))
def test_modules(check):
    check()
"""


@pytest.mark.campaign
def test_ids_name_the_subject_where_there_are_several_and_a_debugger_has_them_in_its_process(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_it.py").write_text(TWO_SUBJECTS)
    said = run_pytest(tmp_path, "-v", "-k", "save_and_load or locks_after_first_call")
    assert "test_modules[Personalize-save_and_load] PASSED" in said, said
    assert "test_modules[Other-locks_after_first_call] PASSED" in said, said
    said = run_pytest(tmp_path, "--pdb", "-k", "save_and_load or locks_after_first_call")
    assert "4 passed" in said, said


RAISES = """
import eventcore as ec
from eventcore.testing import module_checks_of, parametrize_with_checks

class Question(ec.DataModel):
    text: str

class Broken(ec.Module):
    async def call(self, inputs: Question, training=False):
        raise ValueError("no such word")

@parametrize_with_checks(module_checks_of(Broken))
def test_broken(check):
    check()
"""


@pytest.mark.campaign
def test_a_failed_check_says_once_what_is_wrong_and_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(RAISES)
    said = run_pytest(tmp_path, "-k", "locks_after_first_call", "--tb=short")
    failure = said.partition("short test summary")[0]
    assert failure.count("no such word") == 1 + failure.count('raise ValueError("no such word")'), said
    assert "test_it.py:10, in call: raise ValueError" in failure, said
    assert 'only=["locks_after_first_call"]' in failure, said


def test_the_plugin_imports_nothing_until_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert 'eventcore.testing.pytest_plugin' in sys.modules\n"
        "    assert not {'lmdb', 'litellm', 'eventcore.modules.module'} & set(sys.modules)\n"
    )
    assert "1 passed" in run_pytest(tmp_path, "test_it.py")


MODEL_TESTS = """
import sys
import eventcore as ec
import pytest

@ec.effect(name="ask")
def ask(question: str) -> str:
    with open("bill.txt", "a") as bill:
        bill.write(question + "\\n")
    return question.upper()

def test_plain(eventcore_cassette):
    assert ask("plain") == "PLAIN"

@pytest.mark.parametrize("word", ["a/b", "a b", "ab"])
def test_words(word, eventcore_cassette):
    assert ask(word) == word.upper()

@pytest.mark.eventcore_cassette("shared", mode="new_episodes")
def test_marked():
    assert ask("marked") == "MARKED"

class TestInside:
    def test_method(self, eventcore_run, eventcore_cassette):
        assert ask("inside") == "INSIDE"
"""


def billed(folder: Path) -> list[str]:
    bill = folder / "bill.txt"
    return sorted(bill.read_text().split("\n")[:-1]) if bill.exists() else []


CALLS = sorted(["plain", "a/b", "a b", "ab", "marked", "inside"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("EVENTCORE_RECORD", raising=False)
    (tmp_path / "test_it.py").write_text(MODEL_TESTS)
    return tmp_path


def test_each_test_has_a_cassette_of_its_own_and_calls_once(folder: Path) -> None:
    assert "6 passed" in run_pytest(folder)
    assert billed(folder) == CALLS
    names = sorted(path.name for path in (folder / "cassettes" / "test_it").iterdir())
    assert len(names) == 6
    assert {
        "test_plain.sqlite",
        "shared.sqlite",
        "TestInside.test_method.sqlite",
        "test_words-ab.sqlite",
    } < set(names)
    said = run_pytest(folder, "--eventcore-record=none")
    assert "6 passed" in said, said
    assert billed(folder) == CALLS


@pytest.mark.slow
@pytest.mark.campaign
def test_what_becomes_of_calls_is_an_option_that_is_checked(folder: Path) -> None:
    said = run_pytest(folder, "--eventcore-record=none", "-k", "test_plain")
    assert "1 failed" in said and "CallNotRecorded: cannot answer a call of ask" in said
    assert billed(folder) == []
    assert "1 passed" in run_pytest(folder, "--eventcore-record=all", "-k", "test_plain")
    assert "1 passed" in run_pytest(folder, "--eventcore-record=all", "-k", "test_plain")
    assert billed(folder) == ["plain", "plain"]
    said = run_pytest(folder, "--eventcore-record=rewrite")
    assert "invalid choice: 'rewrite'" in said and "new_episodes" in said


def test_in_ci_a_call_that_is_not_recorded_is_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "1")
    said = run_pytest(folder, "-k", "test_plain")
    assert "1 failed" in said and "mode 'none' makes none" in said and billed(folder) == []


def test_a_test_that_fails_keeps_what_it_recorded(folder: Path) -> None:
    text = (folder / "test_it.py").read_text()
    (folder / "test_it.py").write_text(text.replace('== "PLAIN"', '== "SOMETHING ELSE"'))
    assert "1 failed" in run_pytest(folder, "-k", "test_plain")
    (folder / "test_it.py").write_text(text)
    assert "1 passed" in run_pytest(folder, "-k", "test_plain")
    assert billed(folder) == ["plain"]


@pytest.mark.campaign
def test_tests_in_parallel_processes_record_and_play_their_own(folder: Path) -> None:
    pytest.importorskip("xdist")
    assert "6 passed" in run_pytest(folder, "-n", "2", "--eventcore-record=once")
    assert billed(folder) == CALLS
    assert "6 passed" in run_pytest(folder, "-n", "2", "--eventcore-record=none")
    assert billed(folder) == CALLS


def test_the_environment_is_as_it_was_after_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "once"):
        monkeypatch.delenv("EVENTCORE_RECORD", raising=False)
        if before is not None:
            monkeypatch.setenv("EVENTCORE_RECORD", before)
        code = (
            "import os, pytest\n"
            "pytest.main(['--co', '-q', '-p', 'no:cacheprovider', '-c', '/dev/null', '--eventcore-record=all'])\n"
            f"assert os.environ.get('EVENTCORE_RECORD') == {before!r}\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[1] / "notebook", check=False
        )
        assert done.returncode == 0


def test_the_plugin_knows_the_names_of_modules_it_does_not_import() -> None:
    from eventcore.testing import cassettes, isolation, pytest_plugin

    assert pytest_plugin.MODES == cassettes.MODES and pytest_plugin.RECORD == cassettes.VARIABLE
    assert pytest_plugin.IN_PROCESS == isolation.IN_PROCESS
