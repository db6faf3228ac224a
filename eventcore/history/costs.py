"""What a run cost: a fold over its effect events, as a whole or split by what the calls were for.

Every outcome is counted once, where its intent was recorded, so the parts always sum to the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from eventcore.errors import InvalidValue
from eventcore.history import events as e

NOBODY = "(none)"
"""Key of the calls that belong to no part: outside any epoch, rollout or variable."""

MOMENTS = frozenset({"sleep", "timeout", "to_thread"})
"""Kinds of effects that stand for a moment, not for an answer: nothing is sent for them."""


class Spending(msgspec.Struct):
    """Totals over effect events.

    Attributes:
        calls: Effects that ended, well or not, and for which something was sent: an answer out of a cache is
            none, nor is a sleep.
        errors: Those that failed.
        input_tokens: Tokens of requests.
        output_tokens: Tokens of answers.
        cost: US dollars.
        latency: Microseconds, summed.
        reused: Calls that were not made: answered from the run this one was forked from, or a cassette.
        saved: What those had cost, in US dollars.
    """

    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    latency: int = 0
    reused: int = 0
    saved: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of requests and answers."""
        return self.input_tokens + self.output_tokens

    def add(self, event: e.Event) -> None:
        """Fold one event in; events that are no outcomes change nothing."""
        if isinstance(event, (e.EffectCompleted, e.EffectFailed)):
            if event.attempts == 0:
                return
            self.calls += 1
            self.errors += isinstance(event, e.EffectFailed)
            self.input_tokens += event.input_tokens
            self.output_tokens += event.output_tokens
            self.cost += event.cost
            self.latency += event.latency
        elif isinstance(event, e.EffectReused):
            self.reused += 1
            self.saved += event.cost

    def minus(self, earlier: Spending) -> Spending:
        """Return what was spent since `earlier`."""
        pairs = ((name, getattr(self, name) - getattr(earlier, name)) for name in self.__struct_fields__)
        return Spending(**dict(pairs))


class _Places:
    """What was going on while the log was written: the epoch, each variable's path and candidate."""

    def __init__(self) -> None:
        self.epoch = NOBODY
        self.paths: dict[int, str] = {}
        self.candidates: dict[int, int] = {}

    def look(self, seq: int, event: e.Event) -> None:
        """Take note of an event that says where we are."""
        if isinstance(event, e.VariableDeclared):
            self.paths[event.variable] = event.path
        elif isinstance(event, (e.CandidateProposed, e.CandidateChosen)):
            self.candidates[event.variable] = seq
        elif isinstance(event, e.EpochBegan):
            self.epoch = f"epoch:{event.epoch}"
        elif isinstance(event, e.TrainEnded):
            self.epoch = NOBODY

    def variable(self, event: e.EffectStarted) -> str:
        """Path of the variable whose module asked."""
        return NOBODY if event.variable is None else self.paths.get(event.variable, NOBODY)

    def candidate(self, event: e.EffectStarted) -> str:
        """The variable that asked and the seq of the proposal or choice it held then."""
        if event.variable is None:
            return NOBODY
        return f"{self.variable(event)}@{self.candidates.get(event.variable, 0)}"


_KEYS: dict[str, Callable[[_Places, e.EffectStarted], str]] = {
    "variable": _Places.variable,
    "candidate": _Places.candidate,
    "epoch": lambda places, event: places.epoch,
    "rollout": lambda places, event: event.rollout or NOBODY,
    "kind": lambda places, event: event.kind,
}
GROUPS = (*_KEYS, "model")

LIMITS = ("cost", "tokens", "calls")


def limits_of(budget: Any) -> dict[str, float]:
    """Return the limits a `budget=` stands for.

    Raises:
        InvalidValue: Neither None, nor a number of US dollars, nor a dict of limits.
    """
    given: dict[Any, Any] = {} if budget is None else budget if isinstance(budget, dict) else {"cost": budget}
    for name, value in given.items():
        if (
            name not in LIMITS
            or isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not value >= 0
        ):
            raise InvalidValue(
                f"cannot use budget {budget!r}: pass US dollars as a number, or a dict with limits of 0 or more for "
                f"{', '.join(LIMITS)}"
            )
    return {name: float(value) for name, value in given.items()}


def costs(
    records: Iterable[tuple[int, e.Event]], by: str | None = None, first: int = 0
) -> Spending | dict[str, Spending]:
    """Fold the effects of a run.

    Args:
        records: (seq, event), oldest first, from the first event on.
        by: "variable", "candidate", "epoch", "model", "rollout" or "kind"; None for the total.
        first: Leave out outcomes before this seq.

    Returns:
        The total, or the totals by key in order of first appearance. They sum to the total.

    Raises:
        InvalidValue: An unknown `by`.
    """
    if by is not None and by not in GROUPS:
        raise InvalidValue(
            f"cannot split costs by {by!r}: pass one of {', '.join(GROUPS)}, or nothing for the total"
        )
    total, parts = Spending(), dict[str, Spending]()
    places, started = _Places(), dict[int, str]()
    for seq, event in records:
        places.look(seq, event)
        if isinstance(event, e.EffectStarted):
            started[seq] = _KEYS[by](places, event) if by in _KEYS else NOBODY
        elif isinstance(event, (e.EffectCompleted, e.EffectFailed, e.EffectReused)):
            key = started.pop(event.cause, NOBODY)
            if seq < first:
                continue
            if by == "model":
                key = NOBODY if isinstance(event, e.EffectFailed) else event.model or NOBODY
            total.add(event)
            parts.setdefault(key, Spending()).add(event)
    return total if by is None else parts
