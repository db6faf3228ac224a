"""`eventcore replay --break`: the debugger stops at the user's lines, goes on from there, and says where it cannot."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import eventcore as ec
from tests.replay.scripts import Script


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    written = Script(tmp_path_factory.mktemp("recorded")).write()
    text = written.path.read_text().replace(
        "run = ec.open(STORE)",
        "def told(word):\n    low = word.lower()\n    return low\n\nrun = ec.open(STORE)",
    )
    written.path.write_text(text.replace("asyncio.run(work())", "asyncio.run(work())\ntold('END')"))
    written.run()
    return written


def stopped(script: Script, *places: object, said: str, code: int | None = 0) -> str:
    options = [part for place in places for part in ("--break", str(place))]
    done = script.eventcore(
        "replay", script.url, "main", *options, "--", *script.command, said=said, code=code
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def lines(text: str) -> list[tuple[str, str]]:
    """Where the debugger stood: function and source line."""
    return re.findall(r"^(?:\(Pdb\) )*> .*script\.py\(\d+\)(\S+?)\(\).*\n-> (.*)$", text, re.MULTILINE)


def seqs(script: Script, kind: str) -> list[int]:
    with script.opened() as store:
        return [record.seq for record in store["main"].events(kind=kind)]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["n", "s"])
def test_steps_go_through_the_users_lines(script: Script, step: str) -> None:
    said = stopped(script, seqs(script, "ValuePatched")[1], said=f"{step}\n" * 4 + "c\n")
    at = lines(said)
    assert {place for place, _ in at} == {"work"}
    assert at[0][1].startswith("notes.get('said').append") or 'notes.get("said").append' in at[0][1]
    assert len(at) == 5
    assert len({line for _, line in at[:4]}) >= 3, at
    assert "identical" in said


@pytest.mark.slow
def test_a_breakpoint_set_there_is_come_to_also_in_another_function(script: Script) -> None:
    number = script.path.read_text().splitlines().index("    low = word.lower()") + 1
    said = stopped(script, seqs(script, "EffectStarted")[0], said=f"b {number}\nc\np word\nc\n")
    assert lines(said)[-1] == ("told", "low = word.lower()")
    assert "'END'" in said
    assert "identical" in said


@pytest.mark.slow
@pytest.mark.campaign
def test_every_seq_stops_at_the_first_line_that_comes_to_it_or_behind_it(script: Script) -> None:
    kinds = ("EffectStarted", "EffectCompleted", "SourceSeen", "FieldRead", "VariableUpdated", "RunStarted")
    with script.opened() as store:
        head = store["main"].head
    for kind in kinds:
        for seq in seqs(script, kind)[:2]:
            said = stopped(script, seq, said="c\n" * 3)
            found = re.findall(r"stopped before seq (\d+):", said)
            assert len(found) == 1, (kind, seq, said)
            assert seq <= int(found[0]) <= seq + 4, (kind, seq, head)
            assert "identical" in said


@pytest.mark.slow
def test_a_seq_behind_the_last_line_of_the_script_is_said_not_to_be_reached(tmp_path: Path) -> None:
    script = Script(tmp_path).write()
    text = script.path.read_text().replace("notes.update", "0 and notes.update")
    script.path.write_text(text.replace('notes.get("said").append(await', "(await"))
    script.run()
    (*_, last) = seqs(script, "EffectCompleted")
    assert last == script.head
    said = stopped(script, last, said="")
    assert f"did not stop at seq {last}: no line of the script's own comes to an event there or later" in said
    assert "identical" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("99999", "cannot stop at seq 99999: the log of run 'main' has 1 to"),
        ("0", "cannot stop at seq 0"),
        ("note", r"cannot find variable 'note'.*notes"),
    ],
)
def test_a_place_that_is_not_there_is_refused_before_the_script_starts(
    script: Script, place: str, message: str
) -> None:
    said = stopped(script, place, said="", code=2)
    assert re.search(message, said)
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_label_or_a_time_stands_for_its_seq(script: Script) -> None:
    seq = seqs(script, "ValuePatched")[1]
    with ec.open(script.url) as store, store.reopen("main") as run:
        run.label("here", seq)
        (record,) = run.events(seq, seq)
    moment = datetime.fromtimestamp(record.event.time / 1e6, UTC).isoformat()
    at = {lines(stopped(script, place, said="c\n"))[0] for place in (seq, "here", moment)}
    assert len(at) == 1


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["q\n", "n\nq\n", "", "run\nq\n"])
def test_quitting_ends_the_command_with_a_plain_sentence(script: Script, typed: str) -> None:
    seq = seqs(script, "VariableUpdated")[0]
    said = stopped(script, seq, said=typed, code=130)
    assert re.search(
        r"run 'main': the replay was ended in the debugger; up to seq \d+ nothing differed", said
    )
    assert "BdbQuit" not in said
