"""Fixtures of the tests that open stores of their own, of the engine and of variables alike.

A `conftest.py` that wants them imports them all; what a fixture of one folder alone needs stays in that folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventcore.errors import StorageError
from eventcore.history import store as stores
from eventcore.history.scope import process_scope
from eventcore.history.store import Store


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    process_scope.run = None
    stores.set_seed(0)
    yield
    for store in list(stores._stores):
        with contextlib.suppress(StorageError):  # some tests break their store on purpose
            store.close()
    process_scope.run = None


@pytest.fixture(params=["memory", "lmdb", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be opened: once for each backend."""
    kind: str = request.param
    return "memory:" if kind == "memory" else f"{kind}:{tmp_path / ('runs.' + kind)}"


@pytest.fixture(params=["lmdb", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be opened: once for each backend that outlives the process."""
    return f"{request.param}:{tmp_path / ('runs.' + request.param)}"


@pytest.fixture
def reopen() -> Callable[[Store], Store]:
    """Close a store and open it again, as a new process would."""

    def again(store: Store) -> Store:
        store.close()
        process_scope.run = None
        return stores.open(store.url)

    return again
