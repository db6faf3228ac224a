"""Nothing is unpickled, evaluated, or imported because some bytes said so (I13).

A log or a saved program is data, perhaps somebody else's. Classes resolve only through the registry of
classes the user's code has already defined, so the means to do otherwise are not in the library at all.
"""

from __future__ import annotations

import ast

from tests.structure.source import SourceFile, library, report

FORBIDDEN_MODULES = frozenset({"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "yaml"})
FORBIDDEN_CALLS = frozenset({"__import__", "eval", "exec"})
DYNAMIC_IMPORTS = frozenset(
    {
        "exec_module",
        "import_module",
        "resolve_name",
        "run_module",
        "run_path",
        "spec_from_file_location",
    }
)
MAY_IMPORT_BY_NAME: dict[str, str] = {
    "eventcore": "its own fixed table of public names and their homes",
    "eventcore.backends.lmdb_file": "py-lmdb's own checker of files, which its older versions lack",
    "eventcore.cli.program": "a fixed table of the commands that come with the library",
    "eventcore.examples.docstrings": "a fixed table of modules of the standard library",
    "eventcore.history.run": "the module that builds programs, by a fixed name",
    "eventcore.history.urls": "a fixed table of the backends that come with the library",
    "eventcore.integrations.gepa": "two modules of GEPA, by fixed names",
    "eventcore.testing": "its own fixed table of names and their homes",
    "eventcore.testing.isolation": "modules of a fixed table of libraries, which a fork of this process imported",
    "eventcore.testing.whereabouts": "what is under test, named by the process that started this one",
}
"""Module -> where the name it imports comes from. Never from a log, a config or a saved file."""


def test_no_module_can_unpickle() -> None:
    report(
        "Nothing is ever unpickled.",
        [
            f"{file.where}:{found.line} imports {found.target}"
            for file in library()
            for found in file.imports()
            if found.target.split(".")[0] in FORBIDDEN_MODULES
        ],
    )


def calls(file: SourceFile) -> list[tuple[int, str, bool]]:
    """Each call of a name or attribute: line, last part of the name, whether it was a bare name."""
    found: list[tuple[int, str, bool]] = []
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.append((node.lineno, node.func.id, True))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found.append((node.lineno, node.func.attr, False))
    return found


def test_no_module_evaluates_text() -> None:
    report(
        "Nothing is evaluated.",
        [
            f"{file.where}:{line} calls {name}"
            for file in library()
            for line, name, bare in calls(file)
            if bare and name in FORBIDDEN_CALLS
        ],
    )


def test_only_named_modules_import_by_name() -> None:
    report(
        "Importing by name needs a reason in MAY_IMPORT_BY_NAME of tests/structure/test_trust.py.",
        [
            f"{file.where}:{line} calls {name}"
            for file in library()
            for line, name, _ in calls(file)
            if name in DYNAMIC_IMPORTS and file.name not in MAY_IMPORT_BY_NAME
        ],
    )


def test_every_module_that_may_import_by_name_still_does() -> None:
    importing = {file.name for file in library() for _, name, _ in calls(file) if name in DYNAMIC_IMPORTS}
    report("A permission nobody needs is withdrawn.", sorted(set(MAY_IMPORT_BY_NAME) - importing))


def test_no_shell_is_started() -> None:
    report(
        "Commands are lists of arguments, never text for a shell.",
        [
            f"{file.where}:{node.lineno}"
            for file in library()
            for node in ast.walk(file.tree)
            if (isinstance(node, ast.keyword) and node.arg == "shell")
            or (isinstance(node, ast.Attribute) and node.attr in {"system", "popen"} and _is_os(node.value))
        ],
    )


def _is_os(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "os"
