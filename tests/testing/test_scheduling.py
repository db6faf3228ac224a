"""Tasks that are held up: another number is another order, the same number the same one, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from eventcore.testing.scheduling import run_coroutine


async def finished() -> list[int]:
    order: list[int] = []

    async def one(number: int) -> int:
        for _ in range(3):
            await asyncio.sleep(0)
        order.append(number)
        return number

    assert await asyncio.gather(*[one(number) for number in range(6)]) == list(range(6))
    return order


def test_a_number_decides_who_finishes_first() -> None:
    orders = [tuple(run_coroutine(finished, number)) for number in range(12)]
    assert orders == [tuple(run_coroutine(finished, number)) for number in range(12)]
    assert len(set(orders)) > 6
    assert run_coroutine(finished) == list(range(6))


def test_errors_cancellations_and_context_pass_through() -> None:
    heard: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    async def work() -> None:
        task = asyncio.create_task(slow())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.create_task(slow())
        raise LookupError("passed on")

    with pytest.raises(LookupError, match="passed on"):
        run_coroutine(work, 3)
    assert heard == ["cancelled"] * 2


def test_inside_a_running_loop_the_work_is_done_beside_it() -> None:
    async def outer() -> int:
        async def inner() -> int:
            return 7

        return run_coroutine(inner)

    assert asyncio.run(outer()) == 7
