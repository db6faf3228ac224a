"""Every test of callbacks begins with fresh names and a run of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import eventcore as ec


@pytest.fixture(autouse=True)
def run() -> Iterator[ec.Run]:
    ec.clear_session(free_memory=False)
    store = ec.open("memory:")
    with store.run("test", seed=7) as run:
        yield run
    store.close()
