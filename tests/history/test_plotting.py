"""Learning curves: the numbers of the log, and lines that show them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventcore.errors import InvalidValue, NotFound, Unavailable
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.plotting import curves
from eventcore.history.run import Run

REWARDS = [0.2, 0.4, 0.9]


@pytest.fixture
def run() -> Run:
    """Three epochs in two trainings, two batches each."""
    run = stores.open("memory:").run("r")
    for number, reward in enumerate(REWARDS):
        for step in range(2):
            logs = {"reward": reward + step / 100, "calls": 4 * number + step}
            run.record(e.BatchEnded(*run.stamp(), number % 2, step, logs))
        run.record(
            e.EpochEnded(*run.stamp(), number % 2, {"reward": reward, "val_reward": reward / 2, "calls": 9})
        )
    return run


@pytest.fixture
def pyplot() -> Iterator[object]:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_curves_are_the_logs_of_epochs_over_all_trainings(run: Run) -> None:
    found = curves(run)
    assert [(point.number, point.value) for point in found["reward"]] == list(enumerate(REWARDS, 1))
    assert sorted(found) == ["calls", "reward", "val_reward"]
    events = dict(run.events())
    assert all(events[point.seq].logs["reward"] == point.value for point in found["reward"])  # type: ignore[attr-defined]
    assert [point.value for point in curves(run, "batch", ["calls"])["calls"]] == [0, 1, 4, 5, 8, 9]


def test_a_plot_shows_the_rewards(run: Run, pyplot: object, tmp_path: Path) -> None:
    axes = run.plot()
    assert {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()} == {
        "reward": REWARDS,
        "val_reward": [reward / 2 for reward in REWARDS],
    }
    assert axes.get_xlabel() == "epoch" and axes.get_title() == "r"
    axes.figure.savefig(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_several_runs_share_axes(run: Run, pyplot: object) -> None:
    axes = run.plot(["reward"])
    assert run.fork("other").plot(["reward"], axes=axes) is axes
    assert [line.get_label() for line in axes.get_lines()] == ["reward", "other: reward"]
    assert axes.get_title() == "r, other"


def test_batches_are_drawn_while_no_epoch_has_ended(pyplot: object) -> None:
    run = stores.open("memory:").run("r")
    run.record(e.BatchEnded(*run.stamp(), 0, 0, {"reward": 1.0}))
    assert run.plot().get_xlabel() == "batch"


def test_what_is_not_there_is_refused(run: Run, pyplot: object) -> None:
    with pytest.raises(NotFound, match=r"'loss'.*calls, reward, val_reward"):
        run.plot(["loss"])
    with pytest.raises(InvalidValue, match="'epoch' or 'batch'"):
        run.plot(by="year")
    with pytest.raises(NotFound, match="no batch has ended"):
        stores.open("memory:").run("empty").plot()


def test_without_matplotlib_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unavailable, match=r"eventcore\[plot\]"):
        run.plot()


def test_looking_at_a_run_does_not_import_matplotlib() -> None:
    code = (
        "import sys, eventcore as ec\n"
        "run = ec.open('memory:').run('r')\n"
        "repr(run), run._repr_html_()\n"
        "assert not {'matplotlib', 'numpy', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
