"""Files are named for what they hold, say why they exist, and name nobody's machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.structure.source import ROOT, everything, library, report

EMPTY_WORDS = frozenset({"common", "helper", "helpers", "manager", "misc", "util", "utils"})
EMPTY_CLASS = re.compile(r"(Helper|Helpers|Manager|Util|Utils)$")
TOP_FOLDERS = ("eventcore", "backends", "optimizers", "tests", "benchmarks", ".ci")
# A home directory, a mount of one machine, a registry's address inside one network.
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+|opt/(?:pypi|wheels)|tmp/bash_jobs)\b[/.\w]*"
)


def text_files() -> Iterator[Path]:
    """Every file a reader of the repository sees, as far as it is text."""
    top_level = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".coverage"]
    below = [path for folder in TOP_FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted({*top_level, *below}):
        if "__pycache__" in path.parts or path.name.startswith(".coverage."):
            continue
        if b"\0" not in path.read_bytes()[:4096]:
            yield path


def test_no_file_has_a_name_that_says_nothing() -> None:
    report(
        "A module is named for the concept it holds.",
        [file.where for file in everything() if EMPTY_WORDS.intersection(file.path.stem.lower().split("_"))],
    )


def test_no_class_has_a_name_that_says_nothing() -> None:
    report(
        "A class is named for what it is.",
        [
            f"{file.where}:{node.lineno} {node.name}"
            for file in library()
            for node in ast.walk(file.tree)
            if isinstance(node, ast.ClassDef) and EMPTY_CLASS.search(node.name)
        ],
    )


def test_every_module_says_why_it_exists() -> None:
    report(
        "A module begins with a docstring: why it exists, and what it does not do.",
        [file.where for file in everything() if not ast.get_docstring(file.tree)],
    )


def test_no_file_names_a_machine() -> None:
    report(
        "The tree names no directory of one machine.",
        [
            f"{path.relative_to(ROOT).as_posix()}:{number} {found.group()}"
            for path in text_files()
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
            if (found := MACHINE_PATH.search(line)) and path != Path(__file__).resolve()
        ],
    )


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"#\s*(TODO|FIXME|XXX)\b|raise NotImplementedError\b")
    report(
        "What is in the tree is finished; what is not goes into the tracker.",
        [
            f"{file.where}:{number} {line.strip()}"
            for file in library()
            for number, line in enumerate(file.text.splitlines(), 1)
            if marks.search(line)
        ],
    )
