"""A run builds its program again: in itself, in a fork, and as a look into the past."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventcore as ec
from eventcore.errors import NotFound
from tests.saving.samples import Greet, Name, account, graph, used, values


def test_a_reopened_run_goes_on_with_the_program_it_had(tmp_path: Path) -> None:
    with ec.open(tmp_path / "runs") as store, store.run("a"):
        program = used(graph(), "Ada", "Bob")
        program.save(tmp_path / "runs")
        before = account(program)
    with ec.open(tmp_path / "runs") as store, store.reopen("a") as run:
        again = run.program()
        assert account(again) == before
        assert all(variable.run is run for variable in again.variables)
        used(again, "Eve")
    with ec.open(tmp_path / "runs", read_only=True) as store:
        assert store["a"].state.variables[again.variables[1].path]["count"] == 3
        assert store.verify() == []


def test_a_fork_goes_on_from_its_seq_and_its_parent_does_not_notice(run: ec.Run) -> None:
    program = used(graph())
    early = run.head
    program.variables[0].update({"persona": "academic"})
    head, digest = run.head, run.state.digest
    with run.fork("warmer", at=early) as fork:
        other = fork.program()
        assert other.variables[0].get("persona") == "pirate"
        other.variables[0].update({"persona": "warm"})
        assert ec.wait(other(Name(name="Ada"))).get("greeting") == "[warm] hello Ada"
        changes = [change.after for change in fork.history(other.variables[0].path, "/persona")]
        assert changes[-1] == "warm"
        assert "academic" not in changes
    assert (run.head, run.state.digest) == (head, digest)
    assert program.variables[0].get("persona") == "academic"


def test_a_look_into_the_past_writes_neither_into_it_nor_into_the_present(run: ec.Run) -> None:
    program = used(graph())
    early = run.head
    program.variables[0].update({"persona": "academic"})
    head, before = run.head, values(program)
    past = run.program(at=early)
    past.variables[0].update({"persona": "rewritten"})
    assert ec.wait(past(Name(name="Ada"))).get("greeting") == "[rewritten] hello Ada"
    assert (run.head, values(program)) == (head, before)
    del program
    assert ec.wait(past(Name(name="Ada"))).get("greeting") == "[rewritten] hello Ada"
    assert run.head == head
    assert run.state.variables[past.variables[0].path]["persona"] == "academic"


def test_every_seq_at_which_the_program_was_there_can_be_gone_back_to(run: ec.Run) -> None:
    program = used(graph())
    expected = {}
    for word in ("one", "two", "three"):
        program.variables[0].update({"persona": word})
        expected[run.head] = word
    for seq, word in expected.items():
        assert run.program(at=seq).variables[0].get_json()["persona"] == word
        assert values(run.program(at=seq)) == {path: run.at(seq).variables[path] for path in values(program)}


def test_a_run_opened_for_reading_gives_a_program_that_lives_in_memory(tmp_path: Path, run: ec.Run) -> None:
    with ec.open(tmp_path / "runs") as store, store.run("a"):
        program = used(graph())
        store["a"].flush()
        before = account(program)
    with ec.open(tmp_path / "runs", read_only=True) as store:
        head = run.head
        found = store["a"].program()
        assert account(found) == before
        used(found, "Bob")
        assert run.head == head
        found.save(tmp_path / "copy.json")
    assert values(ec.Program.load(tmp_path / "copy.json")) == values(found)


def test_a_run_whose_program_is_in_use_gives_a_second_one_beside_it(run: ec.Run) -> None:
    program = used(graph())
    second = run.program()
    assert account(second) == account(program)
    used(second, "Bob")
    assert program.variables[1].get("count") == 1


def test_a_run_without_a_program_says_so(run: ec.Run) -> None:
    with pytest.raises(NotFound, match="no program was used there"):
        run.program()
    ec.wait(Greet()(Name(name="Ada")))
    with pytest.raises(NotFound, match="no program was used there"):
        run.program()


def test_a_program_that_cannot_be_written_down_runs_and_says_why_when_it_is_asked_for(run: ec.Run) -> None:
    program = used(ec.Sequential([Greet(extra=lambda: None)], name="s", description="d"))
    assert program.variables[1].get("count") == 1
    with pytest.raises(NotFound, match="a lambda"):
        run.program()
    with pytest.raises(ec.errors.InvalidValue, match="a lambda"):
        program.save("/nowhere/p.json")


def test_flags_are_as_they_were_last_saved(run: ec.Run, tmp_path: Path) -> None:
    with ec.open(tmp_path / "runs") as store, store.run("a"):
        program = used(graph())
        program.variables[0].trainable = False
        program.get_module("greeter_greet").trainable = False
        program.save(tmp_path / "runs")
        before = account(program)
    with ec.open(tmp_path / "runs") as store, store.reopen("a") as again:
        assert account(again.program()) == before
