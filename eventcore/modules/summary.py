"""The table `summary()` prints: which variables a module has, and why one of them is not trained."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventcore.modules.internals import ready_core

if TYPE_CHECKING:
    from eventcore.modules.module import Module
    from eventcore.variables.variable import Variable


@dataclass(frozen=True)
class Table:
    """A table to print: a line above, columns, rows of as many cells, a line below."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    end: str


def print_summary(module: Module, print_fn: Callable[[str], Any] | None = None) -> None:
    """Print the table: with rich on a terminal, as plain text anywhere else.

    Args:
        module: What to describe.
        print_fn: Called with each line of plain text instead.
    """
    core = ready_core(module, "summarise a module")
    title = f"{type(module).__name__} '{core.path}'" + (f": {core.description}" if core.description else "")
    table = variables_table(module)
    print_tables([Table(title, table.columns, table.rows, table.end)], print_fn, rich=sys.stdout.isatty())


def variables_table(module: Module) -> Table:
    """The variables of a module: path, fields, whether trained and if not why."""
    variables = module.variables
    rows = [(variable.path, ", ".join(variable.keys()), why(variable)) for variable in variables]
    trained = sum(variable.trainable for variable in variables)
    end = f"{len(rows)} variables, {trained} trainable, {len(rows) - trained} not trainable"
    return Table("variables", ("variable", "fields", "trainable"), rows, end)


def why(variable: Variable) -> str:
    """Say in words whether a variable is trained, and if not why."""
    if variable.trainable:
        return "yes"
    if variable.downgrade_reason:
        return f"no: {variable.downgrade_reason}"
    if not variable.requested:
        return "no: not asked for"
    if not variable.own_trainable:
        return "no: frozen by itself"
    return "no: a module above it is frozen"


def print_tables(tables: list[Table], print_fn: Callable[[str], Any] | None, *, rich: bool) -> None:
    """Print tables, with rich if wanted and no `print_fn` is given, else line by line."""
    if print_fn is None and rich and _print_with_rich(tables):
        return
    write = print_fn if print_fn is not None else _print_line
    for table in tables:
        for line in (table.title, *_lines(table), table.end):
            write(line)


def _lines(table: Table) -> list[str]:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print_with_rich(tables: list[Table]) -> bool:
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table as RichTable
    except ImportError:
        return False
    console = Console()
    for table in tables:
        drawn = RichTable(*table.columns, title=escape(table.title), caption=escape(table.end))
        for row in table.rows:
            drawn.add_row(*map(escape, row))
        console.print(drawn)
    return True
