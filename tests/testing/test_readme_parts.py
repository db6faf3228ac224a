"""The README's section on testing one's own parts: its files are written, its commands run, their output compared."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_readme_story import STAMP, transcript
from tests.structure.source import ROOT

SECTION = re.search(
    r"\n## Testing your own parts\n(.*?)\n## Figures\n", (ROOT / "README.md").read_text(), re.DOTALL
)
SECONDS = re.compile(r"\d+\.\d\d ?s\b")
SPELT = {
    ".venv/bin/eventcore": [sys.executable, "-m", "eventcore"],
    ".venv/bin/python": [sys.executable],
}


def plain(text: str, folder: Path) -> list[str]:
    """Lines without what differs from one run to the next: when, how long, and in which folder."""
    text = text.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    return SECONDS.sub("SECONDS", STAMP.sub("TIME", text)).splitlines()


@pytest.mark.slow
@pytest.mark.campaign
def test_every_command_of_the_section_prints_what_stands_there(tmp_path: Path) -> None:
    assert SECTION is not None
    scripts = re.findall(r"```python\n(.*?)```", SECTION[1], re.DOTALL)
    for name, text in zip(("parts.py", "test_parts.py"), scripts, strict=True):
        (tmp_path / name).write_text(text)
    commands = transcript(SECTION[1])
    assert len(commands) == 7
    unset = ("CI", "EVENTCORE_RECORD", "EVENTCORE_STORE", "HYPOTHESIS_PROFILE", "PYTEST_ADDOPTS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"NO_COLOR": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    for command, shown in commands:
        words = [part for word in shlex.split(command) for part in SPELT.get(word, [word])]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False, timeout=300
        )
        lines = plain(done.stdout + done.stderr, tmp_path)
        printed = iter(lines)
        for line in plain("\n".join(shown), tmp_path):  # in this order; what stands between them was left out
            assert line == "…" or line in printed, (command, line, lines)
