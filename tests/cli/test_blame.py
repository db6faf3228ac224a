"""`eventcore blame`: lines, chains, JSON, a page; and arguments that make no sense."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import eventcore as ec
from tests.cli.stores import call, call_json, command, environment, make_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "runs.lmdb")


def test_words_are_printed_with_their_events(store: Path) -> None:
    result = call("blame", store, "main", "voice", "/persona")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("voice/persona at seq ")
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["3", "VariableDeclared"], ["5", "VariableUpdated"], ["3", "VariableDeclared"],
    ]  # fmt: skip
    assert '"whispers to "' in lines[2]


def test_a_span_and_words_narrow_it(store: Path) -> None:
    by_words = call_json("blame", store, "main", "voice", "/persona", "--text", "whispers")
    assert [(piece["value"], piece["seq"]) for piece in by_words["pieces"]] == [("whispers", 5)]
    start, end = by_words["pieces"][0]["span"]
    by_span = call_json("blame", store, "main", "voice", "/persona", "--span", f"{start}:{end}")
    assert by_span == by_words
    earlier = call_json("blame", store, "main", "voice", "/persona", "--at", "3")
    assert [piece["seq"] for piece in earlier["pieces"]] == [3]


def test_a_fork_is_blamed_and_what_it_holds_cannot_harm_a_terminal(store: Path) -> None:
    result = call("blame", store, "other", "voice", "/persona")
    assert "EditedFromOutside (by hand)" in result.stdout
    assert "\x1b" not in result.stdout and "u001b[31mred" in result.stdout


def test_the_chain_is_printed(trained: Path) -> None:
    result = call("blame", trained, "hints_hinted", "/hints/0")
    assert result.exit_code == 0, result.stderr
    for words in (
        "CandidateProposed (mutation) epoch 0", "model call", "answered", "Hint 1.", "was shown   8 rollouts",
        "mean reward", "made of", "copied by",
    ):  # fmt: skip
        assert words in result.stdout
    everything = call("blame", trained, "hints_hinted", "/hints/0", "--all").stdout
    assert "Write a better version" in everything
    (owner,) = call_json("blame", trained, "hints_hinted", "/hints/0")["owners"]
    assert owner["call"]["model"] == "play" and len(owner["rewards"]) == 8


def test_a_page_stands_alone(trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "blame.html"
    result = call("blame", trained, "state_generator_hinted", "--html", page)
    assert result.stdout == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "http" not in text and "<script" not in text
    assert "Read with care." in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["main", "vioce"], "did you mean voice"),
        (["main", "voice", "/personal"], "there is: 'persona', 'count', 'notes'"),
        (["main", "voice", "/notes/5"], "the list has items 0 to 0"),
        (["main", "voice", "/persona", "--span", "0:999"], "pass 0 <= start < end <="),
        (["main", "voice", "/persona", "--span", "abc"], "pass START:END"),
        (["main", "voice", "/count", "--span", "0:1"], "is no text but int"),
        (["main", "voice", "/persona", "--text", "nowhere"], "cannot find 'nowhere'"),
        (["main", "voice", "/persona", "--text", "a", "--span", "0:1"], "leave one out"),
        (["main", "voice", "--at", "999"], "pass a seq from 0 to"),
        (["main", "voice", "--at", "-1"], "pass a seq from 0 to"),
        (["main", "voice", "--at", "0"], "cannot find variable 'voice'"),
        (["main", "voice", "--at", "nolabel"], "cannot find label 'nolabel'"),
        (["nosuch", "voice"], "nosuch"),
        (["voice"], "name one of: main, other"),
        ([], "blame takes STORE"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_one_line(
    store: Path, arguments: list[str], said: str
) -> None:
    result = call("blame", store, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_silently(trained: Path) -> None:
    for arguments in (
        ["blame", trained, "hints_hinted", "--all"],
        ["why", trained],
        ["why", trained, "--json"],
    ):
        with subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 0


def test_what_was_brought_from_another_run_is_followed_there(tmp_path: Path) -> None:
    path = tmp_path / "two.lmdb"
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    with ec.open(path) as opened:
        with opened.run("first") as first:
            variable = ec.Variable({"text": "one"}, schema, name="note")
            variable.update({"text": "one two"})
            written = first.head
        with opened.run("second"):
            variable.update({"text": "one two three"})
    text = call("blame", path, "second", "note/text").stdout
    assert f"in run first  {written}  VariableUpdated" in text
    assert f"more: eventcore blame lmdb:{path} first note/text --at {written}" in text
    (before,) = call_json("blame", path, "second", "note/text")["owners"][0]["before"]
    assert (before["run"], before["pieces"][-1]["seq"]) == ("first", written)
