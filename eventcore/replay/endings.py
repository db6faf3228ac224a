"""How an interrupted process ends its log, and whether that may be taken back.

A Ctrl-C or a spent budget reaches one task; the others go on for a moment, and the training notes that it ended.
None of it is what the script does when it is started again and goes on. It is passed over then, unless something
in it was paid for.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def _may_end(event: e.Event) -> bool:
    if isinstance(event, e.TrainEnded):
        return event.reason not in ("done", "stopped")
    return isinstance(event, _OUTSIDE_ROLLOUTS)
