"""The checks that a training is what its seed says: not the clock, not the order of answers, not another process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.testing.checks import DoesNotApply, Tally
from eventcore.testing.elsewhere import elsewhen, tell_back, told_elsewhere
from eventcore.testing.optimizer_comparing import first_difference, require_same, require_same_way, told_of
from eventcore.testing.optimizer_search import Search, lively, search
from eventcore.testing.optimizer_subject import OptimizerSubject

HASH_SEEDS = (1, 2, 3)


def same_seed_same_run(subject: OptimizerSubject, tally: Tally) -> None:
    """Train twice: the second time later, with other global random numbers."""
    with elsewhen(1, 0):
        first = lively(subject, tally, "there was nothing to repeat")
    with elsewhen(2, 1):
        second = search(first.subject)
    when = "trained again in the same process, with other global random numbers at another time"
    _compare(first, second, when, tally)


def _compare(first: Search, second: Search, when: str, tally: Tally) -> None:
    apart = first_difference(first, second)
    tally.require(not apart, f"it goes another way when {when}: {apart}")
    require_same(first.values, second.values, when, tally)


def latency_independence(subject: OptimizerSubject, tally: Tally) -> None:
    """Train with examples that finish in other orders."""
    first, other = lively(subject, tally, "there was nothing to decide"), 0
    for order in (1, 2, 3):
        second = search(first.subject, order=order)
        other += second.orders != first.orders
        _compare(first, second, f"examples finish in another order ({order})", tally)
    if not other:
        tally.fail("exercised nothing: no example finished in another order")


def hash_seed_independence(subject: OptimizerSubject, tally: Tally) -> None:
    """Train in processes with other hash seeds."""
    try:
        subject.told()
    except InvalidValue as reason:
        raise DoesNotApply(f"no fresh process can make the optimizer: {reason}") from None
    first = lively(subject, tally, "no hash could decide anything")
    given = first.subject.told()
    with ThreadPoolExecutor(len(HASH_SEEDS)) as pool:
        told = list(pool.map(lambda seed: told_elsewhere(tell, given, seed), HASH_SEEDS))
    for seed, there in zip(HASH_SEEDS, told, strict=True):
        when = f"trained in another process with hash seed {seed}"
        require_same_way(told_of(first), there, when, tally)


def tell(given: dict[str, Any]) -> None:
    """Train in this process and tell how it ends; the other side of `hash_seed_independence`."""
    tell_back(told_of(search(OptimizerSubject.found(given))))
