"""The debugger in which a replay stops: pdb, at the user's frame, which steps through the user's lines only.

Lines of this and of other libraries are passed over: they would be in the way at every step. There is no
restarting: a replay ends when its debugger is quit.
"""

from __future__ import annotations

import pdb
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from eventcore.history.sources import is_users
from eventcore.replay.divergence import say
from eventcore.replay.libraries import is_librarys


class Debugger(pdb.Pdb):
    """Stops where a replay says, and where the person at the terminal says from there on.

    Args:
        left: Called when it is quit; ends the process.
    """

    def __init__(self, left: Callable[[], None]) -> None:
        super().__init__()
        self._left = left

    def stop_at(self, frame: FrameType, where: str) -> None:
        """Open it at a frame, whose next line has not been reached yet."""
        sys.settrace(None)
        say(f"stopped before {where}")
        self.reset()
        outer: FrameType | None = frame
        while outer is not None:
            outer.f_trace = self.trace_dispatch
            self.botframe = outer
            outer = outer.f_back
        self.interaction(frame, None)  # pyright: ignore[reportArgumentType]
        goes_on = self.stoplineno == -1
        if not goes_on or self.breaks:
            sys.settrace(self.trace_dispatch)

    def stop_here(self, frame: FrameType) -> bool:
        """Whether a step ends in a frame: in the user's only."""
        return _is_users(frame.f_code.co_filename) and super().stop_here(frame)

    def set_quit(self) -> None:
        """End the replay, and the script with it."""
        self._left()

    def do_run(self, arg: str) -> None:
        """Nothing: a replay is not started again in its debugger."""
        self.message("cannot start a replay again from inside: quit, and give its command again")

    do_restart: Any = do_run


def _is_users(filename: str) -> bool:
    return is_users(filename) and not is_librarys(filename)
