"""A script that forks its own run, launched again: it comes to the forks it made, and goes on in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import DuplicateName


class Word(ec.Trainable):
    """A word."""

    word: str = ""


def script(store: Any, upto: int, names: tuple[str | None, ...] = ("left", None, None)) -> dict[str, str]:
    """Write, fork three times, write in each fork; stop after `upto` writes in the last one."""
    run = store.run("trunk", seed=1, resume=True)
    state = ec.Variable(data_model=Word, name="word")
    state.update({"word": "trunk"})
    found = {}
    for name in names:
        with run.fork(name) as fork:
            for number in range(upto if name == names[-1] else 2):
                state.update({"word": f"{fork.name} {number}"})
        found[fork.name] = fork.state.digest
        fork.close()
    state.update({"word": "trunk again"})
    return found


def heads(store: Any) -> dict[str, int]:
    return {name: store[name].head for name in store.runs()}


@pytest.mark.parametrize("url", ["runs.lmdb", "runs.db"])
def test_a_script_that_forks_makes_no_second_fork_when_it_is_launched_again(tmp_path: Path, url: str) -> None:
    ec.clear_session()
    with ec.open(tmp_path / url) as store:
        first = script(store, 2)
        once = heads(store)
    for _ in range(2):
        ec.clear_session()
        with ec.open(tmp_path / url) as store:
            assert script(store, 2) == first
            assert heads(store) == once
    assert list(first) == ["left", "trunk-fork", "trunk-fork-2"]


def test_a_fork_that_was_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    ec.clear_session()
    with ec.open(tmp_path / "whole.lmdb") as store:
        whole = script(store, 5, ("a", "b"))
    ec.clear_session()
    with ec.open(tmp_path / "runs.lmdb") as store, pytest.raises(ZeroDivisionError):
        script_that_dies(store)
    ec.clear_session()
    with ec.open(tmp_path / "runs.lmdb") as store:
        assert script(store, 5, ("a", "b")) == whole
        heads_then = heads(store)
    ec.clear_session()
    with ec.open(tmp_path / "runs.lmdb") as store:
        assert script(store, 5, ("a", "b")) == whole
        assert heads(store) == heads_then


def script_that_dies(store: Any) -> None:
    run = store.run("trunk", seed=1, resume=True)
    state = ec.Variable(data_model=Word, name="word")
    state.update({"word": "trunk"})
    with run.fork("a") as fork:
        state.update({"word": "a 0"})
        state.update({"word": "a 1"})
    fork.close()
    with run.fork("b"):
        state.update({"word": "b 0"})
        raise ZeroDivisionError


def test_a_taken_name_is_refused_where_nothing_is_run_again(tmp_path: Path) -> None:
    ec.clear_session()
    with ec.open(tmp_path / "runs.lmdb") as store:
        run = store.run("trunk")
        run.fork("taken").close()
        with pytest.raises(DuplicateName, match=r"'taken'.*resume=True"):
            run.fork("taken")


def test_a_snapshot_asked_for_while_code_is_run_again_is_none_of_a_state_long_past(tmp_path: Path) -> None:
    def code(store: Any) -> str:
        run = store.run("trunk", resume=True)
        state = ec.Variable(data_model=Word, name="word")
        for number in range(3):
            state.update({"word": str(number)})
            run.snapshot()
        return str(run.state.digest)

    ec.clear_session()
    with ec.open(tmp_path / "runs.lmdb") as store:
        digest = code(store)
    ec.clear_session()
    with ec.open(tmp_path / "runs.lmdb") as store:
        assert code(store) == digest
        assert store.verify() == []
        assert store["trunk"].at(store["trunk"].head).digest == digest


def test_a_script_that_sets_labels_comes_to_them_again(tmp_path: Path) -> None:
    def code(store: Any, upto: int) -> dict[str, int]:
        run = store.run("trunk", resume=True)
        state = ec.Variable(data_model=Word, name="word")
        for number in range(upto):
            state.update({"word": str(number)})
            assert state.get("word") == str(number)
            run.label("best" if number % 2 else f"at {number}")
        return dict(run.state.labels)

    ec.clear_session()
    with ec.open(tmp_path / "whole.lmdb") as store:
        whole = code(store, 5)
    for upto in (3, 3, 5, 5):
        ec.clear_session()
        with ec.open(tmp_path / "runs.lmdb") as store:
            labels = code(store, upto)
    assert list(labels) == list(whole)
    assert labels["at 0"] == whole["at 0"]


def test_a_reopened_run_draws_other_numbers_than_the_code_before_it(tmp_path: Path) -> None:
    drawn = []
    ec.clear_session()
    with ec.open(tmp_path / "runs.lmdb") as store:
        with store.run("trunk", seed=3):
            drawn.append(ec.random("x").random())
        store["trunk"].close()
        with store.reopen("trunk"):
            drawn.append(ec.random("x").random())
        store["trunk"].close()
        ec.clear_session()
        store.run("trunk", seed=3, resume=True)
        drawn.append(ec.random("x").random())
    assert drawn[0] == drawn[2] != drawn[1]
