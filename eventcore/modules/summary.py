"""The table `summary()` prints: which variables a module has, and why one of them is not trained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eventcore.modules.internals import ready_core

if TYPE_CHECKING:
    from eventcore.modules.module import Module
    from eventcore.variables.variable import Variable

COLUMNS = ("variable", "fields", "trainable")


def print_summary(module: Module, print_fn: Callable[[str], Any] | None = None) -> None:
    """Print the table: with rich on a terminal, as plain text anywhere else.

    Args:
        module: What to describe.
        print_fn: Called with each line of plain text instead.
    """
    core = ready_core(module, "summarise a module")
    variables = module.variables
    rows = [_row(variable) for variable in variables]
    title = f"{type(module).__name__} '{core.path}'" + (f": {core.description}" if core.description else "")
    trained = sum(variable.trainable for variable in variables)
    end = f"{len(rows)} variables, {trained} trainable, {len(rows) - trained} not"
    if print_fn is None and sys.stdout.isatty() and _print_with_rich(title, rows, end):
        return
    write = print_fn if print_fn is not None else _print_line
    for line in (title, *_lines(rows), end):
        write(line)


def _row(variable: Variable) -> tuple[str, str, str]:
    return variable.path, ", ".join(variable.keys()), why(variable)


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


def _lines(rows: list[tuple[str, str, str]]) -> list[str]:
    table = [COLUMNS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print_with_rich(title: str, rows: list[tuple[str, str, str]], end: str) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    table = Table(*COLUMNS, title=title, caption=end)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    return True

