"""The hand-written list of packages says what the disk says.

setuptools installs what pyproject.toml lists and is silent about what it does not, so a forgotten package
works in a checkout and is missing for every user.
"""

from __future__ import annotations

import fnmatch
import os

import pytest

from tests.structure.source import PACKAGE_DIRS, ROOT, library, pyproject, report


def setuptools_table() -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = pyproject()["tool"]["setuptools"]
    return table


def packages_on_disk() -> set[str]:
    """The packages that hold a Python file, by the name they install as."""
    return {file.name if file.is_package else file.name.rpartition(".")[0] for file in library()}


def test_every_package_on_disk_is_listed() -> None:
    report(
        "Add to `packages = [...]` under [tool.setuptools] in pyproject.toml the line",
        [f'    "{name}",' for name in sorted(packages_on_disk() - set(setuptools_table()["packages"]))],
    )


def test_every_listed_package_is_on_disk() -> None:
    report(
        "Remove from `packages = [...]` under [tool.setuptools] in pyproject.toml the line",
        [f'    "{name}",' for name in sorted(set(setuptools_table()["packages"]) - packages_on_disk())],
    )


def test_the_list_of_packages_is_sorted_and_holds_no_name_twice() -> None:
    listed = list(setuptools_table()["packages"])
    assert listed == sorted(set(listed))


def test_every_package_has_an_init_file() -> None:
    with_init = {file.name for file in library() if file.is_package}
    report(
        "A folder with Python files is a package: create its __init__.py.",
        sorted(packages_on_disk() - with_init),
    )


def test_every_data_file_in_a_package_is_declared() -> None:
    patterns: list[str] = []
    for package, globs in setuptools_table()["package-data"].items():
        patterns += [f"{package.replace('.', '/')}/{glob}" for glob in globs]
    undeclared: list[str] = []
    for folder, package in PACKAGE_DIRS.items():
        for path in (ROOT / folder).rglob("*"):
            installed = f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
            if path.is_symlink() or path.is_dir() or path.suffix in {".py", ".pyc"}:
                continue
            if not any(fnmatch.fnmatch(installed, pattern) for pattern in patterns):
                undeclared.append(path.relative_to(ROOT).as_posix())
    report(
        "A data file installs only if [tool.setuptools.package-data] in pyproject.toml names it.", undeclared
    )


@pytest.mark.parametrize("name", ["backends", "optimizers"])
def test_the_links_for_type_checkers_are_relative_and_lead_to_the_folders(name: str) -> None:
    link = ROOT / "eventcore" / name
    if not (ROOT / ".git").exists() and not link.exists():
        pytest.skip("unpacked from a source distribution, which carries no links")
    assert os.readlink(link) == f"../{name}"
    assert link.resolve() == ROOT / name
