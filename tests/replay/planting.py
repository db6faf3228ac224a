"""One change planted in a recorded run, and where a replay must notice it, worked out without the replay's code.

What the code does is modelled by what it waits for. With as many rollouts at once as there are examples, the log
falls into phases: all their requests are made, then all the answers come in some order. An answer lets its own
rollout go on: its generator notes its prediction, the rollout's last answer lets the module note its own, and
the phase's last answer lets everything else happen. A planted log is walked with that in hand: the first event
that is not the one the code would come to is where the replay must stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from eventcore.history import events as e
from eventcore.history.backend import Block
from eventcore.history.codec import encode_block
from eventcore.history.lineage import seal
from eventcore.history.store import Store

OUTSIDE = (e.RunStarted, e.SourceSeen)
OUTCOMES = (e.EffectCompleted, e.EffectFailed)
UNEXPECTED = -1
"""Stands for something the code does that the recorded run never did."""

Line = tuple[int, e.Event]
"""An event and the seq it had in the recorded run."""


class Plant(msgspec.Struct):
    """One change.

    Attributes:
        what: "changed", "deleted" or "swapped".
        seq: At which event.
        kind: Its kind.
        log: The log with the change in it.
        expected: Seq at which a replay must stop; None for a change that the code does not see.
        cut: Whether the log now ends before the code does.
    """

    what: str
    seq: int
    kind: str
    log: list[Line]
    expected: int | None
    cut: bool = False


# --- what the code does --------------------------------------------------------------------------


def is_own(event: e.Event) -> bool:
    """Whether it is the code that does it, and the log says more than that it was looked at."""
    return not isinstance(event, (*OUTSIDE, *OUTCOMES, e.FieldRead))


class Model:
    """What the recorded run's code does when it gets which answer.

    Args:
        log: The recorded run.
    """

    def __init__(self, log: list[Line]) -> None:
        self.log = log
        self.events = dict(log)
        self.phase_of: dict[int, int] = {}
        self.asks: list[list[int]] = []  # by phase: the seqs of its requests
        self.bursts: list[list[int]] = [[]]  # what happens when all requests of a phase are answered
        self.notes: dict[tuple[str | None, int], int] = {}  # predictions noted, by rollout and variable
        left: set[int] = set()
        for seq, event in log:
            if isinstance(event, OUTCOMES):
                left.remove(event.cause)
                if not left:
                    self.bursts.append([])
            elif isinstance(event, e.PredictionAppended):
                self.notes[(event.rollout, event.variable)] = seq
            elif is_own(event):
                if isinstance(event, e.EffectStarted):
                    if not left:
                        self.asks.append([])
                    left.add(seq)
                    self.asks[-1].append(seq)
                    self.phase_of[seq] = len(self.asks) - 1
                self.bursts[-1].append(seq)

    def stop(self, log: Iterable[Line], changed: int = 0) -> tuple[int | None, bool]:
        """Walk a log and return (where it is not what the code does, whether the code goes on at its end).

        Args:
            log: The log.
            changed: Seq of a failure that has become an answer.
        """
        coming, asked, answered = deque(self.bursts[0]), set[int](), set[int]()
        for place, (seq, event) in enumerate(log, 1):
            if isinstance(event, OUTCOMES):
                start = self.events[seq].cause
                if start not in asked:
                    return place, False
                answered.add(start)
                coming.extend(self._goes_on(start, answered, seq == changed))
            elif is_own(event):
                if not coming or (coming[0] != seq and not self._alike(coming[0], seq)):
                    return place, False
                coming.popleft()
                if isinstance(event, e.EffectStarted):
                    asked.add(seq)
        return None, bool(coming)

    def _alike(self, one: int, other: int) -> bool:
        return one != UNEXPECTED and same(self.events[one], self.events[other])

    def _goes_on(self, start: int, answered: set[int], surprising: bool) -> Iterator[int]:
        asked = self.events[start]
        assert isinstance(asked, e.EffectStarted) and asked.variable is not None
        if surprising:
            yield UNEXPECTED
        own = self.notes.get((asked.rollout, asked.variable))
        if own is not None:
            yield own
        phase = self.asks[self.phase_of[start]]
        if all(seq in answered for seq in phase if self.events[seq].rollout == asked.rollout):
            whole = self.notes.get((asked.rollout, 0))
            if whole is not None:
                yield whole
        if all(seq in answered for seq in phase):
            yield from self.bursts[self.phase_of[start] + 1]

    def derived(self, outcome: int) -> int:
        """The first event that says something else when the answer of a generator does."""
        asked = self.events[self.events[outcome].cause]
        assert isinstance(asked, e.EffectStarted) and asked.variable is not None
        rollout = asked.rollout
        found = [self.notes.get((rollout, number), 0) for number in (0, asked.variable)]
        found += [
            seq
            for seq, event in self.log
            if isinstance(event, e.RolloutsScored) and rollout in [name for name, _ in event.rewards]
        ]
        return min(seq for seq in found if seq > outcome)


def same(one: e.Event, other: e.Event) -> bool:
    """Whether two events say the same, whenever it was and on whichever line."""
    return type(one) is type(other) and plain(one) == plain(other)


def plain(event: e.Event) -> Mapping[str, Any]:
    """An event as a map, without what may differ."""
    fields: dict[str, Any] = msgspec.to_builtins(msgspec.structs.asdict(event), builtin_types=(bytes,))
    return {name: value for name, value in fields.items() if name not in ("time", "source", "latency")}


# --- planting -----------------------------------------------------------------------------------


def plants(log: list[Line]) -> Iterator[Plant]:
    """Every change at every event."""
    model = Model(log)
    assert model.stop(log) == (None, False), "the model does not know the run it is of"
    for at, (seq, event) in enumerate(log):
        kind = type(event).__name__
        yield _changed(model, at)
        without = renumbered([*log[:at], *log[at + 1 :]])
        yield Plant("deleted", seq, kind, without, *model.stop(without))
        both = [type(other) for _, other in log[at : at + 2]]
        if len(both) == 2 and both != [e.FieldRead, e.FieldRead]:
            other = renumbered([*log[:at], log[at + 1], log[at], *log[at + 2 :]])
            yield Plant("swapped", seq, kind, other, *model.stop(other))


def _changed(model: Model, at: int) -> Plant:
    log = list(model.log)
    seq, event = log[at]
    kind = type(event).__name__
    log[at] = (seq, altered(event))
    if isinstance(event, e.EffectCompleted):
        return Plant("changed", seq, kind, log, model.derived(seq))
    if isinstance(event, e.EffectFailed):
        return Plant("changed", seq, kind, log, *model.stop(log, seq))
    return Plant("changed", seq, kind, log, seq if is_own(event) else None)


def renumbered(log: list[Line]) -> list[Line]:
    """Give every event its place as seq, and let what refers to a seq refer to the new one."""
    places = {seq: place for place, (seq, _) in enumerate(log, 1)}
    found: list[Line] = []
    for seq, event in log:
        event = msgspec.structs.replace(event, cause=places.get(event.cause, 0))
        if isinstance(event, e.CandidateProposed):
            event = msgspec.structs.replace(
                event, parents=[places.get(parent, 0) for parent in event.parents]
            )
        found.append((seq, event))
    return found


def altered(event: e.Event) -> e.Event:
    """Return an event of the same kind that says one thing else."""
    replace = msgspec.structs.replace
    if isinstance(event, e.EffectCompleted):
        return replace(event, answer={"json": {"digit": (event.answer["json"]["digit"] + 1) % 3}})
    if isinstance(event, e.EffectFailed):
        answer = {"json": {"digit": 1}}
        return e.EffectCompleted(event.time, event.rollout, event.cause, answer, "digits", 0, 0, 0.0, 5, 1)
    if isinstance(event, e.EffectStarted):
        request = msgspec.json.decode(msgspec.json.encode(event.request))
        request["messages"][-1]["content"] += " please"
        return replace(event, request=request)
    if isinstance(event, (e.RolloutsScored, e.RewardsAttributed)):
        (rollout, reward), *others = event.rewards
        return replace(event, rewards=[(rollout, (reward or 0.0) + 1e-9), *others])
    if isinstance(event, e.FieldRead):
        return replace(event, field="another")
    for name in reversed(event.__struct_fields__[3:]):
        if name != "source":
            return replace(event, **{name: _other(getattr(event, name))})
    return replace(event, cause=event.cause + 1)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + " (changed)"
    if isinstance(value, list):
        return [*value, value[-1] if value else 0]
    if isinstance(value, dict):
        return {**value, "planted": True}
    assert value is None
    return "changed"


def store_as(store: Store, name: str, events: list[e.Event]) -> None:
    """Store events as a run, sealed like any other."""
    backend = store.backend
    row = backend.create_run(name, meta=seal(name, None, 0, 7))
    data = encode_block(row.id, 1, row.epoch, events)
    backend.append(row.id, 0, row.epoch, [Block(1, len(events), data)])
