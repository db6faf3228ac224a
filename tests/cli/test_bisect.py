"""`eventcore bisect`: a command's exit code decides, as with `git bisect run`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.stores import call, command, environment, make_long_store, make_store, spawn

JUDGE = """
import json, os, sys
state = json.load(sys.stdin)
assert os.environ["EVENTCORE_SEQ"].isdigit() and os.environ["EVENTCORE_RUN"] == "long"
sys.exit(125 if "v" not in state else state["v"]["count"] >= 30)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_long_store(tmp_path / "runs.lmdb", 100)


def test_the_first_seq_with_another_answer_is_found(store: Path) -> None:
    result = spawn("bisect", store, "long", "--", sys.executable, "-c", JUDGE)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[-2].startswith("34 is the first seq with no: VariableUpdated v")
    assert lines[-1].startswith("before it the answer is yes; ")
    assert sum(line.startswith("seq ") for line in lines) <= 8


def test_one_variable_may_be_given_alone_and_the_answer_be_json(store: Path) -> None:
    judge = "import json, sys; sys.exit(json.load(sys.stdin)['count'] >= 30)"
    result = spawn("bisect", "--json", "--variable", "v", store, "--", sys.executable, "-c", judge)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["seq"], found["before"], found["after"]) == (34, True, False)
    assert found["event"]["payload"] == {"count": 30}


def test_an_answer_that_never_turns_ends_with_1(store: Path) -> None:
    result = spawn("bisect", store, "--", sys.executable, "-c", "")
    assert result.returncode == 1
    assert "the predicate never turns" in result.stderr


def test_a_command_that_cannot_answer_ends_it(store: Path) -> None:
    missing = spawn("bisect", store, "--", "no-such-command-here")
    assert missing.returncode == 2 and "cannot run 'no-such-command-here'" in missing.stderr
    killed = spawn("bisect", store, "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert killed.returncode == 2 and "ended with -9 at seq" in killed.stderr
    skipped = spawn("bisect", store, "--", sys.executable, "-c", "raise SystemExit(125)")
    assert skipped.returncode == 1 and "could not be judged" in skipped.stderr


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "runs.lmdb")
    for arguments in ([], ["main"], ["main", "--"], ["main", "true"]):
        result = call("bisect", store, *arguments)
        assert result.exit_code == 2 and "bisect takes STORE [RUN] -- COMMAND" in result.stderr
    for options in (["--from", "99"], ["--to", "nowhere"], ["--from", "-1"]):
        assert call("bisect", *options, store, "main", "--", "true").exit_code == 2


def test_a_reader_that_has_seen_enough_ends_it_silently(store: Path) -> None:
    for command_run in ("echo hi; exit 0", "exit 0", "yes | head -5; exit 0"):
        shell = f"{shlex.join(command('bisect', store, '--', 'sh', '-c', command_run))} | head -1"
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shell}"],
            capture_output=True, text=True, check=False, env=environment(), timeout=120,
        )  # fmt: skip
        assert done.returncode in (0, 1), command_run
        assert done.stderr == "" or "the predicate never turns" in done.stderr, command_run
        assert len(done.stdout.splitlines()) == 1


def test_a_variable_that_is_not_there_is_refused_before_any_state_is_judged(store: Path) -> None:
    result = spawn("bisect", "--variable", "vv", store, "--", "sh", "-c", "echo asked")
    assert (result.returncode, result.stdout) == (2, "")
    assert "cannot find variable 'vv'; did you mean v?" in result.stderr


@pytest.mark.parametrize(("mistyped", "code"), [("no-such-command-here", 127), ("/etc/passwd", 126)])
def test_a_command_that_a_shell_cannot_run_is_no_answer(store: Path, mistyped: str, code: int) -> None:
    result = spawn("bisect", store, "--", "sh", "-c", mistyped)
    assert result.returncode == 2 and f"'sh' ended with {code} at seq" in result.stderr
    assert "a shell's code for" in result.stderr and "seq " not in result.stdout
