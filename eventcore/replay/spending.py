"""What a run has spent on effects: a fold over its effect events, kept up to date as they are recorded."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import msgspec

from eventcore.history import events as e
from eventcore.history.run import Run


class Spending(msgspec.Struct):
    """Totals over effect events.

    Attributes:
        calls: Effects that ended, well or not.
        errors: Those that failed.
        input_tokens: Tokens of requests.
        output_tokens: Tokens of answers.
        cost: US dollars.
        latency: Microseconds, summed.
    """

    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    latency: int = 0

    def add(self, event: e.Event) -> None:
        """Fold one event in; events that are no outcomes change nothing."""
        if isinstance(event, e.EffectCompleted):
            self.calls += 1
            self.input_tokens += event.input_tokens
            self.output_tokens += event.output_tokens
            self.cost += event.cost
            self.latency += event.latency
        elif isinstance(event, e.EffectFailed):
            self.calls += 1
            self.errors += 1
            self.latency += event.latency

    def minus(self, earlier: Spending) -> Spending:
        """Return what was spent since `earlier`."""
        pairs = ((name, getattr(self, name) - getattr(earlier, name)) for name in self.__struct_fields__)
        return Spending(**dict(pairs))


_spending: WeakKeyDictionary[Run, Spending] = WeakKeyDictionary()


def spending(run: Run) -> Spending:
    """Return the live totals of a run: the first time by a fold over its log, afterwards in O(1)."""
    found = _spending.get(run)
    if found is None:
        found = _spending[run] = Spending()
        for record in run.events(run.first_stored):
            found.add(record.event)
    return found


def spent(run: Run, event: e.Event) -> None:
    """Take note of an outcome that was just recorded."""
    found = _spending.get(run)
    if found is not None:
        found.add(event)
