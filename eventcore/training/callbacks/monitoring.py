"""What the callbacks that watch one number share: which number, and which of two values is better.

The name is checked when training is prepared, before anything is recorded or called.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.training.callbacks.callback import Callback, Logs

_MODES = {"auto": None, "max": True, "min": False}
_VALIDATION = "val_"


class MonitorCallback(Callback):
    """Base of callbacks that watch one number of the logs.

    Args:
        monitor: Its name; None for `val_reward`, or `reward` where nothing is validated.
        mode: "max" if more is better, "min" if less is, "auto" for what the metric of that name says, and "max" where
            it says nothing.
        min_delta: A change by no more than this is none.

    Attributes:
        monitor: The name of the number; None until training is prepared, if none was given.

    Raises:
        InvalidValue: An unknown mode, or a `min_delta` that is no number.
    """

    def __init__(self, monitor: str | None = None, mode: str = "auto", min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in _MODES:
            raise InvalidValue(f"cannot watch {monitor!r} with mode={mode!r}: pass 'auto', 'max' or 'min'")
        self.min_delta = abs(self.finite("min_delta", min_delta))
        self.monitor = monitor
        self.mode = mode
        self._asked = monitor
        self._upwards = True

    def finite(self, name: str, value: Any) -> float:
        """Return an argument as a float.

        Raises:
            InvalidValue: It is no finite number.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InvalidValue(
                f"cannot make {type(self).__name__} with {name}={value!r}: pass a finite number"
            )
        return float(value)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Find the number to watch.

        Raises:
            InvalidValue: Nothing of that name is logged; the message lists what is.
        """
        super().set_params(params)
        known = params.get("metrics")
        if known is None:
            return  # nothing is known about the logs: this is no training
        self.monitor = self._asked if self._asked is not None else self.default_monitor(list(known))
        if self.monitor not in known:
            raise InvalidValue(
                f"cannot watch {self.monitor!r} with {type(self).__name__}: {_advice(self.monitor, known)}"
            )
        chosen = _MODES[self.mode]
        self._upwards = self._direction(self.monitor) if chosen is None else chosen

    def default_monitor(self, known: list[str]) -> str:
        """Return what is watched when nothing was asked for."""
        return "val_reward" if "val_reward" in known else "reward"

    def _direction(self, monitor: str) -> bool:
        """Whether more is better, by what the metric of that name says."""
        name = monitor.removeprefix(_VALIDATION)
        for metric in getattr(self.program, "metrics", None) or ():
            if metric.name == name:
                return getattr(metric, "direction", None) not in ("down", "min")
        return True

    @property
    def upwards(self) -> bool:
        """Whether more is better."""
        return self._upwards

    @property
    def worst(self) -> float:
        """The value that anything is better than."""
        return -math.inf if self._upwards else math.inf

    def watched(self, logs: Logs) -> float | None:
        """Return the number, None where this epoch has none (it was not validated)."""
        value = logs.get(self.monitor or "")
        return float(value) if isinstance(value, (int, float)) else None

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value is better than another by more than `min_delta`; NaN never is."""
        return value - self.min_delta > than if self._upwards else value + self.min_delta < than


def _advice(monitor: str, known: Any) -> str:
    listed = f"the logs of this training have {', '.join(known)}"
    if monitor.startswith(_VALIDATION) and not any(name.startswith(_VALIDATION) for name in known):
        return f"nothing is validated; pass validation_data= or validation_split=, or watch another: {listed}"
    close = difflib.get_close_matches(monitor, known, n=1)
    return f"{listed}; did you mean {close[0]!r}?" if close else listed
