"""A fresh process finds what is under test without anything being pickled, and where it cannot, the reason is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eventcore.errors import InvalidValue
from eventcore.testing.elsewhere import told_elsewhere
from eventcore.testing.whereabouts import found_at, whereabouts, why_not
from tests.testing import found_elsewhere as there


@pytest.mark.parametrize(
    ("thing", "result"),
    [
        (there.Outer, "Outer(1)"),
        (there.plain, "Outer(2)"),
        (there.named, "Outer(3)"),
        (there.beside[0], "Outer(4)"),
        (there.beside[1], "Outer(5)"),
        (there.enclosed, "(Outer(6), Outer(2))"),
        (there.partly, "Outer(7)"),
        (lambda: there.Outer(8), "Outer(8)"),
    ],
    ids=[
        "class",
        "function",
        "lambda",
        "first of a line",
        "second of it",
        "closure",
        "partial",
        "lambda here",
    ],
)
def test_a_fresh_process_finds_what_this_one_has(thing: Any, result: str) -> None:
    where = json.loads(json.dumps(whereabouts(thing)))
    assert why_not(thing) == ""
    assert told_elsewhere(there.tell_result, {"where": where}, hash_seed=3) == result


def test_a_class_in_a_class_is_found_by_its_whole_name() -> None:
    assert found_at(whereabouts(there.Outer.Inner) or {}) is there.Outer.Inner


def test_what_cannot_be_told_is_said_with_the_reason() -> None:
    local: Any = object()

    class Local:
        pass

    def before_it_has_a_value() -> None:
        def later() -> Any:
            return value

        assert "has no value yet" in why_not(later)
        value = 1
        assert later() == value

    assert whereabouts(lambda: local) is None
    assert "cannot be told to another process" in why_not(lambda: local)
    assert "define it at the top of a module" in why_not(Local)
    assert "has no name; pass a class or a function" in why_not(5)
    before_it_has_a_value()


def test_what_has_gone_from_its_file_meanwhile_is_an_error() -> None:
    home = {"module": "tests.testing.found_elsewhere"}
    with pytest.raises(InvalidValue, match=r"cannot find 'gone' in 'tests.testing.found_elsewhere'"):
        found_at({"home": home, "name": "gone"})
    moved = dict(whereabouts(there.named) or {})
    moved["code"] = {**moved["code"], "line": 1}
    with pytest.raises(
        InvalidValue,
        match=r"at line 1 of 'tests.testing.found_elsewhere': the file says something else there",
    ):
        found_at(moved)


SCRIPT = """
import json
from eventcore.testing.elsewhere import told_elsewhere
from eventcore.testing.whereabouts import whereabouts, why_not
from tests.testing.found_elsewhere import tell_result

class Mine:
    def __repr__(self):
        return "mine"

def work():
    for thing in (Mine, lambda: [Mine()]):
        where = whereabouts(thing)
        print(told_elsewhere(tell_result, {"where": where}, 1) if where else why_not(thing))

"""


@pytest.mark.parametrize("how", ["by its path", "as a module"])
def test_a_script_is_run_again_without_its_work(tmp_path: Path, how: str) -> None:
    (tmp_path / "started.py").write_text(f'{SCRIPT}if __name__ == "__main__":\n    work()\n')
    assert _started(tmp_path, how) == ["mine", "[mine]"]


def test_a_script_that_would_do_its_work_again_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "started.py").write_text(f"{SCRIPT}\nwork()\n")
    said = _started(tmp_path, "by its path")
    assert len(said) == 2
    assert all(line.endswith('put that under if __name__ == "__main__":') for line in said)


CHECKING = """
import eventcore as ec

class Question(ec.DataModel):
    text: str

class Echo(ec.Module):
    def __init__(self, model=None, name=None):
        super().__init__(name=name)

    async def call(self, inputs: Question, training=False):
        return inputs

def work(factory):
    report = ec.testing.check_module(factory, only=["no_unrecorded_nondeterminism"], limit=60)
    print(report["no_unrecorded_nondeterminism"].status, report["no_unrecorded_nondeterminism"].message)
"""


@pytest.mark.slow
@pytest.mark.campaign
def test_a_script_that_checks_outside_its_guard_does_not_check_for_ever(tmp_path: Path) -> None:
    (tmp_path / "started.py").write_text(
        f'{CHECKING}\nwork(Echo)\nif __name__ == "__main__":\n    print("done")\n'
    )
    said = _started(tmp_path, "by its path")
    assert said[-1] == "done" and len(said) == 2
    assert (
        said[0].startswith("not applicable")
        and "the script checks its parts when another process runs it" in said[0]
    )


@pytest.mark.slow
@pytest.mark.campaign
def test_a_program_of_the_started_script_is_the_same_where_that_is_run_again(tmp_path: Path) -> None:
    program = """
class Echoes(ec.Program):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.echo = Echo()

    async def call(self, inputs: Question, training=False):
        return await self.echo(inputs, training=training)
"""
    (tmp_path / "started.py").write_text(
        f'{CHECKING}{program}\nif __name__ == "__main__":\n    work(Echoes)\n'
    )
    (said,) = _started(tmp_path, "by its path")
    assert said.startswith("passed")


@pytest.mark.slow
@pytest.mark.campaign
def test_what_a_lambda_uses_and_only_the_started_script_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "started.py").write_text(
        f'{CHECKING}\nif __name__ == "__main__":\n    model = 3\n    work(lambda: Echo(model))\n'
    )
    (said,) = _started(tmp_path, "by its path")
    assert said.startswith("not applicable") and "'<lambda>' uses 'model'" in said


def test_a_function_whose_asserts_pytest_has_rewritten_is_found() -> None:
    def asserting(value: int = 11) -> there.Outer:
        assert value > 10, "too small"
        return there.Outer(value)

    assert told_elsewhere(there.tell_result, {"where": whereabouts(asserting)}, hash_seed=3) == "Outer(11)"


def test_what_was_typed_in_cannot_be_found_and_that_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{SCRIPT}\nwork()\n"],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
        cwd=tmp_path,
    )
    assert "put it into a file" in done.stdout


def _started(folder: Path, how: str) -> list[str]:
    started = ["started.py"] if how == "by its path" else ["-m", "started"]
    done = subprocess.run(
        [sys.executable, *started],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=_environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_another_script_finds_what_a_script_has(tmp_path: Path) -> None:
    started = tmp_path / "started.py"
    started.write_text(
        "class Mine:\n    word = 'mine'\n\nif __name__ == '__main__':\n    raise SystemExit(1)\n"
    )
    where = {"home": {"started": "", "file": str(started)}, "name": "Mine"}
    other = tmp_path / "other.py"
    other.write_text(
        f"import multiprocessing\nfrom eventcore.testing.whereabouts import found_at\nprint(found_at({where!r}).word)\n"
    )
    done = subprocess.run(
        [sys.executable, str(other)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "mine\n", done.stderr
