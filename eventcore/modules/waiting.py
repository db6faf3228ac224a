"""`wait`: run a coroutine from a plain script.

It exists so that the first lines of a script need no `asyncio.run(main())`. It never nests event loops:
inside a running one the answer is `await`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import TypeVar

from eventcore.errors import InsideRunningLoop, WrongType

T = TypeVar("T")


def wait(awaitable: Awaitable[T]) -> T:
    """Run `awaitable` to its end in a new event loop and return its result.

    Ctrl-C cancels it, lets it clean up, and raises `KeyboardInterrupt`.

    Args:
        awaitable: A coroutine, usually what calling a module returned.

    Raises:
        InsideRunningLoop: An event loop is already running here.
        WrongType: `awaitable` cannot be awaited.
    """
    if not inspect.isawaitable(awaitable):
        raise WrongType(
            f"cannot wait for {awaitable!r}: it is not awaitable. Pass a coroutine, as in `wait(module(x))`."
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_finish(awaitable))
    # Closed here, because otherwise Python warns that it was never awaited and hides the real message.
    if inspect.iscoroutine(awaitable):
        awaitable.close()
    raise InsideRunningLoop(
        "cannot `wait` here: an event loop is already running (an async function, a notebook). "
        "Write `await ...` in place of `wait(...)`."
    )


async def _finish(awaitable: Awaitable[T]) -> T:
    return await awaitable
