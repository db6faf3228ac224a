"""Carrying examples through a program: concurrently up to a cap, each in a rollout of its own.

A failing example is recorded and comes back as None; its siblings finish. Results are in the order of the
examples, whatever finished first.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from eventcore.errors import BudgetExceeded, CallNotRecorded, InvalidValue, StorageError
from eventcore.history import events as e
from eventcore.history.scope import current_run, in_rollout
from eventcore.replay.rollouts import RolloutNames
from eventcore.replay.secrets import redacted_text
from eventcore.training.examples import Example
from eventcore.training.scoring import CompiledReward, RewardFailure

MAX_CONCURRENCY = 32

ENDING = (BudgetExceeded, CallNotRecorded, StorageError)
"""Errors that are no example's own: nothing after them could be paid for, recorded, or answered."""


class Rolled(msgspec.Struct):
    """What became of one example.

    Attributes:
        example: The example.
        rollout: Identity of its rollout.
        output: What the program returned, None if it failed.
        reward: Its reward, None if it failed or was not scored.
        error: Why it failed, None if it did not.
    """

    example: Example
    rollout: str
    output: Any = None
    reward: float | None = None
    error: BaseException | None = None


async def each(items: Sequence[Rolled], work: Callable[[Rolled], Awaitable[None]], limit: int) -> None:
    """Do `work` for every item, at most `limit` at once, started in order.

    What `work` raises ends all of it (the first error is raised); so does a cancellation.
    """
    if limit < 1:
        raise InvalidValue(f"cannot work with max_concurrency={limit}: pass at least 1")
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    count = min(limit, len(items))
    if count == 1:
        await worker()
        return
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def run_examples(
    program: Any,
    examples: Sequence[Example],
    names: RolloutNames,
    *,
    training: bool,
    limit: int,
    cause: int = 0,
) -> list[Rolled]:
    """Call a program on examples.

    Args:
        program: The program.
        examples: In the order results come back.
        names: Gives the rollouts their identities.
        training: Handed to the program.
        limit: How many at once.
        cause: Seq of the event that led here.
    """
    rolled = [Rolled(example, names.name(example.digest)) for example in examples]

    async def call(item: Rolled) -> None:
        with in_rollout(item.rollout, cause):
            try:
                item.output = await program(item.example.x, training=training)
            except (Exception, asyncio.CancelledError) as error:
                fail(item, error, "call")

    await each(rolled, call, limit)
    return rolled


async def score_examples(
    rolled: Sequence[Rolled], reward: CompiledReward, *, limit: int, cause: int = 0
) -> None:
    """Write each example's reward into it; one that cannot be scored has failed."""
    alive = [item for item in rolled if item.error is None]
    if reward.is_batch():
        await _score_whole(alive, reward)
        return

    async def score(item: Rolled) -> None:
        with in_rollout(item.rollout, cause):
            try:
                item.reward = await reward.score(item.example.y, item.output)
            except (Exception, asyncio.CancelledError) as error:
                fail(item, error, "reward")

    await each(alive, score, limit)


async def _score_whole(alive: Sequence[Rolled], reward: CompiledReward) -> None:
    try:
        scores = await reward.score_batch([item.example.y for item in alive], [item.output for item in alive])
    except Exception as error:
        for item in alive:
            with in_rollout(item.rollout):
                fail(item, error, "reward")
        return
    for item, score in zip(alive, scores, strict=True):
        if isinstance(score, RewardFailure):
            with in_rollout(item.rollout):
                fail(item, score, "reward")
        else:
            item.reward = score


def fail(item: Rolled, error: BaseException, stage: str) -> None:
    """Record that an example failed; what ends the whole training is raised again."""
    if isinstance(error, ENDING) or (isinstance(error, asyncio.CancelledError) and _asked_to_end()):
        raise error
    item.error, item.reward = error, None
    run = current_run()
    name = "InvalidReward" if isinstance(error, RewardFailure) else type(error).__name__
    message = redacted_text(str(error))[:2000].encode("utf-8", "replace").decode()
    run.record(e.RolloutFailed(*run.stamp(), name, message, stage), len(message) + 16)


def warn_of_failures(count: int, first: BaseException | None, where: str, stacklevel: int) -> None:
    """Say how many examples failed, and the first cause; nothing where none did."""
    if count:
        warnings.warn(
            f"{count} examples failed {where}, the first with {type(first).__name__}: {redacted_text(str(first))}; "
            "they were left out of the scores; run.events(kind='RolloutFailed') lists them",
            stacklevel=stacklevel + 1,
        )


def _asked_to_end() -> bool:
    """Whether the present task is being cancelled; a cancellation out of an example's own code is that example's."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
