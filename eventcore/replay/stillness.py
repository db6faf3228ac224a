"""Whether anything besides recorded outcomes can still bring code that is run again to its next event.

Timers, connections and threads of one's own lie outside what a replay promises, but they are waited for where
they can be seen: only when nothing is left to wait for is a missing event missing at once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Container
from types import FrameType
from typing import TYPE_CHECKING, Any

from eventcore.history.sources import is_users
from eventcore.replay.libraries import is_librarys

if TYPE_CHECKING:
    from eventcore.replay.dispatcher import Dispatcher


def has_timers(dispatcher: Dispatcher) -> bool:
    """Whether a timer of the run's own tasks is still to come (`asyncio.sleep`)."""
    timers: list[Any] = list(getattr(dispatcher.loop, "_scheduled", ()))
    return any(
        not timer.cancelled() and dispatcher.is_own(timer._context, timer._callback) for timer in timers
    )


def may_hear(dispatcher: Dispatcher) -> bool:
    """Whether a connection may bring something, as far as can be seen."""
    selector: Any = getattr(dispatcher.loop, "_selector", None)
    # One file is the loop's own, by which threads wake it.
    return selector is None or len(selector.get_map() or ()) > 1


def busy_threads(besides: Container[int | None] = ()) -> bool:
    """Whether there are threads that are not waiting for work, besides this one, the engine's own and those given."""
    here, frames = threading.current_thread(), sys._current_frames()
    return any(
        thread is not here
        and thread.ident not in besides
        and not thread.name.startswith("eventcore-")
        and not _is_parked(thread, frames.get(thread.ident or 0))
        for thread in threading.enumerate()
    )


def _is_parked(thread: threading.Thread, frame: FrameType | None) -> bool:
    """Whether a thread is a pool's that waits for work, a library's own in the background, or has just ended."""
    if frame is None:
        return True
    if thread.daemon and _is_librarys_own(frame):
        return True  # a progress bar's, a server's: they wait for years
    return frame.f_code.co_name == "_worker" and frame.f_code.co_filename.endswith("thread.py")


def _is_librarys_own(frame: FrameType | None) -> bool:
    """Whether nothing of what a thread does is the user's."""
    while frame is not None:
        if is_users(frame.f_code.co_filename) and not is_librarys(frame.f_code.co_filename):
            return False
        frame = frame.f_back
    return True
