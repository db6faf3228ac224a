"""The processes a script starts are no part of its run: they do not take its order up, and a replay's stay offline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from tests.replay.scripts import environment

OF_ITS_OWN = (
    "import eventcore as ec; r = ec.open('runs.lmdb').run('child'); ec.uuid(); r.flush(); "
    "print('child', r.name, r.parent); f = r.fork(at=1); print(f.name)"
)
BODY = """\
import multiprocessing, os, subprocess, sys
import eventcore as ec

def square(n):
    return n * n

def main():
    run = ec.open("runs.lmdb").run("r", seed=7, resume=True)

    @ec.effect
    def ask(question: str) -> str:
        with open("bill", "a") as file:
            file.write(question + "\\n")
        return question.upper()

    ask("a")
    CHILDREN
    if os.path.exists("die"):
        os.remove("die")
        run.flush()
        os.kill(os.getpid(), 9)
    ask("b")
    print("head", run.head)

if __name__ == "__main__":
    main()
"""
SPAWNED = """with multiprocessing.get_context("METHOD").Pool(2) as pool:
        print(pool.map(square, range(3)))"""
STARTED = "subprocess.run([sys.executable, '-c', PROGRAM], check=True)"
DIAL = "import socket; s = socket.socket(); print(s.connect_ex(('127.0.0.1', 9)))"
CHILDREN = {
    "spawn": SPAWNED.replace("METHOD", "spawn"),
    "fork": SPAWNED.replace("METHOD", "fork"),
    "a run of its own": STARTED.replace("PROGRAM", repr(OF_ITS_OWN)),
    "forked by hand": "if os.fork() == 0: sys.exit(0)\n    os.wait()",
}


class Folder:
    """A folder with a script that starts processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, children: str) -> None:
        (self.path / "train.py").write_text(BODY.replace("CHILDREN", children))

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.path, env=environment(), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def again(self, verb: str, *arguments: str, command: tuple[str, ...] = ()) -> str:
        words = [sys.executable, "-m", "eventcore", verb, "runs.lmdb", "r", *arguments, "--"]
        return self.run(*words, *(command or (sys.executable, "train.py")))

    @property
    def runs(self) -> list[str]:
        with ec.open(self.path / "runs.lmdb", read_only=True) as store:
            return store.runs()

    @property
    def asked(self) -> str:
        return "".join((self.path / "bill").read_text().split())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "children",
    [pytest.param(kind, marks=[] if kind == "spawn" else [pytest.mark.campaign]) for kind in CHILDREN],
)
def test_a_script_with_child_processes_is_replayed_forked_and_resumed(folder: Folder, children: str) -> None:
    folder.write(CHILDREN[children])
    folder.run(sys.executable, "train.py")
    before = folder.runs
    assert "identical" in folder.again("replay")
    assert folder.runs == before
    assert "reused 2 of 2 calls" in folder.again("fork", "new", "--at", "0")
    (folder.path / "die").touch()
    (folder.path / "bill").unlink()
    with ec.open(folder.path / "runs.lmdb") as store:
        for name in (name for name in reversed(store.runs()) if "child" in name or name == "new"):
            store.delete(name)
        store.delete("r")
    folder.run(sys.executable, "train.py", code=-9)
    assert "1 answer was taken from its log" in folder.again("resume")
    assert folder.asked == "ab"
    assert ("child" in folder.runs) == (children == "a run of its own")


@pytest.mark.slow
@pytest.mark.parametrize("import_first", ["", "import eventcore; "])
def test_connections_of_child_processes_are_refused_and_counted_in_a_replay(
    folder: Folder, import_first: str
) -> None:
    folder.write(STARTED.replace("PROGRAM", repr(import_first + DIAL)))
    assert "111" in folder.run(sys.executable, "train.py")
    folder.write(STARTED.replace("PROGRAM", repr(import_first + DIAL)).replace("check=True", "check=False"))
    said = folder.again("replay")
    assert "cannot connect in a replay" in said
    assert "1 connection refused" in said
    assert "identical" in said


@pytest.mark.slow
@pytest.mark.campaign
def test_launchers_of_any_kind_come_to_the_run(folder: Folder) -> None:
    folder.write("pass")
    folder.run(sys.executable, "train.py")
    (folder.path / "Makefile").write_text(f"train:\n\t{sys.executable} train.py\n\ttrue\n")
    launcher = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, 'train.py']).returncode)"
    (folder.path / "launch.py").write_text(launcher)
    (folder.path / "launch_too.py").write_text(f"import eventcore; {launcher}")
    commands: list[tuple[str, ...]] = [
        ("make", "train"),
        ("sh", "-c", f"true; {sys.executable} train.py"),
        (sys.executable, "launch.py"),
        (sys.executable, "launch_too.py"),
    ]
    for number, command in enumerate(commands):
        assert "identical: " in folder.again("replay", command=command)
        said = folder.again("fork", f"new {number}", "--at", "0", command=command)
        assert "reused 2 of 2 calls" in said


def test_a_process_beside_a_replay_writes_nowhere(tmp_path: Path) -> None:
    from eventcore.replay.rerun import BesideProcess, Order

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("r") as run:
        head = run.flush()
    process: Any = BesideProcess(Order("beside", f"lmdb:{tmp_path / 'runs.lmdb'}", "r"))
    opened = process.open("any.lmdb")
    made = process.fork(opened["r"], None, head)
    assert (made.name, made.writable, made.store.url) == ("r-fork", True, "memory:")
    assert process.run(opened, "r", None).store.url == "memory:"
    assert process.default_run() is None
