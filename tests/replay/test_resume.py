"""The same script started again goes on where its log ends, whatever ended it, and repeats no recorded call."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.history import events as e
from tests.replay.forks import Forks, Process
from tests.replay.scripts import Script, environment
from tests.structure.source import ROOT

KILLED = "if question == 'c': run.flush(); os.kill(os.getpid(), 9)"
DIES_ASKING = "if question == 'c' and not os.environ.get('AGAIN'): os.kill(os.getpid(), 9)"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def uninterrupted(folder: Path) -> str:
    (folder / "whole").mkdir()
    whole = Script(folder / "whole").write()
    whole.run()
    return whole.digest


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["lmdb", "sqlite"])
def test_a_killed_script_goes_on_and_says_where(tmp_path: Path, scheme: str) -> None:
    script = Script(tmp_path, scheme)
    script.write(in_loop=KILLED).run(-signal.SIGKILL)
    assert script.asked == "ab"
    head = script.head
    said = script.write().run().stderr
    assert f"run 'main' goes on at seq {head}: 2 answers were taken from its log\n" in said
    assert script.asked == "abcd"
    assert script.digest == uninterrupted(tmp_path)


@pytest.mark.slow
def test_a_finished_run_is_not_touched(script: Script) -> None:
    script.write().run()
    head, digest = script.head, script.digest
    said = script.run().stderr
    had = f"run 'main' had finished at seq {head}: nothing was done again, 4 answers were taken from its log"
    assert said == f"eventcore: {had}\n"
    assert (script.head, script.digest, script.asked) == (head, digest, "abcd")


@pytest.mark.slow
def test_a_changed_script_stops_at_its_first_difference_and_prints_a_fork_that_works(script: Script) -> None:
    script.write().run()
    head = script.head
    said = script.write("abxd").run(1).stderr
    assert "cannot resume run 'main': its code diverged at seq" in said
    assert "recorded: c" in said and "replayed: x" in said
    command = said.splitlines()[-1]
    assert (script.head, script.asked) == (head, "abcd")
    assert shlex.split(command)[3:8] == ["fork", script.url, "main", "main-fork", "--at"]
    made = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), check=True)
    assert re.search(r"reused 3 of 4 calls|reused 1 of 2 calls", made.stdout), made.stdout
    assert script.asked == "abcdx"


@pytest.mark.slow
def test_another_seed_is_refused(script: Script) -> None:
    script.write().run()
    script.path.write_text(script.path.read_text().replace("seed=7", "seed=8"))
    said = script.run(1).stderr
    assert "cannot resume run 'main' with seed 8: it was started with seed 7" in said


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with (
        ec.open(tmp_path / "runs.lmdb") as store,
        pytest.raises(InvalidValue, match="pass one of retry, fail, ask"),
    ):
        store.run("r", resume=True, in_doubt="hope")


def doubtful(script: Script) -> int:
    """Kill a script while it asks for c; the seq of that call."""
    script.write(before_answer=DIES_ASKING).run(-signal.SIGKILL)
    with script.opened() as store:
        (record,) = store["main"].in_doubt()
    assert isinstance(record.event, e.EffectStarted)
    assert record.event.request == {"question": "c"}
    assert script.asked == "abc"
    return record.seq


@pytest.mark.slow
def test_a_call_in_doubt_is_made_again_when_that_is_the_policy(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubtful(script)
    monkeypatch.setenv("AGAIN", "yes")
    said = script.run().stderr
    assert "1 call in doubt" in said
    assert script.asked == "abccd"
    with script.opened() as store:
        assert store["main"].in_doubt() == []


@pytest.mark.slow
def test_a_call_in_doubt_counts_as_failed_when_that_is_the_policy(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = doubtful(script)
    monkeypatch.setenv("AGAIN", "yes")
    script.write(before_answer=DIES_ASKING, options=", in_doubt='fail'")
    said = script.run(1).stderr
    assert "CallInDoubt: cannot tell whether call" in said
    assert f"after seq {seq}" in said
    assert f"it counts as failed from now on: fork the run at seq {seq - 1}" in said
    with script.opened() as store:
        (failed,) = store["main"].events(kind="EffectFailed")
        assert failed.event.cause == seq
    script.write(before_answer=DIES_ASKING).run(1)  # the same again: what failed is recorded
    assert script.asked == "abc"
    made = script.eventcore("fork", script.url, "main", "NEW", "--at", str(seq - 1), "--", *script.command)
    assert "reused 0 of 2 calls" in made.stdout
    assert script.asked == "abccd"


@pytest.mark.slow
def test_without_leave_of_who_is_asked_nothing_is_made_again_and_nothing_is_changed(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = doubtful(script)
    head = script.head
    monkeypatch.setenv("AGAIN", "yes")
    script.write(before_answer=DIES_ASKING, options=", in_doubt='ask'")
    for _ in range(2):
        said = script.run(1).stderr  # nobody is at the terminal
        assert f"was killed after seq {seq} and before its answer was recorded; the run is unchanged" in said
        assert (script.asked, script.head) == ("abc", head)
    script.write(before_answer=DIES_ASKING).run()
    assert script.asked == "abccd"


PLAIN = """
import os, signal
import eventcore as ec

run = ec.open("runs.lmdb").run("r", seed=7, resume=True, in_doubt=os.environ["POLICY"])

@ec.effect
def ask(number: int) -> int:
    with open("bill", "a") as file:
        file.write(f"{number}\\n")
    if number == 2 and "DIE" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 2

answers = []
for number in range(1, 4):
    try:
        answers.append(ask(number))
    except ec.errors.CallInDoubt:
        if os.environ["POLICY"] == "ask":
            raise
        answers.append(None)
print(answers)
"""


@pytest.mark.slow
def test_the_policies_mean_the_same_for_plain_functions(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(PLAIN)

    def started(policy: str, **more: str) -> Any:
        return subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"PYTHONPATH": str(ROOT), "POLICY": policy, **more}, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def billed() -> str:
        return "".join((tmp_path / "bill").read_text().split())

    assert started("retry", DIE="yes").returncode == -signal.SIGKILL
    assert "the run is unchanged" in started("ask").stderr
    assert billed() == "12"
    assert started("fail").stdout == "[2, None, 6]\n"
    assert billed() == "123"
    assert started("retry").stdout == "[2, None, 6]\n", "what counts as failed stays so"
    assert billed() == "123"


@pytest.mark.slow
def test_the_person_at_the_terminal_is_asked(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    doubtful(script)
    monkeypatch.setenv("AGAIN", "yes")
    script.write(before_answer=DIES_ASKING, options=", in_doubt='ask'")
    ours, theirs = os.openpty()
    with subprocess.Popen(
        script.command, stdin=theirs, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        os.write(ours, b"y\n")
        assert process.stderr is not None
        said = process.stderr.read()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, said
    assert 'it asked: {"question":"c"}' in said
    assert "make it again? [y/N]" in said
    assert script.asked == "abccd"


@pytest.mark.slow
def test_the_command_line_lists_calls_in_doubt_and_applies_the_policy(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = doubtful(script)
    monkeypatch.setenv("AGAIN", "yes")
    done = script.eventcore("resume", script.url, "main", "--in-doubt", "fail", "--", *script.command, code=1)
    assert f"in doubt: seq {seq} ask" in done.stderr
    assert "(fail)" in done.stderr
    assert script.asked == "abc"


def wait_for(process: Process, bill: Path, calls: int) -> None:
    """Wait until so many calls are on the bill; the process must not end before that."""
    while len(bill.read_text().split() if bill.exists() else ()) < calls:
        assert process.alive, process.output
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_at_any_time_leaves_a_run_that_ends_like_one_left_alone(
    forks: Forks, tmp_path: Path, times: int
) -> None:
    arguments = ["--examples", "8", "--batch", "3", "--slowness", "0.02"]
    whole = forks.run([tmp_path / "whole.lmdb", tmp_path / "other bill", *arguments]).split()[-3]
    store, bill = tmp_path / "runs.lmdb", tmp_path / "bill"
    for number in range(times):
        process = forks.start([store, bill, *arguments])
        wait_for(process, bill, 5 * (number + 1))
        process.kill(signal.SIGINT)
        assert process.end() != 0
        assert "KeyboardInterrupt" in process.output
    assert forks.run([store, bill, *arguments]).split()[-3] == whole
    with ec.open(store, read_only=True) as opened:
        run = opened["training"]
        restored = sum(isinstance(record.event, e.StateRestored) for record in run.events(1))
        given_up = [
            record for record in run.events(kind="EffectFailed")
            if isinstance(record.event, e.EffectFailed) and record.event.error == "CancelledError"
            and record.event.attempts  # else its answer had come, and was counted then
        ]  # fmt: skip
        assert 1 <= restored <= times
        assert run.cost().calls - len(given_up) <= len(bill.read_text().split()) <= run.cost().calls
        assert opened.verify() == []


@pytest.mark.slow
def test_a_budget_is_kept_across_processes_and_the_run_goes_on_with_a_larger_one(
    forks: Forks, tmp_path: Path
) -> None:
    arguments = ["--examples", "8", "--batch", "3", "--concurrency", "4"]
    whole = forks.run([tmp_path / "whole.lmdb", tmp_path / "other bill", *arguments]).split()[-3]
    store, bill = tmp_path / "runs.lmdb", tmp_path / "bill"
    for budget in (0, 0, 11, 11, 23):
        process = forks.start([store, bill, *arguments, "--budget", str(budget)])
        assert process.end() == 1
        assert "BudgetExceeded" in process.output
        paid = len(bill.read_text().split() if bill.exists() else ())
        assert (
            budget - 4 * 2 <= paid <= budget
        )  # what was about to leave when the budget was spent was given up
    assert forks.run([store, bill, *arguments]).split()[-3] == whole
    with ec.open(store, read_only=True) as opened:
        run = opened["training"]
        given_up = [
            record for record in run.events(kind="EffectFailed")
            if isinstance(record.event, e.EffectFailed) and record.event.error == "CancelledError"
            and record.event.attempts  # else its answer had come, and was counted then
        ]  # fmt: skip
        assert run.cost().calls - len(given_up) == len((tmp_path / "other bill").read_text().split())


@pytest.mark.slow
def test_the_cost_of_a_resumed_run_is_what_the_bill_says(forks: Forks, tmp_path: Path) -> None:
    store, bill = tmp_path / "runs.lmdb", tmp_path / "bill"
    arguments = [store, bill, "--examples", "8", "--optimizer", "omega", "--slowness", "0.01"]
    process = forks.start(arguments)
    wait_for(process, bill, 12)
    process.kill()
    assert process.end() == -signal.SIGKILL
    with ec.open(store, read_only=True) as opened:
        doubt = len(opened["training"].in_doubt())
    forks.run(arguments)
    with ec.open(store, read_only=True) as opened:
        run = opened["training"]
        total, paid = run.cost().calls, len(bill.read_text().split())
        assert paid - doubt <= total <= paid
        for by in ("variable", "candidate", "epoch", "model", "rollout", "kind"):
            assert sum(part.calls for part in run.cost(by).values()) == total
        kinds = Counter(
            record.event.kind
            for record in run.events(kind="EffectStarted")
            if isinstance(record.event, e.EffectStarted)
        )
        assert {kind: part.calls for kind, part in run.cost("kind").items()} == kinds


@pytest.mark.slow
@pytest.mark.parametrize("target", ["saved.json", "saved.lmdb", "saved.db", "runs.lmdb"])
def test_a_resumed_script_saves_again_what_it_saved_and_a_replay_saves_nothing(
    forks: Forks, tmp_path: Path, target: str
) -> None:
    store, saved = tmp_path / "runs.lmdb", tmp_path / target
    arguments = [store, tmp_path / "bill", "--examples", "8", "--save", saved]
    first = forks.run(arguments).split()[-3]
    files = [saved] if saved.is_file() else [path for path in saved.iterdir() if path.name != "lock.mdb"]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    script = ["python", "-c", "from tests.replay.training import main; main()", *map(str, arguments)]
    with ec.open(store, read_only=True) as opened:
        report = opened["training"].replay([sys.executable, *script[1:]])
    assert report.identical, str(report)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before
    assert first in forks.run(arguments)
    with ec.open(store, read_only=True) as opened:
        assert opened["training"].state.digest == first


INTERRUPTED = """
import os, signal, sys
from eventcore.replay.replayer import Replayer
from tests.replay.training import main
left, consumed = int(sys.argv.pop(1)), Replayer._consumed

def counted(self, event):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGINT)
    return consumed(self, event)

Replayer._consumed = counted
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [20, 60, 150, 300])
def test_ctrl_c_before_the_log_has_ended_changes_nothing_and_is_no_divergence(
    forks: Forks, tmp_path: Path, at: int
) -> None:
    arguments = [str(tmp_path / "runs.lmdb"), str(tmp_path / "bill"), "--examples", "8", "--batch", "3"]
    digest, head, _ = forks.run(arguments).split()[-3:]
    command = [sys.executable, "-c", INTERRUPTED, str(at), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=60)
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert "Diverged" not in done.stderr
    assert f"its log goes on to {head}; nothing was changed" in done.stderr
    printed = forks.run(arguments)
    assert digest in printed
    assert f"had finished at seq {head}" in printed


def test_a_divergence_is_not_hidden_by_what_views_show_when_the_store_is_closed(tmp_path: Path) -> None:
    class Notes(ec.DataModel):
        texts: list[str] = []  # noqa: RUF012 - a data model copies its defaults

    def noted(text: str) -> None:
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True):
            notes = ec.Variable(data_model=Notes, name="notes")
            texts = notes.get("texts")
            texts.append("the same")
            texts.append(text)

    noted("one")
    with pytest.raises(ec.errors.Diverged, match="another ValuePatched"):
        noted("another")
    noted("one")
