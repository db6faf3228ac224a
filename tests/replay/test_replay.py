"""A recorded run, replayed, does event by event what its log says, without a call and without a trace in its store."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventcore as ec
from tests.replay.forks import Forks
from tests.structure.source import ROOT

OPTIMIZERS = ("few-shot", "best", "evolutionary", "omega", "omega-merging")
SCRIPT = [sys.executable, "-c", "from tests.replay.training import main; main()"]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def bytes_of(store: Path) -> dict[str, str]:
    """Digests of the files of a store; readers of LMDB note themselves in its lock file, which holds no data."""
    files = [path for path in store.rglob("*") if path.is_file() and path.name != "lock.mdb"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 32])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_recorded_run_of_any_optimizer_replays_identically_under_another_hash_seed(
    forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, concurrency: int
) -> None:
    store, bill = tmp_path / "runs.lmdb", tmp_path / "bill"
    arguments = ["--optimizer", optimizer, "--concurrency", str(concurrency), "--failures", "0.03"]
    printed = forks.run([store, bill, *arguments]).split()
    before, paid = bytes_of(store), bill.read_bytes()
    monkeypatch.setenv("PYTHONHASHSEED", str(concurrency + len(optimizer)))
    with ec.open(store, read_only=True) as opened:
        report = opened["training"].replay([*SCRIPT, str(store), str(bill), *arguments])
        head, calls = opened["training"].head, opened["training"].cost().calls
    assert report.divergence is None, str(report)
    assert report.identical
    assert (report.events, report.effects, report.connections) == (head, calls, 0)
    assert report.digest in printed
    assert (report.added_reads, report.missing_reads, report.cut_short) == (0, 0, False)
    assert bytes_of(store) == before
    assert bill.read_bytes() == paid
