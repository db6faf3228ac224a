"""A killed training that is started again ends as if nobody had killed it, and pays no recorded call again.

`make crash` does the same 10,000 times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("resuming.py")
KILLS = 300


@pytest.mark.campaign
def test_after_any_kill_the_same_script_ends_in_the_same_state_and_repeats_no_recorded_call(
    tmp_path: Path,
) -> None:
    seed = "1" if os.environ.get("CI") else str(os.getpid())
    running: list[subprocess.Popen[str]] = []
    for backend in ("lmdb", "sqlite"):
        command = [
            sys.executable,
            str(CAMPAIGN),
            "--kills",
            str(KILLS // 2),
            "--backend",
            backend,
            "--seed",
            seed,
        ]
        running.append(
            subprocess.Popen(
                [*command, "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "TMPDIR": str(tmp_path)},
            )
        )
    figures = []
    for process in running:
        said, _ = process.communicate(timeout=170)
        assert process.returncode == 0, said
        figures.append(json.loads(said.splitlines()[-1]))
    assert sum(found["kills"] for found in figures) >= KILLS
    assert all(found["broken"] == 0 for found in figures)
    assert all(found["asking"] > 5 and found["places"] > 8 for found in figures)


LIAR = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from tests.crash import resuming
from eventcore.replay.waiting import Wait
expect, made = Wait.expect, set()

def lying(self):
    if self.effect.replayer is not None:
        task = asyncio.ensure_future(self._call(self.effect.ticket))
        made.add(task)
    expect(self)

Wait.expect = lying
figures = resuming.campaign("lmdb", 20, 1, print)
sys.exit(0 if figures["broken"] else 1)
"""


@pytest.mark.campaign
def test_the_campaign_notices_calls_that_are_made_again_although_their_outcome_is_recorded(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", LIAR, str(Path(__file__).parents[2])]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # it keeps the stores it complains about
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "were made again" in done.stdout
