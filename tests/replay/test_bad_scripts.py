"""Scripts that changed, fail, leave or were never meant are told apart in a replay, each in words that help."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import NotFound, ReplayFailed
from tests.replay.scripts import Script, environment
from tests.structure.source import ROOT


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def script(tmp_path: Path) -> Script:
    written = Script(tmp_path).write()
    written.run()
    return written


def replayed(script: Script, name: str = "main", **more: Any) -> Any:
    before = script.asked
    with script.opened() as store:
        report = store[name].replay(script.path, **more)
    assert script.asked == before, "a replay made calls"
    return report


def seq_of(script: Script, kind: str, number: int) -> int:
    with script.opened() as store:
        return [record.seq for record in store["main"].events(kind=kind)][number]


@pytest.mark.slow
def test_an_unchanged_script_is_identical(script: Script) -> None:
    report = replayed(script)
    assert report.identical, str(report)
    assert (report.events, report.effects, report.connections, report.returncode) == (script.head, 4, 0, 0)
    assert report.digest == script.digest


@pytest.mark.slow
def test_a_changed_question_is_shown_beside_the_recorded_one_with_the_line(script: Script) -> None:
    script.write("abxd")
    report = replayed(script)
    assert not report.identical
    left = report.divergence
    assert left.seq == seq_of(script, "EffectStarted", 2)
    assert [(found.pointer, found.before, found.after) for found in left.differences] == [
        ("/request/question", "c", "x"),
    ]
    assert re.search(r"script\.py:\d+ in work$", left.line)
    assert f"diverged at seq {left.seq}" in str(report)


@pytest.mark.slow
def test_another_kind_of_event_names_the_nearest_recorded_request(script: Script) -> None:
    script.write(in_loop="if question == 'c': await ask('cc')")
    left = replayed(script).divergence
    assert left.seq == seq_of(script, "EffectStarted", 2)
    script.write(in_loop="if question == 'c': notes.update({'count': 9})")
    left = replayed(script).divergence
    assert (left.recorded["event"], left.replayed["event"]) == ("EffectStarted", "VariableUpdated")
    script.write()
    text = script.path.read_text().replace("notes.update({", "await ask('c!'); notes.update({")
    script.path.write_text(text)
    report = replayed(script)
    left = report.divergence
    assert (left.recorded["event"], left.replayed["event"]) == ("VariableUpdated", "EffectStarted")
    assert left.nearest is not None
    nearest, differences = left.nearest
    assert nearest in [seq_of(script, "EffectStarted", number) for number in range(4)]
    assert [(found.pointer, found.after) for found in differences] == [("/question", "c!")]
    assert f"nearest recorded request: seq {nearest}" in str(report)


@pytest.mark.slow
def test_a_script_that_ends_early_is_told_what_is_missing(script: Script) -> None:
    script.write("ab")
    left = replayed(script).divergence
    assert left.seq == seq_of(script, "EffectStarted", 2)
    assert left.replayed is None
    assert left.recorded["request"] == {"question": "c"}
    assert "the code has ended" in left.reason


@pytest.mark.slow
def test_a_script_that_goes_on_longer_is_identical_as_far_as_its_log_goes(script: Script) -> None:
    script.write("abcdef")
    report = replayed(script)
    assert report.identical
    assert report.cut_short
    assert report.events == script.head
    assert "the log ends there" in str(report)


@pytest.mark.slow
def test_more_and_fewer_reads_are_notes(script: Script) -> None:
    script.write(in_loop="notes.get('count'); notes.get('said')")
    report = replayed(script)
    assert report.identical
    assert report.added_reads == 8
    assert "8 more reads" in str(report)


@pytest.mark.slow
def test_what_it_prints_is_caught_or_passed_on(script: Script) -> None:
    script.write(before="print('hello'); print('oops', file=sys.stderr)")
    report = replayed(script)
    assert report.identical
    assert {"hello", "oops"} <= set(report.output.split())
    done = script.eventcore("replay", script.url, "main", "--", *script.command)
    assert "hello" in done.stderr and "hello" not in done.stdout
    assert "identical" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code"), [("raise KeyError('broken')", 1), ("sys.exit(3)", 3), ("sys.exit('no more')", 1)]
)
def test_a_script_that_now_stops_in_the_middle_is_a_divergence_there(
    script: Script, line: str, code: int
) -> None:
    script.write(in_loop=f"if question == 'c': {line}")
    report = replayed(script)
    assert report.divergence.seq == seq_of(script, "EffectStarted", 2)
    assert report.returncode == code
    assert "exit code" in report.divergence.reason or code == report.returncode
    script.write(after=line)
    report = replayed(script)
    assert report.identical
    assert report.returncode == code


@pytest.mark.slow
def test_a_script_that_catches_everything_is_stopped_all_the_same(script: Script) -> None:
    script.write("abxd")
    text = script.path.read_text().replace(
        "asyncio.run(work())", "try:\n    asyncio.run(work())\nexcept BaseException:\n    print('swallowed')"
    )
    script.path.write_text(text)
    report = replayed(script)
    assert report.divergence.seq == seq_of(script, "EffectStarted", 2)
    assert "swallowed" not in report.output


@pytest.mark.slow
def test_a_script_that_leaves_its_process_without_ending_is_refused_with_its_last_words(
    script: Script,
) -> None:
    script.write(before="print('about to leave', flush=True); os._exit(4)")
    with script.opened() as store, pytest.raises(ReplayFailed, match="exit code 4") as caught:
        store["main"].replay(script.path)
    assert "about to leave" in str(caught.value)
    assert "os._exit" in str(caught.value)


@pytest.mark.slow
def test_a_script_that_kills_itself_is_named_with_the_signal(script: Script) -> None:
    script.write(before="os.kill(os.getpid(), 9)")
    with script.opened() as store, pytest.raises(ReplayFailed, match="signal 9"):
        store["main"].replay(script.path)


@pytest.mark.slow
def test_a_script_of_another_program_says_which_runs_it_asked_for(script: Script) -> None:
    script.path.write_text("print('I have nothing to do with it')")
    with script.opened() as store, pytest.raises(ReplayFailed, match=r"without opening it.*none") as caught:
        store["main"].replay(script.path)
    assert "nothing to do with it" in str(caught.value)
    script.path.write_text("import eventcore as ec\nec.open('elsewhere.lmdb').run('other').flush()")
    with script.opened() as store, pytest.raises(ReplayFailed, match="it asked for: other"):
        store["main"].replay(script.path)
    assert not Path("elsewhere.lmdb").exists()
    assert not (script.path.parent / "elsewhere.lmdb").exists()


@pytest.mark.slow
def test_the_log_of_another_program_diverges_at_its_first_event(script: Script, tmp_path: Path) -> None:
    with ec.open(script.url) as store, store.run("other") as run:
        ec.Variable({"n": 1}, {"type": "object", "properties": {"n": {"type": "integer"}}}, name="n")
        head = run.head
    script.path.write_text(script.path.read_text().replace('run("main"', 'run("other"'))
    left = replayed(script, "other").divergence
    assert left.seq == head
    assert left.recorded["path"] == "n"
    assert left.replayed["path"] == "notes"


def test_a_deleted_script_and_a_command_that_is_none_are_refused(tmp_path: Path) -> None:
    with ec.open("memory:") as store, store.run("r") as run:
        with pytest.raises(NotFound, match="no such script"):
            run.replay(tmp_path / "gone.py")
        with pytest.raises(ec.errors.InvalidValue, match="empty command"):
            run.replay([])
        with pytest.raises(NotFound, match="cannot run"):
            run.replay([str(tmp_path / "no-such-program")])


@pytest.mark.slow
def test_connections_are_refused_counted_and_not_made(script: Script) -> None:
    dial = "socket.create_connection(('127.0.0.1', 9), 1)"
    script.write(before=f"import socket\ntry:\n    {dial}\nexcept OSError as error:\n    print(error)")
    report = replayed(script)
    assert report.identical
    assert report.connections == 1
    assert "cannot connect in a replay" in report.output
    assert "1 connection refused" in str(report)


@pytest.mark.slow
def test_a_script_that_closes_its_store_and_opens_it_again_is_compared_to_the_end(script: Script) -> None:
    script.write(
        after="run.store.close(); print(len(ec.open(STORE, read_only=True)['main'].state.variables))"
    )
    report = replayed(script)
    assert report.identical, str(report)
    script.write("abc", after="run.store.close()")
    assert replayed(script).divergence.seq == seq_of(script, "EffectStarted", 3)


@pytest.mark.slow
def test_a_run_that_is_still_being_written_replays_up_to_its_head_and_is_not_resumed(tmp_path: Path) -> None:
    script = Script(tmp_path).write(
        in_loop="if question == 'c': run.flush(); print('here', flush=True); sys.stdin.readline()"
    )
    writer = subprocess.Popen(
        script.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    )
    with writer:
        assert writer.stdin is not None and writer.stdout is not None
        assert writer.stdout.readline() == "here\n"
        report = replayed(script)
        assert report.identical
        assert (report.cut_short, report.effects, report.events) == (True, 2, script.head)
        refused = script.run(code=1)
        assert f"it is being written by process {writer.pid}" in refused.stderr
        writer.stdin.write("\n")
        writer.stdin.close()
        assert writer.wait(60) == 0
    assert script.asked == "abcd"
    assert replayed(script).identical


@pytest.mark.slow
def test_a_run_in_memory_is_replayed_too(script: Script) -> None:
    with script.opened() as store, ec.open("memory:") as memory:
        copy = memory.import_run(store["main"])
        report = copy.replay(script.path)
        assert report.identical
        assert report.effects == 4


@pytest.mark.slow
def test_both_forms_of_a_fork_are_replayed(script: Script) -> None:
    at = seq_of(script, "EffectStarted", 2) - 1
    with ec.open(script.url) as store:
        store["main"].fork("plain", at=at).close()
    script.eventcore("resume", script.url, "plain", "--", *script.command)
    script.eventcore(
        "fork", script.url, "main", "edited", "--at", at, "--set", "notes/count=50", "--", *script.command
    )
    for name in ("plain", "edited"):
        report = replayed(script, name)
        assert report.identical, str(report)
        assert report.effects == 4
    with script.opened() as store:
        assert store["edited"].state.variables["notes"]["count"] == 52
        assert store["plain"].state.variables["notes"]["count"] == 4
    inside = script.path.parent / "inside.py"
    inside.write_text(
        script.path.read_text() + f"\nwith run.fork('within', at={at}) as fork:\n"
        "    more = ec.Variable(data_model=Notes, name='more')\n"
        "    more.update({'count': 5})\n    print(asyncio.run(ask('e')))\n"
    )
    subprocess.run([sys.executable, inside], check=True, env=environment(), capture_output=True)
    with script.opened() as store:
        for name in ("within", "main"):
            report = store[name].replay(inside)
            assert report.identical, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["seq", "notes"])
def test_the_debugger_stops_at_the_users_line(script: Script, place: str) -> None:
    seq = seq_of(script, "VariableUpdated", 1)
    where = str(seq) if place == "seq" else "notes"
    said = "p question\nc\n" if place == "seq" else "p 'here'\n" + "c\n" * 30
    done = script.eventcore(
        "replay", script.url, "main", "--break", where, "--", *script.command, said=said, code=0
    )
    assert "eventcore: stopped before seq" in done.stderr
    assert "identical" in done.stdout
    if place == "seq":
        assert done.stderr.count("stopped before") == 1
        assert f"stopped before seq {seq}: VariableUpdated" in done.stderr
        assert "'b'" in done.stdout + done.stderr
    else:
        assert done.stderr.count("stopped before") == 8
    assert "in work" in done.stdout + done.stderr or "work()" in done.stdout + done.stderr


@pytest.mark.slow
def test_quitting_the_debugger_ends_the_replay(script: Script) -> None:
    done = script.eventcore(
        "replay", script.url, "main", "--break", "notes", "--", *script.command, said="q\n", code=None
    )
    assert done.returncode != 70
    assert "Traceback" not in done.stderr
