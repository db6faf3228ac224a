"""The program is saved while it is trained: every epoch, every so many batches, or when it is better."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore import saving
from eventcore.errors import InvalidValue
from eventcore.training.callbacks import Callback, ProgramCheckpoint
from tests.training.callbacks.samples import Dictates, compiled, fit, score, word_of

saving.register_serializable()(score)


def loaded_word(path: Path) -> str:
    """What a saved program says, in a run of its own."""
    with ec.open("memory:") as store, store.run("look"):
        program: Any = ec.Program.load(path)
        return word_of(program)


def test_the_defaults_save_the_program_after_every_epoch(tmp_path: Path) -> None:
    path = tmp_path / "program.json"
    checkpoint = ProgramCheckpoint(path)
    program = compiled(["fair", "best"])
    fit(program, epochs=2, callbacks=[checkpoint])
    assert checkpoint.saved == str(path)
    assert loaded_word(path) == "best"


def test_a_path_may_name_the_epoch_and_the_logs(tmp_path: Path) -> None:
    checkpoint = ProgramCheckpoint(tmp_path / "deep" / "{epoch:02d}-{val_reward:.2f}.json")
    fit(compiled(["fair", "best"]), epochs=2, callbacks=[checkpoint])
    assert sorted(os.listdir(tmp_path / "deep")) == ["01-0.50.json", "02-1.00.json"]
    assert loaded_word(tmp_path / "deep" / "01-0.50.json") == "fair"


def test_an_epoch_without_a_number_says_so_in_the_path(tmp_path: Path) -> None:
    checkpoint = ProgramCheckpoint(tmp_path / "{epoch}-{val_reward:.1f}.json")
    fit(compiled(["best"]), epochs=2, validation_freq=2, callbacks=[checkpoint])
    assert sorted(os.listdir(tmp_path)) == ["1-none.json", "2-1.0.json"]


@pytest.mark.parametrize(
    ("mode", "values", "epochs"),
    [("max", [0.2, 0.1, 0.3, 0.3], ["1", "3"]), ("min", [0.2, 0.1, 0.3, 0.1], ["1", "2"])],
)
def test_the_best_is_saved_only_when_it_is_strictly_better(
    tmp_path: Path, mode: str, values: list[float], epochs: list[str]
) -> None:
    checkpoint = ProgramCheckpoint(
        tmp_path / "{epoch}.variables.json", "mood", save_best_only=True, save_variables_only=True, mode=mode
    )
    fit(compiled(), epochs=4, callbacks=[Dictates(mood=values), checkpoint])
    assert [name.partition(".")[0] for name in sorted(os.listdir(tmp_path))] == epochs


def test_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    checkpoint = ProgramCheckpoint(tmp_path / "{epoch}.json", "mood", save_best_only=True)
    fit(compiled(), epochs=3, callbacks=[Dictates(mood=[math.nan, 0.1, math.nan]), checkpoint])
    assert os.listdir(tmp_path) == ["2.json"]


def test_the_first_save_can_have_something_to_beat(tmp_path: Path) -> None:
    checkpoint = ProgramCheckpoint(
        tmp_path / "{epoch}.json", "mood", save_best_only=True, initial_value_threshold=0.25
    )
    fit(compiled(), epochs=3, callbacks=[Dictates(mood=[0.2, 0.25, 0.3]), checkpoint])
    assert os.listdir(tmp_path) == ["3.json"]


def test_a_worse_second_training_does_not_replace_the_best_of_the_first(tmp_path: Path) -> None:
    checkpoint = ProgramCheckpoint(tmp_path / "best.json", "mood", save_best_only=True)
    program = compiled()
    fit(program, epochs=1, callbacks=[Dictates(mood=[0.9]), checkpoint])
    before = (tmp_path / "best.json").stat().st_mtime_ns
    fit(program, epochs=1, callbacks=[Dictates(mood=[0.5]), checkpoint])
    assert (tmp_path / "best.json").stat().st_mtime_ns == before


def test_it_can_save_every_so_many_batches(tmp_path: Path) -> None:
    checkpoint = ProgramCheckpoint(tmp_path / "{epoch}-{batch}.json", save_freq=3)
    fit(compiled(), epochs=2, batch_size=2, callbacks=[checkpoint])
    assert sorted(os.listdir(tmp_path)) == ["1-3.json", "2-6.json"]


def test_by_batches_the_best_is_judged_by_the_training_reward(tmp_path: Path) -> None:
    checkpoint = ProgramCheckpoint(tmp_path / "best.json", save_freq=2, save_best_only=True)
    fit(compiled(), epochs=1, batch_size=2, callbacks=[checkpoint])
    assert (checkpoint.monitor, checkpoint.best) == ("reward", 0.0)
    with pytest.raises(InvalidValue, match="cannot save the best by 'val_reward' every 2 batches"):
        fit(
            compiled(name="other"),
            callbacks=[
                ProgramCheckpoint(tmp_path / "x.json", "val_reward", save_freq=2, save_best_only=True)
            ],
        )


def test_variables_alone_come_back_into_the_program(tmp_path: Path) -> None:
    path = tmp_path / "values.variables.json"
    program = compiled(["best"])
    fit(program, callbacks=[ProgramCheckpoint(path, save_variables_only=True)])
    program.trainable_variables[0].update({"word": "poor"})
    program.load_variables(path)
    assert word_of(program) == "best"


def test_a_store_gets_the_history_too(tmp_path: Path) -> None:
    path = tmp_path / "program.sqlite"
    fit(compiled(["fair", "best"]), epochs=2, callbacks=[ProgramCheckpoint(path)])
    with ec.open(f"sqlite:{path}", read_only=True) as store:
        assert sum(1 for _ in store["test"].events(kind="EpochEnded")) == 2


def test_a_save_that_failed_is_not_the_best(tmp_path: Path) -> None:
    class Spoils(Callback):
        def on_epoch_begin(self, epoch: int, logs: dict[str, Any]) -> None:
            (tmp_path / "best.json").mkdir(exist_ok=True)

    checkpoint = ProgramCheckpoint(tmp_path / "best.json", save_best_only=True)
    with pytest.raises(InvalidValue, match="it is a directory") as caught:
        fit(compiled(["best"]), callbacks=[Spoils(), checkpoint])
    assert caught.value.__notes__ == ["raised by callback ProgramCheckpoint in on_epoch_end"]
    assert (checkpoint.best, checkpoint.saved) == (None, None)


def test_it_says_what_it_saved_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(compiled(), callbacks=[ProgramCheckpoint(tmp_path / "p.json", verbose=1)])
    assert capsys.readouterr().out == f"saved {tmp_path / 'p.json'}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filepath": "p.pickle"}, "p.pickle"),
        ({"filepath": "p.json", "save_variables_only": True}, "the name ends in .variables.json"),
        ({"filepath": "p.variables.json"}, "pass save_variables_only=True"),
        ({"filepath": "p.json", "save_freq": 0}, "save_freq=0: pass 'epoch'"),
        ({"filepath": "p.json", "save_freq": "batch"}, "save_freq='batch'"),
        ({"filepath": "p.json", "mode": "most"}, "mode='most'"),
        ({"filepath": "{epoch.json"}, "expected '}' before end of string"),
        ({"filepath": "p.json", "initial_value_threshold": math.nan}, "initial_value_threshold=nan"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        ProgramCheckpoint(**options)


@pytest.mark.parametrize(
    ("filepath", "message"),
    [
        ("{epoch}-{los}.json", "los is not logged; a path may contain epoch, batch, reward, val_reward"),
        ("{epoch:q}.json", "Unknown format code 'q'"),
        ("{}.json", "is not logged"),
        ("{val_reward.real.imaginary}.json", "is not logged"),
    ],
)
def test_a_path_that_cannot_be_is_refused_before_anything_happens(
    filepath: str, message: str, run: ec.Run
) -> None:
    program = compiled()
    before = run.head
    with pytest.raises(InvalidValue, match=message):
        fit(program, callbacks=[ProgramCheckpoint(filepath)])
    assert run.head == before
