"""Callbacks: what watches and steers training; public as `ec.callbacks`."""

from __future__ import annotations

from eventcore.training.callbacks.backup import BackupAndRestore
from eventcore.training.callbacks.callback import Callback, CallbackList
from eventcore.training.callbacks.checkpoint import ProgramCheckpoint
from eventcore.training.callbacks.csv_logger import CSVLogger
from eventcore.training.callbacks.early_stopping import EarlyStopping
from eventcore.training.callbacks.history import History
from eventcore.training.callbacks.monitoring import MonitorCallback
from eventcore.training.callbacks.progress import ProgbarLogger

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "MonitorCallback",
    "ProgbarLogger",
    "ProgramCheckpoint",
]
