"""The Makefile's first step, choosing a Python, on machines that are awkward.

The rest of the Makefile is proved by being how these tests are run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure.source import ROOT


def make(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    target = f"{tmp_path}/venv/bin/python"
    command = ["make", "-C", str(ROOT), f"VENV={tmp_path}/venv", *arguments, target]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.campaign
def test_a_python_that_exists_but_does_not_work_is_passed_over(tmp_path: Path) -> None:
    shim = script(tmp_path / "shim", "echo 'version not selected' >&2; exit 127")
    done = make(tmp_path, f"PYTHON={shim} {sys.executable}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "venv" / "bin" / "python").exists()


def test_without_a_python_that_is_new_enough_the_message_says_what_to_do(tmp_path: Path) -> None:
    old = script(tmp_path / "old", "exit 1")
    done = make(tmp_path, f"PYTHON={old}")
    assert done.returncode != 0
    assert "no Python 3.11 or newer works here" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_a_python_that_cannot_make_environments_is_named_with_the_remedy(tmp_path: Path) -> None:
    bare = script(tmp_path / "bare", 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    done = make(tmp_path, f"PYTHON={bare}")
    assert done.returncode != 0
    assert f"{bare} cannot make a virtual environment" in done.stderr
    assert "python3-venv" in done.stderr


def test_plain_make_lists_the_targets() -> None:
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    for target in ("demo", "test", "check", "bench", "crash", "clean"):
        assert f"make {target} " in done.stdout
