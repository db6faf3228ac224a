"""A killed writer loses nothing it acknowledged (I5, I6). `make crash` does the same 10,000 times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("campaign.py")


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("backend", ["lmdb", "sqlite"])
def test_after_sigkill_every_acknowledged_event_is_there_without_gap_or_duplicate(backend: str) -> None:
    seed = "1" if os.environ.get("CI") else str(os.getpid())
    command = [
        sys.executable,
        str(CAMPAIGN),
        "--kills",
        "100",
        "--backend",
        backend,
        "--seed",
        seed,
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["kills"] == 100
    assert figures["broken"] == 0
    assert figures["changes"] > 100


LIAR = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.crash import campaign
from eventcore.history.run import Run
Run.flush = lambda self: self.head
figures = campaign.campaign("lmdb", 60, 1, print)
sys.exit(0 if figures["broken"] else 1)
"""


@pytest.mark.slow
def test_the_campaign_notices_a_writer_that_acknowledges_too_early(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIAR, str(Path(__file__).parents[2])]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # it keeps the store it complains about
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acknowledged up to" in done.stdout
