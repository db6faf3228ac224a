"""`ProgramCheckpoint`: saves the program while it is trained.

What a store holds can be had as of any event anyway; a checkpoint is for what is to be handed on, or kept apart from
the run. How a program is saved is `program.save`'s work.
"""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Mapping
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.training.callbacks.callback import Logs
from eventcore.training.callbacks.monitoring import MonitorCallback
from eventcore.training.callbacks.output import write_line

_VARIABLES = ".variables.json"


class ProgramCheckpoint(MonitorCallback):
    """Saves the program after every epoch, every so many batches, or only when it is better than before.

    Args:
        filepath: Where to, as for `program.save`; it may contain `{epoch}` and `{batch}` (1 is the first) and names of
            the logs: `"best-{epoch:02d}-{val_reward:.3f}.json"`.
        monitor: The number that says which is best; None for `val_reward`, or `reward` where nothing is validated or
            it is saved by batches.
        verbose: 1 says so on the standard output.
        save_best_only: Save only when the number is better than at every save before.
        save_variables_only: Save the values alone; `filepath` then ends in `.variables.json`.
        mode: "max", "min" or "auto"; see `MonitorCallback`.
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: What the first save must be better than.

    Attributes:
        best: The number at the best save so far; kept from one training to the next.
        saved: Where it was saved last, None before.

    Raises:
        InvalidValue: An argument that cannot be; when training is prepared, a monitor or a name in `filepath` that is
            not logged.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str | None = None,
        verbose: int = 0,
        save_best_only: bool = False,
        save_variables_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_variables_only = save_variables_only
        self.save_freq = batches_or_epoch(save_freq, type(self).__name__)
        self.saved: str | None = None
        threshold = initial_value_threshold
        self.best = None if threshold is None else self.finite("initial_value_threshold", threshold)
        self._fields = _names_in(self.filepath)
        self._epoch = self._batches = 0
        self._require_suffix()

    def _require_suffix(self) -> None:
        from eventcore.saving.program_files import url_of

        if self.save_variables_only and not self.filepath.endswith(_VARIABLES):
            raise InvalidValue(
                f"cannot save variables to {self.filepath!r}: with save_variables_only the name ends in {_VARIABLES}"
            )
        if not self.save_variables_only and self.filepath.endswith(_VARIABLES):
            raise InvalidValue(
                f"cannot save a program to {self.filepath!r}: pass save_variables_only=True, or end the name otherwise"
            )
        if "{" not in os.path.splitext(self.filepath)[1]:
            url_of(self.filepath)

    def default_monitor(self, known: list[str]) -> str:
        """Return what is watched when nothing was asked for; between epochs nothing is validated."""
        return super().default_monitor(known) if self.save_freq == "epoch" else "reward"

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Find the number to watch, and check the path.

        Raises:
            InvalidValue: A name that is not logged; the message lists what is.
        """
        super().set_params(params)
        if "metrics" not in params:
            return
        known = [
            name for name in params["metrics"] if self.save_freq == "epoch" or not name.startswith("val_")
        ]
        if self.save_best_only and self.monitor not in known:
            raise InvalidValue(
                f"cannot save the best by {self.monitor!r} every {self.save_freq} batches: it is known at the end of "
                f"an epoch; pass save_freq='epoch', or watch one of {', '.join(known)}"
            )
        unknown = sorted(set(self._fields) - set(known) - {"epoch", "batch"})
        if unknown:
            raise InvalidValue(
                f"cannot save to {self.filepath!r}: {', '.join(unknown)} is not logged; "
                f"a path may contain {', '.join(['epoch', 'batch', *known])}"
            )
        try:
            self._path(dict.fromkeys(known, 0.0))
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            raise InvalidValue(
                f"cannot save to {self.filepath!r}: {error}; write names like {{epoch:02d}} and {{val_reward:.3f}}"
            ) from error

    def _path(self, logs: Mapping[str, Any]) -> str:
        names: dict[str, Any] = dict.fromkeys(self._fields, _Absent())
        return self.filepath.format(**{**names, **logs, "epoch": self._epoch + 1, "batch": self._batches})

    def on_train_begin(self, logs: Logs) -> None:
        """Count batches anew."""
        self._epoch = self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Take note of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Save if it is due."""
        self._batches += 1
        if isinstance(self.save_freq, int) and self._batches % self.save_freq == 0:
            self._save(logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save if it is due."""
        if self.save_freq == "epoch":
            self._save(logs)

    def _save(self, logs: Logs) -> None:
        if self.save_best_only:
            value = self.watched(logs)
            if value is None or not self.is_better(value, self.worst if self.best is None else self.best):
                return
            self._write(logs)
            self.best = value  # only now: a save that failed was none
        else:
            self._write(logs)

    def _write(self, logs: Logs) -> None:
        path = self._path(logs)
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        if self.save_variables_only:
            self.program.save_variables(path)
        else:
            self.program.save(path)
        self.saved = path
        if self.verbose:
            write_line(sys.stdout, f"saved {path}")


class _Absent:
    """A number that this epoch does not have, in a path."""

    def __format__(self, spec: str) -> str:
        return "none"


def batches_or_epoch(save_freq: Any, who: str) -> int | str:
    """Return when to save.

    Raises:
        InvalidValue: Neither "epoch" nor a number of batches.
    """
    if save_freq == "epoch":
        return "epoch"
    if isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq > 0:
        return save_freq
    raise InvalidValue(
        f"cannot make {who} with save_freq={save_freq!r}: pass 'epoch', or a number of batches of at least 1"
    )


def _names_in(template: str) -> list[str]:
    try:
        return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise InvalidValue(f"cannot save to {template!r}: {error}; write {{{{ for a brace") from error
