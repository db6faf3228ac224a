"""What cannot be checked as a backend is said once, before any check runs; what a failing history says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventcore.backends.memory import MemoryBackend
from eventcore.errors import InvalidValue
from eventcore.history.backend import Block, RunRow
from eventcore.testing import backend_checks
from eventcore.testing.backend_checks import check_backend
from eventcore.testing.backend_model import agree
from eventcore.testing.checks import ChecksFailed

ONE = ["a_new_run_is_empty_and_held_by_its_creator"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "it is no function; pass f\\(place\\) -> URL"),
        (lambda place: 5, "it returned 5"),
        (lambda place: "nosuch:" + place, "scheme 'nosuch'"),
        (lambda place: "sqlite:the_same.sqlite", "for two places, so that all checks would share one store"),
        (dict, "cannot check dict as a backend: it takes no place; pass f\\(place\\) -> URL"),
        (lambda: "sqlite:x", "it takes no place"),
    ],
    ids=["no function", "no URL", "unknown scheme", "one store", "another class", "no argument"],
)
def test_what_names_no_new_store_is_said_once(given: Any, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        check_backend(given, only=ONE)


def test_a_backend_that_is_open_is_not_taken_for_a_factory(tmp_path: Path) -> None:
    backend = MemoryBackend.open(str(tmp_path / "it"))
    with pytest.raises(InvalidValue, match="received a backend that is open"):
        check_backend(backend, only=ONE)
    backend.close()


def test_a_class_and_a_function_are_both_taken() -> None:
    assert check_backend(MemoryBackend, only=ONE).ok
    assert check_backend(lambda place: "memory:", only=ONE).ok


def test_a_store_that_is_another_one_each_time_is_not_taken_for_one_that_opens_twice() -> None:
    twice = ["a_place_opened_twice_is_one_store", "a_store_opened_for_reading_refuses_writes"]
    anew = check_backend(lambda place: "memory:", only=twice)
    assert {outcome.status for outcome in anew.outcomes} == {"not applicable"}
    named = check_backend(lambda place: f"memory:{place}", only=twice)
    assert {outcome.status for outcome in named.outcomes} == {"passed"}


@pytest.mark.parametrize(
    ("store", "model", "said"),
    [
        (1, 2, "the head: the store says 1, the model 2"),
        ([1, 2, 3], [1, 5, 3], "item 1 of 3 \\(of 3 by the model\\): the store says 2, the model 5"),
        ([1], [1, 2], "item 1 of 1 \\(of 2 by the model\\): the store says 'missing', the model 2"),
        (b"x" * 999, b"", "the store says b'x{100,} … x+', the model b''"),
    ],
)
def test_what_differs_from_the_model_is_said(store: Any, model: Any, said: str) -> None:
    agree("the head", model, model)
    with pytest.raises(AssertionError, match=said):
        agree("the head", store, model)


class WithoutTheLast(MemoryBackend):
    """A range that ends in the newest block is read without it."""

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        found = list(super().blocks(run, first, last))
        return iter(found[:-1] if len(found) > 1 else found)


class ClaimsInSilence(MemoryBackend):
    """A claim returns nothing."""

    def claim(self, run: int, writer: str, expected_epoch: int | None = None) -> RunRow:
        super().claim(run, writer, expected_epoch)
        return None  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (WithoutTheLast, r"what is read of run \d+ '.' from -?\d+ to \d+, item .*: the store says 'missing'"),
        (ClaimsInSilence, r"a claim of run \d+ '.' by '\w*' gave no row"),
    ],
    ids=["a block is missing", "no row"],
)
def test_a_failing_history_says_what_differs_and_how_much_was_done(
    wrong: type[MemoryBackend], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend_checks, "SHORTENING", 2)
    with pytest.raises(ChecksFailed) as failed:
        check_backend(wrong, only=["random_histories"])
    [outcome] = failed.value.report.outcomes
    assert outcome.status == "failed" and outcome.exercised > 30
    assert re.match(said, outcome.message), outcome.message
    assert "state.take(" in outcome.message
