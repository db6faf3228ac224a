"""Small scripts for tests of what replays and resumes them: written into a folder, run by processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import eventcore as ec
from tests.structure.source import ROOT

BODY = """\
import asyncio, os, sys
from pathlib import Path
import eventcore as ec

STORE, BILL = {store!r}, Path({bill!r})

class Notes(ec.Trainable):
    said: list = []
    count: int = 0

@ec.effect
async def ask(question: str) -> str:
    with BILL.open("a") as file:
        file.write(question + "\\n")
    {before_answer}
    return question.upper()

run = ec.open(STORE).run("main", seed=7, resume=True{options})
notes = ec.Variable(data_model=Notes, name="notes")

async def work():
    for question in {questions!r}:
        {in_loop}
        notes.get("said").append(await ask(question))
        notes.update({{"count": notes.get("count") + 1}})

{before}
asyncio.run(work())
{after}
"""


class Script:
    """A script of one run, `main`, that asks some questions one after the other.

    Args:
        folder: Where it is.
        scheme: Kind of its store.
    """

    def __init__(self, folder: Path, scheme: str = "lmdb") -> None:
        self.path = folder / "script.py"
        self.url = f"{scheme}:{folder / 'runs'}"
        self.bill = folder / "bill"

    def write(
        self,
        questions: str = "abcd",
        before: str = "",
        after: str = "",
        in_loop: str = "pass",
        before_answer: str = "await asyncio.sleep(0)",
        options: str = "",
    ) -> Script:
        """Write it, with lines of one's own in some places."""
        text = BODY.format(
            store=self.url, bill=str(self.bill), questions=questions, before=before, after=after, in_loop=in_loop,
            before_answer=before_answer, options=options,
        )  # fmt: skip
        self.path.write_text(text)
        return self

    @property
    def command(self) -> list[str]:
        """What runs it."""
        return [sys.executable, str(self.path)]

    def run(self, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which has to have this exit code."""
        done = subprocess.run(
            self.command, capture_output=True, text=True, check=False, timeout=60, env=environment()
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def eventcore(
        self, *arguments: object, said: str = "", code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Call the command line about it."""
        done = subprocess.run(
            [sys.executable, "-m", "eventcore", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment(),
            input=said,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    @property
    def asked(self) -> str:
        """The questions that were paid, in order."""
        return "".join(self.bill.read_text().split()) if self.bill.exists() else ""

    def opened(self) -> ec.Store:
        """Its store, for reading."""
        return ec.open(self.url, read_only=True)

    @property
    def head(self) -> int:
        """Seq of the run's last event."""
        with self.opened() as store:
            return store["main"].head

    @property
    def digest(self) -> str:
        """Digest of the run's state."""
        with self.opened() as store:
            return store["main"].state.digest


def environment() -> dict[str, str]:
    """The environment of a process that finds this checkout from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
