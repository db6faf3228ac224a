"""What is left when a run, a store or a process ends: closed, crashed, forked, folded away, copied."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from eventcore.errors import DuplicateName, InvalidValue, NotFound, StoreClosed, StoreReadOnly
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.scope import current_run
from tests.history.processes import ROOT, python, talking

HOLD = """
import sys
import eventcore.history.store as stores
from eventcore.history import events as e
store = stores.open(sys.argv[1])
run = store.reopen("taken") if "taken" in store else store.run("taken")
run.record(e.MetricLogged(0, None, 0, "x", 1.0))
run.flush()
print(run.head)
sys.stdin.readline()
"""


def log(run: Run, name: str = "x") -> int:
    return run.record(e.MetricLogged(*run.stamp(), name, 1.0))


def names(run: Run) -> list[str]:
    return [record.event.name for record in run.events(kind=e.MetricLogged)]  # type: ignore[attr-defined]


# --- after the end -----------------------------------------------------------------------------


def test_after_the_store_is_closed_reading_works_and_writing_raises(url: str) -> None:
    store = stores.open(url)
    run = store.run("done")
    log(run, "one")
    store.close()
    store.close()
    assert store.closed
    for reader in (run, store["done"]):
        assert names(reader) == ["one"]
        assert reader.at(1).digest == reader.state.digest
        assert reader.head == reader.durable == 2
    assert store.runs() == ["done"]
    assert store.verify() == []
    for write in (
        lambda: log(run),
        lambda: run.fork("f"),
        lambda: run.snapshot(),
        lambda: store.run("another"),
        lambda: store.run("done", resume=True),
        lambda: store.reopen("done"),
        lambda: store.delete("done"),
        lambda: store.import_run(run, "copy"),
    ):
        with pytest.raises(StoreClosed, match="closed; open it again"):
            write()
    assert run.flush() == 2


def test_closing_a_run_frees_it_for_others_and_reading_goes_on(tmp_path: Path) -> None:
    url = f"lmdb:{tmp_path / 'store'}"
    run = stores.open(url).run("taken")
    log(run, "one")
    run.close()
    with pytest.raises(StoreClosed):
        log(run)
    with talking(HOLD, url) as other:
        assert int(other.hear()) > run.durable - 1
        assert names(run) == ["one", "x"]


def test_a_script_that_ends_without_closing_loses_nothing(disk: str) -> None:
    code = """
import sys, eventcore.history.store as stores
from eventcore.history import events as e
run = stores.open(sys.argv[1]).run("script")
for n in range(1000): run.record(e.MetricLogged(0, None, 0, str(n), 1.0))
"""
    python(code, disk)
    assert names(stores.open(disk)["script"]) == [str(n) for n in range(1000)]


def test_a_script_that_dies_of_an_error_loses_nothing(disk: str) -> None:
    code = """
import sys, eventcore.history.store as stores
from eventcore.history import events as e
with stores.open(sys.argv[1]).run("script") as run:
    run.record(e.MetricLogged(0, None, 0, "last", 1.0))
    raise SystemExit(3)
"""
    assert python(code, disk, check=False).returncode == 3
    assert names(stores.open(disk)["script"]) == ["last"]


def test_after_fork_a_child_is_refused_and_the_parent_is_not_harmed(disk: str) -> None:
    code = """
import os, sys, eventcore.history.store as stores
from eventcore.errors import StoreClosed
from eventcore.history import events as e
from eventcore.history.scope import current_run
store = stores.open(sys.argv[1])
run = store.run("parent")
run.record(e.MetricLogged(0, None, 0, "before", 1.0))
child = os.fork()
if child == 0:
    refused = 0
    attempts = [
        lambda: run.record(e.MetricLogged(0, None, 0, "child", 1.0)),
        lambda: run.snapshot(), lambda: run.at(1), lambda: list(run.events()), lambda: store.runs(),
        lambda: store.run("mine"), lambda: run.fork("mine"), lambda: store.verify(), lambda: store["parent"],
        lambda: run.flush(), lambda: store.backup(sys.argv[1] + "-copy"), lambda: store.delete("parent"),
    ]
    for attempt in attempts:
        try: attempt()
        except StoreClosed as error: refused += "fork()" in str(error)
    store.close()
    os._exit(0 if refused == len(attempts) else 100 + refused)
status = os.waitpid(child, 0)[1]
run.record(e.MetricLogged(0, None, 0, "after", 1.0))
run.flush()
print(os.waitstatus_to_exitcode(status), store.verify())
"""
    assert python(code, disk).stdout.strip() == "0 []"
    assert names(stores.open(disk)["parent"]) == ["before", "after"]


def test_a_child_made_by_fork_is_told_how_to_open_the_store(tmp_path: Path) -> None:
    code = """
import os, sys, eventcore.history.store as stores
from eventcore.errors import StoreClosed
run = stores.open(sys.argv[1]).run("parent")
run.flush()
child = os.fork()
if child == 0:
    try: stores.open(sys.argv[1])
    except StoreClosed as error: os._exit(0 if "spawn" in str(error) else 2)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(code, f"lmdb:{tmp_path / 'store'}").stdout.strip() == "0"


# --- the run in memory -------------------------------------------------------------------------


def test_without_a_store_events_go_to_a_run_in_memory_and_no_file_is_made(tmp_path: Path) -> None:
    code = """
import os
from eventcore.history import events as e
from eventcore.history.scope import current_run
run = current_run()
run.record(e.MetricLogged(0, None, 0, "x", 1.0))
run.flush()
print(run.name, run.store.url, run.head, os.listdir())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "in-memory memory: 2 []"


def test_the_run_in_memory_stays_bounded_and_its_state_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MEMORY_LIMIT", 200_000)
    monkeypatch.setattr("eventcore.history.snapshots.SNAPSHOT_FLOOR", 20_000)
    monkeypatch.setattr("eventcore.history.recording.SNAPSHOT_FLOOR", 20_000)
    run = current_run()
    chance = random.Random(1)
    for n in range(3_000):
        text = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=300))
        run.record(e.ProgramDeclared(0, None, 0, f"p{n % 7}", {"text": text, "n": n}), 330)
        if n % 100 == 0:
            run.flush()
    run.flush()
    facts = run.store.backend.facts()
    assert int(facts["bytes"]) < 300_000  # type: ignore[call-overload]
    assert run.head == 3_001
    state = run.at(run.head)
    assert {name: state.config(name)["n"] for name in state.programs} == {
        f"p{n % 7}": n for n in range(2_993, 3_000)
    }
    kept = run.store.reader(run.number).first_stored()
    assert kept > 1_000
    assert [record.seq for record in run.events(kept)] == list(range(kept, 3_002))
    with pytest.raises(NotFound, match=f"folded into a snapshot.*read from {kept} on"):
        list(run.events(1))
    assert run.store.verify() == []


def test_the_default_store_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENTCORE_STORE", f"sqlite:{tmp_path / 'mine.db'}")
    assert stores.open().url == f"sqlite:{tmp_path / 'mine.db'}"
    monkeypatch.delenv("EVENTCORE_STORE")
    with stores.open() as store:
        assert store.url == f"lmdb:{tmp_path / '.eventcore'}"
    assert (tmp_path / ".eventcore").is_dir()


# --- copying -----------------------------------------------------------------------------------


def test_a_run_is_copied_with_its_whole_history_into_another_store(url: str, tmp_path: Path) -> None:
    run = stores.open(url).run("parent")
    for n in range(700):
        log(run, str(n))
    fork = run.fork("child", at=300)
    log(fork, "mine")
    other = stores.open(f"lmdb:{tmp_path / 'other'}")
    copied = other.import_run(fork, at=302)
    assert names(copied) == names(fork)
    assert list(copied.events()) == list(fork.events(stop=302))
    assert copied.state.digest == fork.at(302).digest
    assert copied.parent is None
    assert other.verify() == []
    with pytest.raises(DuplicateName, match="'child'; pass name="):
        other.import_run(fork)
    with pytest.raises(StoreReadOnly):
        log(copied)


def test_a_copy_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stores.open("memory:").run("a")
    log(run)
    other = stores.open(f"lmdb:{tmp_path / 'other'}")
    monkeypatch.setattr(other.backend, "append", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        other.import_run(run)
    assert other.runs() == []


def test_a_backup_is_a_store_of_its_own(disk: str, tmp_path: Path) -> None:
    store = stores.open(disk)
    run = store.run("a")
    log(run, "before")
    target = tmp_path / ("copy.db" if disk.startswith("sqlite") else "copy")
    store.backup(target)
    log(run, "after")
    scheme = disk.partition(":")[0]
    with stores.open(f"{scheme}:{target}", read_only=True) as copy:
        assert names(copy["a"]) == ["before"]
        assert copy.verify() == []
    with pytest.raises(InvalidValue, match="exists"):
        store.backup(target)
