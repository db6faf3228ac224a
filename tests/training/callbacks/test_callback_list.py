"""Callbacks are told in order, all of them, and an error of one says which and where."""

from __future__ import annotations

from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, WrongType
from eventcore.history import events as e
from eventcore.training.callbacks import Callback, CallbackList, History, ProgbarLogger
from tests.training.callbacks.samples import ANSWERS, QUESTIONS, compiled, fit, word_of

HOOKS = [name for name in dir(Callback) if name.startswith("on_")]


class Diary(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_") and name not in ("on_batch_begin", "on_batch_end"):
            return lambda *args: self.told.append((name, *args[:-1]))
        return super().__getattribute__(name)

    def close(self) -> None:
        self.told.append(("close",))


class Breaks(Callback):
    """Raises in one hook."""

    def __init__(self, hook: str, error: Exception) -> None:
        super().__init__()
        self.hook, self.error = hook, error

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_") and name == self.hook:
            return self._raise
        return super().__getattribute__(name)

    def _raise(self, *args: Any) -> None:
        raise self.error


def test_fit_tells_the_hooks_in_the_order_of_the_contract() -> None:
    diary = Diary()
    fit(compiled(), epochs=2, batch_size=4, callbacks=[diary])
    epoch = [
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 0),
        ("on_train_batch_begin", 1),
        ("on_train_batch_end", 1),
        # The epoch is validated.
        ("on_test_begin",),
        ("on_test_batch_begin", 0),
        ("on_test_batch_end", 0),
        ("on_test_end",),
    ]
    assert diary.told == [
        ("on_train_begin",),
        *[("on_epoch_begin", 0), *epoch, ("on_epoch_end", 0)],
        *[("on_epoch_begin", 1), *epoch, ("on_epoch_end", 1)],
        ("on_train_end",),
        ("close",),
    ]


def test_evaluate_and_predict_tell_their_own_hooks() -> None:
    diary, program = Diary(), compiled()
    ec.wait(program.evaluate(QUESTIONS, ANSWERS, batch_size=5, callbacks=[diary]))
    ec.wait(program.predict(QUESTIONS, batch_size=10, callbacks=[diary]))
    assert [told[0] for told in diary.told] == [
        "on_test_begin",
        *["on_test_batch_begin", "on_test_batch_end"] * 2,
        "on_test_end",
        "on_predict_begin",
        "on_predict_batch_begin",
        "on_predict_batch_end",
        "on_predict_end",
    ]


def test_the_older_batch_hooks_are_told_by_the_newer_ones() -> None:
    class Older(Callback):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[str] = []

        def on_batch_begin(self, batch: int, logs: dict[str, Any]) -> None:
            self.told.append(f"begin {batch}")

        def on_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            self.told.append(f"end {batch} {logs['reward']}")

    older = Older()
    fit(compiled(), callbacks=older)
    assert older.told == ["begin 0", "end 0 0.0"]


def test_callbacks_know_the_program_and_what_fit_was_given() -> None:
    seen = Callback()
    program = compiled(metrics=["accuracy"])
    fit(program, epochs=2, callbacks=[seen])
    assert seen.program is program
    assert seen.params == {
        "verbose": 0,
        "epochs": 2,
        "steps": 1,
        "metrics": ["reward", "accuracy", "val_reward", "val_accuracy"],
    }


def test_what_a_callback_writes_into_the_logs_reaches_the_later_ones_and_the_history() -> None:
    class Adds(Callback):
        adds = ("epoch_squared",)

        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            logs["epoch_squared"] = epoch**2

    history = fit(compiled(), epochs=3, callbacks=[Adds()])
    assert history.history["epoch_squared"] == [0, 1, 4]


def test_stopping_is_one_assignment() -> None:
    class Stops(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            self.program.stop_training = epoch == 1

    assert fit(compiled(), epochs=9, callbacks=[Stops()]).epoch == [0, 1]


@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end"]
)
def test_an_error_in_a_hook_reaches_the_caller_with_the_names_of_callback_and_hook(hook: str) -> None:
    error = RuntimeError("no room on the wall")
    with pytest.raises(RuntimeError, match="no room on the wall") as caught:
        fit(compiled(), callbacks=[Breaks(hook, error)])
    assert caught.value is error
    assert caught.value.__notes__ == [f"raised by callback Breaks in {hook}"]


def test_the_other_callbacks_are_told_although_one_breaks() -> None:
    diary = Diary()
    breaks = [Breaks("on_epoch_end", RuntimeError("first")), Breaks("on_epoch_end", ValueError("second"))]
    with pytest.raises(RuntimeError, match="first") as caught:
        fit(compiled(), callbacks=[*breaks, diary])
    assert ("on_epoch_end", 0) in diary.told
    assert diary.told[-1] == ("close",)
    assert "callback Breaks failed in on_epoch_end too: ValueError('second')" in caught.value.__notes__


def test_after_an_error_in_a_hook_the_log_is_whole_and_training_can_go_on(run: ec.Run) -> None:
    program = compiled(["fair", "best"])
    with pytest.raises(RuntimeError):
        fit(program, epochs=2, callbacks=[Breaks("on_epoch_end", RuntimeError("broken"))])
    assert run.durable == run.head
    ended = [record.event for record in run.events(kind="TrainEnded")]
    assert [event.reason for event in ended if isinstance(event, e.TrainEnded)] == [
        "failed at the end of epoch 0: RuntimeError"
    ]
    assert run.at(run.head).digest == run.state.digest
    history = fit(program, epochs=1)
    assert history.history["val_reward"] == [1.0]


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_test_begin", "on_test_end", "on_train_end"])
def test_an_error_in_a_hook_leaves_the_best_that_was_found(hook: str, run: ec.Run) -> None:
    program = compiled(["best", "poor", "fair"])
    fit(program, epochs=1)
    with pytest.raises(RuntimeError):
        fit(program, epochs=1, callbacks=[Breaks(hook, RuntimeError("broken"))])
    assert word_of(program) == "best"
    assert run.durable == run.head
    assert run.at(run.head).digest == run.state.digest


def test_a_keyboard_interrupt_is_passed_on_at_once() -> None:
    class Interrupts(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            raise KeyboardInterrupt

    diary = Diary()
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), callbacks=[Interrupts(), diary])
    assert ("on_epoch_end", 0) not in diary.told
    assert diary.told[-1] == ("close",)


@pytest.mark.parametrize("wrong", ["history", History, 3, [None], [lambda: None]])
def test_what_is_no_callback_is_refused_before_anything_happens(wrong: Any, run: ec.Run) -> None:
    program = compiled()
    before = run.head
    with pytest.raises(WrongType, match="as a callback: pass objects of classes derived from"):
        fit(program, callbacks=wrong)
    assert run.head == before


def test_a_list_is_made_of_a_callback_of_several_or_of_another_list() -> None:
    one, two = Callback(), Callback()
    assert CallbackList().callbacks == []
    assert CallbackList(one).callbacks == [one]
    assert CallbackList((one, two)).callbacks == [one, two]
    assert CallbackList(CallbackList([one, two])).callbacks == [one, two]


def test_history_and_progress_are_added_behind_the_users_callbacks_unless_they_are_there() -> None:
    user = Callback()
    kinds = [type(one) for one in CallbackList(user, add_history=True, add_progbar=True, verbose=2).callbacks]
    assert kinds == [Callback, ProgbarLogger, History]
    history, progress = History(), ProgbarLogger()
    listed = CallbackList([history, progress], add_history=True, add_progbar=True, verbose=2)
    assert listed.callbacks == [history, progress]
    assert listed.history is history
    assert CallbackList([], add_progbar=True, verbose=0).callbacks == []


def test_an_appended_callback_knows_what_the_others_know() -> None:
    listed, late = CallbackList(program="the program", epochs=3), Callback()
    listed.append(late)
    assert (late.program, late.params) == ("the program", {"epochs": 3})
    with pytest.raises(WrongType):
        listed.append("no callback")  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_plain_callback_has_every_hook_and_does_nothing_in_it(hook: str) -> None:
    place = [0] if "epoch" in hook or "batch" in hook else []
    listed = CallbackList(Callback())
    assert getattr(listed, hook)(*place) is None
    assert getattr(listed, hook)(*place, {"reward": 1.0}) is None


def test_a_verbosity_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidValue, match="verbose=7: pass 0"):
        fit(compiled(), verbose=7)
