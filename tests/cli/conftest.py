"""What several tests of the command line look at: a run of the `hints` example."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventcore as ec
from eventcore.examples import hints
from tests.examples.test_hints import play


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "runs.lmdb"
    with ec.open(path) as store, store.run("hints", seed=7):
        ec.wait(hints.train(play, verbose=0))
    return path
