"""The tree as data: where the root is, what modules there are, and what each one imports.

Reads files and parses them; it never imports the code it describes, so a module that cannot be
imported is still held to the rules. Holds no rule itself.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

PACKAGE_DIRS = {
    "eventcore": "eventcore",
    "backends": "eventcore.backends",
    "optimizers": "eventcore.optimizers",
}
"""Folder at the top level -> the package it installs as."""


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute name, and where it is imported."""

    target: str
    line: int
    typing_only: bool


@dataclass(frozen=True)
class SourceFile:
    """One Python file of the tree.

    `name` is the dotted name it is imported by (`eventcore.backends.lmdb`), whatever folder it lies in.
    """

    path: Path
    name: str

    @property
    def where(self) -> str:
        """The path relative to the root, for messages."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.where)

    def imports(self) -> list[Import]:
        """Every import in the file, also those inside functions."""
        return list(self._imports_below(self.tree, typing_only=False))

    def _imports_below(self, node: ast.AST, *, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, typing_only)
            elif isinstance(child, ast.ImportFrom):
                for target in self._targets(child):
                    yield Import(target, child.lineno, typing_only)
            elif isinstance(child, ast.If) and _tests_type_checking(child.test):
                for statement in child.body:
                    yield from self._imports_below(ast.Module([statement], []), typing_only=True)
                for statement in child.orelse:
                    yield from self._imports_below(ast.Module([statement], []), typing_only=typing_only)
            else:
                yield from self._imports_below(child, typing_only=typing_only)

    def _targets(self, node: ast.ImportFrom) -> Iterator[str]:
        """Resolve `from x import y` to `x.y` where that is a module of ours, else to `x`."""
        base = node.module or ""
        if node.level:
            parents = self.name.split(".")
            keep = len(parents) - node.level + (1 if self.is_package else 0)
            base = ".".join([*parents[:keep], *([base] if base else [])])
        for alias in node.names:
            candidate = f"{base}.{alias.name}"
            yield candidate if candidate in module_names() else base


def _tests_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _python_files(folder: Path) -> Iterator[Path]:
    """Walk without following links: `eventcore/backends` is reached as `backends`."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _python_files(path)
        elif path.suffix == ".py":
            yield path


@cache
def library() -> tuple[SourceFile, ...]:
    """Every module that is installed for users."""
    found: list[SourceFile] = []
    for folder, package in PACKAGE_DIRS.items():
        for path in _python_files(ROOT / folder):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *(part for part in inner if part != "__init__")])
            found.append(SourceFile(path, name))
    return tuple(found)


@cache
def everything() -> tuple[SourceFile, ...]:
    """The library, the tests and the benchmarks."""
    found = list(library())
    for folder in ("tests", "benchmarks"):
        for path in _python_files(ROOT / folder):
            found.append(SourceFile(path, ".".join(path.relative_to(ROOT).with_suffix("").parts)))
    return tuple(found)


@cache
def module_names() -> frozenset[str]:
    """The dotted names of the library's modules and packages."""
    return frozenset(file.name for file in library())


@cache
def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def report(rule: str, violations: list[str]) -> None:
    """Fail with the rule and every place that breaks it, one line each."""
    assert not violations, "\n".join(
        [f"{rule} {len(violations)} broken:", *(f"  {line}" for line in violations)]
    )
