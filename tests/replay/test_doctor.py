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
import asyncio, dataclasses, os, pickle, random, secrets, threading, time, uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
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


def word(value: str) -> str:
    return f"notes.update({{'word': str({value})}})"


TAKEN = {
    "clock": [
        word(value)
        for value in (
            "time.time()", "time.time_ns()", "time.monotonic()", "time.monotonic_ns()", "time.perf_counter()",
            "time.perf_counter_ns()", "list(time.localtime())", "time.gmtime().tm_year", "time.ctime()",
            "time.asctime()", "time.strftime('%Y')", "time.strftime('%A')", "time.localtime().tm_mon",
            "datetime.now().isoformat()", "datetime.utcnow().year", "datetime.today().month", "date.today()",
            "date.today().year",
            "dataclasses.make_dataclass('At', [('at', float, dataclasses.field(default_factory=time.time))])()",
            "(lambda: int(-time.perf_counter() + time.perf_counter()))()",
        )
    ],
    "random": [
        *(
            word(value)
            for value in (
                "random.random()", "random.betavariate(1, 2)", "random.getrandbits(40)", "random.Random().random()",
                "random.SystemRandom().random()", "random.SystemRandom().randint(1, 10**9)",
                "secrets.token_hex(4)", "secrets.randbelow(10**9)", "secrets.randbits(40)", "os.urandom(4).hex()",
                "__import__('numpy').random.rand()", "__import__('numpy').random.default_rng().random()",
            )
        ),
        "x = [1, 2, 3, 4]; random.shuffle(x); notes.update({'word': str(x)})",
        "random.seed(); notes.update({'word': str(random.random())})",
        "import numpy as np; np.random.seed(); notes.update({'word': str(np.random.normal())})",
    ],
    "uuid": [word("uuid.uuid4()"), word("uuid.uuid1()")],
    "hash": [word("' '.join({'a', 'b', 'c', 'd', 'e', 'f'})")],
    "other": [word("os.getpid()")],
}  # fmt: skip
THREADS = """
shared = []
def work(name):
    for number in range(4000):
        shared.append(name)
STARTED
notes.update({"word": str(os.getpid()), "words": shared[::50]})
"""
STARTED = {
    "threads = [threading.Thread(target=work, args=(name,)) for name in 'abcd']\n"
    "for thread in threads: thread.start()\nfor thread in threads: thread.join()": (
        "for thread in threads: thread.start()",
        "a thread started",
    ),
    "with ThreadPoolExecutor(4) as pool: list(pool.map(work, 'abcd'))": (
        "with ThreadPoolExecutor(4) as pool: list(pool.map(work, 'abcd'))",
        "a thread started",
    ),
    "async def main():\n"
    "    async with asyncio.TaskGroup() as group:\n"
    "        for name in 'abcd': group.create_task(asyncio.to_thread(work, name))\n"
    "asyncio.run(main())": ("def work(name):", "work() run in a thread"),
}
HARMLESS = [
    "notes.update({'word': ec.uuid() + str(ec.now()) + str(ec.random('x').random())})",
    "notes.update({'word': str(clock())})",
    "notes.update({'word': ' '.join(sorted({'a', 'b', 'c'}))})",
    "notes.update({'word': str(random.Random(3).random())})",
    "random.seed(3); notes.update({'word': str(random.random())})",
    "import numpy; numpy.random.seed(3); notes.update({'word': str(numpy.random.rand())})",
    "import numpy; numpy.random.default_rng(3); notes.update({'word': str(numpy.random.RandomState(3).rand())})",
    "notes.update({'word': time.strftime('%Y', time.gmtime(0)) + time.ctime(0) + str(time.localtime(0)[0])})",
    "import logging; logging.basicConfig(format='%(asctime)s'); logging.warning('seen')",
    "x = datetime(2020, 1, 2); assert pickle.loads(pickle.dumps([x, x.date()])) == [x, date(2020, 1, 2)]",
    "assert pickle.loads(pickle.dumps([time.sleep, datetime])) == [time.sleep, datetime]",
    "class Own(datetime): pass\nassert not isinstance(date(2020, 1, 2), Own) and type(Own(2020, 1, 2)) is Own",
    "class Own:\n    clock = time.gmtime\nassert Own().clock(0).tm_year == 1970",
]


def examine(folder: Path, what: str, *, code: int) -> Any:
    if "numpy" in what:
        pytest.importorskip("numpy")
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
    ("source", "what"),
    [
        # One of each kind at once; all of them when there is time.
        pytest.param(source, what, marks=[pytest.mark.campaign] if number else [])
        for source, lines in TAKEN.items()
        for number, what in enumerate(lines)
    ],
)
def test_the_first_unrecorded_source_is_named_with_its_line(tmp_path: Path, source: str, what: str) -> None:
    cause = examine(tmp_path, what, code=1)["causes"][0]
    assert cause["source"] == source
    assert f"script.py:{line_of(what)} in <module>" in cause["divergence"]["line"]
    if source not in ("hash", "other"):
        assert any(f"script.py:{line_of(what)} in" in line for line in cause["lines"])


def line_of(what: str) -> int:
    return SCRIPT.replace("WHAT", what).split("\n").index(what) + 1


@pytest.mark.parametrize(
    "started",
    [pytest.param(how, marks=[pytest.mark.campaign] if number else []) for number, how in enumerate(STARTED)],
)
def test_the_order_of_threads_is_named_with_the_users_line(tmp_path: Path, started: str) -> None:
    what = THREADS.replace("STARTED", started)
    cause = examine(tmp_path, what, code=1)["causes"][0]
    line, said = STARTED[started]
    number = SCRIPT.replace("WHAT", what).split("\n").index(line) + 1
    assert cause["source"] == "threads"
    assert [place for place in cause["lines"] if f"script.py:{number} in" not in place] == []
    assert cause["lines"][0].startswith(said)


def test_threads_whose_order_is_recorded_are_not_noted(tmp_path: Path) -> None:
    what = "asyncio.run(ec.to_thread(str, 3))"
    assert len(examine(tmp_path, what, code=0)["harmless"]) == 1  # the clock that is looked at


def test_waiting_by_the_clock_comes_to_an_end(tmp_path: Path) -> None:
    what = "end = time.monotonic() + 600\nwhile time.monotonic() < end: time.sleep(0.001)"
    assert examine(tmp_path, what, code=0)["causes"] == []


@pytest.mark.parametrize(
    "what", [*HARMLESS[:5], *(pytest.param(what, marks=pytest.mark.campaign) for what in HARMLESS[5:])]
)
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


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "it names no script"),
        ("  ", "it names no script"),
        ("''", "it names no script"),
        ("nothere.py", "there is no such script"),
        ("nothere", "no such program"),
        (".", "it is a directory"),
        ("folder.py", "it is a directory"),
        ("notes.txt", "no program that may be run"),
        ("./noshebang", "it cannot be run"),
        ("'open", "quotes do not match"),
        ("binary.py", "exit code 1"),
    ],
)
def test_what_is_no_script_is_refused_in_words(tmp_path: Path, command: str, said: str) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").write_text("print()")
    (tmp_path / "noshebang").write_bytes(b"\x7fnothing")
    (tmp_path / "noshebang").chmod(0o755)
    (tmp_path / "binary.py").write_bytes(b"\x7f\x00")
    done = subprocess.run(
        [sys.executable, "-m", "eventcore", "doctor", "--script", command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
