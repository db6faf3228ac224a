"""A run as a table: every event a row, columns that mean what they say, read back by other programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import InvalidValue, NotFound, Unavailable
from eventcore.history import events as e
from eventcore.history import exporting
from eventcore.history import store as stores
from eventcore.history.run import Run
from eventcore.history.scope import caused_by, in_rollout

FORMATS = ("jsonl", "parquet")
SCHEMA = {
    "type": "object",
    "properties": {
        "persona": {"type": "string"},
        "count": {"type": "integer"},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = stores.open(tmp_path / "runs.lmdb").run("main", seed=3)
    variable = ec.Variable({"persona": "shy \u2028 \x00 é", "count": 0, "notes": []}, SCHEMA, name="voice")
    with in_rollout("training:0/abc/0"), caused_by(2):
        variable.update({"persona": "bold"})
        variable["notes"].append("one")
    variable.update({"persona": "brisk", "count": 1})
    run.record(e.EffectStarted(*run.stamp(), "language_model", "d", 0, {"messages": []}, variable.number, -1))
    run.record(e.LabelSet(*run.stamp(), "best", 4))
    run.flush()
    return run


READING = """
import sys, duckdb, orjson
source = sys.argv[1]
types = ", ".join(f"'{name}': '{kind}'" for name, kind in zip(
    "seq time run rollout cause kind variable pointer payload".split(),
    "BIGINT BIGINT VARCHAR VARCHAR BIGINT VARCHAR VARCHAR VARCHAR JSON".split()))
table = f"read_json('{source}', columns={{{types}}})" if source.endswith("jsonl") else f"'{source}'"
chosen = "*" if source.endswith("jsonl") else "* REPLACE (epoch_us(time) AS time)"
with duckdb.connect() as connection:
    found = connection.execute(f"SELECT {chosen} FROM {table} ORDER BY seq")
    names = [column[0] for column in found.description]
    sys.stdout.buffer.write(orjson.dumps([names, found.fetchall()]))
"""
"""A program that knows the table and nothing of us. In a process of its own: DuckDB has words when it ends."""


def read(path: Path) -> list[dict[str, Any]]:
    """What DuckDB finds in a file, with the payload parsed."""
    done = subprocess.run(
        [sys.executable, "-c", READING, str(path)], capture_output=True, check=True, timeout=60
    )
    names, rows = json.loads(done.stdout)
    assert tuple(names) == exporting.COLUMNS
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [{**row, "payload": json.loads(row["payload"])} for row in found]


@pytest.mark.parametrize("form", FORMATS)
def test_duckdb_reads_back_every_event(run: Run, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"table.{form}"
    assert run.export(path) == run.head
    rows, records = read(path), list(run.events())
    assert [row["seq"] for row in rows] == list(range(1, run.head + 1))
    for row, (_, event) in zip(rows, records, strict=True):
        assert row["time"] == event.time and row["run"] == "main"
        assert row["rollout"] == event.rollout and row["cause"] == (event.cause or None)
        assert row["kind"] == type(event).__name__
        about = getattr(event, "variable", None) is not None
        assert row["variable"] == ("voice" if about else None)
        assert (row["pointer"] is None) == (not about)


@pytest.mark.parametrize("form", FORMATS)
def test_payloads_hold_the_other_fields_with_names_for_numbers(run: Run, tmp_path: Path, form: str) -> None:
    run.export(tmp_path / f"table.{form}")
    rows = {row["kind"]: row for row in read(tmp_path / f"table.{form}")}
    update = rows["VariableUpdated"]
    assert update["payload"]["payload"] == {"persona": "brisk", "count": 1} and update["pointer"] == ""
    assert "test_export.py:" in update["payload"]["source"]
    patch = rows["ValuePatched"]
    assert patch["pointer"] == "/notes" and patch["rollout"] == "training:0/abc/0" and patch["cause"] == 2
    assert (patch["payload"]["op"], patch["payload"]["args"]) == ("append", ["one"])
    assert rows["VariableDeclared"]["payload"]["value"]["persona"] == "shy \u2028 \x00 é"
    assert rows["EffectStarted"]["payload"]["effect"] == "language_model"
    assert rows["LabelSet"]["payload"] == {"label": "best", "labelled": 4}
    assert rows["FieldRead"]["payload"] == {"field": "notes"} and rows["FieldRead"]["pointer"] == "/notes"
    assert rows["RunStarted"]["payload"]["seed"] == 3


def test_both_formats_hold_the_same(run: Run, tmp_path: Path) -> None:
    for form in FORMATS:
        run.export(tmp_path / f"table.{form}")
    assert read(tmp_path / "table.jsonl") == read(tmp_path / "table.parquet")


@pytest.mark.parametrize("form", FORMATS)
def test_a_part_knows_the_names_introduced_before_it(run: Run, tmp_path: Path, form: str) -> None:
    run.export(tmp_path / f"all.{form}")
    assert run.export(tmp_path / f"part.{form}", start=5, stop=7) == 3
    assert read(tmp_path / f"part.{form}") == read(tmp_path / f"all.{form}")[4:7]


def test_a_fork_has_its_parents_events_as_its_own(run: Run, tmp_path: Path) -> None:
    fork = run.fork("other", at=5)
    fork.flush()
    fork.export(tmp_path / "fork.parquet")
    rows = read(tmp_path / "fork.parquet")
    assert [row["seq"] for row in rows] == list(range(1, fork.head + 1))
    assert {row["run"] for row in rows} == {"other"}


def test_many_tables_make_one_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "BYTES"):
        monkeypatch.setattr(exporting, name, 1)
        for _ in range(3):
            run.record(e.MetricLogged(*run.stamp(), "n", 1.0))
            run.flush()  # a block of its own
    for form in FORMATS:
        assert run.export(tmp_path / f"table.{form}") == run.head
    assert read(tmp_path / "table.jsonl") == read(tmp_path / "table.parquet")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), JSON, max_size=3))
)
def test_any_payload_survives_both_formats(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[dict[str, Any]]
) -> None:
    import pyarrow.parquet

    folder = tmp_path_factory.mktemp("export")
    with stores.open("memory:") as store, store.run("r") as run:
        for payload in payloads:
            run.record(e.EffectStarted(0, None, 0, "k", "d", 0, payload, None, -1))
        run.flush()
        for form in FORMATS:
            run.export(folder / f"t.{form}")
    lines = [json.loads(line) for line in (folder / "t.jsonl").read_bytes().split(b"\n")[:-1]]
    table = pyarrow.parquet.read_table(folder / "t.parquet").column("payload").to_pylist()
    wanted = [
        {"effect": "k", "digest": "d", "ordinal": 0, "request": payload, "source": None}
        for payload in payloads
    ]
    assert [line["payload"] for line in lines if line["kind"] == "EffectStarted"] == wanted
    assert [json.loads(text) for text in table][-len(wanted) or len(table) :] == wanted


# --- bad input ----------------------------------------------------------------------------------


def test_an_unknown_suffix_is_refused_and_nothing_is_made(run: Run, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    with pytest.raises(InvalidValue, match=r"\.csv.*\.jsonl, \.ndjson, \.parquet"):
        run.export(tmp_path / "table.csv")
    with pytest.raises(InvalidValue, match="csv"):
        run.export(tmp_path / "table", format="csv")
    assert set(tmp_path.iterdir()) == before
    assert run.export(tmp_path / "table", format="jsonl") == run.head


@pytest.mark.parametrize("seq", [-1, 10_000])
def test_a_seq_that_is_not_there_is_refused(run: Run, tmp_path: Path, seq: int) -> None:
    with pytest.raises(InvalidValue, match="its log ends at"):
        run.export(tmp_path / "t.jsonl", stop=seq)
    with pytest.raises(NotFound):
        run.export(tmp_path / "t.jsonl", start="shipped")


def test_a_file_that_could_not_be_finished_does_not_appear(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "t.jsonl"
    target.write_text("what was there")
    before = set(tmp_path.iterdir())

    def fails(*_: Any) -> Any:
        raise OSError("no space left on device")

    monkeypatch.setattr(exporting, "tables", fails)
    with pytest.raises(OSError, match="no space"):
        run.export(target)
    assert target.read_text() == "what was there" and set(tmp_path.iterdir()) == before


def test_without_pyarrow_it_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(Unavailable, match=r"eventcore\[export\]"):
        run.export(tmp_path / "t.parquet")
    assert not list(tmp_path.glob("*t.parquet*"))
    assert run.export(tmp_path / "t.jsonl") == run.head


def test_pandas_is_not_imported(run: Run, tmp_path: Path) -> None:
    run.store.close()
    code = (
        "import sys, eventcore as ec\n"
        f"ec.open({str(tmp_path / 'runs.lmdb')!r}, read_only=True)['main'].export({str(tmp_path / 't.parquet')!r})\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
