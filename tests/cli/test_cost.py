"""`eventcore cost`: what calls cost, as a whole and split; and tables on narrow terminals."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import eventcore as ec
from eventcore.history import events as e
from eventcore.history.costs import GROUPS, Spending
from tests.cli.stores import call, call_json, make_store


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two calls in an epoch and one outside, one of which failed, and a fork with one that was reused."""
    path = tmp_path_factory.mktemp("cost") / "runs.lmdb"
    with ec.open(path) as store:
        with store.run("main") as run:
            run.record(e.EpochBegan(*run.stamp(), 0))
            call_of(run, "small", 0.25)
            call_of(run, "large", 1.5)
            run.record(e.TrainEnded(*run.stamp(), "done"))
            begun = run.record(started(run))
            run.record(e.EffectFailed(run.stamp()[0], None, begun, "Refused", "no", 2_000_000, 1))
        with run.fork("fork") as fork:
            call_of(fork, "small", 0.125)
    return path


def test_a_run_is_summed_in_one_row(paid: Path) -> None:
    header, total = call("cost", paid, "main").stdout.splitlines()
    assert header.split() == [
        "CALLS",
        "ERRORS",
        "TOKENS",
        "IN",
        "TOKENS",
        "OUT",
        "COST",
        "SECONDS",
        "REUSED",
        "SAVED",
    ]
    assert total.split()[:6] == ["total", "3", "1", "20", "10", "$1.750000"]


def test_parts_are_rows_in_the_order_they_appeared_in_and_sum_to_the_total(paid: Path) -> None:
    lines = [line.split() for line in call("cost", paid, "main", "--by", "epoch").stdout.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [
        ("EPOCH", "CALLS"), ("epoch:0", "2"), ("(none)", "1"), ("total", "3"),
    ]  # fmt: skip


@pytest.mark.parametrize("by", GROUPS)
def test_json_has_what_run_cost_says(paid: Path, by: str) -> None:
    found = call_json("cost", paid, "main", "--by", by)
    with ec.open(paid, read_only=True) as store:
        run = store["main"]
        assert msgspec.convert(found["total"], Spending) == run.cost()
        assert msgspec.convert(found["parts"], dict[str, Spending]) == run.cost(by)
    assert (found["run"], found["by"]) == ("main", by)
    assert sum(part["calls"] for part in found["parts"].values()) == found["total"]["calls"]
    assert "by" not in call_json("cost", paid, "main")


def test_a_fork_is_counted_with_its_parent_or_alone(paid: Path) -> None:
    assert call_json("cost", paid, "fork")["total"]["cost"] == 1.875
    assert call_json("cost", paid, "fork", "--since-fork")["total"]["cost"] == 0.125


def test_an_unknown_way_to_split_is_refused(paid: Path) -> None:
    result = call("cost", paid, "main", "--by", "colour")
    assert result.exit_code == 2 and "'variable', 'candidate', 'epoch', 'rollout'" in result.stderr


def test_a_run_without_calls_costs_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path / "runs.lmdb")
    assert call("cost", store, "main", "--by", "model").stdout.splitlines()[-1].split()[:2] == ["total", "0"]
    assert call("cost", store).exit_code == 2


@pytest.mark.parametrize(
    ("width", "shown"), [(40, ["NAME", "PARENT", "HEAD"]), (200, ["NAME", "SIZE", "CREATED"])]
)
def test_a_narrow_terminal_leaves_columns_out_rather_than_break_names(
    paid: Path, monkeypatch: pytest.MonkeyPatch, width: int, shown: list[str]
) -> None:
    monkeypatch.setattr("eventcore.cli.output.coloured", lambda: True)
    result = call("runs", paid, COLUMNS=str(width))
    lines = result.stdout.splitlines()
    assert len(lines) == 3 and all(name in lines[0] for name in shown)
    assert lines[2].lstrip().startswith("fork") and "main@" in lines[2]
    assert ("left out here: CREATED, SIZE; see --json" in result.stderr) == (width == 40)


def started(run: ec.Run) -> e.EffectStarted:
    return e.EffectStarted(*run.stamp(), "language_model", "", 0, {}, None, -1)


def call_of(run: ec.Run, model: str, cost: float) -> None:
    begun = run.record(started(run))
    time = run.stamp()[0]
    run.record(e.EffectCompleted(time, None, begun, {}, model, 10, 5, cost, 1_000_000, 1))
