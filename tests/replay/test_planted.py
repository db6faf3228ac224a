"""One change at every event of a run: a replay stops where the code comes to it, every time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import eventcore as ec
from eventcore.history import events as e
from eventcore.replay.rerun import ENVIRONMENT, Found, Order
from tests.replay.forks import Forks, Process
from tests.replay.planting import Plant, is_own, plants, store_as

ARGUMENTS = ["--examples", "8", "--batch", "4", "--epochs", "1", "--concurrency", "8", "--failures", "0.1"]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


class Bench:
    """Replays planted runs, a few at a time.

    Args:
        forks: Makes processes.
        folder: Where stores and reports are.
    """

    def __init__(self, forks: Forks, folder: Path) -> None:
        self._forks = forks
        self._folder = folder
        self._running: deque[tuple[int, Plant, Process]] = deque()
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()

    def start(self, number: int, plant: Plant) -> None:
        """Start the replay of a planted run."""
        order = Order(
            "replay",
            str(self._folder / "planted.lmdb"),
            f"training-{number}",
            str(self._folder / f"{number}.report"),
        )
        environment = {ENVIRONMENT: msgspec.json.encode(order).decode()}
        arguments = [self._folder / "planted.lmdb", self._folder / "no bill", *ARGUMENTS]
        self._running.append((number, plant, self._forks.start(arguments, **environment)))
        if len(self._running) > 3:
            self.judge()

    def judge(self) -> None:
        """Wait for the replay that was started first, and compare what it found with what it had to find."""
        number, plant, process = self._running.popleft()
        process.end()
        report = self._folder / f"{number}.report"
        where = f"{plant.what} at seq {plant.seq}, {plant.kind}"
        self.done[plant.what] += 1
        if not report.exists():
            self.wrong.append(f"{where}: no report: {process.output[-500:]}")
            return
        found = msgspec.json.decode(report.read_bytes(), type=Found)
        stopped = None if found.divergence is None else found.divergence["seq"]
        if (stopped, found.cut_short) != (plant.expected, plant.cut):
            said = "" if found.divergence is None else found.divergence["reason"]
            self.wrong.append(
                f"{where}: expected {plant.expected} {plant.cut}, found {stopped} {found.cut_short}: {said}"
            )

    def finish(self) -> None:
        """Judge the rest."""
        while self._running:
            self.judge()


@pytest.mark.campaign
def test_one_change_at_any_event_is_reported_at_its_seq(forks: Forks, tmp_path: Path) -> None:
    forks.run([tmp_path / "runs.lmdb", tmp_path / "bill", *ARGUMENTS])
    with ec.open(tmp_path / "runs.lmdb", read_only=True) as store:
        log = [(record.seq, record.event) for record in store["training"].events(1)]
    planted = list(plants(log))
    with ec.open(tmp_path / "planted.lmdb") as store:
        for number, plant in enumerate(planted, 2):
            store_as(store, f"training-{number}", [event for _, event in plant.log])
    bench = Bench(forks, tmp_path)
    for number, plant in enumerate(planted, 2):
        bench.start(number, plant)
    bench.finish()
    assert not bench.wrong, f"{len(bench.wrong)} of {bench.done.total()}:\n" + "\n".join(bench.wrong[:20])
    assert bench.done["changed"] == bench.done["deleted"] == len(log)
    seen = [plant for plant in planted if plant.expected is not None]
    assert len(seen) > 200
    assert {plant.seq for plant in seen} >= {seq for seq, event in log if is_own(event)} - {len(log)}
    assert any(isinstance(event, e.EffectFailed) for _, event in log)
