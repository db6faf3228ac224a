"""`eventcore history`, `races`, `export` and `diff` of two runs: what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import eventcore as ec
from eventcore.history import events as e
from eventcore.history.scope import in_rollout
from tests.cli.stores import (
    DECLARED,
    FIRST,
    SCHEMA,
    SECOND,
    call,
    call_json,
    command,
    environment,
    make_long_store,
    make_store,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli") / "runs.lmdb")


@pytest.fixture(scope="module")
def racy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "racy.lmdb"
    with ec.open(path) as opened, opened.run("r"):
        variable = ec.Variable({"persona": "", "count": 0, "notes": ["one"]}, SCHEMA, name="voice")
        with in_rollout("a\x1b[31m"):
            seen = variable.get("count")
            notes = variable.get("notes")
        with in_rollout("b"):
            variable.update({"count": 5})
            variable["notes"][0] = "two"
        with in_rollout("a\x1b[31m"):
            variable.update({"count": seen + 1})
            notes[0] = "three"
    return path


# --- history ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [["voice/persona"], ["voice", "/persona"]])
def test_history_prints_each_change_of_a_place(store: Path, place: list[str]) -> None:
    first, second = call("history", store, "main", *place).stdout.splitlines()
    assert "VariableDeclared" in first and json.dumps(FIRST)[:40] in first
    assert "[-shouts at-]{+whispers to+}" in second and "stores.py" in second


def test_history_of_a_fork_begins_with_its_parents(store: Path) -> None:
    lines = call("history", store, "other", "voice/persona").stdout.splitlines()
    assert [line.split()[3] for line in lines] == ["VariableDeclared", "EditedFromOutside"]
    assert "\x1b" not in "".join(lines)


def test_history_as_json_holds_whole_values(store: Path) -> None:
    result = call("history", store, "main", "voice", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [change["kind"] for change in found] == ["VariableDeclared", "VariableUpdated", "ValuePatched"]
    assert found[1]["before"]["persona"] == FIRST and found[1]["after"]["persona"] == SECOND
    assert found[2]["after"]["notes"] == ["one"] and found[2]["pointer"] == ""


def test_history_from_a_seq_leaves_out_what_was_before(store: Path) -> None:
    assert len(call("history", store, "main", "voice", "--from", DECLARED + 1).stdout.splitlines()) == 2


def test_history_of_what_never_was_is_exit_code_1(store: Path) -> None:
    result = call("history", store, "main", "voice/nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "eventcore: voice/nothing never held anything: there is no 'nothing'; there is:"
    )
    near = call("history", store, "main", "voice/personna").stderr
    assert near.endswith("did you mean 'persona'?\n")


def test_history_after_the_last_change_says_where_that_was(store: Path) -> None:
    last = json.loads(call("history", store, "main", "voice/persona", "--json").stdout.splitlines()[-1])[
        "seq"
    ]
    result = call("history", store, "main", "voice/persona", "--from", str(last + 1))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"did not change from {last + 1} on: its last change is seq {last}" in result.stderr


def test_history_of_an_unknown_variable_names_the_near_ones(store: Path) -> None:
    result = call("history", store, "main", "vioce/persona")
    assert result.exit_code == 2 and "cannot find variable 'vioce/persona'" in result.stderr


# --- diff of two runs -----------------------------------------------------------------------------


def test_two_runs_are_compared_at_their_last_events(store: Path) -> None:
    result = call("diff", store, "main", "other")
    assert result.exit_code == 1
    assert '- voice/notes/0  "one"' in result.stdout and "\\u001b[31mred" in result.stdout


def test_runs_are_compared_at_seqs(store: Path) -> None:
    assert call("diff", store, f"main@{DECLARED}", f"other@{DECLARED}").exit_code == 0
    found = call_json("diff", store, "main", DECLARED, "other@5")
    assert (found["run"], found["other"], found["a"], found["b"]) == ("main", "other", DECLARED, 5)
    assert [one["pointer"] for one in found["differences"]] == ["/persona"]


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["main@99", "other"], "its log ends at"),
        (["mian@3", "other"], "cannot find run 'mian'"),
        (["main", "3", "nowhere"], "cannot find label 'nowhere'"),
        (["main@-1", "other"], "cannot go to seq"),
        (["main@epoch:7", "other"], "epoch:7"),
    ],
)
def test_places_that_are_not_there_are_refused(store: Path, places: list[str], said: str) -> None:
    result = call("diff", store, *places)
    assert result.exit_code == 2 and said in result.stderr, result.stderr


# --- races --------------------------------------------------------------------------------------


def test_races_names_both_rollouts_and_both_lines(racy: Path) -> None:
    result = call("races", racy)
    assert result.exit_code == 1 and "\x1b" not in result.stdout
    place, mine, theirs, total = result.stdout.splitlines()
    assert place == "voice/count  5 was overwritten with 1"
    assert "rollout a\\u001b[31m, which had read it at" in mine and "test_looking_back.py:" in mine
    assert "rollout b had written it meanwhile" in theirs and "test_looking_back.py:" in theirs
    assert total == "1 lost update in run r"


def test_possible_races_are_shown_when_asked_for(racy: Path) -> None:
    result = call("races", racy, "--possible")
    assert 'voice/notes/0  "two" was overwritten with "three"  (possibly' in result.stdout
    assert [race["certain"] for race in call_json("races", racy, "--possible")["races"]] == [True, False]


def test_a_run_without_races_is_exit_code_0(store: Path) -> None:
    result = call("races", store, "main")
    assert (result.exit_code, result.stdout) == (0, "0 lost updates in run main\n")
    assert call_json("races", store, "main") == {"run": "main", "races": [], "unjudged": 0}


def test_reads_that_could_not_be_judged_are_counted(tmp_path: Path) -> None:
    with ec.open(tmp_path / "s.sqlite") as opened, opened.run("r"):
        shared = ec.Variable({"count": 0}, {"type": "object"}, name="shared")
        shared.update({"count": shared.get("count") + 1})
    result = call("races", tmp_path / "s.sqlite", "r")
    assert result.exit_code == 0
    assert result.stdout.startswith("0 lost updates in run r\n1 read outside any rollout not judged: ")
    assert call_json("races", tmp_path / "s.sqlite", "r")["unjudged"] == 1


# --- export -------------------------------------------------------------------------------------


def test_export_writes_a_file_and_says_so(store: Path, tmp_path: Path) -> None:
    for form in ("jsonl", "parquet"):
        target = tmp_path / f"events.{form}"
        result = call("export", store, "main", f"--{form}", target)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.endswith(f"events of run main to {target}\n") and target.stat().st_size > 100
    found = call_json("export", store, "main", "--jsonl", tmp_path / "again.jsonl", "--from", 2, "--to", 3)
    assert (found["events"], found["format"]) == (2, "jsonl")


def test_export_without_a_file_writes_lines_to_stdout(store: Path, tmp_path: Path) -> None:
    call("export", store, "main", "--jsonl", tmp_path / "events.jsonl")
    done = subprocess.run(
        command("export", store, "main", "--jsonl"),
        capture_output=True,
        env=environment(),
        check=True,
        timeout=60,
    )
    assert done.stdout == (tmp_path / "events.jsonl").read_bytes()


@pytest.mark.parametrize("more", [[], ["--jsonl", "-", "--parquet", "x.parquet"], ["--parquet", "-"]])
def test_export_wants_one_form_and_a_place_that_suits_it(store: Path, more: list[str]) -> None:
    result = call("export", store, "main", *more)
    assert result.exit_code == 2 and "--parquet" in result.stderr


def test_export_into_a_folder_that_is_not_there_is_an_error_of_one_line(store: Path, tmp_path: Path) -> None:
    for form in ("--jsonl", "--parquet"):
        path = tmp_path / "nowhere" / "events"
        result = call("export", store, "main", form, path)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
        assert f"cannot write '{path}': No such file or directory" in result.stderr
    folder = call("export", store, "main", "--jsonl", tmp_path)
    assert folder.exit_code == 2 and f"cannot write '{tmp_path}': Is a directory" in folder.stderr


# --- pipes, and logs from the future ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("more", [["export", "--jsonl"], ["history", "v/count"], ["diff", "5", "200000"]])
def test_a_reader_that_goes_away_is_no_error(
    tmp_path_factory: pytest.TempPathFactory, more: list[str]
) -> None:
    path = make_long_store(tmp_path_factory.mktemp("long") / "long.lmdb", 200_000)
    arguments = [more[0], path, *more[1:]] if more[0] != "export" else ["export", path, "long", "--jsonl"]
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 1)


@pytest.mark.parametrize(
    "arguments",
    [["log"], ["history", "v"], ["diff", "1", "4"], ["races"], ["export", "r", "--jsonl", "-"]],
    ids=lambda arguments: arguments[0],
)
def test_events_of_a_newer_version_are_said_to_be_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    with ec.open(tmp_path / "r.lmdb") as opened, opened.run("r") as run:
        ec.Variable({"count": 0}, SCHEMA, name="v")
        run.flush()
        monkeypatch.setattr("eventcore.history.log.VOCABULARY", e.VOCABULARY + 7)
        run.record(e.MetricLogged(*run.stamp(), "n", 1.0))
        run.flush()
    monkeypatch.undo()
    result = call(arguments[0], tmp_path / "r.lmdb", *arguments[1:])
    assert result.exit_code == 3 and "of a newer eventcore" in result.stderr, result.stderr


# --- what was deleted -------------------------------------------------------------------------------


def test_a_deleted_place_is_told_from_null_in_lines_and_in_json(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"d": {"type": "object"}}}
    with ec.open(tmp_path / "r.lmdb") as opened, opened.run("r"):
        variable = ec.Variable({"d": {}}, schema, name="v")
        variable["d"]["x"] = None
        variable["d"].pop("x")
        variable["d"]["x"] = 5
    path = tmp_path / "r.lmdb"
    lines = call("history", path, "v/d/x").stdout.splitlines()
    assert [line.split()[4] for line in lines] == ["null", "(deleted)", "5"]
    rows = call("history", path, "v/d").stdout.splitlines()[1:]
    assert [row.split("ValuePatched  ")[1].split("  at ")[0] for row in rows] == [
        "+ /x  null", "- /x  null", "+ /x  5",
    ]  # fmt: skip
    found = [json.loads(line) for line in call("history", path, "v/d/x", "--json").stdout.splitlines()]
    sides = [{side: change[side] for side in ("before", "after") if side in change} for change in found]
    assert sides == [{"after": None}, {"before": None}, {"after": 5}]


@pytest.mark.parametrize("name", ["blame", "history"])
def test_a_run_where_the_variable_is_missing_is_said_to_be_one(store: Path, name: str) -> None:
    result = call(name, store, "main")
    assert result.exit_code == 2
    assert "'main' is a run, VARIABLE is missing; it has: voice" in result.stderr
