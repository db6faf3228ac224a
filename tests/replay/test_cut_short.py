"""Scripts of all kinds that are cut short by Ctrl-C, or by their own end, and go on when they are started again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.history import events as e
from tests.structure.source import ROOT

pytestmark = pytest.mark.slow

START = """
import asyncio, os, signal
import eventcore as ec

run = ec.open("runs.lmdb").run("r", seed=7, resume=True)
stop = int(os.environ.get("STOP", "0"))
notes = ec.Variable(data_model=ec.Trainable, name="notes")

def bill(number):
    with open("bill", "a") as file:
        file.write(f"{number}\\n")
    if number == stop:
        os.kill(os.getpid(), signal.SIGINT)

@ec.effect
async def ask(number: int) -> int:
    bill(number)
    await asyncio.sleep(0.001)
    return number * 2

def note(answer):
    notes.get("examples").append({"inputs": {"a": answer}, "outputs": {}})
"""

SCRIPTS = {
    "one after the other": """
async def main():
    for number in range(1, 7):
        note(await ask(number))
asyncio.run(main())
""",
    "side by side": """
async def one(number):
    note(await ask(number))
    note(await ask(number + 10))
async def main():
    for first in (1, 4):
        await asyncio.gather(*(one(number) for number in range(first, first + 3)))
asyncio.run(main())
""",
    "in a task group, with something to clear away": """
async def one(number):
    try:
        note(await ask(number))
    finally:
        note(-number)
async def main():
    async with asyncio.TaskGroup() as group:
        for number in range(1, 7):
            group.create_task(one(number))
asyncio.run(main())
""",
    "several programs of asyncio": """
async def main(number):
    note(await ask(number))
for number in range(1, 7):
    asyncio.run(main(number))
""",
    "evaluated and predicted": """
class Text(ec.DataModel):
    number: int
class Answer(ec.DataModel):
    answer: int
class Asking(ec.Module):
    async def call(self, inputs, training=False):
        return Answer(answer=await ask(inputs.get("number")))
    async def compute_output_spec(self, inputs, training=False):
        return Answer
inputs = ec.Input(data_model=Text)
program = ec.Program(inputs=inputs, outputs=ec.wait(Asking(name="asking")(inputs)), name="p")
program.compile(reward=ec.rewards.ExactMatch())
texts = [Text(number=number) for number in range(1, 7)]
ec.wait(program.predict(texts, batch_size=2, verbose=0))
ec.wait(program.evaluate(texts, [Answer(answer=2) for _ in texts], batch_size=2, verbose=0))
""",
}


def started(folder: Path, script: str, stop: int = 0, environment: dict[str, str] | None = None) -> Any:
    (folder / "script.py").write_text(START + script)
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "STOP": str(stop), **(environment or {})},
    )  # fmt: skip


def noted(folder: Path) -> list[int]:
    """What the run holds in the end; side by side, calls may be answered in any order."""
    with ec.open(folder / "runs.lmdb", read_only=True) as store:
        return sorted(note["inputs"]["a"] for note in store["r"].state.variables["notes"]["examples"])


def billed(folder: Path) -> list[str]:
    return (folder / "bill").read_text().split()


def replayed(folder: Path) -> Any:
    with ec.open(folder / "runs.lmdb", read_only=True) as store:
        return store["r"].replay([sys.executable, str(folder / "script.py")])


@pytest.mark.campaign
@pytest.mark.parametrize("kind", SCRIPTS)
def test_ctrl_c_in_any_script_leaves_a_run_that_ends_like_one_left_alone(tmp_path: Path, kind: str) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert started(whole, SCRIPTS[kind]).returncode == 0
    stopped = [3, 5]
    for stop in stopped:
        asked = len(billed(tmp_path)) if stop != stopped[0] else 0
        done = started(tmp_path, SCRIPTS[kind], stop)
        if stop != stopped[0] and str(stop) not in billed(tmp_path)[asked:]:
            continue  # that call was answered before the first Ctrl-C
        assert done.returncode != 0
        assert "KeyboardInterrupt" in done.stderr, done.stderr
        report = replayed(tmp_path)
        assert report.identical, str(report)
    done = started(tmp_path, SCRIPTS[kind])
    assert done.returncode == 0, done.stderr
    assert noted(tmp_path) == noted(whole)
    again = len(billed(tmp_path)) - len(billed(whole))
    assert 1 <= again <= 6 * len(stopped), "only what was under way is asked again"
    with ec.open(tmp_path / "runs.lmdb", read_only=True) as store:
        completed = [record.event.cause for record in store["r"].events(kind="EffectCompleted")]
    assert len(completed) == len(set(completed))
    assert replayed(tmp_path).identical


@pytest.mark.parametrize("kind", SCRIPTS)
def test_what_was_answered_before_ctrl_c_is_not_asked_again(tmp_path: Path, kind: str) -> None:
    started(tmp_path, SCRIPTS[kind], 5)
    with ec.open(tmp_path / "runs.lmdb", read_only=True) as store:
        run = store["r"]
        answered = {record.event.cause for record in run.events(kind="EffectCompleted")}
        numbers = [
            str(record.event.request["number"])
            for record in run.events(kind="EffectStarted")
            if isinstance(record.event, e.EffectStarted) and record.seq in answered
        ]
    before = len(billed(tmp_path))
    assert started(tmp_path, SCRIPTS[kind]).returncode == 0
    asked_since = billed(tmp_path)[before:]
    if kind != "evaluated and predicted":  # there every number is asked twice in all
        assert not set(numbers) & set(asked_since)
    else:
        assert len(numbers) + len(asked_since) == 12


LEFT_BEHIND = """
async def main():
    behind = asyncio.create_task(ask(99))
    for number in range(1, 4):
        note(await ask(number))
    if os.environ.get("BROKEN"):
        raise ValueError("a mistake in the script")
    note(await behind)
asyncio.run(main())
"""


def test_what_was_cancelled_when_the_script_failed_is_asked_again_when_it_is_mended(tmp_path: Path) -> None:
    slow = LEFT_BEHIND.replace("ask(99)", "slow(99)").replace(
        "async def main", "@ec.effect\nasync def slow(number: int) -> int:\n"
        "    bill(number)\n    await asyncio.sleep(60 if os.environ.get('BROKEN') else 0)\n    return number\n"
        "async def main", 1,
    )  # fmt: skip
    done = started(tmp_path, slow, environment={"BROKEN": "yes"})
    assert "a mistake in the script" in done.stderr
    assert replayed(tmp_path).identical
    done = started(tmp_path, slow)
    assert done.returncode == 0, done.stderr
    assert sorted(billed(tmp_path)) == ["1", "2", "3", "99", "99"]


def test_a_task_that_the_script_itself_leaves_behind_is_cancelled_again_and_nothing_is_asked(
    tmp_path: Path,
) -> None:
    script = """
async def main():
    behind = asyncio.create_task(wait_long(99))
    note(await ask(1))
@ec.effect
async def wait_long(number: int) -> int:
    bill(number)
    await asyncio.sleep(60)
    return number
asyncio.run(main())
"""
    for _ in range(2):
        assert started(tmp_path, script).returncode == 0
        assert sorted(billed(tmp_path)) == ["1", "99"]
        assert replayed(tmp_path).identical


def test_calls_that_were_answered_while_the_script_was_stopped_are_a_difference_and_not_paid_again(
    tmp_path: Path,
) -> None:
    script = """
async def main():
    try:
        note(await ask(1))
        note(await ask(2))
    finally:
        await ask(50)
    note(await ask(3))
asyncio.run(main())
"""
    assert started(tmp_path, script, 2).returncode != 0
    before = billed(tmp_path)
    assert before == ["1", "2", "50"]
    done = started(tmp_path, script)
    assert "eventcore fork" in done.stderr
    assert billed(tmp_path) == before
