"""`ec.data`: examples for `fit` from files, data frames and data sets.

Columns become fields of data models by name. What does not fit is refused with the file, the row and the column,
before anything is trained; nothing is guessed, dropped or filled in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

from eventcore.errors import InvalidValue, SchemaMismatch, WrongType
from eventcore.models.conversion import validator_of
from eventcore.models.data_model import DataModel
from eventcore.models.json_data_model import JsonDataModel
from eventcore.training.tabular import Row, Table, open_table, plain_cell

X = TypeVar("X")
Y = TypeVar("Y")

_INTEGER = re.compile(r"[+-]?[0-9]+(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NOTHING = object()


@overload
def read(
    source: Any,
    x: Sequence[Any] | dict[str, Any],
    y: Any = None,
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    separator: str | None = None,
    encoding: str = "utf-8-sig",
) -> tuple[list[Any], list[Any] | None]: ...


@overload
def read(
    source: Any,
    x: type[X],
    y: type[Y],
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    separator: str | None = None,
    encoding: str = "utf-8-sig",
) -> tuple[list[X], list[Y]]: ...


@overload
def read(
    source: Any,
    x: type[X],
    y: None = None,
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    separator: str | None = None,
    encoding: str = "utf-8-sig",
) -> tuple[list[X], None]: ...


def read(
    source: Any,
    x: Any,
    y: Any = None,
    *,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    separator: str | None = None,
    encoding: str = "utf-8-sig",
) -> tuple[list[Any], list[Any] | None]:
    """Read examples: `program.fit(*ec.data.read("train.jsonl", x=Text, y=Label), epochs=3)`.

    Text from CSV becomes what the field is: numbers, `true/false/yes/no/1/0`, JSON for lists and objects; an empty
    cell is None for an optional field and leaves a field with a default out. In tables, what is missing (NaN, NaT,
    NA) is treated like an empty cell, and whole floats are taken for integers. A class label of a Hugging Face data
    set becomes its name where the field is text.

    Args:
        source: Path of a CSV, TSV, JSON Lines, JSON (a list of objects) or Parquet file, the text forms also with
            `.gz`; a pandas or polars DataFrame, a pyarrow table, a split of a Hugging Face data set, or an
            iterable of dicts.
        x: Data model of the inputs; a list of them for a program of several inputs.
        y: Data model of the targets, likewise; None without targets.
        columns: Column by field, for those that have other names; `"Label.text"` means the field `text` of `Label`
            alone.
        limit: Read so many rows at most.
        separator: Between the cells of a CSV file; None for a comma, or a tab in `.tsv`.
        encoding: Of a text file.

    Returns:
        Inputs and targets, in the order of the rows; None in place of targets without `y`.

    Raises:
        NotFound: No such file.
        SchemaMismatch: A cell does not fit its field; the message has file, row and column.
        InvalidValue: A column is not there, no rows, a file that is not what it says.
        WrongType: A source or model of another kind.
        Unavailable: pyarrow is needed and not installed: `pip install 'eventcore[data]'`.
        StorageError: The file cannot be read.

    All rows are held in memory. Time is linear in them.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidValue(f"cannot read with limit={limit!r}: pass a number of rows of at least 1, or None")
    mapping = dict(columns or {})
    inputs, targets = _models(x, "x"), _models(y, "y")
    if not inputs:
        raise WrongType("cannot read examples without x=: pass the data model of the inputs")
    table = open_table(source, separator, encoding)
    makers = [_Maker(model, mapping, table) for model in (*inputs, *targets)]
    _require_known(mapping, makers)
    xs: list[Any] = []
    ys: list[Any] = []
    for count, row in enumerate(table.rows):
        if limit is not None and count >= limit:
            break
        made = [maker.make(row) for maker in makers]
        xs.append(_one_or_list(made[: len(inputs)], x))
        if targets:
            ys.append(_one_or_list(made[len(inputs) :], y))
    if not xs:
        raise InvalidValue(f"cannot read examples from {table.name}: it has no rows")
    return xs, ys if targets else None


def _models(given: Any, role: str) -> list[Any]:
    models = list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]
    for model in models:
        if not isinstance(model, (type, dict)):
            raise WrongType(f"cannot read {role} as {model!r}: pass a data model class, or a list of them")
    return models


def _one_or_list(made: list[Any], given: Any) -> Any:
    return made if isinstance(given, (list, tuple)) else made[0]


def _require_known(mapping: Mapping[str, str], makers: Sequence[_Maker]) -> None:
    unused = [key for key in mapping if not any(key in maker.keys for maker in makers)]
    if unused:
        fields = ", ".join(f"{maker.name}.{field}" for maker in makers for field in maker.fields)
        raise InvalidValue(
            f"cannot map {', '.join(map(repr, unused))} to a column: there is no such field; the fields are {fields}"
        )


class _Field:
    """How one field is made of its cell."""

    def __init__(self, name: str, column: str, validator: Any) -> None:
        self.name = name
        self.column = column
        self.kind: str = validator.field_kind(name)
        self.required = name in validator.required
        self._validator = validator
        self.nullable = self.accepts(None)

    def accepts(self, value: Any) -> bool:
        try:
            self._validator.check_field(self.name, value)
        except SchemaMismatch:
            return False
        return True

    def of_text(self, text: str) -> Any:
        """Return what a text means; text that means nothing here is returned as it is, to be refused."""
        if text == "" and self.kind != "any":
            if self.nullable:
                return None
            if self.kind != "str" and not self.accepts(""):
                return _NOTHING if not self.required else text
        bare = text.strip()
        if self.kind == "int" and _INTEGER.fullmatch(bare):
            return int(bare.partition(".")[0])
        if self.kind == "float" and _NUMBER.fullmatch(bare):
            return float(bare)
        if self.kind == "bool":
            return _BOOLEANS.get(bare.lower(), text)
        if self.kind in ("list", "dict"):
            return _json(bare, text)
        if self.kind == "mixed":
            meant = _json(bare, text)
            return meant if self.accepts(meant) else text
        return text

    def of_value(self, cell: Any, label: Any) -> Any:
        """Return a cell of a table as JSON has it."""
        value = plain_cell(cell)
        if value is None and not self.nullable and not self.required:
            return _NOTHING
        if isinstance(value, float) and self.kind == "int" and value.is_integer():
            return int(value)
        if label is not None and self.kind == "str" and isinstance(value, int):
            return label(value) if value >= 0 else None
        return value


def _json(bare: str, text: str) -> Any:
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return text


class _Maker:
    """Makes the objects of one data model out of rows."""

    def __init__(self, model: Any, mapping: Mapping[str, str], table: Table) -> None:
        validator = validator_of(model)
        self.model = model
        self.name = getattr(model, "__name__", "the model")
        self.fields = validator.fields
        self.keys = {*self.fields, *(f"{self.name}.{field}" for field in self.fields)}
        self._table = table
        self._validator = validator
        self._parts: list[_Field] = []
        for field in self.fields:
            column = mapping.get(f"{self.name}.{field}", mapping.get(field, field))
            part = _Field(field, column, validator)
            if table.columns is None or column in table.columns:
                self._parts.append(part)
            elif part.required or column != field:
                raise InvalidValue(self._lacking(f"{table.name}", part, table.columns))

    def _lacking(self, place: str, part: _Field, columns: Sequence[Any]) -> str:
        have = ", ".join(map(str, columns)) or "none"
        return (
            f"cannot read {place}: there is no column {part.column!r} for the field {part.name!r} of {self.name}; "
            f"the columns are {have}; pass columns={{{part.name!r}: …}}"
        )

    def make(self, row: Row) -> Any:
        """Make one object.

        Raises:
            SchemaMismatch: A cell does not fit.
            InvalidValue: A cell is not there.
        """
        values: dict[str, Any] = {}
        for part in self._parts:
            if part.column not in row.cells:
                if part.required:
                    raise InvalidValue(self._lacking(row.place, part, list(row.cells)))
                continue
            cell = row.cells[part.column]
            if self._table.textual:
                value = part.of_text(cell)
            else:
                value = part.of_value(cell, self._table.labels.get(part.column))
            if value is not _NOTHING:
                values[part.name] = value
        try:
            if isinstance(self.model, type) and issubclass(self.model, DataModel):
                return self.model(**values)
            return JsonDataModel(
                schema=self._validator.schema(), json=self._validator.check(values, self.name)
            )
        except SchemaMismatch as error:
            raise self._refused(row, error) from error

    def _refused(self, row: Row, error: SchemaMismatch) -> SchemaMismatch:
        field = error.pointer.strip("/").partition("/")[0].replace("~1", "/").replace("~0", "~")
        part = next((part for part in self._parts if part.name == field), None)
        place = row.place if part is None else f"{row.place}, column {part.column!r}"
        hint = ""
        if part is not None and self._table.textual and part.kind in ("list", "dict"):
            hint = " Write it as JSON, such as " + ('["a", "b"]' if part.kind == "list" else '{"a": 1}')
        return SchemaMismatch(f"cannot read {place}: {error}{hint}", error.pointer)
