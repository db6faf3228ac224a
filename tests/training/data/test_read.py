"""Examples come from wherever they are kept, as data models; what does not fit is named with its row and column."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import InvalidValue, NotFound, SchemaMismatch, WrongType
from eventcore.training import data


class Text(ec.DataModel):
    text: str


class Label(ec.DataModel):
    label: str


class Everything(ec.DataModel):
    text: str
    whole: int
    share: float
    sure: bool
    perhaps: int | None = None
    kind: Literal["a", "b"] = "a"
    tags: list[str] = ec.Field(default_factory=list)
    inner: dict[str, int] = ec.Field(default_factory=dict)
    either: int | str = 0


ROWS = [
    {
        "text": 'x, "y"\nz',
        "whole": 3,
        "share": 0.5,
        "sure": True,
        "perhaps": None,
        "kind": "b",
        "tags": ["p", "q, r"],
        "inner": {"a": 1},
        "either": "seven",
    },
    {
        "text": "héllo 🌍",
        "whole": -12,
        "share": 2.0,
        "sure": False,
        "perhaps": 7,
        "kind": "a",
        "tags": [],
        "inner": {},
        "either": 7,
    },
]


def as_cell(value: Any) -> str:
    """How a person writes a value into a CSV file."""
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (bool, list, dict)) else str(value)


def write_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)
    return path


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def write_list(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    # A column of Parquet has one type, and an object in it the same keys in all rows.
    pq.write_table(
        pa.Table.from_pylist([{**row, "either": str(row["either"]), "inner": {"a": 1}} for row in rows]), path
    )
    return path


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    "train.csv": write_csv,
    "train.CSV": write_csv,
    "train.csv.gz": write_csv,
    "train.jsonl": write_lines,
    "train.ndjson": write_lines,
    "train.jsonl.gz": write_lines,
    "train.json": write_list,
    "train.parquet": write_parquet,
    "train.pq": write_parquet,
}


def refusal(error: type[Exception], *args: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        data.read(*args, **options)
    return str(caught.value)


# --- every form gives the same -----------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_any_form_gives_the_rows_that_were_written(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path / name, ROWS)
    xs, ys = data.read(path, Everything, Text)
    expected = [dict(row) for row in ROWS]
    if name.endswith(("parquet", "pq")):
        expected = [{**row, "either": str(row["either"]), "inner": {"a": 1}} for row in expected]
    assert [value.get_json() for value in xs] == expected
    assert ys == [Text(text=str(row["text"])) for row in ROWS]


def test_a_tab_separates_in_a_tsv_and_anything_when_said(tmp_path: Path) -> None:
    assert data.read(write_csv(tmp_path / "a.tsv", ROWS, "\t"), Everything)[0][1].whole == -12
    assert data.read(write_csv(tmp_path / "a.csv", ROWS, ";"), Everything, separator=";")[0][1].whole == -12


def test_frames_tables_and_data_sets_give_their_rows() -> None:
    rows = [{"text": "p", "label": "yes"}, {"text": "q", "label": "no"}]
    expected = ([Text(text="p"), Text(text="q")], [Label(label="yes"), Label(label="no")])
    frame = pd.DataFrame(rows)
    table = pa.Table.from_pylist(rows)
    dataset = datasets.Dataset.from_list(rows)
    for source in (rows, iter(rows), frame, table, dataset, dataset.to_iterable_dataset(), csv_reader(rows)):
        assert data.read(source, Text, Label) == expected


def csv_reader(rows: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    return csv.DictReader(["text,label", *(f"{row['text']},{row['label']}" for row in rows)])


def test_without_targets_there_are_none() -> None:
    assert data.read([{"text": "p"}], Text) == ([Text(text="p")], None)


def test_several_inputs_and_targets_are_lists() -> None:
    both: list[Any] = [Text, Label]
    xs, ys = data.read([{"text": "p", "label": "q"}], both, both[::-1])
    assert xs == [[Text(text="p"), Label(label="q")]]
    assert ys == [[Label(label="q"), Text(text="p")]]


def test_data_models_can_be_read_as_other_data_models() -> None:
    assert data.read([Text(text="p")], Label, columns={"label": "text"})[0] == [Label(label="p")]


def test_a_schema_gives_json_data_models() -> None:
    xs, _ = data.read([{"text": "p"}], Text.get_schema())
    assert [(type(value), value.get_json()) for value in xs] == [(ec.JsonDataModel, {"text": "p"})]


def test_a_program_can_be_trained_on_what_was_read(tmp_path: Path) -> None:
    from tests.training.callbacks.samples import Answer, Question, compiled

    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": str(n), "word": "best"}) + "\n" for n in range(10)))
    ec.clear_session(free_memory=False)
    with ec.open("memory:") as store, store.run("data", seed=1):
        program = compiled(["best"])
        history = ec.wait(
            program.fit(*data.read(path, x=Question, y=Answer), epochs=3, verbose=0, batch_size=9)
        )
    assert len(history.history["val_reward"]) == 3


# --- columns -----------------------------------------------------------------------------------


def test_columns_of_other_names_are_mapped() -> None:
    rows = [{"review": "p", "class": "yes"}]
    assert data.read(rows, Text, Label, columns={"text": "review", "label": "class"}) == (
        [Text(text="p")],
        [Label(label="yes")],
    )


def test_a_field_of_one_model_can_be_mapped_alone() -> None:
    rows = [{"text": "p", "answer": "q"}]

    class Reply(ec.DataModel):
        text: str

    assert data.read(rows, Text, Reply, columns={"Reply.text": "answer"}) == (
        [Text(text="p")],
        [Reply(text="q")],
    )


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [{"txt": "p", "label": "q"}])
    assert refusal(InvalidValue, path, Text) == (
        f"cannot read {path}: there is no column 'text' for the field 'text' of Text; the columns are txt, label; "
        "pass columns={'text': …}"
    )
    assert "row 2: there is no column 'label'" in refusal(
        InvalidValue, [{"label": "a"}, {"text": "b"}], Label
    )


def test_a_field_with_a_default_needs_no_column_unless_one_is_named(tmp_path: Path) -> None:
    class Optional(ec.DataModel):
        text: str
        size: int = 4

    path = write_csv(tmp_path / "t.csv", [{"text": "p"}])
    assert data.read(path, Optional)[0] == [Optional(text="p", size=4)]
    assert data.read([{"text": "p"}, {"text": "q", "size": 1}], Optional)[0][1].size == 1
    assert "there is no column 'length'" in refusal(InvalidValue, path, Optional, columns={"size": "length"})


def test_a_mapping_of_a_field_that_is_not_there_is_refused() -> None:
    assert refusal(InvalidValue, [{"text": "p"}], Text, columns={"txt": "text"}) == (
        "cannot map 'txt' to a column: there is no such field; the fields are Text.text"
    )


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,text\na,b\n")
    assert "names 'text' more than once" in refusal(InvalidValue, tmp_path / "t.csv", Text)
    frame = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    assert "several columns text" in refusal(InvalidValue, frame, Text)


def test_a_limit_reads_so_many_rows_and_no_more() -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "p"}
        yield {"text": "q"}
        raise AssertionError("a third row was asked for")

    with pytest.raises(AssertionError):
        data.read(rows(), Text)
    assert len(data.read(rows(), Text, limit=1)[0]) == 1
    for wrong in (0, -1, True, 1.5):
        assert "pass a number of rows" in refusal(InvalidValue, [{"text": "p"}], Text, limit=wrong)


# --- text becomes what the field is ------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("whole", " +7 ", 7),
        ("whole", "3.0", 3),
        ("share", "1e-3", 0.001),
        ("share", "7", 7.0),
        ("share", ".5", 0.5),
        ("sure", "Yes", True),
        ("sure", "0", False),
        ("sure", "TRUE", True),
        ("perhaps", "", None),
        ("perhaps", "4", 4),
        ("kind", "b", "b"),
        ("tags", "", []),
        ("tags", '["a"]', ["a"]),
        ("inner", '{"a": 1}', {"a": 1}),
        ("either", "7", 7),
        ("either", "x", "x"),
        ("either", "", ""),
        ("text", "", ""),
        ("text", " 7 ", " 7 "),
    ],
)
def test_a_cell_of_csv_is_what_its_field_is(field: str, text: str, value: Any, tmp_path: Path) -> None:
    row = {"text": "t", "whole": "1", "share": "1", "sure": "no", field: text}
    read = data.read(write_csv(tmp_path / "t.csv", [row]), Everything)[0][0].get_json()
    assert (read[field], type(read[field])) == (value, type(value))


@pytest.mark.parametrize(
    ("field", "text", "allowed"),
    [
        ("whole", "seven", "received str 'seven'; allowed: int"),
        ("whole", "3.5", "received str '3.5'; allowed: int"),
        ("whole", "1_000", "received str '1_000'; allowed: int"),
        ("whole", "", "received str ''; allowed: int"),
        ("share", "nan", "received str 'nan'; allowed: "),
        ("share", "1,5", "received str '1,5'"),
        ("sure", "maybe", "received str 'maybe'; allowed: bool"),
        ("perhaps", "none", "received str 'none'"),
        ("kind", "c", "allowed: one of 'a', 'b'"),
        ("kind", "", "allowed: one of 'a', 'b'"),
        ("tags", "a, b", 'Write it as JSON, such as ["a", "b"]'),
        ("tags", "[1]", "received int 1; allowed: str"),
        ("inner", "a", 'Write it as JSON, such as {"a": 1}'),
    ],
)
def test_a_cell_that_does_not_fit_is_named(field: str, text: str, allowed: str, tmp_path: Path) -> None:
    good = {"text": "t", "whole": "1", "share": "1", "sure": "no", field: as_cell(ROWS[0][field])}
    path = write_csv(tmp_path / "t.csv", [good, {**good, "text": "two\nlines", field: text}])
    message = refusal(SchemaMismatch, path, Everything)
    assert message.startswith(f"cannot read {path}, row 2 (line 4), column {field!r}: ")
    assert allowed in message


json_strings = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=20)


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "text": json_strings,
                "whole": st.integers(-(2**53), 2**53),
                "share": st.floats(allow_nan=False, allow_infinity=False),
                "sure": st.booleans(),
                "perhaps": st.none() | st.integers(-99, 99),
                "kind": st.sampled_from(["a", "b"]),
                "tags": st.lists(json_strings, max_size=3),
                "inner": st.dictionaries(json_strings, st.integers(-9, 9), max_size=2),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_as_csv_or_lines_is_read_back(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for path in (write_csv(folder / "t.csv", rows), write_lines(folder / "t.jsonl", rows)):
        read = [value.get_json() for value in data.read(path, Everything)[0]]
        assert [{name: value[name] for name in rows[0]} for value in read] == rows


# --- tables ------------------------------------------------------------------------------------


def test_what_is_missing_in_a_frame_is_none_or_left_to_the_default() -> None:
    class Row(ec.DataModel):
        perhaps: float | None = 1.0
        size: int = 4

    frame = pd.DataFrame({"perhaps": [0.5, None], "size": [3, None]})
    assert data.read(frame, Row)[0] == [Row(perhaps=0.5, size=3), Row(perhaps=None, size=4)]
    modern = frame.convert_dtypes()
    assert data.read(modern, Row)[0] == [Row(perhaps=0.5, size=3), Row(perhaps=None, size=4)]


def test_a_missing_cell_of_a_required_field_is_named_with_its_index() -> None:
    frame = pd.DataFrame({"text": ["p", None]}, index=["first", "second"])
    message = refusal(SchemaMismatch, frame, Text)
    assert message.startswith("cannot read the DataFrame, row 2 (index 'second'), column 'text': ")


def test_dates_are_text_and_arrays_are_lists() -> None:
    class Row(ec.DataModel):
        day: str
        numbers: list[int]
        one: int

    rows = [{"day": pd.Timestamp("2024-02-03"), "numbers": np.array([1, 2]), "one": np.int64(3)}]
    assert data.read(rows, Row)[0] == [Row(day="2024-02-03T00:00:00", numbers=[1, 2], one=3)]
    assert data.read(pd.DataFrame(rows), Row)[0] == [Row(day="2024-02-03T00:00:00", numbers=[1, 2], one=3)]


def test_numbers_are_not_taken_for_text_nor_fractions_for_integers() -> None:
    class Whole(ec.DataModel):
        n: int

    assert "received int 3; allowed: str" in refusal(SchemaMismatch, [{"text": 3}], Text)
    assert "received float 3.5; allowed: int" in refusal(SchemaMismatch, [{"n": 3.5}], Whole)
    assert "received str '3'; allowed: int" in refusal(SchemaMismatch, [{"n": "3"}], Whole)


def test_class_labels_of_a_data_set_come_as_names_where_the_field_is_text() -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    dataset = datasets.Dataset.from_dict({"text": ["p", "q"], "label": [1, 0]}, features=features)

    class Number(ec.DataModel):
        label: int

    assert data.read(dataset, Text, Label)[1] == [Label(label="pos"), Label(label="neg")]
    assert data.read(dataset, Text, Number)[1] == [Number(label=1), Number(label=0)]
    assert data.read(dataset.with_format("numpy"), Text, Label)[1] == [Label(label="pos"), Label(label="neg")]


def test_a_data_set_of_several_splits_is_refused_with_their_names() -> None:
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_list([{"text": "p"}])})
    assert refusal(WrongType, splits, Text) == (
        "cannot read examples from DatasetDict with the keys 'train': pass one split of a data set (source['train']), "
        "or a list of dicts, one per row"
    )


# --- files that are not what they should be ----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("t.csv", b"", InvalidValue, "it is empty; its first line has to name the columns"),
        ("t.csv", b"text\n", InvalidValue, "it has no rows"),
        ("t.csv", b"text\n\n\n", InvalidValue, "it has no rows"),
        (
            "t.csv",
            b"text\na,b\n",
            InvalidValue,
            "row 1 (line 2): it has 2 cells, the first line names 1 columns",
        ),
        ("t.csv", b'text\n"a\n', InvalidValue, "line 2: unexpected end of data"),
        ("t.csv", b"text\n\xff\n", InvalidValue, "as utf-8-sig: invalid start byte"),
        ("t.csv.gz", b"text\na\n", InvalidValue, "it was cut short, or is no gzip file"),
        (
            "t.jsonl.gz",
            gzip.compress(b'{"text": "a"}\n' * 99, mtime=0)[:-9],
            InvalidValue,
            "it was cut short",
        ),
        ("t.json.gz", gzip.compress(b"x" * 99, mtime=0)[:12] + b"\xff" * 9, InvalidValue, "it was cut short"),
        ("t.jsonl", b"", InvalidValue, "it has no rows"),
        ("t.jsonl", b'{"text": "a"}\n\n{"text": \n', InvalidValue, "row 2 (line 3): "),
        ("t.jsonl", b'["a"]\n', InvalidValue, "row 1 (line 1): it is list ['a'], not an object"),
        ("t.jsonl", b'{"text": NaN}\n', InvalidValue, "row 1 (line 1): JSON is malformed"),
        ("t.json", b'{"text": "a"}', InvalidValue, "it holds dict {'text': 'a'}, not a list of objects"),
        ("t.json", b"[1]", InvalidValue, "row 1: it is int 1, not an object with a value per column"),
        ("t.json", b'{"a": 1}\n{"a": 2}\n', InvalidValue, "one object per line is .jsonl"),
        ("t.json", b"[]", InvalidValue, "it has no rows"),
        ("t.parquet", b"no", InvalidValue, "it is no Parquet file"),
        ("t.txt", b"text\na\n", InvalidValue, "cannot tell what"),
        ("t.parquet.gz", b"text\na\n", InvalidValue, "cannot tell what"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    name: str, content: bytes, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    found = refusal(error, tmp_path / name, Text)
    assert message in found
    assert name in found


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbftext\r\np\r\n")
    (tmp_path / "t.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "p"}\r\n')
    for name in ("t.csv", "t.jsonl"):
        assert data.read(tmp_path / name, Text)[0] == [Text(text="p")]


def test_other_encodings_are_read_when_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("text\né\n".encode("latin-1"))
    assert data.read(tmp_path / "t.csv", Text, encoding="latin-1")[0] == [Text(text="é")]
    assert "unknown encoding: klingon" in refusal(InvalidValue, tmp_path / "t.csv", Text, encoding="klingon")


def test_long_texts_are_read_and_the_limit_of_the_process_is_as_before(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = write_csv(tmp_path / "t.csv", [{"text": "x" * 300_000}])
    assert len(data.read(path, Text)[0][0].text) == 300_000
    (tmp_path / "bad.csv").write_text('text\n"a')
    refusal(InvalidValue, tmp_path / "bad.csv", Text)
    assert csv.field_size_limit() == before


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert "there is no such file (looked for " in refusal(NotFound, tmp_path / "none.csv", Text)
    (tmp_path / "folder.csv").mkdir()
    assert "it is a directory" in refusal(InvalidValue, tmp_path / "folder.csv", Text)


def test_nothing_is_fetched_from_the_network() -> None:
    assert "download it and pass the path" in refusal(InvalidValue, "https://example.org/t.csv", Text)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "from int: pass a path, a DataFrame, a data set, or an iterable of dicts"),
        (None, "from NoneType"),
        ({"text": ["a"]}, "from dict with the keys 'text': pass one split"),
    ],
)
def test_a_source_of_another_kind_is_refused(source: Any, message: str) -> None:
    assert message in refusal(WrongType, source, Text)


@pytest.mark.parametrize(
    ("x", "message"), [(None, "without x="), (3, "cannot read x as 3"), ([Text, "b"], "as 'b'")]
)
def test_a_model_of_another_kind_is_refused(x: Any, message: str) -> None:
    assert message in refusal(WrongType, [{"text": "p"}], x)


def test_an_error_of_a_generator_is_its_own() -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "p"}
        raise ConnectionError("the source is gone")

    with pytest.raises(ConnectionError, match="the source is gone"):
        data.read(rows(), Text)


def test_without_pyarrow_parquet_says_what_to_install(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", ROWS)
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import eventcore as ec\nfrom eventcore.training import data\n"
        "class Text(ec.DataModel):\n    text: str\n"
        "try: data.read(sys.argv[1], Text)\n"
        "except ec.errors.Unavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert (
        done.stdout == f"cannot read {path}: pyarrow is not installed; run: pip install 'eventcore[data]'\n"
    )


def test_reading_text_loads_none_of_the_big_libraries(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ROWS)
    script = (
        "import sys\nimport eventcore as ec\nfrom eventcore.training import data\n"
        "class Text(ec.DataModel):\n    text: str\n"
        "data.read(sys.argv[1], Text)\n"
        "print({'pandas', 'pyarrow', 'numpy', 'datasets'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
