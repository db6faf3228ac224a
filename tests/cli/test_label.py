"""`eventcore label`: labels are listed, set, moved, and stand for a seq in every command."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventcore as ec
from tests.cli.stores import call, call_json, make_store, spawn


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "runs.lmdb")


def test_a_label_is_set_moved_and_its_moves_are_kept(store: Path) -> None:
    assert call("label", store, "main").stdout == ""
    assert call("label", store, "main", "best", "3").stdout == "best -> 3\n"
    assert call_json("label", store, "main", "shipped", "best") == {
        "run": "main",
        "label": "shipped",
        "position": 3,
    }
    assert call("label", store, "main", "best", "4").stdout == "best -> 4\n"
    listed = call("label", store, "main").stdout.splitlines()
    assert [line.split()[:3] for line in listed] == [["shipped", "->", "3"], ["best", "->", "4"]]
    moves = call_json("label", store, "main", "best", "--history")["labels"]
    assert [(move["label"], move["position"]) for move in moves] == [("best", 3), ("best", 4)]
    with ec.open(store, read_only=True) as opened:
        assert opened["main"].state.labels == {"best": 4, "shipped": 3}
        assert "best" not in opened["other"].state.labels
        assert opened.verify() == []


def test_without_a_place_the_label_points_at_what_was_the_newest_event(store: Path) -> None:
    with ec.open(store, read_only=True) as opened:
        head = opened["main"].head
    assert call("label", store, "main", "last").stdout == f"last -> {head}\n"


def test_a_label_stands_for_a_seq_in_other_commands(store: Path) -> None:
    call("label", store, "main", "best", "3")
    assert (
        call("show", store, "main", "--at", "best").stdout == call("show", store, "main", "--at", "3").stdout
    )
    assert call("blame", store, "main", "voice", "--at", "best").exit_code == 0
    assert call("diff", store, "main", "best", "5").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["main", "12"], "cannot use '12' as a label"),
        (["main", "epoch:1"], "as a label"),
        (["main", "best", "99"], "pass a seq from 0 to"),
        (["main", "best", "nowhere"], "cannot find label 'nowhere'"),
        (["nosuch", "best"], "nosuch"),
    ],
)
def test_what_makes_no_sense_is_refused_and_writes_nothing(
    store: Path, arguments: list[str], said: str
) -> None:
    before = (store / "data.mdb").read_bytes()
    result = call("label", store, *arguments)
    assert result.exit_code == 2 and said in result.stderr
    assert (store / "data.mdb").read_bytes() == before


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert call("label", tmp_path / "none.lmdb", "main", "best").exit_code in (2, 3)
    assert not (tmp_path / "none.lmdb").exists()


def test_a_run_that_is_being_written_by_this_process_takes_the_label(tmp_path: Path) -> None:
    path = tmp_path / "open.lmdb"
    with ec.open(path) as store, store.run("main") as run:
        run.flush()
        assert call("label", path, "main", "best", "1").exit_code == 0
        assert run.seq("best") == 1


def test_tables_have_names_above_their_columns_on_a_terminal_only(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("label", store, "main", "best", "3")
    commands = (["label", store, "main"], ["show", store, "main"], ["doctor", store])
    plain = [call(*words).stdout for words in commands]
    monkeypatch.setattr("eventcore.cli.output.coloured", lambda: True)
    for words, before, name in zip(commands, plain, ("POSITION", "PLACE", "SUBJECT"), strict=True):
        assert name not in before
        assert name in call(*words).stdout


def test_a_label_in_place_of_the_only_run_is_not_set_but_answered_with_the_command_that_does(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one.lmdb"
    with ec.open(path) as store, store.run("main") as run:
        run.flush()
    for words in (["best"], ["best", "1"]):
        result = call("label", path, *words)
        assert result.exit_code == 2 and "cannot find run 'best'; the only one is 'main'" in result.stderr
        assert result.stderr.rstrip().endswith(f"{path} main {' '.join(words)}")
    with ec.open(path, read_only=True) as store:
        assert store["main"].state.labels == {}


def test_a_run_that_another_process_writes_is_labelled_there(tmp_path: Path) -> None:
    path = tmp_path / "busy.lmdb"
    with ec.open(path) as store, store.run("main") as run:
        run.flush()
        result = spawn("label", path, "main", "best")
        assert result.returncode == 3
        assert "the process that writes it can set a label with run.label(...)" in result.stderr
