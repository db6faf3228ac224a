"""What the current process knows a run has spent, kept up to date, and the budget it must not exceed.

What a call costs is known when it has ended. So a call is expected to cost what the dearest of its kind and model
has cost, calls under way are held against the budget at that price, and a call for which not enough is left is
refused before it leaves. The first calls of a kind, made at once, are not foreseen.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import msgspec

from eventcore.errors import BudgetExceeded
from eventcore.history import events as e
from eventcore.history.costs import MOMENTS, Spending, limits_of
from eventcore.history.run import Run

_ROUNDING = 1e-9
"""Share of a limit that sums of prices may be off by."""

_refused: WeakSet[Run] = WeakSet()


class Account(msgspec.Struct):
    """What a run has spent, and what its calls under way will have cost.

    Attributes:
        spent: Totals of the calls that ended.
        dearest: US dollars and tokens at most of one call, by its kind and model.
        asked: Kind and model of the calls that have not ended, by the seq of their intent. One that was in doubt when
            a process died is among them: it may have been paid.
        under_way: How many those are, by kind and model.
    """

    spent: Spending = msgspec.field(default_factory=Spending)
    dearest: dict[str, tuple[float, int]] = {}
    asked: dict[int, str] = {}
    under_way: Counter[str] = msgspec.field(default_factory=Counter[str])

    def add(self, seq: int, event: e.Event) -> None:
        """Add an event of an effect; others change nothing."""
        if isinstance(event, e.EffectStarted):
            if event.kind not in MOMENTS:
                self.asked[seq] = sort = sort_of(event.kind, event.request)
                self.under_way[sort] += 1
        elif isinstance(event, (e.EffectCompleted, e.EffectFailed, e.EffectReused)):
            self.spent.add(event)
            sort = self.asked.pop(event.cause, "")
            self.under_way[sort] -= bool(sort)
            if not isinstance(event, e.EffectReused):
                cost, tokens = self.dearest.get(sort, (0.0, 0))
                own = event.input_tokens + event.output_tokens
                self.dearest[sort] = (max(cost, event.cost), max(tokens, own))

    def held(self) -> dict[str, float]:
        """What calls under way are expected to come to."""
        prices = [(self.dearest.get(sort, (0.0, 0)), count) for sort, count in self.under_way.items()]
        return {
            "cost": sum(cost * count for (cost, _), count in prices),
            "tokens": sum(tokens * count for (_, tokens), count in prices),
            "calls": sum(self.under_way.values()),
        }

    def expected(self, sort: str) -> dict[str, float]:
        """What one more call is expected to come to, 0 where none of its sort has ended."""
        cost, tokens = self.dearest.get(sort, (0.0, 0))
        return {"cost": cost, "tokens": tokens, "calls": 1}


_accounts: WeakKeyDictionary[Run, Account] = WeakKeyDictionary()


def sort_of(kind: str, request: Any) -> str:
    """Tell which calls are priced alike: those of one kind that ask one model."""
    model = request.get("model") if isinstance(request, dict) else None
    return f"{kind} {model}" if isinstance(model, str) else kind


def _account(run: Run) -> Account:
    found = _accounts.get(run)
    if found is None:
        found = _accounts[run] = Account()
        for record in run.events(run.first_stored):
            found.add(record.seq, record.event)
    return found


def spending(run: Run) -> Spending:
    """Return the live totals of a run: the first time by a fold over its log, afterwards in O(1)."""
    return _account(run).spent


def take_note(run: Run, seq: int, event: e.Event) -> None:
    """Keep the totals of a run up to date: an event of an effect was recorded, or come to when code is run again."""
    account = _accounts.get(run)
    if account is not None:
        account.add(seq, event)


def is_refused(run: Run) -> bool:
    """Whether a call of this run was refused in this process because its budget was spent."""
    return run in _refused


def require_budget(run: Run, sort: str, begun: bool = False) -> None:
    """Refuse a call for which the budget does not suffice.

    Args:
        run: The run.
        sort: Which calls it is priced like.
        begun: Whether its intent is recorded, so that it is among those under way.

    Raises:
        BudgetExceeded: It does not.
    """
    limits = limits_of(run.budget)
    if not limits:
        return
    account = _account(run)
    if begun:
        account.under_way[sort] -= 1
    try:
        held, expected = account.held(), account.expected(sort)
    finally:
        if begun:
            account.under_way[sort] += 1
    for name, limit in limits.items():
        spent: float = getattr(account.spent, name)
        before = spent + held[name]
        if before >= limit or before + expected[name] > limit * (1 + _ROUNDING):
            _refused.add(run)
            raise BudgetExceeded(_refusal(run.name, name, limit, (spent, held[name], expected[name])))


def _refusal(run: str, name: str, limit: float, amounts: tuple[float, float, float]) -> str:
    spent, held, expected = (f"${amount:g}" if name == "cost" else f"{amount:g}" for amount in amounts)
    budget = f"${limit:g}" if name == "cost" else f"{limit:g} {name}"
    parts = [f"{spent} spent", f"{held} held for calls under way", f"{expected} expected of this one"]
    shown = [part for part, amount in zip(parts, amounts, strict=True) if amount]
    told = f" ({', '.join(shown)})" if shown and name != "calls" else ""
    return (
        f"cannot make another call in run {run!r}: its budget of {budget} does not suffice{told}; everything is "
        "recorded: open the run with resume=True and a larger budget"
    )
