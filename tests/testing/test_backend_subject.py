"""What cannot be checked as a backend is said once, before any check runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventcore.backends.memory import MemoryBackend
from eventcore.errors import InvalidValue
from eventcore.testing.backend_checks import check_backend

ONE = ["a_new_run_is_empty_and_held_by_its_creator"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "it is no function; pass f\\(place\\) -> URL"),
        (lambda place: 5, "it returned 5"),
        (lambda place: "nosuch:" + place, "scheme 'nosuch'"),
        (lambda place: "sqlite:the_same.sqlite", "for two places, so that all checks would share one store"),
    ],
    ids=["no function", "no URL", "unknown scheme", "one store"],
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
