"""Numbers of one's own in the log: `run.log_metric`."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.errors import InvalidValue, StoreReadOnly
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.scope import in_rollout
from eventcore.history.store import Store


def logged(run: Any) -> list[tuple[str, float]]:
    return [(record.event.name, record.event.value) for record in run.events(kind="MetricLogged")]


def test_a_number_is_kept_with_where_it_was_measured(url: str, reopen: Any) -> None:
    store: Store = stores.open(url)
    run = store.run("main")
    with in_rollout("test:0/abc/0"):
        seq = run.log_metric("held out accuracy", 3)
    assert seq == run.head
    run.flush()
    if url != "memory:":
        run = reopen(store)["main"]
    (record,) = run.events(kind=e.MetricLogged)
    assert (record.seq, record.event.rollout) == (seq, "test:0/abc/0")
    assert logged(run) == [("held out accuracy", 3.0)]
    assert type(logged(run)[0][1]) is float


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70) | st.fractions())
def test_any_finite_number_is_taken_as_a_float(value: Any) -> None:
    with stores.open("memory:") as store:
        run = store.run("main")
        run.log_metric("x", value)
        assert logged(run) == [("x", float(value))]


def test_numbers_of_numpy_are_taken() -> None:
    numpy = pytest.importorskip("numpy")
    with stores.open("memory:") as store:
        run = store.run("main")
        for value in (numpy.float32(0.5), numpy.float64(0.25), numpy.int64(3)):
            run.log_metric("x", value)
        assert [value for _, value in logged(run)] == [0.5, 0.25, 3.0]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("x", math.nan, "cannot log 'x' as nan: pass a finite number"),
        ("x", -math.inf, "pass a finite number"),
        ("x", 10**400, "pass a finite number"),
        ("x", Fraction(10**400), "pass a finite number"),
        ("x", True, "as True"),
        ("x", "0.5", "as '0.5'"),
        ("x", None, "as None"),
        ("x", 1j, "pass a finite number"),
        ("x", Decimal(1), "pass a finite number"),
        ("", 1.0, "pass a name in words"),
        (" ", 1.0, "pass a name in words"),
        ("a\nb", 1.0, "pass a name in words"),
        ("\ud800", 1.0, "pass a name in words"),
        (3, 1.0, "cannot log a number as 3"),
    ],
)
def test_what_is_no_number_worth_keeping_is_refused_and_nothing_is_recorded(
    name: Any, value: Any, words: str
) -> None:
    """I9."""
    with stores.open("memory:") as store:
        run = store.run("main")
        head = run.head
        with pytest.raises(InvalidValue, match=words):
            run.log_metric(name, value)
        assert run.head == head


def test_it_stands_in_the_export_and_in_the_log_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from eventcore.cli import main

    place = str(tmp_path / "runs.lmdb")
    with stores.open(place) as store:
        run = store.run("main")
        seq = run.log_metric("recall", 0.75)
        run.flush()
        run.export(tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["payload"] for row in rows if row["seq"] == seq] == [{"name": "recall", "value": 0.75}]
    assert main(["log", place, "main", "--kind", "MetricLogged"]) == 0
    assert "recall=0.75" in capsys.readouterr().out
    with stores.open(place, read_only=True) as store, pytest.raises(StoreReadOnly):
        store["main"].log_metric("recall", 1.0)
