"""A fork pays for what changed and for nothing else: requests that equal a recorded one are answered by its parent."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import eventcore as ec
from eventcore.history import events as e
from eventcore.replay.rerun import ENVIRONMENT, Order
from tests.replay.forks import Forks
from tests.replay.training import noted, price
from tests.structure.source import ROOT

SCRIPT = [sys.executable, "-c", "from tests.replay.training import main; main()"]
SMALL = ("--examples", "8", "--batch", "3", "--slowness", "0.001")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


class Lab:
    """A recorded run and its forks.

    Args:
        forks: Makes processes.
        folder: Where the store and the bill are.
        arguments: What the run was recorded with.
    """

    def __init__(self, forks: Forks, folder: Path, arguments: Sequence[str]) -> None:
        self.forks = forks
        self.store, self.bill = folder / "runs.lmdb", folder / "bill"
        forks.run([self.store, self.bill, *arguments])

    @property
    def billed(self) -> Counter[str]:
        """What was paid."""
        return Counter(self.bill.read_text().split())

    def start(self, arguments: Sequence[str]) -> int:
        """Seq before the first thing a script does that knows the data: the last place all of them agree at."""
        with ec.open(self.store, read_only=True) as store:
            run = store["training"]
            read = next(run.events(kind="FieldRead")).seq
            return next((record.seq - 1 for record in run.events(kind="DataSetSeen")), read - 1)

    def fork(
        self, name: str, at: int, arguments: Sequence[str], edits: Sequence[str] = (), *options: str
    ) -> dict[str, Any]:
        """Fork by the command line and run the script in it; what it says."""
        sets = [part for edit in edits for part in ("--set", edit)]
        command = ["fork", self.store, "training", name, "--at", at, *sets, *options, "--json", "--"]
        done = self.call(*command, *SCRIPT, self.store, self.bill, *arguments)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def call(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Call the command line."""
        command = [sys.executable, "-m", "eventcore", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def answered(self, name: str, at: int) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """Of a run behind a seq, by what was asked: requests, those answered live and well, those reused."""
        asked: dict[int, str] = {}
        live, reused = Counter[str](), Counter[str]()
        with ec.open(self.store, read_only=True) as store:
            for record in store[name].events(at + 1):
                event = record.event
                if isinstance(event, e.EffectStarted):
                    request = event.request
                    texts = (str(request["messages"]),) if "messages" in request else request["texts"]
                    asked[record.seq] = noted(*texts)
                elif isinstance(event, e.EffectCompleted):
                    live[asked[event.cause]] += 1
                elif isinstance(event, e.EffectReused):
                    reused[asked[event.cause]] += 1
        return Counter(asked.values()), live, reused

    def check(self, name: str, at: int, said: dict[str, Any], before: Counter[str]) -> tuple[int, int]:
        """Compare a fork with its parent and the bill, by a count of one's own; (requests, reused)."""
        _, parent, _ = self.answered("training", at)
        asked, _, reused = self.answered(name, at)
        assert reused == asked & parent, "whatever can be reused is, and no more often than it was answered"
        paid = self.billed - before
        assert paid == asked - reused
        assert (said["calls"], said["reused"]) == (paid.total(), reused.total())
        assert said["cost"] == sum(
            price(note) * count for note, count in paid.items() if note not in self.free
        )
        assert said["saved"] == sum(
            price(note) * count for note, count in reused.items() if note not in self.free
        )
        with ec.open(self.store, read_only=True) as store:
            run = store[name]
            whole = run.cost()
            for by in ("variable", "candidate", "epoch", "model", "rollout", "kind"):
                parts = run.cost(by).values()
                assert sum(part.cost for part in parts) == whole.cost
                assert sum(part.saved for part in parts) == whole.saved == said["saved"]
                assert sum(part.reused for part in parts) == reused.total()
        return asked.total(), reused.total()

    @property
    def free(self) -> set[str]:
        """Notes of calls that cost nothing: embeddings, and those that failed."""
        found: set[str] = set()
        with ec.open(self.store, read_only=True) as store:
            for name in store:
                for record in store[name].events(1, kind="EffectStarted"):
                    if isinstance(record.event, e.EffectStarted) and "texts" in record.event.request:
                        found.add(noted(*record.event.request["texts"]))
        return found


@pytest.mark.slow
def test_exactly_the_calls_that_read_the_edited_variable_are_paid_again(forks: Forks, tmp_path: Path) -> None:
    arguments = ("--examples", "6", "--batch", "3", "--predict", "4")
    lab = Lab(forks, tmp_path, arguments)
    at = lab.start(arguments)
    assert lab.billed.total() == 24
    for number in range(4):
        before = lab.billed
        edit = f'part{number}/state_part{number}/instructions="Sterner, {number}."'
        said = lab.fork(f"edited-{number}", at, arguments, [edit])
        assert lab.check(f"edited-{number}", at, said, before) == (24, 18)
        with ec.open(lab.store, read_only=True) as store:
            parts = store[f"edited-{number}"].cost("variable")
        paid = {path: part.calls for path, part in parts.items() if part.calls}
        assert paid == {f"part{number}/state_part{number}": 6}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        ("--batch", "6"),
        ("--drop", "1"),
        ("--concurrency", "1"),
        ("--examples", "10"),
        ("--optimizer", "evolutionary"),
        ("--optimizer", "omega"),
        ("--epochs", "3"),
    ],
    ids=lambda changed: "".join(changed),
)
def test_every_request_of_a_changed_training_that_equals_a_recorded_one_is_reused(
    forks: Forks, tmp_path: Path, changed: tuple[str, str]
) -> None:
    lab = Lab(forks, tmp_path, SMALL)
    with ec.open(lab.store, read_only=True) as store:
        at = next(store["training"].events(kind="VariableDeclared")).seq - 2
    before = lab.billed
    arguments = [*SMALL, *changed]
    said = lab.fork("changed", at, arguments)
    asked, reused = lab.check("changed", at, said, before)
    assert 0 < reused <= asked
    if changed[0] in ("--concurrency",):
        assert reused == asked


@pytest.mark.slow
def test_an_edit_and_a_resume_of_the_killed_fork_end_like_the_fork_left_alone(
    forks: Forks, tmp_path: Path
) -> None:
    arguments = ("--examples", "8", "--batch", "3", "--slowness", "0.01", "--optimizer", "omega")
    lab = Lab(forks, tmp_path, arguments)
    at = lab.start(arguments)
    edits = ["guess/offset/value=2", 'guess/second/state_second/instructions="Other words."']
    before = lab.billed
    said = lab.fork("whole", at, arguments, edits)
    lab.check("whole", at, said, before)
    sets = [part for edit in edits for part in ("--set", edit)]
    assert lab.call("fork", lab.store, "training", "killed", "--at", at, *sets).returncode == 0
    order = msgspec.json.encode(Order("go-on", f"lmdb:{lab.store}", "killed")).decode()
    before, doubt = lab.billed, Counter[str]()
    for kills in range(3):
        process = forks.start([lab.store, lab.bill, *arguments], **{ENVIRONMENT: order})
        while process.alive and (lab.billed - before).total() < 4 * (kills + 1):
            time.sleep(0.001)
        process.kill()
        assert process.end() == -signal.SIGKILL, process.output
        with ec.open(lab.store, read_only=True) as store:
            for record in store["killed"].in_doubt():
                assert isinstance(record.event, e.EffectStarted)
                request = record.event.request
                doubt[
                    noted(*((str(request["messages"]),) if "messages" in request else request["texts"]))
                ] += 1
    done = lab.call("resume", lab.store, "killed", "--", *SCRIPT, lab.store, lab.bill, *arguments)
    assert done.returncode == 0, done.stderr
    with ec.open(lab.store, read_only=True) as store:
        assert store["killed"].state.digest == store["whole"].state.digest
        whole, killed = store["whole"].cost(), store["killed"].cost()
    assert (killed.calls, killed.reused, killed.saved) == (whole.calls, whole.reused, whole.saved)
    assert not (lab.billed - before) - lab.answered("killed", at)[1] - doubt


@pytest.mark.slow
def test_without_reuse_everything_after_the_fork_is_paid_again(forks: Forks, tmp_path: Path) -> None:
    lab = Lab(forks, tmp_path, SMALL)
    at, paid = lab.start(SMALL), lab.billed
    said = lab.fork("paid", at, SMALL, (), "--no-reuse")
    assert (said["reused"], said["saved"], said["calls"]) == (0, 0.0, paid.total())
    assert lab.billed == paid + paid
    with ec.open(lab.store, read_only=True) as store:
        assert store["paid"].state.digest == store["training"].state.digest


@pytest.mark.slow
def test_failures_are_not_reused(forks: Forks, tmp_path: Path) -> None:
    arguments = (*SMALL, "--failures", "0.2")
    lab = Lab(forks, tmp_path, arguments)
    with ec.open(lab.store, read_only=True) as store:
        failed = store["training"].cost().errors
    assert failed
    said = lab.fork("again", lab.start(arguments), arguments)
    assert said["calls"] == failed


@pytest.mark.slow
def test_the_command_line_says_in_one_line_what_was_reused(forks: Forks, tmp_path: Path) -> None:
    lab = Lab(forks, tmp_path, SMALL)
    total = lab.billed.total()
    at = lab.start(SMALL)
    done = lab.call(
        "fork", lab.store, "training", "again", "--at", at, "--", *SCRIPT, lab.store, lab.bill, *SMALL
    )
    saved = sum(price(note) * count for note, count in lab.billed.items())
    line = rf"run 'again': forked from 'training' at seq {at}, now at \d+: "
    assert re.search(
        line + rf"reused {total} of {total} calls, saved \${saved:.4f}, paid \$0\.0000\n$", done.stdout
    )


@pytest.mark.slow
def test_edits_that_cannot_be_made_make_no_fork(forks: Forks, tmp_path: Path) -> None:
    arguments = (*SMALL, "--predict", "2")
    lab = Lab(forks, tmp_path, arguments)
    with ec.open(lab.store, read_only=True) as store:
        declared = [record.seq for record in store["training"].events(kind="VariableDeclared")]
    refused = {
        (
            declared[0],
            "nobody/value=1",
        ): "cannot fork run 'training' at seq .*nobody.*there is: part0/state_part0",
        (declared[0], 'part1/state_part1/instructions="x"'): f"declared at seq {declared[1]}",
        (declared[1], 'part1/state_part1/instruction="x"'): "no such place; it has .*instructions",
        (declared[1], "part1/state_part1/instructions=7"): "instructions",
        (declared[1], "part1/state_part1/examples=[3]"): "examples",
        (declared[1], "part1/state_part1"): "pass VARIABLE/POINTER=JSON",
        (declared[1], "=3"): "pass VARIABLE/POINTER=JSON",
        (10_000, "part1/state_part1/instructions=x"): "its log ends at|there is no seq",
    }
    for (at, edit), message in refused.items():
        done = lab.call("fork", lab.store, "training", "new", "--at", at, "--set", edit)
        assert done.returncode == 2, (edit, done.stdout, done.stderr)
        assert re.search(message, done.stderr), (edit, done.stderr)
        assert "Traceback" not in done.stderr
        with ec.open(lab.store, read_only=True) as store:
            assert store.runs() == ["training"]


@pytest.mark.slow
def test_a_taken_name_and_an_unknown_run_are_refused(forks: Forks, tmp_path: Path) -> None:
    lab = Lab(forks, tmp_path, (*SMALL, "--predict", "1"))
    done = lab.call("fork", lab.store, "training", "training")
    assert (done.returncode, "the name is taken" in done.stderr) == (2, True)
    done = lab.call("fork", lab.store, "trainings", "new")
    assert (done.returncode, "cannot find run 'trainings'" in done.stderr) == (2, True)
    with ec.open(lab.store, read_only=True) as store:
        assert store.runs() == ["training"]
