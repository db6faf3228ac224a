"""Imports point one way, and what is imported is declared.

The rule: a module imports from its own part of the library and from the parts on lower floors. Parts that
stand *alone* see only what is named for them.

- Imports inside functions count. They postpone a dependency, they do not remove it.
- Imports under `if TYPE_CHECKING:` do not count. They name a type in a signature and load nothing.
- The root (`import eventcore`) is the roof: only the top floor may import it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from tests.structure.source import SourceFile, library, module_names, pyproject, report

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"_version", "errors"}),
    frozenset({"history"}),
    frozenset({"saving.registry"}),
    frozenset({"models", "ops"}),
    frozenset({"replay"}),
    frozenset({"variables", "session"}),
    frozenset({"modules", "language_models"}),
    frozenset({"programs", "saving"}),
    frozenset({"training"}),
    frozenset({"optimizers"}),
    frozenset({"backends"}),
    frozenset({"cli", "examples", "integrations", "testing"}),
)
"""The floors from the ground up; parts on one floor may import each other."""

ALONE: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "history": frozenset({"_version", "errors"}),
    "saving.registry": frozenset({"errors"}),
    "models": frozenset({"errors", "history.values", "saving.registry"}),
    "backends": frozenset({"errors", "history.backend"}),
}
"""Parts that see only these modules, whatever lies below them."""

ALLOWED: dict[tuple[str, str], str] = {
    (
        "eventcore.programs.trained",
        "eventcore.training.trainer",
    ): "a program's own methods start its training",
    ("eventcore.training.trainer", "eventcore.optimizers"): "`compile` finds an optimizer by its name",
    ("eventcore.history.store", "eventcore.replay.resuming"): "`resume=True` is a door to the floor above",
    ("eventcore.history.run", "eventcore.replay.dispatcher"): "`barrier` waits its turn like any effect",
    ("eventcore.history.run", "eventcore.replay.rerunning"): "`replay` is a door to the floor above",
    (
        "eventcore.replay.startup.sitecustomize",
        "eventcore",
    ): "in a process that runs a script again the library comes first",
}
"""(importing module, imported module) -> why this one import may point upwards."""

FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
ROOF = {"", "__main__", "__init__"}


def part_of(name: str) -> str:
    """The part of the library a dotted name belongs to: `eventcore.history.log` -> `history`."""
    inner = name.removeprefix("eventcore").removeprefix(".")
    longest = [part for part in FLOOR_OF if inner == part or inner.startswith(part + ".")]
    return max(longest, key=len, default=inner.split(".")[0])


def is_allowed(importer: str, target: str) -> bool:
    here, there = part_of(importer), part_of(target)
    if here in ROOF or here == there:
        return True
    if here in ALONE:
        inner = target.removeprefix("eventcore").removeprefix(".")
        return any(inner == seen or inner.startswith(seen + ".") for seen in ALONE[here])
    if there in ROOF:
        return FLOOR_OF[here] == len(FLOORS) - 1
    if there == "backends":
        # Found by entry point, so that opening one kind of store never loads another.
        return FLOOR_OF[here] == len(FLOORS) - 1
    return FLOOR_OF[there] <= FLOOR_OF[here]


def upward_imports() -> Iterator[tuple[SourceFile, int, str]]:
    for file in library():
        for found in file.imports():
            ours = found.target == "eventcore" or found.target.startswith("eventcore.")
            if ours and not found.typing_only and not is_allowed(file.name, found.target):
                yield file, found.line, found.target


def test_every_part_of_the_library_stands_on_a_floor() -> None:
    unplaced = sorted({part_of(name) for name in module_names()} - set(FLOOR_OF) - ROOF)
    report("Every part needs a place in FLOORS of tests/structure/test_import_direction.py.", unplaced)


def test_imports_point_downwards() -> None:
    report(
        "Imports point down the floors (see the head of tests/structure/test_import_direction.py).",
        [
            f"{file.where}:{line} imports {target}"
            for file, line, target in upward_imports()
            if (file.name, target) not in ALLOWED
        ],
    )


def test_every_allowed_exception_is_still_needed() -> None:
    used = {(file.name, target) for file, _, target in upward_imports()}
    report(
        "An exception nobody needs is removed from ALLOWED.",
        [f"{importer} -> {target}" for importer, target in ALLOWED if (importer, target) not in used],
    )


def test_the_rule_sees_an_import_that_points_upwards() -> None:
    assert not is_allowed("eventcore.history.store", "eventcore.programs.program")
    assert not is_allowed("eventcore.history.store", "eventcore")
    assert not is_allowed("eventcore.models.field", "eventcore.history.log")
    assert not is_allowed("eventcore.backends.lmdb", "eventcore.history.codec")
    assert not is_allowed("eventcore.variables.variable", "eventcore.backends.memory")
    assert not is_allowed("eventcore.training.trainer", "eventcore")
    assert is_allowed("eventcore.backends.lmdb", "eventcore.history.backend")
    assert is_allowed("eventcore.models.field", "eventcore.history.values")
    assert is_allowed("eventcore.optimizers.omega", "eventcore.training.rewards")
    assert is_allowed("eventcore.cli.main", "eventcore")
    assert is_allowed("eventcore", "eventcore.programs.program")


PYTHONS_OWN = frozenset({"annotationlib", "sitecustomize"})
"""A module of Python 3.14, imported only where that is what runs, and the one Python begins with, if there is one."""


def test_every_third_party_import_is_a_declared_dependency() -> None:
    project = pyproject()["project"]
    requirements = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    declared = {re.split(r"[^\w-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}
    known = declared | PYTHONS_OWN | set(sys.stdlib_module_names) | {"eventcore"}
    report(
        "A package that is imported is declared in pyproject.toml, as a dependency or in an extra.",
        [
            f"{file.where}:{found.line} imports {found.target}"
            for file in library()
            for found in file.imports()
            if found.target.split(".")[0] not in known
        ],
    )
