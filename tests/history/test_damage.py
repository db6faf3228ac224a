"""What damage does to a store: errors of ours, never a wrong value, and `verify` names all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FLIPS = Path(__file__).with_name("flips.py")


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["lmdb", "sqlite"])
def test_of_500_random_bit_flips_none_gives_a_wrong_value_and_verify_reports_all_that_matter(
    kind: str, tmp_path: Path
) -> None:
    """I18, with snapshots, the index and a fork in the store; 1,000 flips over both engines."""
    command = [sys.executable, str(FLIPS), kind, str(tmp_path), "500", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert (counts["wrong"], counts["unreported"]) == (0, 0)
    assert counts["reported"] > 100  # the flips did hit what is stored
    assert sum(counts.values()) == 500
