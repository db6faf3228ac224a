"""What `program.summary()` prints: the modules, then the variables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from eventcore.modules.internals import core_of, ready_core
from eventcore.modules.summary import Table, print_tables, variables_table

if TYPE_CHECKING:
    from eventcore.modules.module import Module
    from eventcore.programs.program import Program


def print_program(program: Program, print_fn: Callable[[str], Any] | None = None) -> None:
    """Print both tables: with rich on a terminal, as plain text anywhere else.

    Args:
        program: What to describe.
        print_fn: Called with each line of plain text instead.
    """
    core = ready_core(program, "summarise a program")
    title = f"{type(program).__name__} '{core.path}'" + (f": {core.description}" if core.description else "")
    rows = [_row(module) for module in program.modules]
    modules = Table(title, ("module", "class", "takes", "variables"), rows, f"{len(rows)} modules")
    print_tables([modules, variables_table(program)], print_fn, rich=sys.stdout.isatty())


def _row(module: Module) -> tuple[str, ...]:
    return (
        module.name,
        type(module).__name__,
        _fields(core_of(module).input_schema),
        str(len(module.variables)),
    )


def _fields(structure: Any) -> str:
    if isinstance(structure, list):
        return "[" + "; ".join(_fields(item) for item in cast("list[Any]", structure)) + "]"
    if isinstance(structure, dict):
        schema = cast("dict[str, Any]", structure)
        named = schema.get("properties", schema)
        return ", ".join(named)
    return "not built"
