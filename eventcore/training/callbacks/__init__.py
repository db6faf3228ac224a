"""Callbacks: what watches and steers training; public as `ec.callbacks`."""

from __future__ import annotations

from eventcore.training.callbacks.callback import Callback, CallbackList
from eventcore.training.callbacks.history import History
from eventcore.training.callbacks.progress import ProgbarLogger

__all__ = ["Callback", "CallbackList", "History", "ProgbarLogger"]
