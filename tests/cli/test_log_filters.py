"""`eventcore log` with filters: epochs, times and text, each against a plain look at all events."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.history import events as e
from eventcore.history.scope import in_rollout
from tests.cli.stores import SCHEMA, call, command, environment

BEGINNING = datetime(2100, 1, 31, 12, tzinfo=UTC)
FIRST_TIME = round(BEGINNING.timestamp() * 1_000_000)
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings of two epochs; the second is cut off in its second epoch. One event a minute."""
    path = tmp_path_factory.mktemp("filters") / "runs.lmdb"
    with ec.open(path) as opened, opened.run("main") as run:
        variable = ec.Variable({"persona": "", "count": 0, "notes": []}, SCHEMA, name="voice")
        number, minutes = variable.number, iter(range(1_000))

        def record(kind: type[e.Event], *fields: Any, rollout: str | None = None) -> None:
            run.record(kind(FIRST_TIME + next(minutes) * MINUTE, rollout, 0, *fields))

        for training in range(2):
            record(e.TrainBegan, {})
            for epoch in range(2):
                record(e.EpochBegan, epoch)
                with in_rollout("x"):
                    record(e.VariableUpdated, number, {"persona": f"Bär {training}.{epoch}"}, -1, rollout="x")
                record(e.MetricLogged, "accuracy", training + epoch / 10)
                if (training, epoch) != (1, 1):
                    record(e.EpochEnded, epoch, {"reward": 0.5})
            if training == 0:
                record(e.VariableUpdated, number, {"notes": ['say "hi"\n']}, -1)
                record(e.TrainEnded, "done")
    return path


def events(store: Path) -> list[tuple[int, e.Event]]:
    with ec.open(store, read_only=True) as opened:
        return list(opened["main"].events())


def seqs(store: Path, *arguments: object) -> list[int]:
    result = call("log", store, "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line)["seq"] for line in result.stdout.splitlines()]


def in_epoch(store: Path, epoch: int) -> list[int]:
    """Read off the sequence of kinds by hand: from each beginning to the end or to the next mark."""
    found, inside = [], False
    for seq, event in events(store):
        if isinstance(event, e.EpochBegan):
            inside = event.epoch == epoch
        if isinstance(event, e.TrainEnded):
            inside = False
        if inside:
            found.append(seq)
        if isinstance(event, e.EpochEnded):
            inside = False
    return found


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_epoch_chooses_what_happened_in_it_in_every_training(store: Path, epoch: int) -> None:
    wanted = in_epoch(store, epoch)
    assert bool(wanted) == (epoch < 2)
    assert seqs(store, "--epoch", epoch) == wanted
    assert seqs(store, "--epoch", epoch, "--reverse") == wanted[::-1]
    middle = len(events(store)) // 2
    assert seqs(store, "--epoch", epoch, "--from", middle) == [seq for seq in wanted if seq >= middle]


def test_filters_add_up(store: Path) -> None:
    wanted = [seq for seq in in_epoch(store, 1) if isinstance(dict(events(store))[seq], e.MetricLogged)]
    assert len(wanted) == 2
    assert seqs(store, "--epoch", 1, "--kind", "MetricLogged") == wanted
    updates = [
        seq for seq, event in events(store) if isinstance(event, e.VariableUpdated) and event.rollout == "x"
    ]
    assert seqs(store, "--variable", "voice", "--rollout", "x", "--text", "bär") == updates


@pytest.mark.parametrize("minutes", [0, 3, 7])
def test_since_and_until_bound_by_time(store: Path, minutes: int) -> None:
    moment = FIRST_TIME + minutes * MINUTE
    said = datetime.fromtimestamp(moment / 1_000_000, UTC).isoformat()
    later = [seq for seq, event in events(store) if event.time >= moment]
    earlier = [seq for seq, event in events(store) if event.time <= moment]
    assert seqs(store, "--since", said) == later
    assert seqs(store, "--until", said) == earlier
    assert seqs(store, "--since", said, "--until", said) == [later[0]] == [earlier[-1]]


def test_a_duration_counts_back_from_now(tmp_path: Path) -> None:
    with ec.open(tmp_path / "r.lmdb") as opened, opened.run("r") as run:
        pass
    assert seqs(tmp_path / "r.lmdb", "--since", "1h") == list(range(1, run.head + 1))
    assert seqs(tmp_path / "r.lmdb", "--until", "1.5d") == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("BÄR 1.1".replace("Ä", "ä"), {"VariableUpdated"}),
        ('say "hi"', {"VariableUpdated"}),
        ('hi"\n', {"VariableUpdated"}),
        ("accuracy", {"MetricLogged"}),
        ("voice/persona", {"VariableUpdated"}),
        (".py:", {"SourceSeen", "VariableDeclared"}),
        ("nowhere to be found", set()),
        ("payload", set()),
    ],
)
def test_text_is_looked_for_in_values_names_and_lines(store: Path, text: str, kinds: set[str]) -> None:
    found = dict(events(store))
    assert {type(found[seq]).__name__ for seq in seqs(store, "--text", text)} == kinds


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01", "5 minutes", "", "-1h"])
def test_what_is_no_time_is_refused_with_what_would_work(store: Path, time: str) -> None:
    result = call("log", store, f"--since={time}")
    assert result.exit_code == 2 and "pass one like 2026-01-31" in result.stderr


def test_bytes_that_are_no_text_find_nothing(store: Path) -> None:
    done = subprocess.run(
        [*command("log", store, "--text"), b"\xff"],
        capture_output=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"eventcore: no event of run 'main' matches")


def test_until_does_not_go_with_follow(store: Path) -> None:
    result = call("log", store, "--follow", "--until", "2026-01-31")
    assert result.exit_code == 2 and "--until" in result.stderr


@pytest.mark.slow
def test_following_knows_epochs_that_begin_later(tmp_path: Path) -> None:
    path = tmp_path / "runs.lmdb"
    with ec.open(path) as opened, opened.run("r") as run:
        run.record(e.EpochBegan(0, None, 0, 0))
        run.flush()
        with subprocess.Popen(
            command("log", path, "--follow", "--json", "--epoch", "0"),
            stdout=subprocess.PIPE,
            env=environment(),
        ) as process:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())["seq"]
            for event in (
                e.MetricLogged(0, None, 0, "a", 1.0), e.EpochEnded(0, None, 0, 0, {}),
                e.MetricLogged(0, None, 0, "between", 1.0), e.EpochBegan(0, None, 0, 1),
                e.MetricLogged(0, None, 0, "one", 1.0), e.EpochBegan(0, None, 0, 0),
                e.MetricLogged(0, None, 0, "again", 1.0),
            ):  # fmt: skip
                run.record(event)
                run.flush()
            seen = [json.loads(process.stdout.readline())["seq"] for _ in range(4)]
            process.terminate()
    assert [seq - first for seq in seen] == [1, 2, 6, 7]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--epoch", "7"], "epoch 7 never began in it"),
        (["--rollout", "zz"], "looked at seq 1 to "),
        (["--since", "2200-01-01"], "looked at none"),
    ],
)
def test_filters_that_nothing_passes_are_told_of_on_stderr(
    store: Path, options: list[str], said: str
) -> None:
    for more in ([], ["--reverse"], ["--json"]):
        result = call("log", store, *options, *more)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith("eventcore: no event of run 'main' matches") and said in result.stderr
