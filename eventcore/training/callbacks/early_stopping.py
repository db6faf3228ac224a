"""`EarlyStopping`: ends a training that no longer improves, or that has nothing left to gain.

It asks for the end; the optimizer still writes its winner, and the log says that the training was stopped.
"""

from __future__ import annotations

import sys
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history.population import candidate_fields
from eventcore.training.callbacks.callback import Logs
from eventcore.training.callbacks.monitoring import MonitorCallback
from eventcore.training.callbacks.output import write_line
from eventcore.variables import Variable

PERFECT = 1.0


class EarlyStopping(MonitorCallback):
    """Stops when a number has not improved for `patience` epochs, or has reached `stop_at`.

    Args:
        monitor: The number; None for `val_reward`, or `reward` where nothing is validated.
        min_delta: An improvement by no more than this counts as none.
        stop_at: Stop as soon as the number is as good as this; None never. The default is the best a reward can
            be; it says nothing of a number that should fall and is not used with one.
        patience: Epochs without improvement after which to stop.
        verbose: 1 says so on the standard output.
        mode: "max", "min" or "auto"; see `MonitorCallback`.
        baseline: Epochs that are not better than this count as without improvement.
        restore_best_variables: Write the values the variables had after the best epoch. What the optimizer has
            learnt about candidates since then is kept.
        start_from_epoch: Epochs before this one are not looked at.

    Attributes:
        best: The best value; `best_epoch` is its epoch.
        wait: Epochs since the last improvement.
        stopped_epoch: The epoch it asked to stop after, None if it did not.

    Raises:
        InvalidValue: An argument that cannot be; when training is prepared, a monitor that is not logged.
    """

    def __init__(
        self,
        monitor: str | None = None,
        min_delta: float = 0.0,
        stop_at: float | None = PERFECT,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_variables: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        for name, value in (("patience", patience), ("start_from_epoch", start_from_epoch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidValue(f"cannot make EarlyStopping with {name}={value!r}: pass 0 or more epochs")
        self.stop_at = None if stop_at is None else self.finite("stop_at", stop_at)
        self.baseline = None if baseline is None else self.finite("baseline", baseline)
        self.patience = patience
        self.verbose = verbose
        self.restore_best_variables = restore_best_variables
        self.start_from_epoch = start_from_epoch
        self._begin()

    def _begin(self) -> None:
        self.best = self.worst
        self.best_epoch: int | None = None
        self.wait = 0
        self.stopped_epoch: int | None = None
        self._kept: list[tuple[Variable, dict[str, Any]]] = []
        self._why = ""

    def on_train_begin(self, logs: Logs) -> None:
        """Begin anew; the same object may be used in several trainings."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Look at the number."""
        value = self.watched(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        first = self.best_epoch is None and not self.wait
        self.wait += 1
        if self.is_better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.baseline is None or self.is_better(value, self.baseline):
                self.wait = 0
            if self.restore_best_variables:
                self._kept = [(variable, variable.get_json()) for variable in self.program.variables]
        if self._is_perfect(value):
            self._stop(epoch, f"{self.monitor} reached {value:.4f}")
        elif self.wait >= max(1, self.patience) and not first:
            since = "it never improved" if self.best_epoch is None else f"the best was {self.best:.4f}"
            self._stop(epoch, f"{self.monitor} did not improve for {self.wait} epochs, {since}")

    def _is_perfect(self, value: float) -> bool:
        if self.stop_at is None:
            return False
        if self.upwards:
            return value >= self.stop_at
        return self.stop_at != PERFECT and value <= self.stop_at

    def _stop(self, epoch: int, why: str) -> None:
        self.stopped_epoch, self._why = epoch, why
        self.program.stop_training = True

    def on_train_end(self, logs: Logs) -> None:
        """Write the best values, and say what was done."""
        if self.verbose and self.stopped_epoch is not None:
            write_line(sys.stdout, f"stopped after epoch {self.stopped_epoch + 1}: {self._why}")
        if not self._kept or self.best_epoch is None:
            return
        origin = f"early stopping: as after epoch {self.best_epoch + 1}"
        for variable, value in self._kept:
            _restore(variable, value, origin)
        if self.verbose:
            write_line(sys.stdout, f"variables are as they were after epoch {self.best_epoch + 1}")


def _restore(variable: Variable, value: dict[str, Any], origin: str) -> None:
    """Write what a variable was; of a trained one, its own fields and examples, not its population."""
    present = variable.get_json()
    wanted = {**present, **candidate_fields(value)} if variable.eligible else value
    if wanted != present:
        variable.restore(wanted, origin)
