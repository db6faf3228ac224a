"""The history that fit returns: numbers of one call, by name."""

from __future__ import annotations

from eventcore.training.callbacks import History
from tests.training.callbacks.samples import compiled, fit


def test_it_has_a_value_of_every_log_for_every_epoch() -> None:
    program = compiled(["fair", "best"])
    history = fit(program, epochs=2)
    assert isinstance(history, History)
    assert history.epoch == [0, 1]
    # The first batch runs with the word it starts with, which scores 0; what it proposes is validated.
    assert list(history.history) == ["reward", "val_reward"]
    assert history.history["reward"][0] == 0.0
    assert history.history["val_reward"] == [0.5, 1.0]
    assert program.history is history
    assert history.params["epochs"] == 2


def test_every_fit_has_one_of_its_own() -> None:
    program = compiled()
    first = fit(program, epochs=2)
    second = fit(program, epochs=1)
    assert first is not second
    assert (first.epoch, second.epoch) == ([0, 1], [0])


def test_a_history_of_the_users_own_is_filled_and_begins_empty_each_time() -> None:
    mine = History()
    assert fit(compiled(), epochs=2, callbacks=[mine]) is mine
    fit(compiled(name="other"), epochs=1, callbacks=[mine])
    assert mine.epoch == [0]


def test_zero_epochs_are_an_empty_history() -> None:
    history = fit(compiled(), epochs=0)
    assert (history.history, history.epoch) == ({}, [])


def test_an_epoch_that_was_not_validated_has_no_validation_values() -> None:
    history = fit(compiled(), epochs=4, validation_freq=2)
    assert [len(history.history[name]) for name in ("reward", "val_reward")] == [4, 2]


def test_epochs_have_the_numbers_fit_was_told_to_begin_with() -> None:
    assert fit(compiled(), initial_epoch=3, epochs=5).epoch == [3, 4]


def test_holding_it_does_not_hold_the_program() -> None:
    history = fit(compiled(), epochs=1)
    fit(compiled(), epochs=1)  # of the same name, which would be in use if the first were still there
    assert history.program is None


def test_it_shows_the_last_values() -> None:
    history = fit(compiled(["best"]), epochs=1)
    assert repr(history) == "<History epochs=1 last={'reward': 0.0, 'val_reward': 1.0}>"
