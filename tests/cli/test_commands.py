"""`runs`, `show`, `diff`, `verify`, `backup` and `doctor` on a small store."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.cli import checks
from eventcore.cli.diff import words_text
from eventcore.history.timetravel import word_diff
from tests.cli.stores import (
    DECLARED,
    FIRST,
    SECOND,
    call,
    call_json,
    environment,
    make_long_store,
    make_store,
    spawn,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli") / "runs.lmdb")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_long_store(tmp_path_factory.mktemp("cli") / "single.lmdb", 1_000)


# --- runs ----------------------------------------------------------------------------------------


def test_runs_are_listed_oldest_first_with_their_parents(store: Path) -> None:
    lines = [line.split() for line in call("runs", store).stdout.splitlines()]
    assert lines[0] == ["NAME", "PARENT", "HEAD", "CREATED", "WRITER", "SIZE"]
    assert lines[1][:2] == ["main", "-"] and lines[2][:3] == ["other", "main@3", "5"]


def test_runs_as_json_hold_the_same_and_the_bytes(store: Path) -> None:
    document = call_json("runs", store)
    main, other = document["runs"]
    assert (main["name"], main["parent"], main["writing"]) == ("main", None, False)
    assert (other["parent"], other["forked_at"], other["head"]) == ("main", 3, 5)
    assert main["bytes"] > other["bytes"] > 0
    assert document["store"] == f"lmdb:{store}"


def test_runs_say_who_is_writing(tmp_path: Path) -> None:
    with ec.open(tmp_path / "r.lmdb") as opened:
        opened.run("busy")
        assert f"process {os.getpid()} " in spawn("runs", tmp_path / "r.lmdb").stdout
        (run,) = json.loads(spawn("runs", tmp_path / "r.lmdb", "--json").stdout)["runs"]
        assert run["writing"] is True


# --- show ----------------------------------------------------------------------------------------


def test_show_prints_a_field_per_line(store: Path) -> None:
    lines = call("show", store, "main").stdout.splitlines()
    assert lines[0].startswith("# run main at seq ")
    assert lines[1:] == [f"voice/persona  {json.dumps(SECOND)}", "voice/count    0", 'voice/notes    ["one"]']


def test_show_goes_back_to_any_seq(store: Path) -> None:
    assert json.dumps(FIRST)[:50] in call("show", store, "main", "--at", DECLARED).stdout
    assert call_json("show", store, "main", "--at", 1)["variables"] == {}


def test_show_prints_one_variable_whole(store: Path) -> None:
    expected = {"persona": SECOND, "count": 0, "notes": ["one"]}
    assert json.loads(call("show", store, "main", "voice").stdout) == expected
    document = call_json("show", store, "main", "voice")
    assert document["value"] == expected and document["trainable"] is False


def test_show_takes_a_variable_without_a_run_where_there_is_one_run(single: Path, store: Path) -> None:
    assert json.loads(call("show", single, "v").stdout) == {"count": 999}
    assert call("show", store, "voice").exit_code == 2


def test_show_as_json_is_the_state_with_its_digest(store: Path) -> None:
    document = call_json("show", store, "main")
    with ec.open(store, read_only=True) as opened:
        state = opened["main"].state
    assert document["digest"] == state.digest
    assert {path: found["value"] for path, found in document["variables"].items()} == dict(state.variables)


def test_show_prints_one_event(store: Path) -> None:
    document = call_json("show", store, "main", "--event", DECLARED)
    assert (document["seq"], document["kind"], document["variable"]) == (
        DECLARED,
        "VariableDeclared",
        "voice",
    )
    text = call("show", store, "main", "--event", DECLARED).stdout
    assert "kind " in text and "VariableDeclared" in text
    assert call("show", store, "main", "--event", 0).exit_code == 2
    assert call("show", store, "main", "--event", 99).exit_code == 2
    assert call("show", store, "main", "--event", 2, "--at", 1).exit_code == 2


def test_show_names_the_variables_there_are(store: Path) -> None:
    result = call("show", store, "main", "voise")
    assert result.exit_code == 2 and "did you mean voice" in result.stderr


# --- diff ----------------------------------------------------------------------------------------


def head(store: Path, run: str) -> int:
    with ec.open(store, read_only=True) as opened:
        return opened[run].head


def test_diff_compares_words_and_exits_with_1(store: Path) -> None:
    result = call("diff", store, "main", DECLARED, head(store, "main"))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "~ voice/persona  A pirate who [-shouts at-]{+whispers to+} everybody he meets, and means it.",
        '+ voice/notes/0  "one"',
    ]


def test_diff_of_equal_states_prints_nothing_and_exits_with_0(store: Path) -> None:
    result = call("diff", store, "main", DECLARED, DECLARED)
    assert (result.exit_code, result.stdout) == (0, "")


def test_diff_as_json_holds_pointers_and_words(store: Path) -> None:
    result = call("diff", store, "main", DECLARED, head(store, "main"), "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1 and document["same"] is False
    first, second = document["differences"]
    assert (first["pointer"], first["before"], first["after"]) == ("/persona", FIRST, SECOND)
    assert "".join(word["text"] for word in first["words"] if word["op"] != "+") == FIRST
    assert (second["op"], second["pointer"], second["after"]) == ("add", "/notes/0", "one")


def test_diff_of_one_variable_and_without_a_run(single: Path) -> None:
    assert call("diff", single, 4, 5, "--variable", "v").stdout == "~ v/count  0 -> 1\n"
    assert call("diff", single, 4, 5, "--variable", "w").exit_code == 2


def test_diff_takes_the_declaration_of_a_variable_as_an_addition(store: Path) -> None:
    assert call("diff", store, "main", 1, DECLARED).stdout.startswith("+ voice  {")
    assert call("diff", store, "main", DECLARED, 1).stdout.startswith("- voice  {")


@pytest.mark.parametrize(
    "places", [["1"], ["main", "1", "2", "3"], ["main", "1", "99"], ["main", "1", "nolabel"]]
)
def test_diff_refuses_what_is_no_pair_of_seqs(store: Path, places: list[str]) -> None:
    assert call("diff", store, *places).exit_code == 2


def test_unchanged_stretches_are_cut_unless_asked_for(tmp_path: Path) -> None:
    long = "word " * 100
    with ec.open(tmp_path / "r.lmdb") as opened, opened.run("r"):
        variable = ec.Variable(
            {"text": f"{long}old {long}"},
            {"type": "object", "properties": {"text": {"type": "string"}}},
            name="v",
        )
        variable.update({"text": f"{long}new {long}"})
    short = call("diff", tmp_path / "r.lmdb", 3, 5).stdout
    assert "…" in short and "[-old-]{+new+}" in short and len(short) < 200
    whole = call("diff", tmp_path / "r.lmdb", 3, 5, "--full").stdout
    assert f"{long}[-old-]{{+new+}} {long}" in whole


words = st.lists(st.sampled_from(["a", "b", "c", " ", "  ", "\n"])).map("".join)


@given(words, words)
def test_marked_words_give_both_texts_back(before: str, after: str) -> None:
    marked = words_text(word_diff(before, after), whole=True, colour=False)
    old = re.sub(r"\[-(.*?)-\]", r"\1", re.sub(r"\{\+.*?\+\}", "", marked))
    new = re.sub(r"\{\+(.*?)\+\}", r"\1", re.sub(r"\[-.*?-\]", "", marked))
    assert (old, new) == (before.replace("\n", "\\n"), after.replace("\n", "\\n"))


# --- verify --------------------------------------------------------------------------------------


def test_verify_says_what_it_read(store: Path) -> None:
    result = spawn("verify", store)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    # How many blocks a few events make depends on how long the disk took.
    assert re.fullmatch(rf"run main: {head(store, 'main')} events, \d blocks?, 0 snapshots: ok", lines[0])
    assert re.fullmatch(r"run other: 2 events, \d blocks?, 0 snapshots: ok", lines[1])
    assert lines[2] == f"lmdb:{store}: nothing wrong in 2 runs"


def test_verify_as_json_counts_the_same(store: Path) -> None:
    document = json.loads(spawn("verify", store, "main", "--json").stdout)
    assert document["ok"] is True and document["findings"] == []
    (checked,) = document["checked"]
    assert (checked["run"], checked["events"], checked["snapshots"]) == ("main", head(store, "main"), 0)
    assert checked["blocks"] >= 1


def test_verify_names_the_first_bad_seq_and_exits_with_3(tmp_path: Path) -> None:
    path = tmp_path / "r.lmdb"
    with ec.open(path) as opened, opened.run("r") as run:
        variable = ec.Variable(
            {"text": "a"}, {"type": "object", "properties": {"text": {"type": "string"}}}, name="v"
        )
        run.flush()
        variable.update({"text": "needle in the log"})
        run.flush()
        first_bad = run.durable
    data = (path / "data.mdb").read_bytes()
    assert b"needle in the log" in data
    (path / "data.mdb").write_bytes(data.replace(b"needle in the log", b"noodle in the log"))
    result = spawn("verify", path)
    assert result.returncode == 3
    assert "damaged, first at seq " in result.stdout and "1 finding" in result.stdout
    document = json.loads(spawn("verify", path, "--json").stdout)
    assert document["ok"] is False
    assert 0 < document["findings"][0]["seq"] <= first_bad
    assert document["findings"][0]["run"] == "r"


def test_a_truncated_store_is_exit_code_3(tmp_path: Path) -> None:
    path = make_store(tmp_path / "r.lmdb")
    size = (path / "data.mdb").stat().st_size
    os.truncate(path / "data.mdb", size // 2)
    result = spawn("verify", path)
    assert result.returncode == 3 and result.stderr.startswith("eventcore: cannot open")
    assert result.stderr.count("\n") == 1


def test_a_checking_process_that_is_killed_is_a_finding(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a storage engine does that meets a damaged page: it ends its process.
    code = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
    monkeypatch.setattr("eventcore.cli.child.python_command", lambda module: [sys.executable, "-c", code])
    result = call("verify", store)
    assert result.exit_code == 3
    assert "SIGABRT" in result.stderr and "restore a backup" in result.stderr


# --- backup --------------------------------------------------------------------------------------


def test_a_backup_holds_the_same_and_is_made_while_the_store_is_written(tmp_path: Path) -> None:
    path = tmp_path / "r.lmdb"
    with ec.open(path) as opened, opened.run("r") as run:
        variable = ec.Variable(
            {"text": "a"}, {"type": "object", "properties": {"text": {"type": "string"}}}, name="v"
        )
        run.flush()
        done = spawn("backup", path, tmp_path / "copy.lmdb")
        assert (done.returncode, done.stdout) == (
            0,
            f"copied 1 run of lmdb:{path} to {tmp_path / 'copy.lmdb'}\n",
        )
        variable.update({"text": "later"})
    with ec.open(tmp_path / "copy.lmdb", read_only=True) as copy:
        assert copy["r"].state.variables["v"] == {"text": "a"}
    assert spawn("verify", tmp_path / "copy.lmdb").returncode == 0


def test_a_backup_overwrites_nothing(store: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    result = call("backup", store, tmp_path / "there")
    assert result.exit_code == 2 and (tmp_path / "there").read_text() == "precious"


def test_a_backup_as_json_says_where_it_is(store: Path, tmp_path: Path) -> None:
    document = call_json("backup", store, tmp_path / "copy.lmdb")
    assert document == {"store": f"lmdb:{store}", "path": str(tmp_path / "copy.lmdb"), "runs": 2}


# --- doctor --------------------------------------------------------------------------------------


def test_doctor_reports_versions_and_the_store(store: Path) -> None:
    result = call("doctor", store)
    assert result.exit_code in (0, 1)
    for subject in (
        "Python",
        "LMDB library",
        "SQLite library",
        "reader slots",
        "file system",
        "disk",
        "2 runs",
    ):
        assert subject in result.stdout


def test_doctor_without_a_store_looks_at_the_machine() -> None:
    document = call_json("doctor")
    subjects = {check["subject"] for check in document["checks"]}
    assert {"Python", "eventcore", "platform", "msgspec"} <= subjects and "store" not in subjects
    assert document["ok"] is True


def test_doctor_warns_of_a_store_open_to_others_and_exits_with_1(tmp_path: Path) -> None:
    path = make_store(tmp_path / "r.lmdb")
    path.chmod(0o755)
    result = call("doctor", path)
    assert result.exit_code == 1
    assert any(line.startswith("warning") and "chmod go-rwx" in line for line in result.stdout.splitlines())


def test_doctor_warns_of_a_full_disk(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LOW_DISK", 2**70)
    result = call("doctor", store)
    assert result.exit_code == 1 and "free some space" in result.stdout


def test_doctor_warns_when_reader_slots_run_out(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "FULL_SLOTS", 0.0)
    result = call("doctor", store)
    assert result.exit_code == 1 and "close readers" in result.stdout


def test_doctor_tells_of_the_wal_reset_bug_where_sqlite_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 40, 1))
    assert "WAL-reset bug" in call("doctor").stdout
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 3))
    assert "WAL-reset bug" not in call("doctor").stdout


def test_doctor_names_a_run_whose_writer_is_gone(tmp_path: Path) -> None:
    code = (
        "import os, sys, eventcore as ec\nrun = ec.open(sys.argv[1]).run('left')\nrun.flush()\nos._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "r.lmdb")], env=environment(), check=True)
    assert "'left' was left without being closed" in call("doctor", tmp_path / "r.lmdb").stdout
    assert ", gone" in call("runs", tmp_path / "r.lmdb").stdout


# --- another backend -----------------------------------------------------------------------------


def test_every_command_works_on_an_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:{make_store(tmp_path / 'runs.sqlite', scheme='sqlite')}"
    assert [run["name"] for run in call_json("runs", url)["runs"]] == ["main", "other"]
    assert call("log", url, "main").stdout.count("\n") == call_json("show", url, "main")["head"]
    assert call("diff", url, "main", DECLARED, DECLARED + 2).exit_code == 1
    assert spawn("verify", url).returncode == 0
    assert call("backup", url, tmp_path / "copy.sqlite").exit_code == 0
    assert spawn("verify", f"sqlite:{tmp_path / 'copy.sqlite'}").returncode == 0
    assert "sqlite" in call("doctor", url).stdout


def test_a_missing_sqlite_file_is_not_made(tmp_path: Path) -> None:
    assert call("runs", f"sqlite:{tmp_path / 'nothing.sqlite'}").exit_code == 2
    assert list(tmp_path.iterdir()) == []
