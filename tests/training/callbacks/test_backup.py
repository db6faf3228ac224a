"""A training that ended before its time goes on where it was, with everything the optimizer had learnt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import ConfigMismatch, InvalidValue
from eventcore.training.callbacks import BackupAndRestore, Callback
from tests.training.callbacks.samples import compiled, fit, word_of

WORDS = ["poor", "fair", "good", "best"]


class Dies(Callback):
    """Ends the training as a crash would: by an error, in a hook of a given place."""

    def __init__(self, hook: str, place: int) -> None:
        super().__init__()
        self.hook, self.place = hook, place

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        if self.hook == "batch" and batch == self.place:
            raise RuntimeError("power failure")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if self.hook == "epoch" and epoch == self.place:
            raise RuntimeError("power failure")


def crash(program: Any, callbacks: list[Callback], **options: Any) -> None:
    with pytest.raises(RuntimeError, match="power failure"):
        fit(program, callbacks=callbacks, **options)


def learnt(program: Any) -> tuple[Any, ...]:
    """What must survive: the values, the population, the trials, the counters."""
    value = program.trainable_variables[0].get_json()
    trials = program.optimizer.state.get_json()
    return value["word"], value["best_candidates"], value["history"], value["seed_candidates"], trials


def elsewhere() -> tuple[ec.Store, ec.Run]:
    """Another process would begin with fresh names and a run of its own."""
    ec.clear_session(free_memory=False)
    store = ec.open("memory:")
    return store, store.run("next", seed=7)


def test_a_training_goes_on_with_the_next_epoch_and_the_whole_population(tmp_path: Path) -> None:
    first = compiled(WORDS)
    crash(first, [BackupAndRestore(tmp_path), Dies("epoch", 1)], epochs=4)
    before = learnt(first)
    store, run = elsewhere()
    with run:
        second = compiled(WORDS)
        met: list[tuple[Any, ...]] = []

        class Looks(Callback):
            def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
                met.append((epoch, learnt(second)))

        history = fit(second, epochs=4, callbacks=[BackupAndRestore(tmp_path), Looks()])
        assert met[0] == (2, before)
        assert history.epoch == [2, 3]
        assert second.optimizer.iterations == 4
        assert second.optimizer.epochs == 4
        assert word_of(second) == "best"
        assert run.at(run.head).digest == run.state.digest
    store.close()


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = compiled(WORDS)
    fit(whole, epochs=4)
    expected = learnt(whole)
    ends: list[tuple[Any, ...]] = []
    for place in range(4):
        store, run = elsewhere()
        with run:
            crash(compiled(WORDS), [BackupAndRestore(tmp_path), Dies("epoch", place)], epochs=4)
        store.close()
        store, run = elsewhere()
        with run:
            again = compiled(WORDS)
            fit(again, epochs=4, callbacks=[BackupAndRestore(tmp_path)])
            ends.append(learnt(again))
        store.close()
    assert ends == [expected] * 4


def test_the_events_say_where_the_values_came_from(tmp_path: Path) -> None:
    crash(compiled(WORDS), [BackupAndRestore(tmp_path), Dies("epoch", 0)], epochs=2)
    store, run = elsewhere()
    with run:
        fit(compiled(WORDS), epochs=2, callbacks=[BackupAndRestore(tmp_path)])
        origins = {getattr(record.event, "origin", None) for record in run.events(kind="VariableAssigned")}
        assert any(str(origin).startswith("the backup of run 'test' at seq ") for origin in origins)
    store.close()


def test_within_an_epoch_that_epoch_is_done_again_with_what_was_learnt(tmp_path: Path) -> None:
    first = compiled(WORDS)
    backup = BackupAndRestore(tmp_path, save_freq=2)
    crash(first, [backup, Dies("batch", 2)], epochs=2, batch_size=2)
    described = json.loads((tmp_path / "training_metadata.json").read_text())
    assert (described["epoch"], described["batch"]) == (0, 2)
    store, run = elsewhere()
    with run:
        second = compiled(WORDS)
        history = fit(second, epochs=2, batch_size=2, callbacks=[BackupAndRestore(tmp_path, save_freq=2)])
        assert history.epoch == [0, 1]
        assert second.optimizer.iterations == 2 + 8
        assert word_of(second) == "best"
    store.close()


def test_a_finished_training_leaves_nothing_behind_and_the_next_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    program = compiled(WORDS)
    fit(program, epochs=2, callbacks=[BackupAndRestore(folder)])
    assert not folder.exists()
    assert fit(program, epochs=2, callbacks=[BackupAndRestore(folder)]).epoch == [0, 1]


def test_a_kept_backup_of_a_finished_training_leaves_nothing_to_do(tmp_path: Path) -> None:
    program = compiled(WORDS)
    fit(program, epochs=2, callbacks=[BackupAndRestore(tmp_path, delete_checkpoint=False)])
    history = fit(program, epochs=2, callbacks=[BackupAndRestore(tmp_path, delete_checkpoint=False)])
    assert history.epoch == []
    assert fit(program, epochs=3, callbacks=[BackupAndRestore(tmp_path)]).epoch == [2]


def test_the_files_are_those_of_the_contract(tmp_path: Path) -> None:
    crash(compiled(WORDS), [BackupAndRestore(tmp_path), Dies("epoch", 1)], epochs=4)
    assert sorted(os.listdir(tmp_path)) == ["latest.variables.json", "training_metadata.json"]
    both = tmp_path / "both"
    ec.clear_session(free_memory=False)
    crash(
        compiled(WORDS, name="both"),
        [BackupAndRestore(both, double_checkpoint=True), Dies("epoch", 1)],
        epochs=4,
    )
    assert sorted(os.listdir(both)) == [
        "latest.variables.json",
        "latest.variables.json.bkp",
        "training_metadata.json",
        "training_metadata.json.bkp",
    ]


def test_the_values_can_be_loaded_by_hand(tmp_path: Path) -> None:
    program = compiled(["best"])
    fit(program, callbacks=[BackupAndRestore(tmp_path, delete_checkpoint=False)])
    program.trainable_variables[0].update({"word": "poor"})
    program.load_variables(tmp_path / "latest.variables.json")
    assert word_of(program) == "best"


def test_an_optimizer_that_is_numbered_otherwise_finds_its_state(tmp_path: Path) -> None:
    first = compiled(WORDS)
    crash(first, [BackupAndRestore(tmp_path), Dies("epoch", 1)], epochs=4)
    first.compile(reward=first.get_compile_config()["reward"], optimizer=type(first.optimizer)(WORDS))
    assert first.optimizer.name == "in_turn_1"
    history = fit(first, epochs=4, callbacks=[BackupAndRestore(tmp_path)])
    assert history.epoch == [2, 3]
    assert first.optimizer.iterations == 4


def test_the_backup_of_another_program_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    crash(compiled(WORDS), [BackupAndRestore(tmp_path), Dies("epoch", 0)], epochs=2)
    other = compiled(WORDS, name="other")
    with pytest.raises(ConfigMismatch, match="missing: says_other/word") as caught:
        fit(other, callbacks=[BackupAndRestore(tmp_path)])
    assert caught.value.__notes__ == ["raised by callback BackupAndRestore in on_train_begin"]
    assert word_of(other) == "start"


class TestACrashWhileBackingUp:
    """Whatever was being done to the files: one whole backup is found, the newest there is."""

    @pytest.fixture
    def two(self, tmp_path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The files of two backups, one epoch apart."""
        moments: list[dict[str, bytes]] = []

        class Copies(Callback):
            def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
                moments.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})

        crash(compiled(WORDS), [BackupAndRestore(tmp_path), Copies(), Dies("epoch", 1)], epochs=4)
        ec.clear_session(free_memory=False)
        return moments[0], moments[1]

    @pytest.mark.parametrize(
        ("files", "epoch"),
        [
            ({"V.bkp": 0, "M": 0}, 1),
            ({"V.bkp": 0, "M.bkp": 0}, 1),
            ({"V.bkp": 0, "M.bkp": 0, "V": 1}, 1),
            ({"V.bkp": 0, "M.bkp": 0, "V": 1, "M": 1}, 2),
            ({"V.bkp": 0, "V": 1, "M": 1}, 2),
            ({"V": 1, "M": 1}, 2),
            ({"V": 1, "M": 1, "V.tmp": 0}, 2),
        ],
    )
    def test_it_is_survived(
        self,
        two: tuple[dict[str, bytes], dict[str, bytes]],
        tmp_path: Path,
        files: dict[str, int],
        epoch: int,
    ) -> None:
        names = {"V": "latest.variables.json", "M": "training_metadata.json"}
        for path in tmp_path.iterdir():
            path.unlink()
        for short, moment in files.items():
            name = names[short[0]]
            (tmp_path / (name + short[1:])).write_bytes(two[moment][name])
        with ec.open("memory:") as store, store.run("next", seed=7):
            history = fit(compiled(WORDS), epochs=3, callbacks=[BackupAndRestore(tmp_path)])
        assert history.epoch == list(range(epoch, 3))

    def test_files_that_do_not_belong_together_are_refused(
        self, two: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path
    ) -> None:
        (tmp_path / "latest.variables.json").write_bytes(two[0]["latest.variables.json"])
        with (
            ec.open("memory:") as store,
            store.run("next"),
            pytest.raises(InvalidValue, match="its files do not belong together"),
        ):
            fit(compiled(WORDS), callbacks=[BackupAndRestore(tmp_path)])

    @pytest.mark.parametrize(
        "data", [b"", b"{", b'{"format": 1, "kind": "backup"}', b'{"format": 1, "kind": "x"}']
    )
    def test_a_damaged_description_is_refused(
        self, two: tuple[dict[str, bytes], dict[str, bytes]], tmp_path: Path, data: bytes
    ) -> None:
        (tmp_path / "training_metadata.json").write_bytes(data)
        with ec.open("memory:") as store, store.run("next"), pytest.raises(InvalidValue, match="metadata"):
            fit(compiled(WORDS), callbacks=[BackupAndRestore(tmp_path)])


SCRIPT = """
import os, signal, sys
import eventcore as ec
from eventcore.training.callbacks import BackupAndRestore, Callback
from tests.training.callbacks.samples import compiled, fit, word_of

class Dies(Callback):
    def on_train_batch_end(self, batch, logs):
        if self.program.optimizer.epochs == 2 and sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)

with ec.open(sys.argv[3]) as store, store.run():
    program = compiled(["poor", "fair", "good", "best"])
    history = fit(program, epochs=5, callbacks=[BackupAndRestore(sys.argv[1]), Dies()])
    print(history.epoch, word_of(program), program.optimizer.iterations)
"""


def test_the_same_script_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]

    def start(word: str) -> subprocess.CompletedProcess[str]:
        given = [str(tmp_path / "backup"), word, f"sqlite:{tmp_path / 'runs.db'}"]
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(SCRIPT), *given],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )

    killed = start("die")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = start("live")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "[2, 3, 4] best 5\n"
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backup_dir": ""}, "empty path"),
        ({"backup_dir": "b", "save_freq": 0}, "save_freq=0"),
        ({"backup_dir": "b", "save_freq": True}, "save_freq=True"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        BackupAndRestore(**options)
