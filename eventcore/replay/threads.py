"""Which threads of a run that is run again may still come to its next recorded event.

Everything a thread of `ec.to_thread` records has that effect as its cause, so what is recorded next says whose it
is: the one that is meant goes on, and the others wait for their turn. Whoever holds the run's lock may ask.
"""

from __future__ import annotations

import threading

from eventcore.history import events as e
from eventcore.replay.divergence import same
from eventcore.replay.stillness import busy_threads


class Threads:
    """The threads of one run that is run again.

    Attributes:
        running: Those that have not ended: the identity of the thread by the seq of its effect, None before it
            has begun.
        waiting: What those who wait for their turn want to record, or the seq of the effect whose outcome they want.
    """

    def __init__(self) -> None:
        self.running: dict[int, int | None] = {}
        self.waiting: dict[int, e.Event | int] = {}

    def is_mine(self, event: e.Event) -> bool:
        """Whether the thread that asks is the one that records `event`, as far as that can be told."""
        me = threading.get_ident()
        if event.cause in self.running:
            return self.running[event.cause] == me
        return me not in self.running.values()

    def others_may_come(self, event: e.Event) -> bool:
        """Whether some other thread may come to `event`."""
        me = threading.get_ident()
        stuck = {me, *(ident for ident, wanted in self.waiting.items() if not _is_wanted(event, wanted))}
        if any(ident not in stuck for ident in self.running.values()):
            return True
        return busy_threads(stuck)

    def wanted(self, event: e.Event) -> e.Event | None:
        """Return what a thread wants to record in place of `event`, the one whose event it is before all others."""
        wanted = [found for found in self.waiting.values() if not isinstance(found, int)]
        return next((found for found in wanted if found.cause == event.cause), next(iter(wanted), None))


def _is_wanted(event: e.Event, wanted: e.Event | int) -> bool:
    if isinstance(wanted, int):
        return event.cause == wanted and isinstance(
            event, (e.EffectCompleted, e.EffectFailed, e.EffectReused)
        )
    return same(event, wanted)
