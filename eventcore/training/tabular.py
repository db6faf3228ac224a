"""Rows from wherever examples are kept: files of several forms, data frames, data sets, iterables of dicts.

A row is a dict of cells by column together with words that say where it stands, for errors. What the cells mean,
and which model they belong to, is decided in `data.py`.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import math
import os
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple, cast

import msgspec

from eventcore.errors import InvalidValue, NotFound, StorageError, Unavailable, WrongType

_URL = re.compile(r"^[a-z][a-z0-9+.-]+://")
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}


_CHUNK = 512


class Row(NamedTuple):
    """One row.

    Attributes:
        place: Where it stands: "train.csv, row 4 (line 5)". Rows are counted from 1.
        cells: Its cells by column.
    """

    place: str
    cells: Mapping[str, Any]


class Table(NamedTuple):
    """Rows of one source.

    Attributes:
        name: The source, for errors.
        columns: Its columns; None where each row has its own.
        rows: The rows; read as they are asked for.
        textual: Every cell is text.
        labels: Gives names of class numbers, by column.
    """

    name: str
    columns: list[str] | None
    rows: Iterator[Row]
    textual: bool = False
    labels: Mapping[str, Callable[[int], str]] = {}


def open_table(source: Any, separator: str | None, encoding: str) -> Table:
    """Find out what a source is and how it is read.

    Args:
        source: As in `data.read`.
        separator: Between the cells of a CSV file; None for what its suffix says.
        encoding: Of a text file.

    Raises:
        NotFound: No such file.
        StorageError: The file cannot be read.
        InvalidValue: A file of an unknown form, or one that is not what its suffix says.
        WrongType: Nothing rows can be taken from.
        Unavailable: The library that reads it is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        return _open_file(os.fspath(cast("str", source)), separator, encoding)
    if isinstance(source, Mapping):
        names = ", ".join(map(repr, source))
        raise WrongType(
            f"cannot read examples from {type(source).__name__} with the keys {names}: pass one split of a data set "
            "(source['train']), or a list of dicts, one per row"
        )
    home = type(source).__module__.partition(".")[0]
    if home == "pandas" and hasattr(source, "columns"):
        return _from_pandas(source)
    if home == "polars" and hasattr(source, "iter_rows"):
        return Table(
            "the DataFrame", list(source.columns), _numbered("the DataFrame", source.iter_rows(named=True))
        )
    if home == "pyarrow" and hasattr(source, "to_batches"):
        return Table(
            "the table", list(source.column_names), _numbered("the table", _batches(source.to_batches()))
        )
    if not isinstance(source, Iterable):
        raise WrongType(
            f"cannot read examples from {type(source).__name__}: pass a path, a DataFrame, a data set, or an iterable "
            "of dicts"
        )
    return _from_iterable(source)


# --- files -------------------------------------------------------------------------------------


def _open_file(path: str, separator: str | None, encoding: str) -> Table:
    if _URL.match(path):
        raise InvalidValue(
            f"cannot read {path}: nothing is fetched from the network; download it and pass the path"
        )
    packed = path.lower().endswith(".gz")
    suffix = os.path.splitext(path[:-3] if packed else path)[1].lower()
    kind = _FORMATS.get(suffix)
    if kind is None or (packed and kind == "parquet"):
        raise InvalidValue(
            f"cannot tell what {path} is from its suffix: it is {', '.join(_FORMATS)}, "
            "or a text form of these with .gz behind"
        )
    if not os.path.exists(path):
        raise NotFound(f"cannot read {path}: there is no such file (looked for {os.path.abspath(path)})")
    if os.path.isdir(path):
        raise InvalidValue(f"cannot read {path}: it is a directory; pass one file")
    if kind == "parquet":
        return _from_parquet(path)
    if kind in ("csv", "tsv"):
        return _from_csv(path, separator or ("\t" if kind == "tsv" else ","), encoding)
    rows = _json_lines(path, encoding) if kind == "jsonl" else _json_list(path, encoding)
    return Table(path, None, rows)


@contextlib.contextmanager
def _text_of(path: str, encoding: str) -> Generator[IO[str], None, None]:
    """Open a text file; what goes wrong while it is read is told in the words of this library."""
    try:
        if path.lower().endswith(".gz"):
            with gzip.open(path, "rt", encoding=encoding, newline="") as packed:
                yield cast("IO[str]", packed)
        else:
            with open(path, encoding=encoding, newline="") as file:
                yield file
    except UnicodeDecodeError as error:
        raise InvalidValue(
            f"cannot read {path} as {encoding}: {error.reason} at byte {error.start} of the part read; pass encoding="
        ) from error
    except LookupError as error:
        if isinstance(error, (KeyError, IndexError)):
            raise
        raise InvalidValue(f"cannot read {path}: {error}; pass another encoding=") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InvalidValue(f"cannot read {path}: {error}; it was cut short, or is no gzip file") from error
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def _from_csv(path: str, separator: str, encoding: str) -> Table:
    if len(separator) != 1:
        raise InvalidValue(f"cannot read {path} with separator={separator!r}: pass one character")
    rows = _csv_rows(path, separator, encoding)
    header = [name.strip() for name in next(rows)[1]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InvalidValue(
            f"cannot read {path}: its first line names {', '.join(map(repr, twice))} more than once; rename one"
        )
    return Table(path, header, _csv_cells(path, header, rows, separator), textual=True)


def _csv_rows(path: str, separator: str, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells), the first line's first; empty lines are left out."""
    with _text_of(path, encoding) as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        empty = True
        while chunk := _csv_chunk(path, reader):
            empty = False
            yield from chunk
        if empty:
            raise InvalidValue(f"cannot read {path}: it is empty; its first line has to name the columns")


def _csv_chunk(path: str, reader: Any) -> list[tuple[int, list[str]]]:
    """Read some rows at once, so that nobody else runs while the limit of cells is changed."""
    chunk: list[tuple[int, list[str]]] = []
    try:
        with _long_cells():
            for cells in reader:
                if cells:
                    chunk.append((reader.line_num, cells))
                if len(chunk) >= _CHUNK:
                    break
    except csv.Error as error:
        raise InvalidValue(f"cannot read {path}, line {reader.line_num}: {error}") from error
    return chunk


@contextlib.contextmanager
def _long_cells() -> Generator[None, None, None]:
    """Let cells be as long as texts are; the limit is the process's, so it is put back."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv_cells(
    path: str, header: Sequence[str], rows: Iterator[tuple[int, list[str]]], separator: str
) -> Iterator[Row]:
    for number, (line, cells) in enumerate(rows, 1):
        place = f"{path}, row {number} (line {line})"
        if len(cells) != len(header):
            raise InvalidValue(
                f"cannot read {place}: it has {len(cells)} cells, the first line names {len(header)} columns; put "
                f'texts that contain {separator!r} between double quotes ("), or pass separator='
            )
        yield Row(place, dict(zip(header, cells, strict=True)))


def _json_lines(path: str, encoding: str) -> Iterator[Row]:
    with _text_of(path, encoding) as file:
        number = 0
        for line, text in enumerate(file, 1):
            if text.strip():
                number += 1
                place = f"{path}, row {number} (line {line})"
                yield _checked(place, _decoded(place, text, "one JSON object per line"))


def _json_list(path: str, encoding: str) -> Iterator[Row]:
    with _text_of(path, encoding) as file:
        found = _decoded(path, file.read(), "a list of objects; one object per line is .jsonl")
    if not isinstance(found, list):
        raise InvalidValue(f"cannot read {path}: it holds {_kind(found)}, not a list of objects, one per row")
    for number, item in enumerate(cast("list[Any]", found), 1):
        yield _checked(f"{path}, row {number}", item)


def _decoded(place: str, text: str, wanted: str) -> Any:
    try:
        return msgspec.json.decode(text.removeprefix("\ufeff"))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidValue(f"cannot read {place}: {error}; it has to be {wanted}") from error


def _from_parquet(path: str) -> Table:
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise Unavailable(
            f"cannot read {path}: pyarrow is not installed; run: pip install 'eventcore[data]'"
        ) from error
    parquet: Any = pyarrow.parquet
    try:
        columns = list(parquet.ParquetFile(path).schema_arrow.names)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise InvalidValue(f"cannot read {path}: {error}; it is no Parquet file") from error

    def rows() -> Iterator[dict[str, Any]]:
        with parquet.ParquetFile(path) as file:
            yield from _batches(file.iter_batches())

    return Table(path, columns, _numbered(path, rows()))


# --- what is in memory -------------------------------------------------------------------------


def _from_pandas(frame: Any) -> Table:
    columns = [str(column) for column in frame.columns]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InvalidValue(
            f"cannot read the DataFrame: it has several columns {', '.join(twice)}; rename them"
        )

    def rows() -> Iterator[Row]:
        parts: list[list[Any]] = [frame.iloc[:, place].tolist() for place in range(len(columns))]
        for number, index in enumerate(frame.index.tolist(), 1):
            place = f"the DataFrame, row {number} (index {index!r})"
            yield Row(place, {name: part[number - 1] for name, part in zip(columns, parts, strict=True)})

    return Table("the DataFrame", columns, rows())


def _from_iterable(source: Iterable[Any]) -> Table:
    """Anything that gives dicts, a Hugging Face `Dataset` among them: its class labels come as names."""
    name = "the data set" if hasattr(source, "column_names") else f"the {type(source).__name__}"
    given: Any = getattr(source, "column_names", None)
    columns = [str(column) for column in given] if isinstance(given, (list, tuple)) else None
    features: Any = getattr(source, "features", None)
    labels: dict[str, Callable[[int], str]] = {}
    if isinstance(features, Mapping):
        labels = {str(key): item.int2str for key, item in features.items() if hasattr(item, "int2str")}
    return Table(name, columns, _numbered(name, source), labels=labels)


def _numbered(name: str, items: Iterable[Any]) -> Iterator[Row]:
    for number, item in enumerate(items, 1):
        yield _checked(f"{name}, row {number}", item)


def _batches(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _checked(place: str, item: Any) -> Row:
    if hasattr(item, "get_json"):
        item = item.get_json()
    if not isinstance(item, Mapping):
        raise InvalidValue(f"cannot read {place}: it is {_kind(item)}, not an object with a value per column")
    return Row(place, cast("Mapping[str, Any]", item))


def _kind(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '…'}"


def plain_cell(value: Any) -> Any:
    """Return a cell as JSON has it: arrays as lists, dates as text, what is missing (NaN, NaT, NA) as None."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {str(key): plain_cell(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain_cell(item) for item in cast("Sequence[Any]", value)]
    if hasattr(value, "tolist"):  # of numpy, torch and the like
        return plain_cell(value.tolist())
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value
