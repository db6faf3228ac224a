"""`eventcore demo`: the tour says what it must, runs again, and the commands it prints work when pasted."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import eventcore as ec
from tests.examples.test_personalize import EXPECTED
from tests.structure.source import ROOT

pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def tour(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eventcore", "demo", *arguments],
        cwd=cwd, capture_output=True, text=True, env=environment(), check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    done = tour(folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_tour_begins_with_what_the_guide_prints(text: str) -> None:
    assert text.startswith(EXPECTED)


def test_the_tour_shows_the_events_and_the_persona_before_the_update(text: str) -> None:
    update = re.search(
        r"^ +(\d+)  \S+ \S+  VariableUpdated +  personalize/persona_personalize/persona", text, re.M
    )
    assert update is not None
    seq = int(update[1])
    assert f"run.at({seq - 1}): A pirate who shouts.\nrun.at({seq}): A precise, formal academic.\n" in text
    assert "persona  A [-pirate who shouts.-]{+precise, formal academic.+}\n" in text


def test_the_tour_forks_saves_loads_and_verifies(text: str) -> None:
    assert "as the fork found it: A pirate who shouts.\n" in text
    assert "output: [A cheerful robot who counts in binary.] hello Ada\n" in text
    assert "[A precise, formal academic.] hello Grace\ncall 3\n" in text
    assert re.search(r"^\d+ events in 2 runs: nothing wrong$", text, re.M)


def test_the_tour_ends_with_a_training_that_learns_and_says_where_the_winner_came_from(text: str) -> None:
    shown = text[text.index("Learning what a text is about") : text.index("Now yours")]
    assert (
        len(re.findall(r"^epoch \d/8 - 11 steps in .* - reward 0\.\d+ - val_reward 0\.\d+ ", shown, re.M))
        == 8
    )
    assert len(re.findall(r"^  (?:untrained|epoch \d) +\d+% +\d+% #+$", shown, re.M)) == 9
    scores = re.search(r"(\d+)% right untrained, (\d+)% trained", shown)
    assert scores is not None and int(scores[2]) - int(scores[1]) >= 8
    assert re.search(r"^The winner: \d+ examples, proposed by event \d+,", shown, re.M)
    assert len(re.findall(r"^  event [1-9]\d* +training:\d+/\w{16}/0  \w+ +\S", shown, re.M)) == 6


def test_the_tour_leaves_one_store_in_the_folder_it_ran_in(folder: Path, text: str) -> None:
    assert text
    assert [path.name for path in folder.iterdir() if "backup" not in path.name] == ["eventcore-demo.lmdb"]
    with ec.open(folder / "eventcore-demo.lmdb", read_only=True) as store:
        assert store.runs() == ["demo", "demo-robot", "demo-training"]
        assert store["demo"].state.variables["stats_personalize"] == {"count": 2}


def test_every_command_the_tour_prints_works_when_pasted(folder: Path, text: str) -> None:
    commands = re.findall(r"^  (\S.*)$", text[text.index("Now yours") :], re.M)
    assert len(commands) >= 8
    for command in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        expected = 1 if " diff " in command else 0
        assert done.returncode == expected, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout and not done.stderr, command


@pytest.mark.campaign
def test_the_tour_runs_again_in_the_same_store(folder: Path, text: str) -> None:
    assert text
    done = tour(folder, "--json")
    assert done.returncode == 0 and done.stderr.startswith(EXPECTED)
    made = json.loads(done.stdout)
    assert (made["run"], made["fork"], made["ok"]) == ("demo-2", "demo-2-robot", True)
    assert made["training"] == "demo-2-training" and made["accuracy"][0] < made["accuracy"][1]
    assert any(shlex.split(command)[-2:] == ["runs", "eventcore-demo.lmdb"] for command in made["commands"])


@pytest.mark.campaign
@pytest.mark.parametrize("url", ["sqlite:tour.sqlite", "a folder/tour.lmdb"])
def test_the_tour_takes_another_store(tmp_path: Path, url: str) -> None:
    done = tour(tmp_path, "--store", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(EXPECTED)


def test_a_place_where_no_store_can_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    done = tour(tmp_path, "--store", "note.txt")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("eventcore: cannot open") and done.stderr.count("\n") == 1
