"""`eventcore replay`: the verdict, the first difference, and the exit code that goes with it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.replay.scripts import Script, environment


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    written = Script(tmp_path_factory.mktemp("recorded")).write()
    written.run()
    return written


def replay(script: Script, *options: str, code: int | None = 0) -> tuple[str, str]:
    done = script.eventcore("replay", script.url, "main", *options, "--", *script.command, code=code)
    return done.stdout, done.stderr


@pytest.mark.slow
def test_an_identical_replay_says_so_in_one_line_and_changes_no_byte(script: Script) -> None:
    script.write()
    data = Path(script.url.partition(":")[2]) / "data.mdb"
    before = hashlib.sha256(data.read_bytes()).digest()
    out, _ = replay(script)
    counts = f"{script.head:,} events, 4 effects answered from the log, digest {script.digest[:16]}"
    assert out == f"run 'main' replayed: identical: {counts}\n"
    assert hashlib.sha256(data.read_bytes()).digest() == before


@pytest.mark.slow
def test_a_report_for_programs_has_every_field(script: Script) -> None:
    script.write(before="print('hello')")
    out, _ = replay(script, "--json")
    found = json.loads(out)
    assert found["identical"] is True
    assert (found["effects"], found["connections"], found["divergence"]) == (4, 0, None)
    assert found["output"] == "hello\n"
    script.write("abxd")
    out, _ = replay(script, "--json", code=1)
    left = json.loads(out)["divergence"]
    assert left["recorded"]["request"] == {"question": "c"}
    assert left["replayed"]["request"] == {"question": "x"}


@pytest.mark.slow
def test_a_difference_is_shown_with_seq_pointer_both_values_and_the_line(script: Script) -> None:
    script.write("abxd")
    out, _ = replay(script, code=1)
    lines = out.splitlines()
    with script.opened() as store:
        seq = [record.seq for record in store["main"].events(kind="EffectStarted")][2]
    assert lines[0] == f"run 'main' diverged at seq {seq}: another EffectStarted (ask)"
    assert re.match(rf"  line      {re.escape(str(script.path))}:\d+ in work$", lines[1])
    assert "\n  /request/question\n      recorded: c\n      replayed: x\n" in out + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("main",), "add -- python train.py"),
        (("nobody", "--", "python", "x.py"), "cannot find run 'nobody'"),
        (("main", "--", "no-such-program"), "cannot run no-such-program"),
        (("main", "--", "true"), "without a report|without opening it"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_line(
    script: Script, arguments: tuple[str, ...], message: str
) -> None:
    done = script.eventcore("replay", script.url, *arguments, code=2)
    assert re.search(message, done.stderr)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_store_in_memory_and_a_store_that_is_not_there_are_refused(script: Script, tmp_path: Path) -> None:
    assert (
        "belongs to the process" in script.eventcore("replay", "memory:", "main", "--", "true", code=2).stderr
    )
    done = script.eventcore("replay", tmp_path / "gone.lmdb", "main", "--", "true", code=None)
    assert done.returncode in (2, 3)
    assert not (tmp_path / "gone.lmdb").exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_replay_without_a_verdict(script: Script) -> None:
    script.write(
        in_loop="if question == 'c': print('here', file=sys.stderr, flush=True); await asyncio.sleep(30)"
    )
    command = [sys.executable, "-m", "eventcore", "replay", script.url, "main", "--", *script.command]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stderr.readline() == "here\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.stdout.read() == ""
        process.stderr.read()
    assert process.returncode == 130
