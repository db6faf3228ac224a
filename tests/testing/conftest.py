"""Calls to be recorded, where cassettes go, and a model server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventcore.testing.model_server import ModelServer
from tests.testing.calls import Asked


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("EVENTCORE_RECORD", raising=False)
    return tmp_path / "cassettes" / "it.sqlite"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server
