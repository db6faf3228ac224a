"""Running a check's coroutines in an event loop of its own, with interruptions drawn from a number.

Concurrent code that depends on who finishes first usually passes its tests, because in a test nobody is ever
late. Here every task is held up for a few turns after each of its waits, by an amount that only the number
decides, so another number is another order of completion and the same number is the same one again. Nothing
sleeps and no time passes.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_DELAY = 4
"""Turns of the loop a task may be held up after one wait."""


def run_coroutine(work: Callable[[], Coroutine[Any, Any, T]], order: int | None = None) -> T:
    """Run a coroutine to its end; inside a running loop (a notebook) in a thread beside it.

    Args:
        work: Makes the coroutine.
        order: Draws how tasks are held up; None holds up none.
    """
    if not _in_a_loop():
        return _run(work, order)
    outcome: list[Any] = []
    context = contextvars.copy_context()

    def beside() -> None:
        try:
            outcome.append((True, context.run(_run, work, order)))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=beside, name="eventcore-check")
    thread.start()
    thread.join()
    fine, found = outcome[0]
    if not fine:
        raise found
    result: T = found
    return result


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run(work: Callable[[], Coroutine[Any, Any, T]], order: int | None) -> T:
    async def main() -> T:
        if order is not None:
            asyncio.get_running_loop().set_task_factory(_task_factory(order))
        return await work()

    return asyncio.run(main())


def _task_factory(order: int) -> Any:
    rng = Random(order)

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_held_up(_Held(coroutine, Random(rng.random()))), loop=loop, **options)

    return make


async def _held_up(held: Awaitable[T]) -> T:
    return await held


class _Held:
    """Drives a coroutine, letting others go first for a few turns before it starts and after each of its waits."""

    def __init__(self, coroutine: Any, rng: Random) -> None:
        self._coroutine = coroutine
        self._rng = rng

    def __await__(self) -> Generator[Any, Any, Any]:
        step, given = self._coroutine.send, None
        pending = yield from self._pause()
        while True:
            if pending is not None:
                step, given, pending = self._coroutine.throw, pending, None
            try:
                waiting = step(given)
            except StopIteration as done:
                return done.value
            step = self._coroutine.send
            try:
                given = yield waiting
            except BaseException as error:
                pending = error
            else:
                pending = yield from self._pause()

    def _pause(self) -> Generator[Any, Any, BaseException | None]:
        """Give way for some turns; what is thrown in meanwhile (a cancellation) is the coroutine's to hear."""
        for _ in range(self._rng.randrange(LONGEST_DELAY + 1)):
            try:
                yield
            except BaseException as error:
                return error
        return None
