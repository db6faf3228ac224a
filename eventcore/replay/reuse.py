"""Answers that need not be paid for again: what a fork takes from its ancestors, and a test from its cassette.

A request that equals a recorded one is answered from there, each recorded answer at most once: the one of the same
rollout and ordinal if there is one, or else the oldest left. So an edit pays for the calls it changed, and a batch
size, an order or a dropped example changes none. What the parent has not, being a fork itself, it may still take
from its own. A fork makes failed calls again; a cassette has them fail as they did.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Container, Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import msgspec

from eventcore.history import events as e
from eventcore.history.costs import MOMENTS
from eventcore.history.run import Run
from eventcore.history.store import Store
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
            return msgspec.structs.replace(
                event,
                time=0,
                rollout=None,
                cause=0,
                latency=0,
                attempts=0,
                input_tokens=0,
                output_tokens=0,
                cost=0.0,
            )
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

    def leave_out(self, seqs: Container[int]) -> None:
        """Keep no answers recorded at these seqs: they were taken before."""
        for key, answer in list(self._left.items()):
            if isinstance(answer, e.EffectReused) and answer.origin_seq in seqs:
                del self._left[key]


_pools: WeakKeyDictionary[Run, list[Pool]] = WeakKeyDictionary()


def _pools_of(run: Run) -> list[Pool]:
    """Return what a fork may take from its ancestors, nearest first; [] for a run that is no fork."""
    if run not in _pools:
        _pools[run] = _inherited(run)
    return _pools[run]


def _inherited(run: Run) -> list[Pool]:
    """Read what the ancestors answered: each up to the head that was pinned when its child was forked."""
    pools: list[Pool] = []
    taken: defaultdict[str, set[int]] = defaultdict(set)
    number, head = run.number, run.head
    run.settle()  # makes it visible to readers
    while (pinned := _own_events(run.store, number, head, taken)) is not None:
        number, head = pinned["run"], pinned["head"]
        pool = Pool(pinned["name"], run.store.reader(number).events(1, head), pinned["from"])
        pool.leave_out(taken[pool.origin])
        pools += [pool] if len(pool) else []
    return pools


def _own_events(
    store: Store, number: int, head: int, taken: defaultdict[str, set[int]]
) -> dict[str, Any] | None:
    """Add what a fork took itself, by the name of whom it was taken from; return whose answers it may take.

    Returns:
        Which run, from where and up to where; None for a run that is no fork, and for one without reuse.
    """
    row = store.row(number)
    if row.parent is None or row.forked_at >= head:
        return None
    events = store.reader(number).events(row.forked_at + 1, head)
    _, first = next(events)
    for _, event in events:
        if isinstance(event, e.EffectReused):
            taken[event.origin].add(event.origin_seq)
    pinned: dict[str, Any] | None = first.facts.get("reuse") if isinstance(first, e.RunStarted) else None
    return pinned


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
    """Return the recorded outcome of a request: from the ancestors of a fork, or else from the tape; None to ask.

    Raises:
        CallNotRecorded: There is none, and the tape lets no call be made.
    """
    found = next((answer for pool in _pools_of(run) if (answer := pool.take(asked)) is not None), None)
    if found is None and _tape is not None:
        found = _tape.answer(asked)
    return found


def stamped(answer: Answer, time: int, rollout: str | None, cause: int) -> Answer:
    """Return an answer as an event of the run that takes it."""
    return msgspec.structs.replace(answer, time=time, rollout=rollout, cause=cause)
