"""The story in the README, from "accuracy dropped" to the model call, is what its commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.structure.source import ROOT

STORY = re.search(
    r"\n## Accuracy dropped: which model call was it\?\n(.*?)\n## ",
    (ROOT / "README.md").read_text(),
    re.DOTALL,
)
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")


def transcript(story: str) -> list[tuple[str, list[str]]]:
    """Return (command, the lines printed under it), in order."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(
        r"```\n(.*?)```", re.sub(r"```python\n.*?```", "", story, flags=re.DOTALL), re.DOTALL
    ):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_every_command_of_the_story_prints_what_stands_there(tmp_path: Path) -> None:
    assert STORY is not None
    scripts = re.findall(r"```python\n(.*?)```", STORY[1], re.DOTALL)
    for name, text in zip(("triage.py", "check.py"), scripts, strict=True):
        (tmp_path / name).write_text(text)
    commands = transcript(STORY[1])
    assert len(commands) == 7
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    for command, shown in commands:
        spelt = {
            ".venv/bin/eventcore": [sys.executable, "-m", "eventcore"],
            ".venv/bin/python": [sys.executable],
        }
        words = [part for word in command.split() for part in spelt.get(word, [word])]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
        )
        assert done.stderr == "", command
        printed = iter(STAMP.sub("TIME", done.stdout).splitlines())
        for line in shown:  # in this order; what stands between them was left out
            wanted = STAMP.sub("TIME", line)
            assert wanted == "…" or wanted in printed, (command, line)
