"""`eventcore fork`: a fork is made whole or not at all; what it reused, saved and paid is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventcore.history import events as e
from tests.replay.scripts import Script


@pytest.fixture
def script(tmp_path: Path) -> Script:
    written = Script(tmp_path).write()
    written.run()
    return written


def seqs(script: Script, kind: str, run: str = "main") -> list[int]:
    with script.opened() as store:
        return [record.seq for record in store[run].events(kind=kind)]


@pytest.mark.slow
def test_without_a_command_the_fork_is_only_made(script: Script) -> None:
    at = seqs(script, "EffectStarted")[2] - 1
    done = script.eventcore("fork", script.url, "main", "new", "--at", at, "--set", "notes/said=[]")
    assert done.stdout == f"run 'new': forked from 'main' at seq {at}\n"
    assert done.stderr == ""
    with script.opened() as store:
        assert store["new"].state.variables["notes"] == {"said": [], "count": 2} | {
            key: value
            for key, value in store["new"].state.variables["notes"].items()
            if key not in ("said", "count")
        }
        assert store["main"].state.variables["notes"]["said"] == list("ABCD")
    assert script.asked == "abcd"


@pytest.mark.slow
def test_a_changed_script_pays_for_its_change_only_and_its_exit_code_is_the_answer(script: Script) -> None:
    at = seqs(script, "EffectStarted")[0] - 1
    script.write("axcd", after="print('from the script'); sys.exit(3)")
    done = script.eventcore(
        "fork", script.url, "main", "new", "--at", at, "--json", "--", *script.command, code=3
    )
    said = json.loads(done.stdout)
    assert (said["run"], said["forked_at"], said["calls"], said["reused"], said["exit_code"]) == (
        "new",
        at,
        1,
        3,
        3,
    )
    assert "from the script" in done.stderr
    assert script.asked == "abcdx"
    with script.opened() as store:
        assert store["new"].state.variables["notes"]["said"] == list("AXCD")
        assert said["head"] == store["new"].head


@pytest.mark.slow
def test_a_label_names_the_place_and_the_head_is_taken_without_one(script: Script) -> None:
    at = seqs(script, "EffectStarted")[1] - 1
    script.eventcore("label", script.url, "main", "good", at)
    done = script.eventcore("fork", script.url, "main", "at-label", "--at", "good")
    assert f"at seq {at}" in done.stdout
    head = script.head
    assert f"at seq {head}" in script.eventcore("fork", script.url, "main", "at-head").stdout


@pytest.mark.slow
def test_a_script_that_changed_before_the_fork_stops_there_and_the_fork_stays_to_be_resumed(
    script: Script,
) -> None:
    at = seqs(script, "EffectStarted")[2] - 1
    script.write("xbcd")
    done = script.eventcore("fork", script.url, "main", "new", "--at", at, "--", *script.command, code=1)
    assert f"diverged at seq {seqs(script, 'EffectStarted')[0]}" in done.stderr
    assert script.asked == "abcd"
    script.write("abyd")
    script.eventcore("resume", script.url, "new", "--", *script.command)
    assert script.asked == "abcdy"


@pytest.mark.slow
def test_a_variable_that_is_nowhere_is_not_found_at_the_head_either(script: Script) -> None:
    for at in (("--at", script.head), (), ("--at", script.head - 1)):
        done = script.eventcore("fork", script.url, "main", "new", *at, "--set", "nov/x=1", code=2)
        assert "cannot find variable 'nov'" in done.stderr
        assert "its log ends" not in done.stderr


@pytest.mark.slow
def test_a_fork_of_a_fork_takes_what_the_fork_had_not_taken_yet_from_its_own_parent(script: Script) -> None:
    script.write("abcdef").run()
    first = seqs(script, "EffectStarted")[0] - 1
    # One that fails right away, one that comes to some, one that asks for something else.
    script.write("axcdef", in_loop="if question == 'd': sys.exit(3)")
    failed = script.eventcore(
        "fork", script.url, "main", "short", "--at", first, "--", *script.command, code=3
    )
    assert "reused 2 of 3 calls" in failed.stdout
    assert script.asked == "abcdefx"
    with script.opened() as store:
        head = store["short"].head
    script.write("axcdef")
    whole = script.eventcore("fork", script.url, "short", "whole", "--at", head, "--", *script.command)
    assert "reused 3 of 3 calls" in whole.stdout
    script.write("aycxefd")
    below = script.eventcore("fork", script.url, "whole", "below", "--at", first, "--", *script.command)
    assert "reused 6 of 7 calls" in below.stdout
    assert script.asked == "abcdefxy"
    # Each answer once: what is asked a second time is paid, whoever of the ancestors has it.
    script.write("aycxefdabcdefxyz")
    once = script.eventcore("fork", script.url, "below", "once", "--at", first, "--", *script.command)
    assert "reused 8 of 16 calls" in once.stdout
    with script.opened() as store:
        assert store.verify() == []
        for name in ("whole", "below", "once"):
            origins = [
                (record.event.origin, record.event.origin_seq)
                for record in store[name].events(kind="EffectReused")
                if isinstance(record.event, e.EffectReused)
            ]
            assert len(origins) == len(set(origins))


@pytest.mark.slow
def test_a_fork_that_was_paid_anew_passes_none_of_its_parents_answers_on(script: Script) -> None:
    first = seqs(script, "EffectStarted")[0] - 1
    script.eventcore("fork", script.url, "main", "anew", "--at", first, "--no-reuse")
    done = script.eventcore("fork", script.url, "anew", "child", "--", *script.command)
    assert "reused 0 of 4 calls" in done.stdout
    assert script.asked == "abcdabcd"
