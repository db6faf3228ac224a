"""`ProgbarLogger`: how far training is and what it has cost, for a person who looks on.

At a terminal a bar is drawn (by rich, imported then); elsewhere, in a file, in CI and in a notebook, one plain
line is written per epoch. A display that fails is given up; it never ends a training. Numbers to compute with are
in the `History` and in the run.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from typing import IO, Any

from eventcore.errors import InvalidValue
from eventcore.history.costs import Spending
from eventcore.history.scope import current_run
from eventcore.replay.spending import spending
from eventcore.training.callbacks.callback import Callback, Logs
from eventcore.training.callbacks.output import write_line

_BAR_WIDTH = 24
_REFRESHES = 8
"""Drawings of the bar per second; the clock and the calls move on while a batch is under way."""


def verbosity(verbose: Any, file: Any = None) -> int:
    """Return 0 for silent, 1 for a bar, 2 for a line per epoch.

    Args:
        verbose: 0, 1, 2 or "auto": 1 at a terminal and 2 elsewhere.
        file: Where it would be shown; None for the standard output.

    Raises:
        InvalidValue: Anything else.
    """
    if verbose == "auto":
        return 1 if _is_terminal(sys.stdout if file is None else file) else 2
    if verbose in (0, 1, 2):
        return int(verbose)
    raise InvalidValue(
        f"cannot show progress with verbose={verbose!r}: pass 0 (silent), 1 (a bar), 2 (a line per epoch) or 'auto'"
    )


class ProgbarLogger(Callback):
    """Shows epoch, step, rewards, the best reward, the calls and cost of this training so far, and the time left.

    `fit` adds one unless `verbose` is 0.

    Args:
        verbose: 0, 1, 2 or "auto"; None for what `fit` was given.
        file: Where to write; None for the standard output.
    """

    def __init__(self, verbose: int | str | None = None, file: IO[str] | None = None) -> None:
        super().__init__()
        self.verbose = verbose
        self._given_file = file
        self._file: IO[str] | None = None
        self._bar: _Bar | None = None
        self._pace = _Pace()
        self._spent = self._before = Spending()
        self._logs: Logs = {}
        self._best: float | None = None
        self._best_of = "reward"
        if verbose is not None:
            verbosity(verbose, file)

    def on_train_begin(self, logs: Logs) -> None:
        """Look where to write, and how."""
        self._file = self._given_file if self._given_file is not None else sys.stdout
        chosen = self.verbose if self.verbose is not None else self.params.get("verbose", "auto")
        level = verbosity(chosen, self._file)
        if level == 0:
            self._file = None
        self._bar = _Bar(self._file, self._columns) if level == 1 and _is_terminal(self._file) else None
        self._spent = spending(current_run())
        self._before = copy.copy(self._spent)
        self._best_of = "val_reward" if "val_reward" in self.params.get("metrics", ()) else "reward"
        self._best, self._logs = None, {}
        self._pace = _Pace(self.params.get("steps"), self.params.get("epochs"))

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Begin a bar."""
        self._logs = {}
        self._pace.begin(epoch)
        self._show("start")

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Move the bar."""
        self._logs = dict(logs)  # drawn in another thread, while callbacks may write into theirs
        self._pace.step()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """End the bar and write the epoch's line."""
        self._pace.end()
        self._logs = dict(logs)
        score = logs.get(self._best_of)
        if isinstance(score, (int, float)) and (self._best is None or score > self._best):
            self._best = float(score)
        self._show("stop")
        self._write(" - ".join([f"epoch {self._pace.place()}", self._pace.done(), *self._figures()]))

    def close(self) -> None:
        """Take the bar away."""
        self._show("stop")
        self._bar = self._file = None

    def _figures(self) -> list[str]:
        """Return what there is to say, apart from the place and the bar."""
        shown = [f"{name} {number(value)}" for name, value in self._logs.items()]
        if self._best is not None:
            shown.append(f"best {number(self._best)}")
        spent = self._spent.minus(self._before)
        shown += [f"calls {spent.calls}", f"cost ${money(spent.cost)}"]
        if spent.errors:
            shown.append(f"errors {spent.errors}")
        left = self._pace.left()
        return shown if left is None else [*shown, f"eta {duration(left)}"]

    def _columns(self) -> tuple[str, int, int | None, str]:
        return f"epoch {self._pace.place()}", self._pace.steps, self._pace.expected, " ".join(self._figures())

    def _show(self, action: str) -> None:
        if self._bar is None:
            return
        try:
            getattr(self._bar, action)()
        except (OSError, ValueError):
            self._bar = None

    def _write(self, line: str) -> None:
        if self._file is not None and not write_line(self._file, line):
            self._file = None


class _Pace:
    """Where training is, and how long the rest will take at the speed so far."""

    def __init__(self, steps: int | None = None, epochs: int | None = None) -> None:
        self.expected = steps
        self.epochs = epochs
        self.epoch = 0
        self.steps = 0
        self._all_steps = 0
        self._began = time.monotonic()
        self._epoch_began = self._began

    def begin(self, epoch: int) -> None:
        self.epoch, self.steps, self._epoch_began = epoch, 0, time.monotonic()

    def step(self) -> None:
        self.steps += 1
        self._all_steps += 1

    def end(self) -> None:
        """An epoch that was seen to the end says how long the others are."""
        self.expected = self.steps

    def place(self) -> str:
        return f"{self.epoch + 1}" if self.epochs is None else f"{self.epoch + 1}/{self.epochs}"

    def done(self) -> str:
        plural = "" if self.steps == 1 else "s"
        return f"{self.steps} step{plural} in {duration(time.monotonic() - self._epoch_began)}"

    def left(self) -> float | None:
        """Return the seconds left; None if that is unknown or nothing."""
        if self.expected is None or self.epochs is None or not self._all_steps:
            return None
        steps = self.expected - self.steps + self.expected * (self.epochs - self.epoch - 1)
        return (time.monotonic() - self._began) / self._all_steps * steps if steps > 0 else None


class _Bar:
    """One line at the bottom of a terminal, drawn anew some times a second while an epoch lasts."""

    def __init__(self, file: IO[str] | None, columns: Any) -> None:
        self._file = file
        self._columns = columns
        self._live: Any = None

    def start(self) -> None:
        from rich.console import Console
        from rich.live import Live

        own = self._file is sys.stdout
        self._live = Live(
            console=Console(file=self._file),
            get_renderable=self._render,
            refresh_per_second=_REFRESHES,
            transient=True,
            # What is printed meanwhile goes above the bar; what goes elsewhere is left alone.
            redirect_stdout=own,
            redirect_stderr=own and _is_terminal(sys.stderr),
        )
        self._live.start()

    def stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _render(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        place, steps, expected, figures = self._columns()
        grid = Table.grid(padding=(0, 1))
        for _ in range(3):
            grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        bar = ProgressBar(expected, steps, width=_BAR_WIDTH, pulse=expected is None)
        count = f"{steps}" if expected is None else f"{steps}/{expected}"
        grid.add_row(Text(place), bar, Text(count), Text(figures))
        return grid


def number(value: Any) -> str:
    """Return a value of the logs in few characters."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}"
    return f"{value:.3e}"


def money(dollars: float) -> str:
    """Return dollars with cents, or as many digits as a small amount needs."""
    return f"{dollars:.2f}" if dollars == 0 or dollars >= 1 else f"{dollars:.4f}"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _is_terminal(file: Any) -> bool:
    try:
        return bool(file.isatty())
    except (AttributeError, ValueError):
        return False
