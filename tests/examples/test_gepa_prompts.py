"""The example with GEPA: killed and started again it ends like the one that was left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gepa", reason="GEPA is not installed: pip install 'eventcore[gepa]'")


def started(store: Path, *arguments: str, hash_seed: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eventcore.examples.gepa_prompts", str(store), *arguments],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_and_started_again_it_ends_like_the_one_left_alone(tmp_path: Path) -> None:
    alone = started(tmp_path / "alone.lmdb", hash_seed=1)
    assert alone.returncode == 0, alone.stderr
    assert started(tmp_path / "killed.lmdb", "--kill-after", "60", hash_seed=2).returncode == -9
    again = started(tmp_path / "killed.lmdb", hash_seed=3)
    assert "59 answers were taken from its log" in again.stderr
    assert again.stdout.splitlines()[-2:] == alone.stdout.splitlines()[-2:]
    assert "best, 1.00" in alone.stdout
