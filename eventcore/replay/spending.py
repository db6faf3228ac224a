"""What the current process knows a run has spent, kept up to date, and the budget it must not exceed."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from eventcore.errors import BudgetExceeded
from eventcore.history import events as e
from eventcore.history.costs import Spending, limits_of
from eventcore.history.run import Run

_spending: WeakKeyDictionary[Run, Spending] = WeakKeyDictionary()
_under_way: WeakKeyDictionary[Run, int] = WeakKeyDictionary()


def spending(run: Run) -> Spending:
    """Return the live totals of a run: the first time by a fold over its log, afterwards in O(1)."""
    found = _spending.get(run)
    if found is None:
        found = _spending[run] = Spending()
        for record in run.events(run.first_stored):
            found.add(record.event)
    return found


def begun(run: Run) -> None:
    """Take note that an effect is under way.

    Raises:
        BudgetExceeded: The run's budget is spent; nothing was recorded and nothing may be sent.
    """
    _require_budget(run)
    _under_way[run] = _under_way.get(run, 0) + 1


def ended(run: Run, event: e.Event | None) -> None:
    """Take note that an effect is over, with its outcome if it was recorded."""
    _under_way[run] = max(0, _under_way.get(run, 0) - 1)
    found = _spending.get(run)
    if found is not None and event is not None:
        found.add(event)


def _require_budget(run: Run) -> None:
    limits = limits_of(run.budget)
    if not limits:
        return
    spent = spending(run)
    held = {"cost": spent.cost, "tokens": spent.tokens, "calls": spent.calls + _under_way.get(run, 0)}
    for name, limit in limits.items():
        if held[name] >= limit:
            raise BudgetExceeded(
                f"cannot make another call in run {run.name!r}: its budget of {limit:g} {name} is spent "
                f"({held[name]:g} so far); everything is recorded: open the run with resume=True and a larger budget"
            )
