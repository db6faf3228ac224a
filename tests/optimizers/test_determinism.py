"""The same seed and the same answers make the same run, whatever the latencies and the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.structure.source import ROOT


def ended(optimizer: str, hash_seed: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.optimizers.latencies", optimizer],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(hash_seed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("optimizer", ["few-shot", "evolutionary", "omega"])
def test_five_runs_of_one_seed_end_in_one_state_whatever_the_latencies(optimizer: str) -> None:
    ends = {ended(optimizer, hash_seed) for hash_seed in (0, 1, 2, 3, 4)}
    (end,) = ends
    assert int(end.rpartition(" ")[2]) == 12
