"""`verify`: everything that is wrong is found and named with its seq, and nothing else is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from eventcore.history import events as e
from eventcore.history import snapshots
from eventcore.history import store as stores
from eventcore.history.backend import StoredSnapshot
from eventcore.history.run import Run
from eventcore.history.state import State
from eventcore.history.store import Store


def filled(store: Store, name: str = "checked") -> Run:
    run = store.run(name)
    for n in range(30):
        run.record(e.ProgramDeclared(0, None, 0, f"p{n % 3}", {"n": n}), 10)
        if n in (9, 19):
            run.snapshot()
    run.flush()
    return run


def replace_snapshot(store: Store, run: Run, seq: int, data: bytes) -> None:
    row = store.row(run.number)
    store.backend.append(run.number, row.head, row.epoch, (), StoredSnapshot(seq, data))


def test_a_sound_store_has_no_findings(url: str) -> None:
    store = stores.open(url)
    run = filled(store)
    filled(store, "another")
    fork = run.fork(at=15)
    fork.snapshot()
    assert store.verify() == []
    assert store.verify("checked") == []


def test_a_damaged_snapshot_is_named_and_the_log_said_to_be_unaffected(url: str) -> None:
    store = stores.open(url)
    run = filled(store)
    (first, second) = store.backend.snapshot_seqs(run.number)
    replace_snapshot(store, run, second, b"garbage")
    (finding,) = store.verify()
    assert (finding.run, finding.seq) == ("checked", second)
    assert "the log itself is not affected" in finding.message
    assert first < second


def test_a_snapshot_of_other_values_is_named(url: str) -> None:
    store = stores.open(url)
    run = filled(store)
    seq = store.backend.snapshot_seqs(run.number)[0]
    other = State()
    declared = e.VariableDeclared(0, None, 0, 0, "v", {}, {"n": 1}, True, True, None, None, "", -1)
    from eventcore.history.state import fold

    fold(other, [declared])
    replace_snapshot(store, run, seq, snapshots.snapshot_bytes(run.number, seq, other))
    (finding,) = store.verify()
    assert finding.seq == seq
    assert "has digest" in finding.message


def test_an_event_that_does_not_fold_is_named(url: str) -> None:
    store = stores.open(url)
    run = filled(store)
    with pytest.raises(LookupError):
        run.record(e.VariableUpdated(0, None, 0, 77, {"n": 1}, -1))  # no variable has this number
    seq = run.head
    run.flush()
    (finding,) = store.verify()
    assert (finding.run, finding.seq) == ("checked", seq)
    assert "does not fit the state before it" in finding.message
    assert run.at(seq - 1).programs


def test_findings_of_one_run_do_not_hide_those_of_another(url: str) -> None:
    store = stores.open(url)
    for name in ("one", "two"):
        run = filled(store, name)
        replace_snapshot(store, run, store.backend.snapshot_seqs(run.number)[0], b"")
    assert [finding.run for finding in store.verify()] == ["one", "two"]
    assert [finding.run for finding in store.verify("two")] == ["two"]


def test_a_run_with_many_variables_and_chunks_is_verified_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventcore.history.index.CHUNK", 64)
    store = stores.open("memory:")
    run = store.run("many")
    for n in range(20_000):
        run.record_read(n % 40, "x", None, 0)
    started = time.perf_counter()
    assert store.verify() == []
    assert time.perf_counter() - started < 5


def test_verify_goes_on_when_a_run_was_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open("memory:")
    run = filled(store)

    def fail(*_: Any) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "append", fail)
        run.record(e.MetricLogged(0, None, 0, "x", 1.0))
        with pytest.raises(OSError, match="no space"):
            run.flush()
    assert store.verify() == []
