"""An underscore is private to its module.

Functions and classes of one module may know each other's insides: they are read together. Across modules a
leading underscore is not touched, neither by importing the name nor through an attribute. Inheritance is the
exception: `self._name`, `cls._name` and `super()._name` may come from a base class elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.structure.source import SourceFile, library, module_names, report

ALLOWED: dict[tuple[str, str], str] = {
    (
        "eventcore.history.log",
        "_is_owned",
    ): "threading.Condition asks its lock the same way; there is no public one",
    ("eventcore.replay.dispatcher", "_context"): "asyncio says nowhere else for whom a call is ready",
    ("eventcore.replay.dispatcher", "_callback"): "asyncio says nowhere else what is ready",
    ("eventcore.replay.stillness", "_context"): "asyncio says nowhere else for whom a timer runs",
    ("eventcore.replay.stillness", "_callback"): "asyncio says nowhere else what a timer calls",
}
"""(module, private name) -> why it may be used there."""

NAMED_TUPLE = frozenset({"_asdict", "_fields", "_replace"})
"""Public, in spite of the underscore that keeps them apart from a named tuple's fields."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_imports(file: SourceFile) -> Iterator[tuple[int, str]]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("eventcore")):
            for alias in node.names:
                if is_private(alias.name) and f"{node.module}.{alias.name}" not in module_names():
                    yield node.lineno, alias.name


def defined_names(file: SourceFile) -> set[str]:
    """Every private name the module gives a meaning: functions, variables, annotations, slots, fields."""
    names: set[str] = set()
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


def is_own(node: ast.expr) -> bool:
    """Whether an expression is `self`, `cls` or `super()`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def other_peoples_modules(file: SourceFile) -> set[str]:
    """The names by which a file knows modules that are not ours: `sys._getframe` is theirs to document."""
    return {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if not alias.name.startswith("eventcore")
    }


def foreign_attributes(file: SourceFile) -> Iterator[tuple[int, str]]:
    defined, modules = defined_names(file), other_peoples_modules(file)
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Attribute) or not is_private(node.attr) or is_own(node.value):
            continue
        of_a_module = isinstance(node.value, ast.Name) and node.value.id in modules
        if not of_a_module and node.attr not in defined | NAMED_TUPLE:
            yield node.lineno, node.attr


def uses() -> Iterator[tuple[SourceFile, int, str]]:
    for file in library():
        for line, name in [*private_imports(file), *foreign_attributes(file)]:
            yield file, line, name


def test_no_module_touches_what_is_private_to_another() -> None:
    report(
        "A leading underscore is private to its module. Make it public, or ask the module to do the work.",
        [f"{file.where}:{line} {name}" for file, line, name in uses() if (file.name, name) not in ALLOWED],
    )


def test_every_allowed_exception_is_still_needed() -> None:
    used = {(file.name, name) for file, _, name in uses()}
    report(
        "An exception nobody needs is removed from ALLOWED.", [f"{key}" for key in ALLOWED if key not in used]
    )
