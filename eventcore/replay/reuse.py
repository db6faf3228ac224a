"""Answers that need not be paid for again: what a fork takes from its parent, and a test from its cassette.

A request that equals a recorded one is answered from there, each recorded answer at most once: the one of the same
rollout and ordinal if there is one, or else the oldest left. So an edit pays for the calls it changed, and a batch
size, an order or a dropped example changes none. A fork makes failed calls again; a cassette has them fail as they
did.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import msgspec

from eventcore.history import events as e
from eventcore.history.costs import MOMENTS
from eventcore.history.run import Run
from eventcore.replay.outcomes import CANCELLED

Key = tuple[str | None, str, int]
Answer = e.EffectReused | e.EffectFailed
"""What an effect ends with that is not carried out, because its outcome is known."""


class Pool:
    """Recorded answers, to be taken.

    Args:
        origin: What they are taken from, as `EffectReused` names it.
        events: The events there, with their seqs.
        after: Outcomes up to this seq are not among them.
        failures: Whether failed calls are among them.
    """

    def __init__(
        self, origin: str, events: Iterable[tuple[int, e.Event]], after: int = 0, failures: bool = False
    ) -> None:
        self.origin = origin
        self._left: dict[Key, Answer] = {}
        self._by_digest: defaultdict[str, deque[Key]] = defaultdict(deque)
        started: dict[int, e.EffectStarted] = {}
        for seq, event in events:
            if isinstance(event, e.EffectStarted):
                started[seq] = event
            elif isinstance(event, (e.EffectCompleted, e.EffectReused, e.EffectFailed)):
                asked = started.pop(event.cause, None)
                if asked is not None and seq > after and asked.kind not in MOMENTS:
                    answer = self._answer(seq, event, failures)
                    if answer is not None:
                        self._keep(asked, answer)

    def __len__(self) -> int:
        return len(self._left)

    def _answer(
        self, seq: int, event: e.EffectCompleted | e.EffectReused | e.EffectFailed, failures: bool
    ) -> Answer | None:
        if isinstance(event, e.EffectFailed):
            # One that was cancelled ended by the program's own doing.
            if not failures or event.error == CANCELLED:
                return None
            # Nothing is sent for it here, so nothing is spent.
            return e.EffectFailed(0, None, 0, event.error, event.message, 0, 0, raised=event.raised)
        return e.EffectReused(
            0, None, 0, event.answer, event.model, event.input_tokens, event.output_tokens, event.cost,
            self.origin, seq,
        )  # fmt: skip

    def _keep(self, asked: e.EffectStarted, answer: Answer) -> None:
        key = (asked.rollout, asked.digest, asked.ordinal)
        self._left[key] = answer
        self._by_digest[asked.digest].append(key)

    def take(self, asked: e.EffectStarted) -> Answer | None:
        """Return a recorded answer to an equal request and keep it no longer; None if there is none left."""
        key: Key = (asked.rollout, asked.digest, asked.ordinal)
        equal = self._by_digest.get(asked.digest)
        while key not in self._left:
            if not equal:
                return None
            key = equal.popleft()
        return self._left.pop(key)


_pools: WeakKeyDictionary[Run, Pool | None] = WeakKeyDictionary()


def _pool_of(run: Run) -> Pool | None:
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
            return _without_taken(_parents(run, pinned), run)
    return None


def _parents(run: Run, pinned: dict[str, Any]) -> Pool:
    """What the parent answered: which run, from where, up to where, as the `RunStarted` of the fork says."""
    return Pool(pinned["name"], run.store.reader(pinned["run"]).events(1, pinned["head"]), pinned["from"])


def _without_taken(pool: Pool, run: Run) -> Pool:
    """Leave out what an earlier process of this fork took."""
    asked: dict[int, e.EffectStarted] = {}
    for record in run.events((run.forked_at or 0) + 1):
        if isinstance(record.event, e.EffectStarted):
            asked[record.seq] = record.event
        elif isinstance(record.event, e.EffectReused) and record.event.cause in asked:
            pool.take(asked[record.event.cause])
    return pool


class Tape(Protocol):
    """Stands between all effects of this process and the world: a cassette, of `eventcore.testing`."""

    def answer(self, asked: e.EffectStarted) -> Answer | None:
        """Return the outcome of a call, None to have it made.

        Raises:
            CallNotRecorded: There is none, and it may not be made.
        """
        ...

    def keep(self, asked: e.EffectStarted, outcome: e.EffectCompleted | e.EffectFailed) -> None:
        """Take note of the outcome of a call that was made."""
        ...


_tape: Tape | None = None


def tape_here() -> Tape | None:
    """What answers the effects of this process, None in an ordinary process."""
    return _tape


def set_tape(tape: Tape | None) -> None:
    """Say what answers the effects of this process. All runs, threads and event loops are meant."""
    global _tape
    _tape = tape


def recorded_answer(run: Run, asked: e.EffectStarted) -> Answer | None:
    """Return the recorded outcome of a request: from the parent of a fork, or else from the tape; None to ask.

    Raises:
        CallNotRecorded: There is none, and the tape lets no call be made.
    """
    pool = _pool_of(run)
    found = None if pool is None else pool.take(asked)
    if found is None and _tape is not None:
        found = _tape.answer(asked)
    return found


def stamped(answer: Answer, time: int, rollout: str | None, cause: int) -> Answer:
    """Return an answer as an event of the run that takes it."""
    return msgspec.structs.replace(answer, time=time, rollout=rollout, cause=cause)
