"""Training ends when it no longer improves, or when nothing is left to gain; by default without being told how."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.training.callbacks import EarlyStopping
from tests.training.callbacks.samples import Dictates, compiled, fit, word_of

numbers = itertools.count()


def epochs_of(values: list[float], name: str = "val_reward", **options: Any) -> tuple[int, EarlyStopping]:
    """How many epochs a training has whose epochs end with these values, and the callback."""
    stopping = EarlyStopping(**options)
    program = compiled(name=f"program_{next(numbers)}")
    history = fit(program, epochs=len(values), callbacks=[Dictates(**{name: values}), stopping])
    return len(history.epoch), stopping


def test_the_defaults_work_with_validation_and_without() -> None:
    stopping = EarlyStopping()
    fit(compiled(["best"]), epochs=9, callbacks=[stopping])
    assert (stopping.monitor, stopping.best, stopping.stopped_epoch) == ("val_reward", 1.0, 0)
    alone = EarlyStopping()
    fit(compiled(name="alone"), epochs=9, validation_split=0, callbacks=[alone])
    assert (alone.monitor, alone.stopped_epoch) == ("reward", 1)


@pytest.mark.parametrize(
    ("patience", "values", "epochs"),
    [
        (0, [0.1, 0.2, 0.2, 0.9], 3),
        (1, [0.1, 0.2, 0.2, 0.9], 3),
        (2, [0.1, 0.2, 0.2, 0.1, 0.9], 4),
        (2, [0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.9], 6),
        (9, [0.1, 0.1, 0.1], 3),
    ],
)
def test_it_waits_as_many_epochs_as_it_is_patient(patience: int, values: list[float], epochs: int) -> None:
    assert epochs_of(values, patience=patience)[0] == epochs


def test_reaching_the_best_there_is_ends_training_at_once() -> None:
    assert epochs_of([0.5, 1.0, 1.0, 1.0], patience=5)[0] == 2
    assert epochs_of([0.5, 0.8, 0.9, 0.9], name="val_reward", patience=5, stop_at=0.8)[0] == 2
    assert epochs_of([1.0, 1.5, 2.0], patience=5, stop_at=None)[0] == 3


def test_a_small_improvement_is_none() -> None:
    assert epochs_of([0.1, 0.15, 0.19, 0.2], min_delta=0.1, patience=2)[0] == 3
    assert epochs_of([0.1, 0.3, 0.5], min_delta=-0.1, patience=1)[0] == 3


def test_a_number_that_should_fall_is_watched_downwards() -> None:
    ended, stopping = epochs_of([0.9, 0.5, 0.6, 0.1], name="loss", monitor="loss", mode="min")
    assert (ended, stopping.best, stopping.best_epoch) == (3, 0.5, 1)
    assert epochs_of([0.9, 0.5, 0.2, 0.1], name="loss", monitor="loss", mode="min", stop_at=0.2)[0] == 3


def test_the_mode_is_the_metrics_own_direction() -> None:
    up, down = EarlyStopping("val_accuracy", patience=9), EarlyStopping("cost", patience=9)
    fit(compiled(metrics=["accuracy", "cost"]), callbacks=[up, down])
    assert (up.upwards, down.upwards) == (True, False)
    assert (up.best, down.best) == (0.0, 0.0)


def test_the_default_best_means_nothing_to_a_number_that_should_fall() -> None:
    assert epochs_of([0.9, 0.8, 0.7], name="loss", monitor="loss", mode="min")[0] == 3


def test_epochs_below_the_baseline_count_as_no_improvement() -> None:
    assert epochs_of([0.1, 0.2, 0.3, 0.9], baseline=0.5, patience=3)[0] == 3
    assert epochs_of([0.1, 0.6, 0.5, 0.9], baseline=0.5, patience=2)[0] == 4


def test_epochs_before_the_first_that_counts_are_not_looked_at() -> None:
    ended, stopping = epochs_of([0.9, 0.1, 0.1, 0.2, 0.2], start_from_epoch=2)
    assert (ended, stopping.best) == (5, 0.2)


def test_an_epoch_that_was_not_validated_is_not_counted() -> None:
    stopping = EarlyStopping(patience=2)
    history = fit(compiled(), epochs=6, validation_freq=2, callbacks=[stopping])
    assert (len(history.epoch), len(history.history["val_reward"])) == (6, 3)


def test_not_a_number_is_no_improvement() -> None:
    assert epochs_of([math.nan, math.nan, 0.5], patience=2)[0] == 2
    assert epochs_of([0.5, math.nan, 0.6, 0.7], patience=2)[0] == 4


def test_the_log_says_that_the_training_was_stopped(run: ec.Run) -> None:
    fit(compiled(["best"]), epochs=9, callbacks=[EarlyStopping()])
    ended = [record.event for record in run.events(kind="TrainEnded")]
    assert [event.reason for event in ended if isinstance(event, e.TrainEnded)] == ["stopped"]


def test_the_best_variables_are_written_again_and_the_population_is_kept(run: ec.Run) -> None:
    program = compiled(["good", "best", "poor"])
    # What is watched is at its best after the first epoch, whatever the rewards say.
    values = [0.9, 0.1, 0.1]
    stopping = EarlyStopping("mood", patience=2, restore_best_variables=True)
    fit(program, epochs=3, callbacks=[Dictates(mood=values), stopping])
    assert stopping.best_epoch == 0
    assert word_of(program) == "good"
    value = program.trainable_variables[0].get_json()
    assert "best" in [entry["word"] for entry in value["best_candidates"]]
    restored = [
        record.event
        for record in run.events(kind="VariableAssigned")
        if isinstance(record.event, e.VariableAssigned) and record.event.origin
    ]
    assert {event.origin for event in restored} == {"early stopping: as after epoch 1"}
    assert run.at(run.head).digest == run.state.digest


def test_without_being_asked_it_leaves_the_optimizers_winner(run: ec.Run) -> None:
    program = compiled(["good", "best", "poor"])
    fit(program, epochs=3, callbacks=[Dictates(mood=[0.9, 0.1, 0.1]), EarlyStopping("mood", patience=2)])
    assert word_of(program) == "best"


def test_the_same_callback_begins_anew_with_every_training() -> None:
    stopping = EarlyStopping()
    program = compiled(["best"])
    fit(program, epochs=3, callbacks=[stopping])
    history = fit(program, epochs=2, callbacks=[Dictates(val_reward=[0.1, 0.2]), stopping])
    assert len(history.epoch) == 2
    assert (stopping.best, stopping.stopped_epoch) == (0.2, None)


def test_it_says_why_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    epochs_of([0.5, 0.4, 0.4], patience=2, verbose=1, restore_best_variables=True)
    epochs_of([1.0], verbose=1)
    assert capsys.readouterr().out.splitlines() == [
        "stopped after epoch 3: val_reward did not improve for 2 epochs, the best was 0.5000",
        "variables are as they were after epoch 1",
        "stopped after epoch 1: val_reward reached 1.0000",
    ]


def test_a_monitor_that_does_not_exist_is_refused_before_anything_happens(run: ec.Run) -> None:
    program = compiled(metrics=["accuracy"])
    before = run.head
    with pytest.raises(InvalidValue) as caught:
        fit(program, callbacks=[EarlyStopping("val_acuracy")])
    assert str(caught.value) == (
        "cannot watch 'val_acuracy' with EarlyStopping: the logs of this training have reward, accuracy, val_reward, "
        "val_accuracy; did you mean 'val_accuracy'?"
    )
    with pytest.raises(InvalidValue, match="nothing is validated; pass validation_data="):
        fit(program, validation_split=0, callbacks=[EarlyStopping("val_reward")])
    assert run.head == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "up"}, "mode='up': pass 'auto', 'max' or 'min'"),
        ({"patience": -1}, "patience=-1: pass 0 or more epochs"),
        ({"patience": 1.5}, "patience=1.5"),
        ({"start_from_epoch": True}, "start_from_epoch=True"),
        ({"min_delta": math.nan}, "min_delta=nan: pass a finite number"),
        ({"stop_at": "1"}, "stop_at='1'"),
        ({"baseline": math.inf}, "baseline=inf"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        EarlyStopping(**options)
