"""Whatever stands for a seq: labels and their moves, epochs, steps, times; and what stands for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from eventcore.errors import InvalidValue, NotFound, StoreReadOnly
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.positions import Labelled
from eventcore.history.run import Run

MINUTE = 60_000_000
START = 4_000_000_000_000_000
"""A time after that of any event that is stamped with the present one, in microseconds: in 2096."""


@pytest.fixture
def run(url: str) -> Iterator[Run]:
    with stores.open(url) as store, store.run("main") as run:
        yield run


def trained(run: Run, epochs: int, steps: int) -> dict[str, int]:
    """Record the events of a training and return the seqs of its ends by name."""
    ends: dict[str, int] = {}
    for epoch in range(epochs):
        run.record(e.EpochBegan(START, None, 0, epoch))
        for step in range(steps):
            run.record(e.BatchBegan(START, None, 0, epoch, step, 4))
            ends[f"epoch:{epoch}/step:{step}"] = run.record(e.BatchEnded(START, None, 0, epoch, step, {}))
        ends[f"epoch:{epoch}"] = run.record(e.EpochEnded(START, None, 0, epoch, {"reward": 0.5}))
    return ends


def test_an_epoch_and_a_step_stand_for_their_ends(run: Run) -> None:
    ends = trained(run, 3, 2)
    run.record(e.MetricLogged(START, None, 0, "m", 1.0))
    assert {name: run.seq(name) for name in ends} == ends


def test_of_two_trainings_the_last_that_has_the_epoch_is_meant(run: Run) -> None:
    first = trained(run, 3, 1)
    second = trained(run, 2, 1)
    assert run.seq("epoch:1") == second["epoch:1"]
    assert run.seq("epoch:2/step:0") == first["epoch:2/step:0"]


def test_an_epoch_that_did_not_end_is_refused_with_those_that_did(run: Run) -> None:
    with pytest.raises(NotFound, match="no epoch has ended"):
        run.seq("epoch:0")
    trained(run, 2, 1)
    with pytest.raises(NotFound, match="epochs 0 to 1 ended; the first epoch is 0"):
        run.seq("epoch:2")
    with pytest.raises(NotFound, match="cannot find 'epoch:1/step:9'"):
        run.seq("epoch:1/step:9")


def test_labels_are_set_moved_and_remembered(run: Run) -> None:
    ends = trained(run, 2, 1)
    assert run.label("best", "epoch:0") == ends["epoch:0"]
    first = run.head
    assert run.label("shipped") == first
    second = run.head
    assert run.label("best", "shipped") == first
    assert run.seq("best") == first and run.state.labels == {"best": first, "shipped": first}
    assert [(move.label, move.position, move.seq) for move in run.labels()] == [
        ("best", ends["epoch:0"], first), ("shipped", first, second), ("best", first, run.head),
    ]  # fmt: skip
    assert [move.seq for move in run.labels("best")] == [first, run.head]
    assert all(isinstance(move, Labelled) and move.time < START for move in run.labels())


def test_a_label_is_accepted_wherever_a_seq_is(run: Run) -> None:
    trained(run, 1, 1)
    run.label("a", 2)
    run.label("b", 4)
    assert run.at("a").digest == run.at(2).digest
    assert [seq for seq, _ in run.events("a", "b")] == [2, 3, 4]
    assert run.diff("a", "b") == run.diff(2, 4)
    assert run.fork("fork", at="b").forked_at == 4


@pytest.mark.parametrize("name", ["", " a", "12", "epoch:1", "2026-01-31", "-1", "a\nb", "epoch:best"])
def test_what_stands_for_a_seq_by_itself_is_no_label(run: Run, name: str) -> None:
    before = run.head
    with pytest.raises(InvalidValue, match="as a label"):
        run.label(name)
    with pytest.raises(InvalidValue, match="pass a seq from 0 to"):
        run.label("best", 99)
    assert run.head == before


def test_an_unknown_label_is_refused_with_the_near_ones(run: Run) -> None:
    run.label("shipped")
    with pytest.raises(NotFound, match="did you mean shipped"):
        run.seq("shiped")


def test_a_fork_of_a_fork_knows_the_labels_set_before_it_and_no_other(run: Run) -> None:
    trained(run, 1, 2)
    run.label("early", 3)
    fork = run.fork("fork", at=run.head)
    run.label("late")
    again = fork.fork("again", at=fork.head)
    assert again.seq("early") == fork.seq("early") == 3
    with pytest.raises(NotFound, match="it has: early"):
        again.seq("late")
    again.label("early", 5)
    assert (again.seq("early"), fork.seq("early"), run.seq("early")) == (5, 3, 3)


def test_a_label_whose_events_were_dropped_says_so() -> None:
    with stores.open("memory:", limit=20_000) as store, store.run("main") as run:
        run.label("early", 1)
        for number in range(20_000):
            run.record(e.MetricLogged(START + number, None, 0, f"metric {number * 7919 % 10007}", number / 7))
        run.flush()
        run.snapshot()
        for number in range(1_000):
            run.record(e.MetricLogged(START + number, None, 0, f"metric {number * 7919 % 10007}", number / 7))
        run.flush()
        assert run.first_stored > 2
        assert run.seq("early") == 1
        with pytest.raises(NotFound, match="folded into a snapshot"):
            run.at("early")


def test_a_time_stands_for_the_last_event_up_to_it(run: Run) -> None:
    seqs = [run.record(e.MetricLogged(START + minute * MINUTE, None, 0, "m", 1.0)) for minute in range(4)]
    for minute, seq in enumerate(seqs):
        moment = datetime.fromtimestamp((START + minute * MINUTE) / 1_000_000, UTC)
        assert run.seq(moment.isoformat()) == seq
        assert run.seq((moment + timedelta(seconds=59)).isoformat(" ")) == seq
    assert run.seq("2150-01-01") == run.head
    assert run.seq("2090-01-01 12:00") == seqs[0] - 1
    assert run.seq("2001-01-01") == 0
    with pytest.raises(InvalidValue, match="cannot read the time '2026-13-01'"):
        run.seq("2026-13-01")


def test_negative_and_later_seqs_are_refused(run: Run) -> None:
    for position in (-1, "-1", run.head + 1, str(run.head + 1), 1.5, True):
        with pytest.raises(InvalidValue, match="pass a seq from 0 to"):
            run.seq(position)  # type: ignore[arg-type]


def test_a_run_opened_for_reading_takes_no_label(disk: str) -> None:
    with stores.open(disk) as store, store.run("main"):
        pass
    with (
        stores.open(disk, read_only=True) as store,
        pytest.raises(StoreReadOnly, match="opened for reading"),
    ):
        store["main"].label("best")
