"""How a process that is cut short ends its log, and whether that may be taken back.

A Ctrl-C or a spent budget reaches one task; the others go on for a moment, or `asyncio.run` cancels them, and a
training notes that it ended. None of it is what the script does when it is started again and goes on. It is passed
over then, unless something in it was paid for. That the process was ending, the log says itself: in a `TrainEnded`,
or in waits that were cancelled by `ProcessEnding`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable
from typing import Any

from eventcore.history import events as e
from eventcore.replay.outcomes import CANCELLED
from eventcore.replay.raised import class_name

OUTCOMES = (e.EffectCompleted, e.EffectFailed, e.EffectReused)

_OUTSIDE_ROLLOUTS = (*OUTCOMES, e.CandidateChosen, e.FieldRead, e.SourceSeen, e.RunStarted, e.LabelSet)
"""What an interrupted process may still record outside its rollouts, or somebody else behind it."""


class ProcessEnding(asyncio.CancelledError):
    """A wait was cancelled because the process ended: by Ctrl-C, or by `asyncio.run` when its coroutine was over."""


_BY_ENDING = class_name(ProcessEnding())


def is_cancelled(event: e.Event) -> bool:
    """Whether an outcome is the program's own doing: it gave up waiting."""
    if not isinstance(event, e.EffectFailed) or event.error != CANCELLED:
        return False
    return event.raised.startswith("asyncio") or event.raised == _BY_ENDING  # a pool's own error is an error


def is_mark(event: e.Event) -> bool:
    """Whether an event says that the process was being cut short when it was recorded."""
    if isinstance(event, e.TrainEnded):
        return event.reason.startswith(("interrupted", "failed"))
    return isinstance(event, e.EffectFailed) and event.raised == _BY_ENDING


def _says_interrupted(event: e.Event) -> bool:
    return is_mark(event) and not (isinstance(event, e.TrainEnded) and event.reason.startswith("failed"))


def cancellation(by_runner: bool) -> asyncio.CancelledError:
    """What a wait that is cancelled now is cancelled by.

    Args:
        by_runner: Whether `asyncio.run` did it.
    """
    return ProcessEnding() if by_runner or is_interruption(None) else asyncio.CancelledError()


def runner_cancels() -> bool:
    """Whether it is `asyncio.run` that cancels at this moment: at Ctrl-C, or what is left when its coroutine is over.

    Nothing but the stack says who cancels, and a cancellation reaches the wait within the call that asks for it.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "asyncio.runners":
            return frame.f_code.co_name in ("_cancel_all_tasks", "_on_sigint")
        frame = frame.f_back
    return False


def only_ends(rest: Iterable[tuple[int, e.Event]]) -> bool:
    """Whether events are only what an interrupted process may have ended with.

    Rollouts beside the one that was interrupted may have done anything, and so may everything once the process was
    ending, but get an answer they had asked for since: that would be paid twice.
    """
    asked: set[int] = set()
    ending = False
    for seq, event in rest:
        if isinstance(event, e.EffectStarted):
            asked.add(seq)
        # An earlier process that was cut short says nothing of what a later one did.
        ending = _says_interrupted(event) or (ending and not isinstance(event, e.RunStarted))
        paid = isinstance(event, OUTCOMES) and event.cause in asked and not is_cancelled(event)
        own = event.rollout is None and not ending and not _may_end(event)
        if paid or own or isinstance(event, e.EditedFromOutside):
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
    return is_mark(event) or isinstance(event, _OUTSIDE_ROLLOUTS)
