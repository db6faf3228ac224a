"""The commands that are printed work as they are printed, where the script was started as the README starts it."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eventcore as ec
from eventcore.history import events as e
from eventcore.replay.commands import parts
from tests.structure.source import ROOT

PYTHON = ".venv/bin/python"
BODY = """\
import os, sys
from pathlib import Path
import eventcore as ec

run = ec.open("runs.lmdb").run("r", seed=7, resume=True)

@ec.effect
def ask(question: str) -> str:
    with open("bill", "a") as file:
        file.write(question + "\\n")
    if question in os.environ.get("DOWN", ""):
        raise ConnectionError("provider is down")
    return question.upper()

for question in QUESTIONS:
    ask(question)
"""


class Folder:
    """A folder with a `.venv` nobody activated, and a script in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / ".venv").symlink_to(sys.prefix)

    def write(self, questions: str, name: str = "train.py", body: str = BODY) -> None:
        (self.path / name).write_text(body.replace("QUESTIONS", repr(questions)))

    def typed(self, line: str, code: int = 0, **environment: str) -> str:
        """What a line prints that is typed into a shell there."""
        kept = {"PATH": "/usr/bin:/bin", "PWD": str(self.path), "PYTHONPATH": str(ROOT)} | environment
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=self.path, capture_output=True, text=True, env=kept, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def asked(self) -> str:
        return "".join((self.path / "bill").read_text().split())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def printed(said: str) -> list[str]:
    """The commands a text tells to type."""
    return re.findall(r"^  ((?:\S*python|eventcore) .*)$", said, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize(
    "start",
    [
        f"{PYTHON} train.py",
        f"{PYTHON} -X utf8 -u train.py 'an argument'",
        f"{PYTHON} -c \"import runpy; runpy.run_path('train.py')\"",
    ],
)
def test_the_printed_fork_is_pasted_twice_where_no_venv_is_activated(folder: Folder, start: str) -> None:
    folder.write("abc")
    folder.typed(start)
    folder.write("axc")
    (command,) = printed(folder.typed(start, code=1))
    assert "reused 1 of 2 calls" in folder.typed(command)
    assert folder.asked == "abcx"
    (second,) = printed(folder.typed(start, code=1))
    assert command.replace("r-fork", "r-fork-2") == second
    assert "reused 1 of 2 calls" in folder.typed(second)


@pytest.mark.slow
def test_eventcore_of_this_interpreter_is_called_by_its_name_where_it_is_on_the_path(folder: Folder) -> None:
    start, path = "python train.py", f"{folder.path}/.venv/bin:/usr/bin:/bin"
    folder.write("abc")
    folder.typed(start, PATH=path)
    folder.write("axc")
    (command,) = printed(folder.typed(start, code=1, PATH=path))
    assert command.startswith("eventcore fork lmdb:runs.lmdb r r-fork --at ")
    assert command.endswith(" -- python train.py")
    assert "reused 1 of 2 calls" in folder.typed(command, PATH=path)


@pytest.mark.slow
@pytest.mark.parametrize("start", [f"{PYTHON} - < train.py", f"{PYTHON} < train.py"])
def test_a_piped_script_is_to_be_saved_first(folder: Folder, start: str) -> None:
    folder.write("abc")
    folder.typed(start)
    folder.write("axc")
    said = folder.typed(start, code=1)
    assert "(save the code as SCRIPT.py first" in said
    folder.write("axc", "SCRIPT.py")
    (command,) = printed(said)
    assert "reused 1 of 2 calls" in folder.typed(command)


@pytest.mark.slow
def test_a_script_that_went_to_another_folder_prints_a_command_for_the_folder_it_was_started_in(
    folder: Folder,
) -> None:
    body = BODY.replace("run = ", "os.makedirs('sub', exist_ok=True); os.chdir('sub')\nrun = ")
    folder.write("abc", body=body)
    folder.typed(f"{PYTHON} train.py")
    folder.write("axc", body=body)
    (command,) = printed(folder.typed(f"{PYTHON} train.py", code=1))
    assert "reused 1 of 2 calls" in folder.typed(command)


@pytest.mark.slow
def test_a_shorter_script_says_how_to_accept_that_it_ends_there(folder: Folder) -> None:
    folder.write("abcd")
    folder.typed(f"{PYTHON} train.py")
    folder.write("ab")
    said = folder.typed(f"{PYTHON} train.py")
    assert "its log goes on to" in said and "nothing was changed" in said
    (command,) = printed(said)
    assert "reused 0 of 0 calls" in folder.typed(command)
    with ec.open(folder.path / "runs.lmdb", read_only=True) as store:
        assert sum(1 for _ in store["r-fork"].events(kind="EffectStarted")) == 2


@pytest.mark.slow
def test_a_script_that_failed_is_not_said_to_have_finished(folder: Folder) -> None:
    folder.write("ab", body=BODY + "\nraise ValueError('a bug of mine')")
    folder.typed(f"{PYTHON} train.py", code=1)
    said = folder.typed(f"{PYTHON} train.py", code=1)
    assert "its script failed (ValueError: a bug of mine), at seq" in said
    assert "had finished" not in said
    assert printed(said) == []
    folder.write("a", body=BODY + "\nraise ValueError('a bug of mine')")
    said = folder.typed(f"{PYTHON} train.py", code=1)
    assert "the script failed (ValueError: a bug of mine) at seq" in said
    assert printed(said) == []
    folder.write("a", name="one.py", body=BODY.replace('"r"', '"one"'))
    folder.typed(f"{PYTHON} one.py")
    assert "1 answer was taken from its log" in folder.typed(f"{PYTHON} one.py")


@pytest.mark.slow
def test_a_failure_that_is_in_the_log_comes_with_the_command_that_makes_the_call_again(
    folder: Folder,
) -> None:
    folder.write("abcd")
    folder.typed(f"{PYTHON} train.py", code=1, DOWN="c")
    assert folder.asked == "abc"
    said = folder.typed(f"{PYTHON} train.py", code=1)
    with ec.open(folder.path / "runs.lmdb", read_only=True) as store:
        (failed,) = store["r"].events(kind="EffectFailed")
    assert f"Its log holds this failure, at seq {failed.seq}" in said
    (command,) = printed(said)
    assert folder.asked == "abc"
    folder.typed(command)
    assert folder.asked == "abccd"
    with ec.open(folder.path / "runs.lmdb", read_only=True) as store:
        assert not list(store["r-fork"].events(kind=e.EffectFailed))


AT_ONCE = """
import asyncio

@ec.effect
async def ask_at_once(question: str) -> str:
    with open("bill", "a") as file:
        file.write(question + "\\n")
    await asyncio.sleep(0.01)
    if question in os.environ.get("DOWN", ""):
        raise ConnectionError("provider is down")
    return question.upper()

async def work():
    HOW

asyncio.run(work())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        "await asyncio.gather(*(ask_at_once(question) for question in 'wxyz'))",
        "\n    async with asyncio.TaskGroup() as tasks:"
        "\n        for question in 'wxyz': tasks.create_task(ask_at_once(question))",
    ],
    ids=["gather", "TaskGroup"],
)
def test_of_calls_that_failed_together_all_are_made_again(folder: Folder, how: str) -> None:
    folder.write("ab", body=BODY + AT_ONCE.replace("HOW", how))
    folder.typed(f"{PYTHON} train.py", code=1, DOWN="xyz")
    before = folder.asked
    said = folder.typed(f"{PYTHON} train.py", code=1)
    assert folder.asked == before
    (command,) = printed(said)
    assert "paid $" in folder.typed(command)
    assert set(folder.asked[len(before) :]) >= set("xyz")
    assert not set(folder.asked[len(before) :]) & set("ab")


@pytest.mark.slow
def test_a_fork_whose_script_changed_before_it_says_so_and_both_ways_on_work(folder: Folder) -> None:
    folder.write("abcd")
    folder.typed(f"{PYTHON} train.py")
    with ec.open(folder.path / "runs.lmdb", read_only=True) as store:
        third = [record.seq for record in store["r"].events(kind="EffectStarted")][2]
    folder.write("xbcd")
    fork = f"{PYTHON} -m eventcore fork runs.lmdb r drop --at {third - 1} -- {PYTHON} train.py"
    said = folder.typed(fork, code=1)
    assert f"cannot fork run 'r' at seq {third - 1}: before that its code diverged at seq" in said
    assert "cannot resume" not in said
    earlier, later = printed(said)
    assert "reused 3 of 4 calls" in folder.typed(earlier)
    again = folder.typed(fork, code=2)
    assert "the name is taken; choose another, such as 'r-fork-2'" in again
    folder.write("abyd")
    taken = re.findall(rf"or go on with that fork, made at seq {third - 1}: (.*)$", again, re.MULTILINE)
    assert taken == [later]
    folder.typed(later)
    assert folder.asked == "abcdxy"


@pytest.mark.slow
def test_a_divergence_shows_the_users_lines_and_none_of_the_library(folder: Folder) -> None:
    folder.write("ab", body=BODY + AT_ONCE.replace("HOW", "await ask_at_once('c')"))
    folder.typed(f"{PYTHON} train.py")
    folder.write("ab", body=BODY + AT_ONCE.replace("HOW", "await ask_at_once('d')"))
    said = folder.typed(f"{PYTHON} train.py", code=1)
    files = re.findall(r'^  File "(.*)", line \d+, in (\w+|<module>)$', said, re.MULTILINE)
    assert [(Path(file).name, name) for file, name in files] == [
        ("train.py", "<module>"),
        ("train.py", "work"),
    ]
    assert "eventcore.errors.Diverged: cannot resume run 'r'" in said


@pytest.mark.parametrize(
    ("typed", "options", "script"),
    [
        ("python train.py -u", [], ["train.py", "-u"]),
        ("python -u -Xutf8 -W ignore train.py", ["-u", "-Xutf8", "-W", "ignore"], ["train.py"]),
        ("python -X utf8 -m pkg -m", ["-X", "utf8"], ["-m", "pkg", "-m"]),
        ("python -Im pkg", [], ["-Im", "pkg"]),
        ("python -bW error -c pass -", ["-bW", "error"], ["-c", "pass", "-"]),
        ("python --check-hash-based-pycs never x.py", ["--check-hash-based-pycs", "never"], ["x.py"]),
        ("python -", [], ["-"]),
        ("python", [], []),
    ],
)
def test_a_command_line_of_python_is_split_where_the_script_begins(
    typed: str, options: list[str], script: list[str]
) -> None:
    assert parts(typed.split()) == ("python", options, script)
    assert os.path.basename(parts([""])[0]).startswith("python")


README = re.search(
    r"\n## Killed, resumed, replayed, forked\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL
)


@pytest.mark.slow
@pytest.mark.campaign
def test_the_readme_shows_what_a_changed_script_prints_and_types_just_that(folder: Folder) -> None:
    assert README is not None
    program = re.findall(r"```python\n(.*?)```", README[1], re.DOTALL)[0]
    plain = re.sub(r"```python\n.*?```", "", README[1], flags=re.DOTALL)
    (block,) = [text for text in re.findall(r"```\n(.*?)```", plain, re.DOTALL) if "longer.py" in text]
    folder.write("", body=program)
    folder.typed(f"{PYTHON} train.py")
    lines = block.splitlines()
    typed = [number for number, line in enumerate(lines) if line.startswith("$ ")] + [len(lines)]
    assert [lines[number][2:] for number in typed[2:3]] == [
        line.strip() for line in lines if "  .venv" in line
    ]
    for here, following in itertools.pairwise(typed):
        code = int(lines[here] == f"$ {PYTHON} longer.py")
        said = folder.typed(lines[here][2:], code=code).replace(f"{folder.path}/", "").splitlines()
        shown = lines[here + 1 : following]
        assert set(shown) - {"…"} <= set(said), said
