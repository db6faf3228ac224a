"""`Callback`: what may watch and steer training; `CallbackList` tells several of them.

Hooks are plain functions, called between the steps of the loop, never inside one: when a hook raises, what was
learnt until then is recorded. The error goes to the caller of `fit` as it is, with a note that names the callback
and the hook. Which hook is called when is decided by the training loop, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from eventcore.errors import WrongType

Logs = dict[str, Any]


class Callback:
    """Watches and steers `fit`, `evaluate` and `predict`; override the hooks you need.

    A hook may write into `logs`: callbacks that come later, and the `History`, see it. To end training set
    `self.program.stop_training = True`.

    Attributes:
        params: What the call was given: `verbose`, `epochs`, `steps`, and `metrics`, the names of the logs.
        program: The program.
        adds: Names this callback writes into the logs of an epoch, so that others may monitor them.
    """

    adds: Sequence[str] = ()

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.program: Any = None

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Take note of what the call was given; raise here to refuse it before anything has happened."""
        self.params = dict(params)

    def set_program(self, program: Any) -> None:
        """Take note of the program."""
        self.program = program

    def close(self) -> None:
        """Give back what is held (a file, a display); called however training ends, also by an error."""

    def on_train_begin(self, logs: Logs) -> None:
        """Training begins; the variables are those the program has so far."""

    def on_train_end(self, logs: Logs) -> None:
        """Training is done and the winner written; not called when an error ends it."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """An epoch begins; 0 is the first."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """An epoch is over, validated and durable."""

    def on_batch_begin(self, batch: int, logs: Logs) -> None:
        """Older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        """Older name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        """A batch begins; 0 is the first of each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """A batch is over; `logs` are means over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs) -> None:
        """An evaluation begins."""

    def on_test_end(self, logs: Logs) -> None:
        """An evaluation is over; `logs` are its results."""

    def on_test_batch_begin(self, batch: int, logs: Logs) -> None:
        """A batch of an evaluation begins."""

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """A batch of an evaluation is over."""

    def on_predict_begin(self, logs: Logs) -> None:
        """A prediction of many examples begins."""

    def on_predict_end(self, logs: Logs) -> None:
        """A prediction of many examples is over."""

    def on_predict_batch_begin(self, batch: int, logs: Logs) -> None:
        """A batch of a prediction begins."""

    def on_predict_batch_end(self, batch: int, logs: Logs) -> None:
        """A batch of a prediction is over; `logs["outputs"]` are its outputs."""


class CallbackList(Callback):
    """Callbacks that are told together, in their order.

    All are told before an error of one of them is raised, so a broken plot does not cost a checkpoint.

    Args:
        callbacks: A callback, several, or None.
        add_history: Add a `History` unless there is one.
        add_progbar: Add a `ProgbarLogger` unless there is one or `verbose` is 0.
        program: Handed to the callbacks.
        **params: Handed to the callbacks as `params`.

    Attributes:
        callbacks: The callbacks.
        history: The `History`, None without one.

    Raises:
        WrongType: Something is not a callback.
        InvalidValue: A callback cannot work with this program or these params.
    """

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        program: Any = None,
        **params: Any,
    ) -> None:
        from eventcore.training.callbacks.history import History
        from eventcore.training.callbacks.progress import ProgbarLogger, verbosity

        super().__init__()
        self.callbacks = _checked(callbacks)
        if add_progbar and verbosity(params.get("verbose", "auto")) and not self._has(ProgbarLogger):
            self.callbacks.append(ProgbarLogger())
        if add_history and not self._has(History):
            self.callbacks.append(History())
        self.history = next((one for one in self.callbacks if isinstance(one, History)), None)
        if program is not None:
            self.set_program(program)
        self.set_params(params)

    def _has(self, kind: type[Callback]) -> bool:
        return any(isinstance(callback, kind) for callback in self.callbacks)

    def append(self, callback: Callback) -> None:
        """Add a callback at the end."""
        self.callbacks += _checked(callback)
        callback.set_program(self.program)
        callback.set_params(self.params)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Hand params to all; `metrics` also holds what the callbacks themselves add to the logs."""
        given = dict(params)
        if "metrics" in given:
            added = [name for callback in self.callbacks for name in callback.adds]
            given["metrics"] = list(dict.fromkeys([*given["metrics"], *added]))
        self.params = given
        for callback in self.callbacks:
            callback.set_params(given)

    def set_program(self, program: Any) -> None:
        """Hand the program to all."""
        self.program = program
        for callback in self.callbacks:
            callback.set_program(program)

    def _tell(self, hook: str, *args: Any) -> None:
        failures: list[tuple[Callback, Exception]] = []
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(*args)
            except Exception as error:
                error.add_note(f"raised by callback {type(callback).__name__} in {hook}")
                failures.append((callback, error))
        if failures:
            first = failures[0][1]
            for callback, other in failures[1:]:
                first.add_note(f"callback {type(callback).__name__} failed in {hook} too: {other!r}")
            raise first

    def close(self) -> None:
        """Close all."""
        self._tell("close")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Tell all that training begins."""
        self._tell("on_train_begin", _or_new(logs))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Tell all that training is done."""
        self._tell("on_train_end", _or_new(logs))

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Tell all that an epoch begins."""
        self._tell("on_epoch_begin", epoch, _or_new(logs))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Tell all that an epoch is over."""
        self._tell("on_epoch_end", epoch, _or_new(logs))

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch begins."""
        self._tell("on_train_batch_begin", batch, _or_new(logs))

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch is over."""
        self._tell("on_train_batch_end", batch, _or_new(logs))

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch begins."""
        self._tell("on_train_batch_begin", batch, _or_new(logs))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch is over."""
        self._tell("on_train_batch_end", batch, _or_new(logs))

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Tell all that an evaluation begins."""
        self._tell("on_test_begin", _or_new(logs))

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Tell all that an evaluation is over."""
        self._tell("on_test_end", _or_new(logs))

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch of an evaluation begins."""
        self._tell("on_test_batch_begin", batch, _or_new(logs))

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch of an evaluation is over."""
        self._tell("on_test_batch_end", batch, _or_new(logs))

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Tell all that a prediction of many examples begins."""
        self._tell("on_predict_begin", _or_new(logs))

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Tell all that a prediction of many examples is over."""
        self._tell("on_predict_end", _or_new(logs))

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch of a prediction begins."""
        self._tell("on_predict_batch_begin", batch, _or_new(logs))

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Tell all that a batch of a prediction is over."""
        self._tell("on_predict_batch_end", batch, _or_new(logs))


def _or_new(logs: Logs | None) -> Logs:
    return {} if logs is None else logs


def _checked(callbacks: Any) -> list[Callback]:
    if callbacks is None:
        return []
    if isinstance(callbacks, CallbackList):
        return list(callbacks.callbacks)
    if isinstance(callbacks, Callback):
        return [callbacks]
    given = (
        cast("Any", callbacks)
        if isinstance(callbacks, Iterable) and not isinstance(callbacks, str)
        else [callbacks]
    )
    found: list[Callback] = []
    for one in given:
        if not isinstance(one, Callback):
            what = f"the class {one.__name__}" if isinstance(one, type) else repr(one)
            raise WrongType(
                f"cannot use {what} as a callback: pass objects of classes derived from ec.callbacks.Callback"
            )
        found.append(one)
    return found
