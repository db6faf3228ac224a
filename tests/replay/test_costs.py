"""Cost is a fold over the log, and a budget is kept before the call that would exceed it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import BudgetExceeded, InvalidValue
from eventcore.history.scope import in_rollout
from eventcore.replay.effects import Outcome, Ticket, perform


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ec.Store]:
    with ec.open(tmp_path / "runs.lmdb") as opened:
        yield opened


def asking(sent: list[str], cost: float = 0.25, model: str = "m") -> Any:
    async def call(ticket: Ticket) -> Outcome:
        sent.append(ticket.key)
        await asyncio.sleep(0)
        return Outcome("yes", model, 10, 2, cost)

    return call


calls = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["m1", "m2"]), st.integers(0, 8)),
    max_size=12,
)


@given(asked=calls)
def test_every_split_sums_to_the_total(asked: list[tuple[str | None, str, int]]) -> None:
    async def go() -> None:
        for rollout, model, quarters in asked:
            with in_rollout(rollout or "nowhere"):
                await perform("tool", {"q": quarters}, asking([], quarters / 4, model))

    with ec.open("memory:") as opened, opened.run("cost") as run:
        asyncio.run(go())
        total = run.cost()
        expected = sum(quarters for _, _, quarters in asked) / 4
        assert (total.calls, total.cost) == (len(asked), expected)
        for by in ("variable", "candidate", "epoch", "model", "rollout", "kind"):
            parts = run.cost(by)
            assert sum(part.cost for part in parts.values()) == expected
            assert sum(part.calls for part in parts.values()) == len(asked)
        by_model = run.cost("model")
        for model in ("m1", "m2"):
            own = sum(quarters for _, used, quarters in asked if used == model) / 4
            assert by_model[model].cost == own if model in by_model else own == 0


def test_an_unknown_split_lists_those_there_are(store: ec.Store) -> None:
    with (
        store.run("r") as run,
        pytest.raises(InvalidValue, match="variable, candidate, epoch, rollout, kind, model"),
    ):
        run.cost("weather")


@pytest.mark.parametrize(
    ("budget", "made"), [(0.5, 2), ({"calls": 3}, 3), ({"tokens": 24}, 2), (0, 0), (None, 5)]
)
def test_a_call_beyond_the_budget_is_refused_before_it_is_made(
    store: ec.Store, budget: Any, made: int
) -> None:
    sent: list[str] = []

    async def go() -> None:
        for number in range(5):
            await perform("tool", {"n": number}, asking(sent))

    with store.run("r", budget=budget) as run:
        if made < 5:
            with pytest.raises(BudgetExceeded, match="open the run with resume=True and a larger budget"):
                asyncio.run(go())
        else:
            asyncio.run(go())
        assert len(sent) == made
        assert len(list(run.events(kind="EffectStarted"))) == made


def test_a_budget_of_calls_counts_those_under_way(store: ec.Store) -> None:
    sent: list[str] = []

    async def go() -> list[Any]:
        waits = [perform("tool", {"n": number}, asking(sent)) for number in range(8)]
        return await asyncio.gather(*waits, return_exceptions=True)

    with store.run("r", budget={"calls": 3}):
        outcomes = asyncio.run(go())
    assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 5
    assert len(sent) == 3


def test_calls_are_refused_that_would_exceed_what_the_dearest_of_their_kind_leaves(store: ec.Store) -> None:
    sent: list[str] = []

    async def go() -> None:
        for number in range(10):
            await perform("tool", {"n": number, "model": "dear"}, asking(sent, 1.0))

    with store.run("r", budget=3.5) as run:
        with pytest.raises(BudgetExceeded, match=r"budget of \$3.5 .*\$3 spent, \$1 expected of this one"):
            asyncio.run(go())
        assert run.cost().cost == 3.0
        asyncio.run(perform("tool", {"n": 1, "model": "cheap"}, asking(sent, 0.25)))  # nothing known of it


@pytest.mark.parametrize(("budget", "made"), [(5.5, 5), ({"tokens": 66}, 5), (1.0, 1), ({"calls": 4}, 4)])
def test_calls_under_way_are_held_against_the_budget_at_their_price(
    store: ec.Store, budget: Any, made: int
) -> None:
    sent: list[str] = []

    async def go() -> list[Any]:
        first = await perform("tool", {"n": -1}, asking(sent, 1.0))
        waits = [perform("tool", {"n": number}, asking(sent, 1.0)) for number in range(8)]
        return [first, *await asyncio.gather(*waits, return_exceptions=True)]

    with store.run("r", budget=budget) as run:
        outcomes = asyncio.run(go())
        assert run.cost().calls == len(sent) == made
    assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 9 - made


@given(prices=st.lists(st.integers(1, 8), min_size=1, max_size=10), limit=st.integers(0, 40))
def test_a_budget_is_never_exceeded_by_a_call_no_dearer_than_one_before(
    prices: list[int], limit: int
) -> None:
    prices = [max(prices), *prices]

    async def go() -> None:
        for number, price in enumerate(prices):
            await perform("tool", {"n": number}, asking([], price / 4))

    with ec.open("memory:") as opened, opened.run("cost", budget=limit / 4) as run:
        refused = False
        try:
            asyncio.run(go())
        except BudgetExceeded:
            refused = True
        spent = run.cost().cost * 4
        assert spent <= max(limit, prices[0] if limit else 0)
        assert refused == (spent < sum(prices))
        assert not refused or spent + prices[0] > limit or limit == 0


def test_threads_keep_a_budget_of_calls(store: ec.Store) -> None:
    sent: list[int] = []

    @ec.effect
    def ask(number: int) -> int:
        sent.append(number)
        return number

    async def go() -> list[Any]:
        return await asyncio.gather(*(ec.to_thread(ask, n) for n in range(12)), return_exceptions=True)

    with store.run("r", budget={"calls": 5}):
        outcomes = asyncio.run(go())
    assert len(sent) == 5
    assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 7


def test_recorded_answers_are_given_with_any_budget(tmp_path: Path) -> None:
    sent: list[str] = []
    for budget, made in ((1.0, 4), (0, 4), ({"calls": 1}, 4), (1.25, 5), (0.5, 5)):
        with ec.open(tmp_path / "runs.lmdb") as opened, opened.run("r", resume=True, budget=budget) as run:
            assert asyncio.run(_refused(sent))
            assert run.cost().calls == len(sent) == made


def test_a_fork_takes_answers_of_its_parent_though_its_budget_is_nothing(store: ec.Store) -> None:
    sent: list[str] = []

    async def go() -> None:
        for number in range(3):
            await perform("tool", {"n": number}, asking(sent))

    with store.run("r") as run:
        start = run.head
        asyncio.run(go())
    with store["r"].fork("f", at=start, reuse=True) as fork:
        fork.budget = 0
        asyncio.run(go())
        assert (fork.cost().reused, len(sent)) == (3, 3)
        with pytest.raises(BudgetExceeded):
            asyncio.run(perform("tool", {"n": 3}, asking(sent)))


def test_a_resumed_run_remembers_what_it_has_spent(tmp_path: Path) -> None:
    sent: list[str] = []
    for budget, made in ((0.5, 2), (0.5, 2), (1.0, 4)):
        with ec.open(tmp_path / "runs.lmdb") as opened, opened.run("r", resume=True, budget=budget):
            refused = asyncio.run(_refused(sent))
        assert (len(sent), refused) == (made, True)


async def _refused(sent: list[str]) -> bool:
    try:
        for number in range(10):
            await perform("tool", {"n": number}, asking(sent))
    except BudgetExceeded:
        return True
    return False


@pytest.mark.parametrize("budget", ["ten", True, {"money": 3}, {"calls": -1}])
def test_a_budget_that_means_nothing_is_refused_when_the_run_is_opened(store: ec.Store, budget: Any) -> None:
    with pytest.raises(InvalidValue, match="cannot use budget"):
        store.run("r", budget=budget)
    assert store.runs() == []


def test_fit_stops_when_the_budget_is_spent_and_no_example_counts_as_failed(store: ec.Store) -> None:
    class Asking(ec.Module):
        """Makes one paid call for each example."""

        async def call(self, inputs: Any, training: bool = False) -> Any:
            """Ask."""
            await perform("tool", {"q": inputs.get("key")}, asking([]))
            return inputs

        def compute_output_spec(self, inputs: Any) -> Any:
            """What went in comes out."""
            return inputs

    class Text(ec.DataModel):
        """An input."""

        key: str

    x = [Text(key=str(number)) for number in range(20)]
    with store.run("r", budget={"calls": 7}) as run:
        inputs = ec.Input(data_model=Text)
        program = ec.Program(inputs=inputs, outputs=ec.wait(Asking(name="asking")(inputs)), name="p")
        program.compile(reward="exact_match")
        with pytest.raises(BudgetExceeded):
            ec.wait(program.evaluate(x, x, verbose=0))
        assert list(run.events(kind="RolloutFailed")) == []
