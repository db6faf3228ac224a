"""Moments: sleeps, timeouts and the ends of threads, recorded so that a replay comes to them at the same point.

Nothing is sent for them and their answer says nothing, but the order in which tasks of a run go on depends on
them. A sleep and a timeout are over at once in a replay, where the log says so. A thread runs again; its end
reaches the task that waits for it when it has ended and the log has come to that. Inside the call of an effect,
and while a graph is traced, they are what asyncio has: what happens there is no part of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from eventcore.errors import Diverged, InvalidValue, StorageError
from eventcore.history.scope import Scope, current, scope
from eventcore.replay.effects import Effect
from eventcore.replay.outcomes import Outcome, Ticket
from eventcore.replay.waiting import Wait

if TYPE_CHECKING:
    from eventcore.replay.waiting import OutcomeEvent

R = TypeVar("R")

_DONE = Outcome(None, attempts=0)
_MOST_THREADS = 10_000


def apart() -> bool:
    """Whether what happens here is no part of the run: inside an effect's call, or while a graph is traced."""
    here = scope()
    return here.effect is not None or here.overlay is not None


def seconds_of(seconds: Any) -> float:
    """Check a number of seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds == seconds:
        raise InvalidValue(f"cannot wait {seconds!r} seconds: pass a number")
    return float(seconds)


async def sleep(seconds: float) -> None:
    """Wait for some time, as an effect: in a replay it is over at once, at the point where it was over before.

    Args:
        seconds: How long.

    Raises:
        InvalidValue: That is no number.
    """
    length = seconds_of(seconds)
    if apart():
        await asyncio.sleep(0 if scope().overlay is not None else length)
        return

    async def wait(ticket: Ticket) -> Outcome:
        await asyncio.sleep(length)
        return _DONE

    await Wait(Effect("sleep", {"seconds": length}, moment=True), wait).outcome()


class Timeout:
    """Cancels a block that takes too long; made by `timeout`."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = None if seconds is None else seconds_of(seconds)
        self._plain: asyncio.Timeout | None = None
        self._expiry: _Expiry | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0

    def expired(self) -> bool:
        """Whether the time was up before the block was left."""
        if self._plain is not None:
            return self._plain.expired()
        return self._expiry is not None and self._expiry.expired

    async def __aenter__(self) -> Timeout:
        if self._plain is not None or self._expiry is not None:
            raise InvalidValue(
                "cannot enter a timeout twice; make another one: `async with ec.timeout(seconds)`"
            )
        if self._seconds is None or apart():
            self._plain = asyncio.timeout(None if scope().overlay is not None else self._seconds)
            await self._plain.__aenter__()
            return self
        self._task = task = asyncio.current_task()
        if task is None:
            raise InvalidValue("cannot use a timeout outside a task")
        self._cancelling = task.cancelling()
        length = self._seconds

        async def wait(ticket: Ticket) -> Outcome:
            await asyncio.sleep(length)
            return _DONE

        self._expiry = _Expiry(Effect("timeout", {"seconds": length}, moment=True), wait, task)
        self._expiry.expect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._plain is not None:
            await self._plain.__aexit__(kind, error, trace)
            return
        assert self._expiry is not None and self._task is not None
        self._expiry.give_up()  # if it is not over
        if (
            self._expiry.delivered
            and self._task.uncancel() <= self._cancelling
            and isinstance(error, asyncio.CancelledError)
        ):
            raise self._expiry.reason() from error


class _Expiry(Wait):
    """The wait for the end of a timeout: no task awaits it, one is cancelled by it."""

    def __init__(self, effect: Effect, call: Callable[[Ticket], Any], task: asyncio.Task[Any]) -> None:
        super().__init__(effect, call)
        self.expired = False
        self._waiter = task
        self._error: BaseException | None = None

    def resolve(self, outcome: Outcome) -> None:
        if not self.over:
            self.expired = self.delivered = self.over = True
            self._waiter.cancel()

    def refuse(self, error: BaseException) -> None:
        if not self.over:
            self.delivered = self.over = True
            self._error = error
            self._waiter.cancel()

    def reason(self) -> BaseException:
        """What the block that was cancelled raises."""
        return TimeoutError() if self._error is None else self._error


def timeout(seconds: float | None) -> Timeout:
    """Cancel a block that takes too long, as `asyncio.timeout` does, and as an effect.

    That the time was up is recorded and reaches the task in its turn, so a replay comes to it at the same point,
    however fast it is. A block left in time ends it.

    Args:
        seconds: How long the block may take; None for ever.

    Returns:
        An async context manager. The block raises TimeoutError when the time is up.

    Raises:
        InvalidValue: `seconds` is no number.
    """
    return Timeout(seconds)


async def in_thread(name: str, work: Callable[[], R]) -> R:
    """Run `work` in a thread, the end of which is a moment.

    Args:
        name: What the log calls it.
        work: What it does; runs in a copy of this context.
    """
    if apart():
        return await asyncio.to_thread(work)
    return await _ThreadWait(Effect("to_thread", {"function": name}, moment=True), work).end()


class _ThreadWait(Wait, Generic[R]):
    """The wait for the end of a thread. It runs again in a replay: what it does is part of the run."""

    def __init__(self, effect: Effect, work: Callable[[], R]) -> None:
        super().__init__(effect, _nothing_to_send)
        self._ended: asyncio.Future[None] = self.dispatcher.loop.create_future()
        self.after = self._ended
        self._work = work
        self._value: R | None = None
        self._error: BaseException | None = None

    async def end(self) -> R:
        """Return what the thread returned, or raise what it raised."""
        here = self.context.run(scope)
        # By its cause everything the thread records is told from what others of the same rollout record.
        self.context.run(current.set, Scope(here.run, here.rollout, self.effect.ticket.seq))
        replaying: Any = self.effect.run.replaying
        if replaying is not None:
            replaying.thread_began(self.effect.ticket.seq)
            _make_room(self.dispatcher.loop)
        running = self.dispatcher.loop.run_in_executor(None, self.context.run, self._run)
        running.add_done_callback(self._note_end, context=self.dispatcher.context)
        await self.outcome()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _run(self) -> None:
        replaying: Any = self.effect.run.replaying
        if replaying is not None:
            replaying.thread_began(self.effect.ticket.seq)
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error
        finally:
            if replaying is not None:
                replaying.thread_ended(self.effect.ticket.seq)

    def _note_end(self, running: asyncio.Future[None]) -> None:
        if running.cancelled():  # the pool was shut down before its turn
            self._error = asyncio.CancelledError()
        if not self._ended.done():
            self._ended.set_result(None)

    def start(self) -> None:
        """Record the end when it comes."""
        self._ended.add_done_callback(self._record_end, context=self.dispatcher.context)

    def _record_end(self, ended: asyncio.Future[None]) -> None:
        if self.over:
            return
        if isinstance(self._error, (Diverged, StorageError)):
            self.refuse(self._error)
            return
        try:
            seq, event = self._end()
        except StorageError as error:
            self.refuse(error)
        else:
            self.arrive(seq, event)

    def _end(self) -> tuple[int, OutcomeEvent]:
        if self._error is not None:
            return self.effect.failed(self._error)
        seq, event, _ = self.effect.completed(_DONE)
        return seq, event

    def deliver(self, event: OutcomeEvent, value: Outcome | None, error: Exception | None) -> None:
        """Let the task go on as the thread ended, unless it ended in another way than is recorded."""
        if self.effect.replayer is not None and isinstance(self._error, Diverged):
            self.refuse(self._error)
            return
        self.resolve(_DONE)


async def _nothing_to_send(ticket: Ticket) -> Outcome:
    return _DONE


def _make_room(loop: asyncio.AbstractEventLoop) -> None:
    """Have as many threads as are asked for: those that wait for their turn must not keep others from starting."""
    if getattr(loop, "_default_executor", None) is None:
        loop.set_default_executor(ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="asyncio"))
