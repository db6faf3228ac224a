"""What a fork need not pay again: the answers its parent got after the fork.

A request of the fork that equals one of the parent's is answered from the parent's log, each recorded answer
at most once: the one of the same rollout and ordinal if there is one, or else the oldest left. So an edit pays
for the calls it changed, and a batch size, an order or a dropped example changes none. Failures are not reused.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any
from weakref import WeakKeyDictionary

from eventcore.history import events as e
from eventcore.history.costs import MOMENTS
from eventcore.history.run import Run

Key = tuple[str | None, str, int]


class Pool:
    """Answers of a parent.

    Args:
        run: The fork.
        pinned: Which run, from where, up to where: as its `RunStarted` says.
    """

    def __init__(self, run: Run, pinned: dict[str, Any]) -> None:
        self.origin: str = pinned["name"]
        self._left: dict[Key, e.EffectReused] = {}
        self._by_digest: defaultdict[str, deque[Key]] = defaultdict(deque)
        started: dict[int, e.EffectStarted] = {}
        for seq, event in run.store.reader(pinned["run"]).events(1, pinned["head"]):
            if isinstance(event, e.EffectStarted):
                started[seq] = event
            elif isinstance(event, (e.EffectCompleted, e.EffectReused)):
                asked = started.pop(event.cause, None)
                if asked is not None and seq > pinned["from"] and asked.kind not in MOMENTS:
                    self._keep(asked, seq, event)

    def _keep(self, asked: e.EffectStarted, seq: int, event: e.EffectCompleted | e.EffectReused) -> None:
        key = (asked.rollout, asked.digest, asked.ordinal)
        self._left[key] = e.EffectReused(
            0, None, 0, event.answer, event.model, event.input_tokens, event.output_tokens, event.cost,
            self.origin, seq,
        )  # fmt: skip
        self._by_digest[asked.digest].append(key)

    def take(self, asked: e.EffectStarted) -> e.EffectReused | None:
        """Return a recorded answer to an equal request and keep it no longer; None if there is none left."""
        key: Key = (asked.rollout, asked.digest, asked.ordinal)
        equal = self._by_digest.get(asked.digest)
        while key not in self._left:
            if not equal:
                return None
            key = equal.popleft()
        return self._left.pop(key)


_pools: WeakKeyDictionary[Run, Pool | None] = WeakKeyDictionary()


def pool_of(run: Run) -> Pool | None:
    """Return what a fork may take from its parent; None for a run that is no fork, or a fork without reuse."""
    if run not in _pools:
        _pools[run] = _pool(run)
    return _pools[run]


def _pool(run: Run) -> Pool | None:
    if run.forked_at is None:
        return None
    own_first = run.forked_at + 1
    for record in run.events(own_first, own_first, kind=e.RunStarted):
        pinned = record.event.facts.get("reuse") if isinstance(record.event, e.RunStarted) else None
        if pinned is not None and pinned["head"] > pinned["from"]:
            return _without_taken(Pool(run, pinned), run)
    return None


def _without_taken(pool: Pool, run: Run) -> Pool:
    """Leave out what an earlier process of this fork took."""
    asked: dict[int, e.EffectStarted] = {}
    for record in run.events((run.forked_at or 0) + 1):
        if isinstance(record.event, e.EffectStarted):
            asked[record.seq] = record.event
        elif isinstance(record.event, e.EffectReused) and record.event.cause in asked:
            pool.take(asked[record.event.cause])
    return pool
