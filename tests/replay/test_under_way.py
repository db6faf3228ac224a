"""What the call of an effect can learn and say: its idempotency key, and what it spends."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import BudgetExceeded, InvalidValue
from eventcore.history.scope import in_rollout

CRASHING = """
import os, sys
import eventcore as ec

@ec.effect
def charge(customer):
    with open(sys.argv[2], "a") as seen:
        seen.write(ec.idempotency_key() + "\\n")
    if len(sys.argv) > 3 and customer == "b":
        os.kill(os.getpid(), 9)
    return "paid"

with ec.open(sys.argv[1]) as store, store.run("bills", resume=True):
    for customer in "abc":
        charge(customer)
"""


def charging(keys: list[str]) -> Any:
    @ec.effect
    def charge(customer: str) -> str:
        keys.append(ec.idempotency_key())
        return customer

    return charge


def test_a_call_made_again_after_a_kill_has_its_key_again_also_in_a_store_that_was_moved(
    tmp_path: Path,
) -> None:
    script, seen = tmp_path / "charge.py", tmp_path / "seen"
    script.write_text(CRASHING)
    store = tmp_path / "first.lmdb"
    died = subprocess.run([sys.executable, script, store, seen, "die"], check=False, env=os.environ)
    assert died.returncode == -9
    moved = tmp_path / "elsewhere" / "second.lmdb"
    moved.parent.mkdir()
    shutil.move(store, moved)
    subprocess.run([sys.executable, script, moved, seen], check=True, env=os.environ)
    a, b, again, c = seen.read_text().split()
    assert b == again
    assert len({a, b, c}) == 3


def test_a_run_of_the_same_name_in_a_new_store_has_other_keys(tmp_path: Path) -> None:
    keys: list[str] = []
    charge = charging(keys)
    for _ in range(2):
        with ec.open(tmp_path / "again.lmdb") as store, store.run("bills"):
            charge("a")
        shutil.rmtree(tmp_path / "again.lmdb")
    for _ in range(2):
        with ec.open("memory:") as store, store.run("bills"):
            charge("a")
    assert len(set(keys)) == 4


def test_every_call_of_a_run_and_of_its_forks_has_a_key_of_its_own(tmp_path: Path) -> None:
    keys: list[str] = []
    charge = charging(keys)
    with ec.open(tmp_path / "runs.lmdb") as store:
        with store.run("bills") as run:
            at = run.head
            charge("a")
            charge("a")
            with in_rollout("one"):
                charge("a")
        for name in ("fork", "other"):
            with run.fork(name, at=at, reuse=False):
                charge("a")
        with store.reopen("bills"):
            charge("a")
    assert len(set(keys)) == len(keys) == 6


def test_an_async_call_has_a_key_in_its_tasks_and_threads_too(tmp_path: Path) -> None:
    @ec.effect
    async def charge(customer: str) -> list[str]:
        inside = asyncio.create_task(asyncio.to_thread(ec.idempotency_key))
        await asyncio.sleep(0)
        return [ec.idempotency_key(), await inside]

    async def both() -> list[list[str]]:
        return list(await asyncio.gather(charge("a"), charge("b")))

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills"):
        (a, a_again), (b, b_again) = asyncio.run(both())
    assert a == a_again != b == b_again


def test_a_key_and_a_cost_outside_a_call_are_refused(tmp_path: Path) -> None:
    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills"):
        with pytest.raises(InvalidValue, match=r"cannot give an idempotency key: no call .* @ec\.effect"):
            ec.idempotency_key()
        with pytest.raises(InvalidValue, match=r"cannot count what was spent: no call .* @ec\.effect"):
            ec.spend(cost=1.0)
        charging([])("a")
        with pytest.raises(InvalidValue, match="no call"):
            ec.spend(cost=1.0)


def test_a_cost_told_after_the_call_is_over_is_refused(tmp_path: Path) -> None:
    late: list[asyncio.Task[None]] = []

    async def afterwards(over: asyncio.Event) -> None:
        await over.wait()
        ec.spend(cost=1.0)

    async def go() -> None:
        over = asyncio.Event()

        @ec.effect
        async def ask() -> int:
            late.append(asyncio.create_task(afterwards(over)))
            return 1

        await ask()
        over.set()
        with pytest.raises(InvalidValue, match=r"the call of effect .*ask' is over"):
            await late[0]

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills") as run:
        asyncio.run(go())
        assert run.cost().cost == 0.0


def test_what_a_call_spends_is_added_up_and_counted_once_also_after_a_resume(tmp_path: Path) -> None:
    made: list[int] = []

    @ec.effect
    def search(query: str) -> str:
        made.append(1)
        ec.spend(cost=0.25, input_tokens=3)
        ec.spend(cost=0.5, output_tokens=4)
        return query

    @ec.effect
    async def search_later(query: str) -> str:
        made.append(1)
        await asyncio.to_thread(ec.spend, cost=1)
        return query

    for _ in range(2):
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills", resume=True) as run:
            search("a")
            asyncio.run(search_later("b"))
            total = run.cost()
            assert (total.cost, total.input_tokens, total.output_tokens) == (1.75, 3, 4)
            kinds = run.cost(by="kind")
            assert isinstance(kinds, dict)
            assert sorted(part.cost for part in kinds.values()) == [0.75, 1.0]
    assert made == [1, 1]


def test_what_a_call_that_fails_has_spent_is_counted(tmp_path: Path) -> None:
    @ec.effect
    def fail() -> None:
        ec.spend(cost=0.5)
        raise ValueError("no")

    @ec.effect
    async def fail_later() -> None:
        ec.spend(cost=0.25)
        raise ValueError("no")

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills") as run:
        with pytest.raises(ValueError, match="no"):
            fail()
        with pytest.raises(ValueError, match="no"):
            asyncio.run(fail_later())
        assert (run.cost().cost, run.cost().errors) == (0.75, 2)


def test_what_a_call_that_is_cancelled_has_spent_until_then_is_counted(tmp_path: Path) -> None:
    async def go() -> None:
        spent = asyncio.Event()

        @ec.effect
        async def hang() -> None:
            ec.spend(cost=0.5)
            spent.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await spent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills") as run:
        asyncio.run(go())
        assert run.cost().cost == 0.5


def test_a_budget_counts_what_calls_spend(tmp_path: Path) -> None:
    made: list[str] = []

    @ec.effect
    def search(query: str) -> str:
        made.append(query)
        ec.spend(cost=0.5, input_tokens=10)
        return query

    for name, budget in (("money", 1.0), ("tokens", {"tokens": 20})):
        with ec.open(tmp_path / "runs.lmdb") as store, store.run(name, budget=budget):
            search("a")
            search("b")
            with pytest.raises(BudgetExceeded):
                search("c")
    assert made == ["a", "b"] * 2


def test_a_function_that_stands_in_for_a_model_can_say_what_it_spent(tmp_path: Path) -> None:
    async def model(messages: Any) -> str:
        ec.spend(cost=0.25, output_tokens=7)
        assert ec.idempotency_key()
        return "yes"

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills") as run:
        ec.wait(ec.LanguageModel(function=model)("well?"))
        assert (run.cost().cost, run.cost().output_tokens) == (0.25, 7)


@pytest.mark.parametrize(
    "given",
    [
        {"cost": -1.0},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"cost": "1"},
        {"cost": True},
        {"input_tokens": 1.5},
        {"output_tokens": -1},
        {"input_tokens": 2**70},
    ],
)
def test_a_cost_that_is_no_amount_is_refused_and_counts_nothing(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    @ec.effect
    def search() -> str:
        with pytest.raises(InvalidValue, match=f"cannot count {next(iter(given))}=.* as spent: pass a"):
            ec.spend(**given)
        return "found"

    with ec.open(tmp_path / "runs.lmdb") as store, store.run("bills") as run:
        assert search() == "found"
        assert (run.cost().cost, run.cost().tokens) == (0.0, 0)
