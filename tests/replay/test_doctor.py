"""The determinism doctor: it names what a script takes from the world and lets into its events, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import asyncio, os, random, threading, time, uuid
from datetime import datetime
import eventcore as ec

class Notes(ec.Trainable):
    word: str = ""
    words: list[str] = []

@ec.effect
def clock() -> float:
    return time.time()

notes = ec.Variable(data_model=Notes, name="notes")
notes.update({"word": "start"})
time.time()
WHAT
notes.update({"word": "end"})
"""

TAKEN = {
    "clock": [
        "notes.update({'word': str(time.time())})",
        "notes.update({'word': datetime.now().isoformat()})",
    ],
    "random": [
        "notes.update({'word': str(random.random())})",
        "x = [1, 2, 3, 4]; random.shuffle(x); notes.update({'word': str(x)})",
    ],
    "uuid": ["notes.update({'word': str(uuid.uuid4())})", "notes.update({'word': os.urandom(4).hex()})"],
    "hash": ["notes.update({'word': ' '.join({'a', 'b', 'c', 'd', 'e', 'f'})})"],
    "other": ["notes.update({'word': str(os.getpid())})"],
}
THREADS = """
shared = []
def work(name):
    for number in range(4000):
        shared.append(name)
threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
for thread in threads: thread.start()
for thread in threads: thread.join()
notes.update({"word": str(time.thread_time_ns()), "words": shared[::50]})
"""
HARMLESS = [
    "notes.update({'word': ec.uuid() + str(ec.now()) + str(ec.random('x').random())})",
    "notes.update({'word': str(clock())})",
    "notes.update({'word': ' '.join(sorted({'a', 'b', 'c'}))})",
    "notes.update({'word': str(random.Random(3).random())})",
]


def examine(folder: Path, what: str, *, code: int) -> Any:
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("WHAT", what))
    done = subprocess.run(
        [sys.executable, "-m", "eventcore", "doctor", "--json", "--script", f"'{script}'"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("source", "what"), [(source, what) for source, lines in TAKEN.items() for what in lines]
)
def test_the_first_unrecorded_source_is_named_with_its_line(tmp_path: Path, source: str, what: str) -> None:
    cause = examine(tmp_path, what, code=1)["causes"][0]
    assert cause["source"] == source
    assert f"script.py:{line_of(what)} in <module>" in cause["divergence"]["line"]
    if source not in ("hash", "other"):
        assert any(f"script.py:{line_of(what)} in" in line for line in cause["lines"])


def line_of(what: str) -> int:
    return SCRIPT.replace("WHAT", what).split("\n").index(what) + 1


def test_the_order_of_threads_is_named_where_values_depend_on_it(tmp_path: Path) -> None:
    cause = examine(tmp_path, THREADS, code=1)["causes"][0]
    assert cause["source"] == "threads"
    assert "a thread started" in cause["lines"][0]


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_recorded_or_derived_is_not_accused(tmp_path: Path, what: str) -> None:
    found = examine(tmp_path, what, code=0)
    assert found["causes"] == []
    assert len(found["harmless"]) == 1  # the clock that is looked at, and not used
    assert found["events"] > 4


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    examine(tmp_path, "", code=0)
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("raise ValueError('no')", "exit code 1"), ("import eventcore", "recorded nothing")],
)
def test_a_script_that_fails_or_records_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "eventcore", "doctor", "--script", str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr


def test_a_script_that_is_not_there_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eventcore", "doctor", "--script", "nothere.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no such script" in done.stderr
