"""What a user installs: wheel, source distribution and editable install hold the right files and work.

Built from a copy of the tree, without a network and without touching the tree itself. Each result is used
from another folder by a fresh environment that sees this one's dependencies but not this checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.structure.source import PACKAGE_DIRS, ROOT, library, pyproject

pytestmark = pytest.mark.slow

FOLDERS = ("eventcore", "backends", "optimizers", "tests", "benchmarks", ".ci")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")

USE = """
import eventcore, eventcore.backends, eventcore.history, eventcore.optimizers, importlib.util, sys
from importlib.metadata import entry_points, version
assert version("eventcore") == eventcore.__version__
for name in ("backends", "optimizers", "tests", "benchmarks"):
    assert importlib.util.find_spec(name) is None, name
for point in entry_points(group="eventcore.backends"):
    point.load()
print(eventcore.__file__)
print(eventcore.backends.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    # The surrounding run may carry options (PYTHONPATH, PIP_*) that a user's shell would not have.
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_", "PYTEST"))
    }
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_tree(source: Path, target: Path) -> Path:
    """Copy what belongs to the repository, with its links, and no environment, cache or store."""
    target.mkdir()
    for file in source.iterdir():
        if file.is_file() and not file.name.startswith(".coverage"):
            shutil.copy2(file, target)
    for folder in FOLDERS:
        shutil.copytree(source / folder, target / folder, symlinks=True, ignore=NOT_COPIED)
    return target


def build(kind: str, tree: Path, into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    code = f"import setuptools.build_meta as b; print(b.build_{kind}({str(into)!r}))"
    return into / run(sys.executable, "-c", code, cwd=tree).splitlines()[-1]


def expected_in_wheel() -> set[str]:
    """Every Python file under the name it installs as, and the data that is declared."""
    files: set[str] = {"eventcore/py.typed"}
    for folder, package in PACKAGE_DIRS.items():
        for file in library():
            if file.path.is_relative_to(ROOT / folder):
                files.add(f"{package.replace('.', '/')}/{file.path.relative_to(ROOT / folder).as_posix()}")
    return files | {f"eventcore/testing/{file.name}" for file in (ROOT / "eventcore/testing").glob("*.c")}


def in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def make_environment(folder: Path) -> Path:
    """Make an environment that sees this one's dependencies, and return its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    (site,) = folder.glob("lib/python*/site-packages")
    # A line in a .pth file extends the path without running the .pth files found there, so this
    # environment's own editable install stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def install(python: Path, *what: str | Path) -> None:
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--quiet")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *what, cwd=python.parent)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(ROOT, tmp_path_factory.mktemp("packaging") / "tree")


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return build("wheel", tree, tree.parent / "wheel")


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    return build("sdist", tree, tree.parent / "sdist")


def test_a_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    assert in_wheel(wheel) == expected_in_wheel()


def test_a_wheel_built_from_the_source_distribution_holds_the_same_files(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        # The first releases of 3.11 have no filters, and 3.12 and 3.13 warn where none is chosen.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        members = archive.getmembers()
        archive.extractall(tmp_path)
    assert not [member.name for member in members if member.issym() or member.islnk()]
    (unpacked,) = tmp_path.iterdir()
    for needed in ("Makefile", "LICENSE", ".ci/run", "tests/conftest.py", "tests/structure/source.py"):
        assert (unpacked / needed).is_file(), needed
    assert in_wheel(build("wheel", unpacked, tmp_path / "wheel")) == expected_in_wheel()


def test_a_wheel_is_right_where_links_are_checked_out_as_text(tree: Path, tmp_path: Path) -> None:
    """A Windows checkout without the privilege to make links has a small text file in their place."""
    copy = copy_tree(tree, tmp_path / "tree")
    for name in ("backends", "optimizers"):
        link = copy / "eventcore" / name
        link.unlink()
        link.write_text(f"../{name}")
    assert in_wheel(build("wheel", copy, tmp_path / "wheel")) == expected_in_wheel()


def test_an_installed_wheel_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    install(python, wheel)
    for path in run(python, "-c", USE, cwd=tmp_path).split():
        assert Path(path).is_relative_to(tmp_path / "environment")
    shown = run(python.parent / "eventcore", "--help", cwd=tmp_path)
    assert "demo" in shown
    assert run(python, "-m", "eventcore", "--help", cwd=tmp_path)


def test_an_editable_install_works_everywhere_and_sees_new_files(tree: Path, tmp_path: Path) -> None:
    copy = copy_tree(tree, tmp_path / "tree")
    python = make_environment(tmp_path / "environment")
    install(python, "--editable", copy)
    for path in run(python, "-c", USE, cwd=tmp_path).split():
        assert Path(path).is_relative_to(copy)
    run(python, "-c", "import eventcore.backends, eventcore.optimizers", cwd=copy)
    (copy / "backends" / "arrived_later.py").write_text("HERE = True\n")
    run(python, "-c", "from eventcore.backends.arrived_later import HERE", cwd=tmp_path)


def test_the_tree_can_be_used_with_nothing_installed(tree: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    run(python, "-c", "import eventcore.backends, eventcore.optimizers", cwd=tree)


def test_the_wheel_declares_what_pyproject_declares(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    for requirement in pyproject()["project"]["dependencies"]:
        assert f"Requires-Dist: {requirement}" in metadata
    for extra in pyproject()["project"]["optional-dependencies"]:
        assert f"Provides-Extra: {extra}" in metadata
