"""What a run says of itself: where it was started, who holds it, which line of code wrote, whose row it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventcore.errors import CorruptLog
from eventcore.history import events as e
from eventcore.history import lineage, ownership, startup
from eventcore.history import store as stores
from eventcore.history.run import Run
from tests.history.processes import ROOT, python

HASH = "0123456789abcdef0123456789abcdef01234567"


def log(run: Run) -> int:
    return run.record(e.MetricLogged(*run.stamp(), "x", 1.0))


# --- where it was started ----------------------------------------------------------------------


def repository(folder: Path, head: str) -> Path:
    git = folder / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text(head)
    return git


def test_the_commit_is_found_by_branch_packed_branch_and_detached_head(tmp_path: Path) -> None:
    git = repository(tmp_path, "ref: refs/heads/main\n")
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert startup.git_commit(inside) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{HASH} refs/heads/main\n")
    assert startup.git_commit(inside) == HASH
    (git / "refs" / "heads" / "main").write_text("f" * 40 + "\n")
    assert startup.git_commit(inside) == "f" * 40
    (git / "HEAD").write_text(HASH + "\n")
    assert startup.git_commit(tmp_path) == HASH


def test_the_commit_of_a_worktree_is_found(tmp_path: Path) -> None:
    git = repository(tmp_path / "main", "ref: refs/heads/main\n")
    (git / "refs" / "heads" / "topic").write_text(HASH)
    private = git / "worktrees" / "topic"
    private.mkdir(parents=True)
    (private / "HEAD").write_text("ref: refs/heads/topic\n")
    (private / "commondir").write_text("../..\n")
    (tmp_path / "topic").mkdir()
    (tmp_path / "topic" / ".git").write_text(f"gitdir: {private}\n")
    assert startup.git_commit(tmp_path / "topic") == HASH


STRANGE: dict[str, Callable[[Path], object]] = {
    "a .git that is no text": lambda folder: (folder / ".git").write_bytes(b"\xff\xfe gitdir: \x00"),
    "an empty .git": lambda folder: (folder / ".git").write_text(""),
    "a HEAD that is a folder": lambda folder: (folder / ".git" / "HEAD").mkdir(parents=True),
    "a HEAD that is no text": lambda folder: repository(folder, "").joinpath("HEAD").write_bytes(b"\xff\xff"),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_a_strange_repository_does_not_keep_a_run_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    (first,) = stores.open("memory:").run("anyway").events()
    assert first.event.facts["git"] in (None, "")  # type: ignore[attr-defined]


def test_a_run_starts_in_a_folder_that_was_deleted_with_arguments_that_are_no_text(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
gone = {str(tmp_path / "gone")!r}
os.mkdir(gone); os.chdir(gone); os.rmdir(gone)
import eventcore.history.store as stores
run = stores.open("memory:").run("anyway")
run.flush()
print(next(run.events()).event.facts["argv"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, b"\xff\xfe", "plain"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"plain" in done.stdout


# --- who holds it ------------------------------------------------------------------------------


def test_this_process_is_alive_and_is_itself() -> None:
    me = ownership.describe_self()
    assert f"process {os.getpid()} started" in me
    assert ownership.is_alive(me)
    assert ownership.is_self(me)


def test_a_process_that_ended_is_not_alive() -> None:
    other = python(
        "from eventcore.history.ownership import describe_self; print(describe_self())"
    ).stdout.strip()
    assert not ownership.is_alive(other)
    assert not ownership.is_self(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda me: "",
        lambda me: "somebody",
        lambda me: me.replace(" on ", " on another-"),
        lambda me: me.replace("started ", "started 1"),
        lambda me: me.replace(f"process {os.getpid()} ", "process 1 "),
        lambda me: me.replace(f"process {os.getpid()} ", "process 999999999 "),
    ],
    ids=["nobody", "words", "another machine", "a later process of that number", "init", "no process"],
)
def test_a_writer_that_is_not_this_process_is_not_taken_for_it(change: Callable[[str], str]) -> None:
    assert not ownership.is_alive(change(ownership.describe_self()))


# --- which line wrote --------------------------------------------------------------------------


class Small(msgspec.Struct):
    """A value."""

    n: int = 0


def test_a_write_names_the_users_line_once() -> None:
    from eventcore.variables import Variable

    run = stores.open("memory:").run("lines")
    variable = Variable(data_model=Small, name="small")
    for n in range(3):
        variable.update({"n": n})
    seen = [record.event.line for record in run.events(kind="SourceSeen")]  # type: ignore[attr-defined]
    assert len(seen) == 2
    assert all(
        line.startswith(f"{__file__}:") and line.endswith("names_the_users_line_once") for line in seen
    )
    assert {change.source for change in run.history("small") if change.kind == "VariableUpdated"} == {seen[1]}


def test_a_source_file_whose_path_is_no_text_does_not_spoil_the_log() -> None:
    from eventcore.variables import Variable

    run = stores.open("memory:").run("path")
    variable = Variable(data_model=Small, name="small")
    exec(compile("variable.update({'n': 1})", "/tmp/\udcff/script.py", "exec"), {"variable": variable})
    run.flush()
    assert [change.after for change in run.history("small", "/n")] == [0, 1]
    assert any("script.py" in record.event.line for record in run.events(kind="SourceSeen"))  # type: ignore[attr-defined]


# --- whose row it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "forked_at", "parent", "meta"])
def test_a_run_whose_row_was_damaged_is_refused(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    store = stores.open("memory:")
    parent = store.run("parent")
    for _ in range(5):
        log(parent)
    fork = parent.fork("fork", at=3)
    log(fork)
    fork.flush()
    row = store.row(fork.number)
    damaged: dict[str, Any] = {
        "name": "fork!",
        "forked_at": 4,
        "parent": None,
        "meta": row.meta[:-1] + bytes([row.meta[-1] ^ 1]),
    }
    wrong = msgspec.structs.replace(row, **{field: damaged[field]})
    backend_run = store.backend.run
    fork.close()
    monkeypatch.setattr(
        store.backend, "run", lambda key: wrong if key in (fork.number, row.name) else backend_run(key)
    )
    with pytest.raises(CorruptLog, match="its row in the store is damaged"):
        store["fork"].state  # noqa: B018
    assert any("row" in finding.message for finding in store.verify("fork"))


@pytest.mark.parametrize("seed", [0, -(2**63), 2**63 - 1])
def test_a_sealed_row_gives_its_seed_back(seed: int) -> None:
    store = stores.open("memory:")
    run = store.run("a", seed=seed)
    assert lineage.seed_of(store.row(run.number)) == seed
    assert run.fork().seed == seed


@pytest.mark.parametrize("meta", [b"\xc1", b"\x92\x01", b"\x01", b"\x92\xa1a\x01", b"\x93\x01\x02\x03"])
def test_bytes_that_are_no_seal_are_refused(meta: bytes) -> None:
    store = stores.open("memory:")
    row = store.row(store.run("a").number)
    with pytest.raises(CorruptLog):
        lineage.seed_of(msgspec.structs.replace(row, meta=meta))


def test_a_killed_process_nobody_has_waited_for_does_not_hold_its_run() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from eventcore.history import ownership; print(ownership.describe_self(), flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    writer = process.stdout.readline().strip()
    assert ownership.is_alive(writer)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
    assert not ownership.is_alive(writer)
    process.communicate()
    assert not ownership.is_alive(writer)


def test_a_writer_is_told_by_its_process_and_since_when() -> None:
    writer = ownership.describe_self()
    told = re.fullmatch(r"process (\d+)(?: \(started (.*)\))?", ownership.in_words(writer))
    assert told is not None and int(told[1]) == os.getpid()
    if os.path.exists("/proc/stat"):
        age = time.time() - time.mktime(time.strptime(told[2], "%Y-%m-%d %H:%M:%S"))
        with open("/proc/uptime") as file, open("/proc/self/stat") as stat:
            uptime = float(file.read().split()[0])
            started = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        assert abs(age - (uptime - started)) < 5
    gone = re.sub(r"started \S+", "started 1", writer)
    assert ownership.in_words(gone) == f"process {os.getpid()}"
    elsewhere = re.sub(r" on \S+,", " on far-away,", writer)
    assert ownership.in_words(elsewhere) == f"process {os.getpid()} on far-away"
    assert ownership.in_words("somebody") == "somebody"
