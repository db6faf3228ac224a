"""The program as it was at any point, callable and trainable, while what it was taken from stays as it is."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, NotFound, WrongType
from eventcore.history import events as e
from tests.saving.samples import Greeting, Name, graph, used, values
from tests.structure.source import ROOT

X = [Name(name=name) for name in ("Ada", "Bob", "Eve", "Joe")]
Y = [Greeting(greeting=f"[pirate] hello {value.name}") for value in X]


def train(program: ec.Program, epochs: int = 1) -> Any:
    program.compile(reward=ec.ExactMatch(), optimizer=ec.optimizers.RandomFewShot())
    return ec.wait(program.fit(x=X, y=Y, epochs=epochs, batch_size=2, verbose=0))


def files(path: Path) -> dict[str, str]:
    """Digests of the files of a store that hold data."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.iterdir()
        if file.name != "lock.mdb"
    }


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, dict[int, dict[str, Any]], int]:
    """A closed store, values by path as they were at some seqs, and the head."""
    seen: dict[int, dict[str, Any]] = {}
    with ec.open(tmp_path / "runs") as store, store.run("a") as run:
        program = used(graph())
        seen[run.head] = values(program)
        program.variables[0].update({"persona": "academic"})
        seen[run.head] = values(program)
        train(program, epochs=2)
        run.record(e.LabelSet(*run.stamp(), label="shipped", seq=min(seen)))
        program.save(tmp_path / "runs")
        head = run.head
    return tmp_path / "runs", seen, head


def test_it_is_what_it_was_at_every_seq(trained: tuple[Path, dict[int, dict[str, Any]], int]) -> None:
    path, seen, head = trained
    for seq, expected in seen.items():
        assert values(ec.Program.load(path, at=seq)) == expected
    with ec.open(path, read_only=True) as store:
        for seq, expected in seen.items():
            assert values(store["a"].program(at=seq)) == expected
        last = store["a"].program(at=head)
        assert values(last) == {path: store["a"].state.variables[path] for path in values(last)}


def test_a_label_an_epoch_and_a_time_stand_for_seqs(
    trained: tuple[Path, dict[int, dict[str, Any]], int],
) -> None:
    path, seen, _ = trained
    with ec.open(path, read_only=True) as store:
        run = store["a"]
        assert values(run.program(at="shipped")) == seen[min(seen)]
        early = run.program(at="epoch:0")
        assert values(early) == {path: run.at("epoch:0").variables[path] for path in values(early)}
    assert values(ec.Program.load(path, at="shipped")) == seen[min(seen)]
    assert values(ec.Program.load(path, at="epoch:0")) == values(early)


@pytest.mark.parametrize("how", ["load", "program"])
def test_whatever_it_does_what_it_was_taken_from_stays_as_it_is(
    trained: tuple[Path, dict[int, dict[str, Any]], int], how: str
) -> None:
    path, seen, head = trained
    with ec.open(path, read_only=True) as store:
        digest = store["a"].state.digest
    before = files(path)
    store = ec.open(path, read_only=True)
    past = store["a"].program(at=min(seen)) if how == "program" else ec.Program.load(path, at=min(seen))
    past.variables[0].update({"persona": "rewritten"})
    past.variables[0]["habits"]["new"] = True
    assert ec.wait(past(X[0])).get("greeting") == "[rewritten] hello Ada"
    train(past)
    past.variables[1].assign({**past.variables[1].get_json(), "count": 99})
    past.variables[0].trainable = False
    store.close()
    assert files(path) == before
    with ec.open(path, read_only=True) as store:
        assert (store["a"].head, store["a"].state.digest) == (head, digest)
        assert store.runs() == ["a"] and store.verify() == []


def test_the_run_that_is_being_written_is_not_written_by_its_past(run: ec.Run) -> None:
    program = used(graph())
    early = run.head
    train(program)
    head, now = run.head, values(program)
    past = run.program(at=early)
    train(past)
    past.variables[0].update({"persona": "rewritten"})
    assert all(variable.run is not run for variable in past.variables)
    assert (run.head, values(program)) == (head, now)
    used(program)
    assert run.head > head and past.variables[0].get("persona") == "rewritten"


def test_the_past_may_be_saved_elsewhere_as_a_run_of_its_own(
    trained: tuple[Path, dict[int, dict[str, Any]], int], tmp_path: Path
) -> None:
    path, seen, _ = trained
    with ec.open(path, read_only=True) as store:
        past = store["a"].program(at=min(seen))
        past.save(tmp_path / "elsewhere")
    assert values(ec.Program.load(tmp_path / "elsewhere")) == seen[min(seen)]


@pytest.mark.parametrize(
    ("at", "kind", "said"),
    [
        (0, NotFound, "it was not there yet"),
        (1, NotFound, "it was not there yet"),
        (-1, InvalidValue, "pass a seq from 0 to"),
        (10_000_000, InvalidValue, "its log ends at"),
        (True, WrongType, "received a value of type bool"),
        ("nowhere", NotFound, "shipped"),
        ("epoch:9", NotFound, "epochs 0 to 1 ended"),
    ],
)
def test_a_place_where_there_was_none_is_refused(
    trained: tuple[Path, dict[int, dict[str, Any]], int], at: Any, kind: type[Exception], said: str
) -> None:
    path, _, _ = trained
    with pytest.raises(kind, match=said):
        ec.Program.load(path, at=at)
    with ec.open(path, read_only=True) as store, pytest.raises(kind, match=said):
        store["a"].program(at=at)


def test_a_run_finds_what_builds_programs_by_itself(tmp_path: Path) -> None:
    opened = "from eventcore.history.store import open\nrun = open('runs.lmdb', read_only=True)['r']\n"
    with ec.open(tmp_path / "runs.lmdb") as store, store.run("r"):
        inputs = ec.Input(data_model=ec.Instructions)
        outputs = ec.wait(ec.modules.Identity()(inputs))
        ec.wait(ec.Program(inputs=inputs, outputs=outputs, name="same")(ec.Instructions()))
    done = subprocess.run(
        [sys.executable, "-c", opened + "print(run.program().name)"], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout == "same\n", done.stderr
