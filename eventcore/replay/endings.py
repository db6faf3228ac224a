"""How an interrupted process ends its log, and whether that may be taken back.

A Ctrl-C or a spent budget reaches one task; the others go on for a moment, and the training notes that it ended.
None of it is what the script does when it is started again and goes on. It is passed over then, unless something
in it was paid for.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable
from typing import Any

from eventcore.history import events as e
from eventcore.replay.outcomes import CANCELLED

OUTCOMES = (e.EffectCompleted, e.EffectFailed, e.EffectReused)

_OUTSIDE_ROLLOUTS = (*OUTCOMES, e.CandidateChosen, e.FieldRead, e.SourceSeen, e.RunStarted, e.LabelSet)
"""What an interrupted process may still record outside its rollouts, or somebody else behind it."""


def is_cancelled(event: e.Event) -> bool:
    """Whether an outcome is the program's own doing: it gave up waiting."""
    if not isinstance(event, e.EffectFailed) or event.error != CANCELLED:
        return False
    return event.raised.startswith("asyncio")  # a pool's own error of that name is an error


def only_ends(rest: Iterable[tuple[int, e.Event]]) -> bool:
    """Whether events are only what an interrupted process may have ended with.

    Rollouts beside the one that was interrupted may have done anything but get an answer they had asked for since:
    that would be paid twice.
    """
    asked: set[int] = set()
    for seq, event in rest:
        if isinstance(event, e.EffectStarted):
            asked.add(seq)
        paid = isinstance(event, OUTCOMES) and event.cause in asked and not is_cancelled(event)
        if paid or (event.rollout is None and not _may_end(event)):
            return False
    return True


def is_interruption(event: e.Event | None) -> bool:
    """Whether the code does something, or nothing, only because Ctrl-C, or whoever awaits it, interrupts it."""
    if isinstance(event, e.TrainEnded):
        return event.reason.startswith("interrupted")
    if _main_task_is_interrupted():
        return True
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        if isinstance(error, asyncio.CancelledError) and isinstance(event, e.CandidateChosen):
            return True
        error = error.__context__
    return False


def _main_task_is_interrupted() -> bool:
    """Whether `asyncio.run` got a Ctrl-C: it cancels its main task, and other tasks go on for a moment."""
    handler: Any = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    # That its task is being cancelled says nothing: a timeout and a task group do that too.
    return isinstance(runner, asyncio.Runner) and getattr(runner, "_interrupt_count", 0) > 0


def _may_end(event: e.Event) -> bool:
    if isinstance(event, e.TrainEnded):
        return event.reason not in ("done", "stopped")
    return isinstance(event, _OUTSIDE_ROLLOUTS)
