"""`eventcore resume`: the command is run again in the run, and its exit code is the answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.replay.scripts import Script, environment


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


@pytest.mark.slow
def test_a_killed_run_goes_on_whatever_its_script_calls_it(script: Script) -> None:
    script.write(in_loop="if question == 'c': run.flush(); os.kill(os.getpid(), 9)").run(-9)
    script.write()
    script.path.write_text(script.path.read_text().replace('run("main"', 'run("another name"'))
    done = script.eventcore("resume", script.url, "main", "--", *script.command)
    assert "2 answers were taken from its log" in done.stderr
    assert script.asked == "abcd"
    with script.opened() as store:
        assert store.runs() == ["main"]


@pytest.mark.slow
def test_the_exit_code_is_the_commands_own(script: Script) -> None:
    script.write(after="sys.exit(5)").run(5)
    script.eventcore("resume", script.url, "main", "--", *script.command, code=5)
    script.write(after="os.kill(os.getpid(), 9)")
    script.eventcore("resume", script.url, "main", "--", *script.command, code=128 + 9)


@pytest.mark.slow
def test_what_cannot_be_resumed_is_refused_in_one_line(script: Script) -> None:
    script.write().run()
    for arguments, message in (
        (["main"], "add -- python train.py"),
        (["nobody", "--", "true"], "cannot find run 'nobody'"),
        (["main", "--in-doubt", "hope", "--", "true"], "'hope' is not one of 'retry', 'fail', 'ask'"),
        (["main", "--", "no-such-program"], "cannot run no-such-program"),
    ):
        done = script.eventcore("resume", script.url, *arguments, code=2)
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_reaches_the_script_which_ends_in_its_own_time(script: Script) -> None:
    script.write(
        in_loop="if question == 'c': print('here', flush=True); await asyncio.sleep(30)",
        after="",
    )
    text = script.path.read_text().replace(
        "asyncio.run(work())",
        "try:\n    asyncio.run(work())\nexcept KeyboardInterrupt:\n"
        "    import time; time.sleep(0.6); print('ended well', flush=True); sys.exit(7)",
    )
    script.path.write_text(text)
    script_run = [sys.executable, "-m", "eventcore", "resume", script.url, "main", "--", *script.command]
    subprocess.run(
        [sys.executable, "-c", f"import eventcore as ec; ec.open({script.url!r}).run('main', seed=7)"],
        check=True,
        env=environment(),
    )
    with subprocess.Popen(
        script_run, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.stdout.read() == "ended well\n"
    assert process.returncode == 7
    script.write().eventcore("resume", script.url, "main", "--", *script.command)
    assert script.asked == "abcd"


@pytest.mark.slow
def test_json_is_all_that_is_on_standard_output(script: Script) -> None:
    script.write(in_loop="if question == 'c': run.flush(); os.kill(os.getpid(), 9)").run(-9)
    script.write()
    done = script.eventcore("resume", "--json", script.url, "main", "--", *script.command)
    with script.opened() as store:
        head = store["main"].head
    assert json.loads(done.stdout) == {"run": "main", "head": head, "in_doubt": [], "exit_code": 0}
