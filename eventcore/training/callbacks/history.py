"""`History`: what `fit` returns, the logs of every epoch as lists.

It holds numbers of one call. What happened, event by event, is in the run.
"""

from __future__ import annotations

from typing import Any

from eventcore.training.callbacks.callback import Callback, Logs


class History(Callback):
    """Keeps the logs of each epoch; `fit` adds one and returns it. It does not keep the program alive.

    Attributes:
        history: The values by name, one per epoch. A name that is not logged in some epoch (`val_reward` where
            `validation_freq` is not 1) has a shorter list.
        epoch: The epochs the values belong to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def set_program(self, program: Any) -> None:
        """Take no note of the program: a history is kept long after, and names in use are not given again."""

    def on_train_begin(self, logs: Logs) -> None:
        """Start empty, also when the same object is used again."""
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Keep the logs of the epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = {name: values[-1] for name, values in self.history.items() if values}
        return f"<History epochs={len(self.epoch)} last={last}>"
