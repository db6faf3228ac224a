"""A run as a table, for programs that know nothing of it: JSON lines, or Parquet.

One row per event, oldest first, in columns that stay what they are (`COLUMNS`). Rows are made block by block
and written as they are made, so memory does not grow with the log. Nothing here is read back: the log is the truth.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from eventcore.errors import InvalidValue, Unavailable
from eventcore.history import events as e
from eventcore.history.naming import HEADER_FIELDS, IN_JSON, Names, pointer_of
from eventcore.history.patches import NAMES
from eventcore.history.reading import Reader
from eventcore.history.timetravel import join_pointer

COLUMNS = ("seq", "time", "run", "rollout", "cause", "kind", "variable", "pointer", "payload")
"""The table. Columns are never renamed, reordered or removed; new ones come behind these.

- `seq`: position of the event in the run, 1, 2, 3, …
- `time`: when it was recorded; microseconds since 1970 in JSON lines, a UTC timestamp in Parquet.
- `run`: name of the run that was exported; a fork has its parent's events as its own.
- `rollout`: identity of the rollout it belongs to, or null.
- `cause`: seq of the event that led to it, or null.
- `kind`: name of the event's class, as in `eventcore.history.events`.
- `variable`: path of the variable it is about, or null.
- `pointer`: JSON pointer to the place in that variable, "" for the whole of it; null where `variable` is.
- `payload`: the event's other fields as a JSON object (as text in Parquet), with `source` as a line of code. Two
  of them have other names than in the class: an effect's kind is `effect`, the seq of a label is `labelled`.
"""

ROWS = 16_384
BYTES = 4 * 1024 * 1024
"""Rows, and bytes of their payloads, that are collected before they are written."""

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}

_encode = msgspec.json.Encoder().encode

Row = tuple[int, int, str | None, int, str, str | None, str | None, bytes]
"""The table's columns but `run`; a cause of 0 stands for none, the payload is JSON."""


def export(
    reader: Reader,
    path: str | os.PathLike[str],
    format: str | None = None,
    first: int = 1,
    last: int | None = None,
) -> int:
    """Write a run's events into a file, which appears whole or not at all.

    Args:
        reader: The run.
        path: The file; one that is there is replaced.
        format: "jsonl" or "parquet"; None for what the suffix says.
        first: First seq.
        last: Last seq, included; None for the durable head.

    Returns:
        How many events were written.

    Raises:
        InvalidValue: A suffix or format that is not known.
        OSError: No file can be written there.
        Unavailable: pyarrow, which writes Parquet, is not installed.
    """
    target = Path(path)
    chosen = format or FORMATS.get(target.suffix.lower())
    if chosen not in _WRITERS:
        raise InvalidValue(
            f"cannot export to {str(target)!r}: received the format {format or target.suffix or None!r}; "
            f"use a suffix of {', '.join(FORMATS)}, or name the format: {', '.join(_WRITERS)}"
        )
    write = _WRITERS[chosen]
    if chosen == "parquet":
        _pyarrow()  # said before a file is made
    with _appearing(target) as file:
        return write(reader, file, first, reader.head() if last is None else last)


@contextmanager
def _appearing(target: Path) -> Generator[BinaryIO]:
    """A new file that takes its name when it is complete; what is no ordinary file is written to as it is."""
    if target.exists() and not target.is_file():
        with open(target, "wb") as file:
            yield file
        return
    try:
        handle, made = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:  # it names a file the caller knows nothing of
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(made, 0o666 & ~umask)
        os.replace(made, target)
    except BaseException:
        os.unlink(made)
        raise


# --- rows --------------------------------------------------------------------------------------


class Table:
    """Rows that belong together, column by column; `run` is the same for all and left out.

    A cause of 0 stands for none; payloads are JSON.
    """

    def __init__(self) -> None:
        self.seq: list[int] = []
        self.time: list[int] = []
        self.rollout: list[str | None] = []
        self.cause: list[int] = []
        self.kind: list[str] = []
        self.variable: list[str | None] = []
        self.pointer: list[str | None] = []
        self.payload: list[bytes] = []

    def __len__(self) -> int:
        return len(self.seq)

    def __iter__(self) -> Iterator[Row]:
        return zip(
            self.seq, self.time, self.rollout, self.cause, self.kind, self.variable, self.pointer, self.payload,
            strict=True,
        )  # fmt: skip


def tables(reader: Reader, first: int, last: int) -> Iterator[Table]:
    """Yield the rows of events `first..last`, some thousand at a time."""
    if first > last:
        return
    names = Names()
    if first > 1:
        names.take(reader.state_at(first - 1))
    filler, table, size = _Filler(names), Table(), 0
    for low, events in reader.chunks(first, last):
        table.seq += range(low, low + len(events))
        size += filler.fill(table, events)
        if len(table) >= ROWS or size >= BYTES:
            yield table
            table, size = Table(), 0
    if len(table):
        yield table


class _Filler:
    """Puts events into a table, with names for numbers."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._sources = _Sources(names)
        self._payloads = {cls: _payload(cls) for cls in e.KINDS.values()}
        self._kinds = {cls: name for name, cls in e.KINDS.items()}
        self._pointers: dict[str, str] = {}

    def fill(self, table: Table, events: list[e.Event]) -> int:
        """Append all columns but `seq`, and return the bytes of the payloads."""
        table.time += [event.time for event in events]
        table.rollout += [event.rollout for event in events]
        table.cause += [event.cause for event in events]
        table.kind += [self._kinds[type(event)] for event in events]
        variables, pointers, payloads = table.variable.append, table.pointer.append, table.payload.append
        encoders, paths, sources, size = self._payloads, self._names.paths, self._sources, 0
        for event in events:
            cls: Any = type(event)
            if cls is e.VariableDeclared or cls is e.SourceSeen:
                self._names.learn(event)
            number: int | None = getattr(event, "variable", None)
            if number is None:
                variables(None)
                pointers(None)
            else:
                variables(paths.get(number) or f"#{number}")
                pointers(self._pointer(event))
            payload = encoders[cls](event, sources)
            size += len(payload)
            payloads(payload)
        return size

    def _pointer(self, event: Any) -> str:
        """Return the event's pointer; those of the commonest events are made once per field."""
        if type(event) is e.VariableUpdated and len(event.payload) == 1:
            (field,) = event.payload
        elif type(event) is e.FieldRead and event.field is not None:
            field = event.field
        else:
            return pointer_of(event)
        found = self._pointers.get(field)
        if found is None:
            found = self._pointers[field] = join_pointer("", field)
        return found


class _Sources:
    """Source lines as JSON, by number; each is encoded once."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._encoded: dict[int, bytes] = {}

    def __getitem__(self, number: int) -> bytes:
        found = self._encoded.get(number)
        if found is None:
            line = self._names.sources.get(number)
            found = _encode(line)
            if line is not None:
                self._encoded[number] = found
        return found


Payload = Callable[[Any, _Sources], bytes]


def _payload(cls: type[e.Event]) -> Payload:
    """Return what makes the payload of events of a class."""
    if cls is e.VariableUpdated:
        return lambda event, sources: (
            b'{"payload":%b,"source":%b}'
            % (
                _encode(event.payload),
                sources[event.source],
            )
        )
    if cls is e.FieldRead:
        return lambda event, sources: b"{}" if event.field is None else b'{"field":%b}' % _encode(event.field)
    fields = [(IN_JSON.get(name, name), name) for name in cls.__struct_fields__ if name not in HEADER_FIELDS]
    has_source = "source" in cls.__struct_fields__ and cls is not e.SourceSeen

    def encode(event: Any, sources: _Sources) -> bytes:
        payload = {said: getattr(event, name) for said, name in fields}
        if cls is e.ValuePatched:
            payload["op"] = NAMES.get(event.op, event.op)
        if has_source:
            payload["source"] = msgspec.Raw(sources[event.source])
        return _encode(payload)

    return encode


# --- writers -----------------------------------------------------------------------------------


def write_jsonl(reader: Reader, file: BinaryIO, first: int, last: int) -> int:
    """Write one JSON object per line and return how many."""
    run, none = _encode(reader.name), b"null"
    texts: dict[str | None, bytes] = {None: none}
    count = 0
    for table in tables(reader, first, last):
        lines = [
            b'{"seq":%d,"time":%d,"run":%b,"rollout":%b,"cause":%b,"kind":%b,"variable":%b,"pointer":%b,"payload":%b}\n'
            % (
                seq, time, run, texts.get(rollout) or _text(texts, rollout), b"%d" % cause if cause else none,
                texts.get(kind) or _text(texts, kind), texts.get(variable) or _text(texts, variable),
                texts.get(pointer) or _text(texts, pointer), payload,
            )
            for seq, time, rollout, cause, kind, variable, pointer, payload in table
        ]  # fmt: skip
        file.write(b"".join(lines))
        count += len(lines)
    return count


def _text(encoded: dict[str | None, bytes], text: str | None) -> bytes:
    """Return a text as JSON and keep it, since most of them come again and again."""
    if len(encoded) > ROWS:
        encoded.clear()
        encoded[None] = b"null"
    found = encoded[text] = _encode(text)
    return found


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # pyright: ignore[reportMissingTypeStubs]
        import pyarrow.parquet as parquet  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise Unavailable(
            "cannot write Parquet: pyarrow is not installed; "
            "`pip install 'eventcore[export]'`, or export JSON lines instead"
        ) from error
    return pyarrow, parquet


def parquet_schema() -> Any:
    """The table's columns as a schema of pyarrow."""
    pa, _ = _pyarrow()
    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            pa.field("seq", pa.int64(), nullable=False),
            pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("run", word, nullable=False),
            pa.field("rollout", word),
            pa.field("cause", pa.int64()),
            pa.field("kind", word, nullable=False),
            pa.field("variable", word),
            pa.field("pointer", word),
            pa.field("payload", pa.string(), nullable=False),
        ]
    )


def write_parquet(reader: Reader, file: BinaryIO, first: int, last: int) -> int:
    """Write Parquet, zstd-compressed, and return how many rows."""
    pa, parquet = _pyarrow()
    schema = parquet_schema()
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=words) as writer:
        for table in tables(reader, first, last):
            columns = [
                _numbers(pa, pa.int64(), array("q", table.seq)),
                _numbers(pa, schema.field("time").type, array("q", table.time)),
                _words(pa, [reader.name] * len(table)),
                _words(pa, table.rollout),
                _numbers(pa, pa.int64(), array("q", table.cause), [cause != 0 for cause in table.cause]),
                *(_words(pa, column) for column in (table.kind, table.variable, table.pointer)),
                _strings(pa, table.payload),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            count += len(table)
    return count


# Columns are made of buffers: `pyarrow.array` imports pandas where it is installed, half a second and 50 MB.


def _numbers(pa: Any, kind: Any, values: array[int], valid: Sequence[bool] | None = None) -> Any:
    bitmap = None
    if valid is not None:
        bits = int("".join("1" if there else "0" for there in reversed(valid)), 2)  # the first is the lowest
        bitmap = pa.py_buffer(bits.to_bytes((len(valid) + 7) // 8, "little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(values)])


def _strings(pa: Any, values: Sequence[bytes]) -> Any:
    ends = array("i", accumulate(map(len, values), initial=0))
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(values)))


def _words(pa: Any, values: Sequence[str | None]) -> Any:
    """Return a column in which the same texts come again and again."""
    numbers: dict[str | None, int] = {}
    for value in values:
        if value not in numbers and value is not None:
            numbers[value] = len(numbers)
    known = [text.encode() for text in numbers if text is not None]
    some_missing = None in values
    numbers[None] = 0
    indices = array("i", [numbers[value] for value in values])
    valid = [value is not None for value in values] if some_missing else None
    return pa.DictionaryArray.from_arrays(_numbers(pa, pa.int32(), indices, valid), _strings(pa, known))


_WRITERS: dict[str, Callable[[Reader, BinaryIO, int, int], int]] = {
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
