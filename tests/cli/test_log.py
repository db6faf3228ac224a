"""`eventcore log`: lines, filters, JSON lines, both directions, streaming, following, pipes and Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from tests.cli.stores import (
    DECLARED,
    FIRST,
    SCHEMA,
    SECOND,
    call,
    command,
    environment,
    make_long_store,
    make_store,
    spawn,
)

LINE = re.compile(r"^ *(\d+)  (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})  (\w+) *  (\S+)(?:  (.*))?$")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli") / "runs.lmdb")


@pytest.fixture(scope="module")
def long_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_long_store(tmp_path_factory.mktemp("cli") / "long.lmdb", 200_000)


def lines(*arguments: object) -> list[tuple[int, str, str, str]]:
    result = call("log", *arguments)
    assert result.exit_code == 0, result.stderr
    found = []
    for line in result.stdout.splitlines():
        match = LINE.match(line)
        assert match is not None, line
        found.append((int(match[1]), match[3], match[4], match[5] or ""))
    return found


def documents(*arguments: object) -> list[dict[str, Any]]:
    result = call("log", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def kinds(*arguments: object) -> list[str]:
    return [kind for _, kind, _, _ in lines(*arguments)]


def test_every_event_is_a_line_in_order(store: Path) -> None:
    with ec.open(store, read_only=True) as opened:
        expected = [(record.seq, record.kind) for record in opened["main"].events()]
    assert [(seq, kind) for seq, kind, _, _ in lines(store, "main")] == expected


def test_a_line_names_variable_pointer_value_and_source(store: Path) -> None:
    (update,) = [line for line in lines(store, "main") if line[1] == "VariableUpdated"]
    assert update[2] == "voice/persona"
    assert update[3].startswith(json.dumps(SECOND))
    assert re.search(r"  at \S*stores\.py:\d+ in make_store$", update[3])
    (patch,) = [line for line in lines(store, "main") if line[1] == "ValuePatched"]
    assert patch[2:] == ("voice/notes", patch[3]) and patch[3].startswith('append "one"  at ')


def test_a_fork_shows_the_events_it_shares_and_its_own(store: Path) -> None:
    parent = lines(store, "main")[:DECLARED]
    assert lines(store, "other")[:DECLARED] == parent
    assert kinds(store, "other")[DECLARED:] == ["RunStarted", "EditedFromOutside"]


def test_escape_sequences_in_values_do_not_reach_the_terminal(store: Path) -> None:
    result = call("log", store, "other")
    assert "\x1b" not in result.stdout and "\\u001b[31mred" in result.stdout


def test_from_and_to_bound_the_lines_and_names_stay_known(store: Path) -> None:
    whole = lines(store, "main")
    assert lines(store, "main", "--from", 4, "--to", 6) == whole[3:6]
    assert lines(store, "main", "--to", 2) == whole[:2]


def test_last_prints_the_end(store: Path) -> None:
    whole = lines(store, "main")
    assert lines(store, "main", "-n", 3) == whole[-3:]
    assert lines(store, "main", "--last", 100) == whole


def test_reverse_prints_the_same_lines_from_the_end(store: Path, long_store: Path) -> None:
    assert lines(store, "main", "--reverse") == lines(store, "main")[::-1]
    backwards = [seq for seq, _, _, _ in lines(long_store, "--reverse", "--from", 190_000)]
    assert backwards == list(range(190_000, 200_004))[::-1]


def test_variable_chooses_by_path_or_name(store: Path) -> None:
    wanted = ["VariableDeclared", "VariableUpdated", "FieldRead", "ValuePatched", "FieldRead"]
    assert kinds(store, "main", "--variable", "voice") == wanted
    assert kinds(store, "main", "--variable", "voice", "--reverse") == wanted[::-1]
    result = call("log", store, "main", "--variable", "vioce")
    assert result.exit_code == 2 and "did you mean voice" in result.stderr


def test_kinds_can_be_repeated_and_case_does_not_matter(store: Path) -> None:
    assert kinds(store, "main", "--kind", "valuepatched", "--kind", "VariableUpdated") == [
        "VariableUpdated",
        "ValuePatched",
    ]
    result = call("log", store, "main", "--kind", "Nothing")
    assert result.exit_code == 2 and "VariableUpdated" in result.stderr


def test_rollout_chooses_the_events_of_one_rollout(tmp_path: Path) -> None:
    from eventcore.history.scope import caused_by, in_rollout

    with ec.open(tmp_path / "r.lmdb") as store, store.run("r"):
        variable = ec.Variable({"count": 0}, SCHEMA, name="v")
        with in_rollout("train/0/abc/0"), caused_by(2):
            variable.update({"count": 1})
        variable.update({"count": 2})
    (line,) = [
        line for line in lines(tmp_path / "r.lmdb", "--rollout", "train/0/abc/0") if "Source" not in line[1]
    ]
    assert line[3].startswith("1  rollout=train/0/abc/0  cause=2  at ")
    found = documents(tmp_path / "r.lmdb", "--rollout", "train/0/abc/0")[-1]
    assert (found["rollout"], found["cause"], found["payload"]) == ("train/0/abc/0", 2, {"count": 1})


def test_json_lines_hold_whole_values_and_names(store: Path) -> None:
    found = documents(store, "main")
    assert [document["seq"] for document in found] == list(range(1, len(found) + 1))
    (update,) = [document for document in found if document["kind"] == "VariableUpdated"]
    assert update["variable"] == "voice" and update["pointer"] == "/persona"
    assert update["payload"] == {"persona": SECOND}
    assert "stores.py" in update["source"]
    (declared,) = [document for document in found if document["kind"] == "VariableDeclared"]
    assert declared["value"] == {"persona": FIRST, "count": 0, "notes": []}
    (patch,) = [document for document in found if document["kind"] == "ValuePatched"]
    assert (patch["op"], patch["pointer"], patch["args"]) == ("append", "/notes", ["one"])


def test_a_seq_beyond_the_head_is_exit_code_2(store: Path) -> None:
    result = call("log", store, "main", "--from", 99)
    assert result.exit_code == 2 and "its log ends at" in result.stderr


@pytest.mark.parametrize(
    "more", [["--follow", "--reverse"], ["--follow", "--to", "3"], ["-n", "2", "--from", "1"]]
)
def test_options_that_contradict_each_other_are_refused(store: Path, more: list[str]) -> None:
    assert call("log", store, "main", *more).exit_code == 2


@pytest.mark.slow
def test_the_first_line_of_a_long_log_appears_at_once(long_store: Path) -> None:
    began = time.monotonic()
    with subprocess.Popen(command("log", long_store), stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        first_line = process.stdout.readline()
        first = time.monotonic() - began
        count = 1 + sum(1 for _ in process.stdout)
    total = time.monotonic() - began
    assert process.returncode == 0
    assert first_line.split()[0] == b"1" and count == 200_003
    assert first < total / 3, f"first line after {first:.2f} s of {total:.2f} s"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log(long_store: Path) -> None:
    code = (
        "import resource, sys\nfrom eventcore.cli import main\n"
        f"main(['log', {str(long_store)!r}, '--to', sys.argv[1]])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )

    def peak(to: int) -> int:
        done = subprocess.run(
            [*command()[:1], "-c", code, str(to)],
            capture_output=True,
            text=True,
            env=environment(),
            check=True,
        )
        return int(done.stderr)

    assert peak(200_003) < peak(2_000) + 20_000  # KB


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_silently(long_store: Path) -> None:
    for more in ([], ["--json"]):
        with subprocess.Popen(
            command("log", long_store, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 0


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly_with_130(long_store: Path) -> None:
    with subprocess.Popen(
        command("log", long_store, "--follow", "--last", "1"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().strip() == b""
    assert process.returncode == 130


@pytest.mark.slow
def test_follow_prints_what_another_process_appends_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "runs.lmdb"
    with ec.open(path) as store, store.run("r") as run:
        variable = ec.Variable({"count": 0}, SCHEMA, name="v")
        run.flush()
        with subprocess.Popen(
            command("log", path, "--follow", "--json"), stdout=subprocess.PIPE, env=environment()
        ) as process:
            assert process.stdout is not None
            seen = [json.loads(process.stdout.readline())["seq"] for _ in range(run.head)]
            for number in range(5):
                variable.update({"count": number})
                run.flush()
                while seen[-1] < run.head:
                    seen.append(json.loads(process.stdout.readline())["seq"])
            process.send_signal(signal.SIGINT)
    assert seen == list(range(1, run.head + 1))


def on_a_terminal(*arguments: object, **more: str) -> bytes:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(*arguments), stdout=theirs, env=environment(TERM="xterm", **more))
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:
        pass  # How Linux says that the other side of a terminal is closed.
    finally:
        os.close(ours)
    process.wait()
    return output


def test_colour_is_for_terminals_and_honours_no_color(store: Path) -> None:
    assert b"\x1b[" in on_a_terminal("log", store, "main")
    assert b"\x1b[" not in on_a_terminal("log", store, "main", NO_COLOR="1")
    assert "\x1b[" not in spawn("log", store, "main").stdout
