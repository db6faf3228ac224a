"""Whatever stands for a seq: labels and their moves, epochs, steps, times; and what stands for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from eventcore.errors import InvalidValue, NotFound, StoreReadOnly, WrongType
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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"), (" a", "begins or ends with a blank"), ("a\nb", "control characters"),
        ("12", "it is a number"), ("1.5", "it is a number"), ("-1", "begins with '-'"), ("--from", "begins with '-'"),
        ("epoch:1", "an epoch or a step"), ("epoch:best", "an epoch or a step"), ("2026-01-31", "it is a time"),
        ("15m", "it is a time"), ("main@3", "'@' stands between"), ("a@", "'@' stands between"),
        ("HEAD", "the newest event"), ("now", "the newest event"), (7, "of type int"),
    ],
)  # fmt: skip
def test_what_stands_for_a_seq_by_itself_or_seems_to_is_no_label_and_the_reason_is_said(
    run: Run, name: str, reason: str
) -> None:
    before = run.head
    with pytest.raises(InvalidValue, match=f"as a label: .*{reason}"):
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
    for position in (-1, "-1", run.head + 1, str(run.head + 1), "9" * 5_000):
        with pytest.raises(InvalidValue, match="pass a seq from 0 to"):
            run.seq(position)


@pytest.mark.parametrize("position", [None, 1.0, 1.5, True, b"1", date(2026, 1, 31), [1]])
def test_what_can_never_stand_for_a_seq_is_refused_with_what_can(run: Run, position: object) -> None:
    with pytest.raises(
        WrongType, match=r"of type \w+; pass a seq, a label, 'epoch:N', 'epoch:N/step:M', or a time"
    ):
        run.seq(position)  # type: ignore[arg-type]


@pytest.mark.parametrize("position", ["-abc", "--5", "-", "+5", "", " 1", "1_0", "1.0", "5m ago", "1e3"])
def test_text_that_is_no_number_is_looked_for_among_the_labels(run: Run, position: str) -> None:
    with pytest.raises(NotFound, match=re.escape(f"cannot find label {position!r}")):
        run.seq(position)


def test_times_at_either_end_of_the_calendar_are_before_and_after_everything(run: Run) -> None:
    assert run.seq("0001-01-01") == run.seq(datetime.min) == run.seq("0001-01-01T00:00+01:00") == 0
    assert run.seq("9999-12-31") == run.seq(datetime.max) == run.head


def test_a_datetime_is_accepted_wherever_a_seq_is(run: Run) -> None:
    seqs = [run.record(e.MetricLogged(START + minute * MINUTE, None, 0, "m", 1.0)) for minute in range(4)]
    run.flush()
    second = datetime.fromtimestamp((START + MINUTE) / 1_000_000, UTC)
    naive, other_zone = (
        second.astimezone().replace(tzinfo=None),
        second.astimezone(timezone(timedelta(hours=5))),
    )
    for moment in (second, naive, other_zone):
        assert run.seq(moment) == run.seq(moment.isoformat()) == seqs[1]
    assert run.at(second).digest == run.at(seqs[1]).digest
    assert [seq for seq, _ in run.events(second, second + timedelta(minutes=1))] == seqs[1:3]
    assert [seq for seq, _ in run.follow(second, timeout=0)] == seqs[1:]
    assert run.diff(second, second) == []
    assert run.fork("fork", at=second).forked_at == seqs[1]
    assert run.seq(run.label("then", second)) == run.seq("then") == seqs[1]


def test_how_long_ago_is_a_time(run: Run) -> None:
    now = round(datetime.now(UTC).timestamp() * 1_000_000)
    head = run.head
    old = [run.record(e.MetricLogged(now + ago * MINUTE, None, 0, "m", 1.0)) for ago in (-100, 100)]
    assert run.seq("15m") == run.seq("90s") == run.seq("1.5h") == old[0] > head
    with pytest.raises(InvalidValue, match="cannot read the time '999999999d'"):
        run.seq("999999999d")


def test_a_run_is_followed_from_a_label(run: Run) -> None:
    trained(run, 1, 1)
    run.label("best", 2)
    run.flush()
    assert next(run.follow("best", timeout=0)).seq == 2
    assert next(run.follow("2001-01-01", timeout=0)).seq == 1
    with pytest.raises(NotFound, match="did you mean best"):
        run.follow("bst")


def test_events_after_the_head_are_waited_for_with_follow(run: Run) -> None:
    with pytest.raises(InvalidValue, match=rf"wait for what comes with run.follow\({run.head + 1}"):
        run.events(run.head + 1)


def test_a_label_the_parent_got_after_the_fork_is_said_to_be_there(run: Run) -> None:
    trained(run, 2, 1)
    fork = run.fork("fork", at=4)
    run.label("best", 3)
    run.label("late")
    with pytest.raises(
        NotFound, match="run 'main', which it was forked from, has it since, at seq 3, an event this run"
    ):
        fork.fork("again").seq("best")
    with pytest.raises(NotFound, match=rf"has it since, at seq {run.seq('late')}; it has: none"):
        fork.seq("late")


def test_a_run_opened_for_reading_takes_no_label(disk: str) -> None:
    with stores.open(disk) as store, store.run("main"):
        pass
    with (
        stores.open(disk, read_only=True) as store,
        pytest.raises(StoreReadOnly, match="opened for reading"),
    ):
        store["main"].label("best")
