"""Waiting for the outcome of one effect in an event loop: made now, answered from a log, or taken from a parent.

Whoever waits goes on when the dispatcher says so. A wait that is cancelled ends its effect, and the log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from eventcore.errors import Diverged, StorageError
from eventcore.history import events as e
from eventcore.replay.dispatcher import Delivery, dispatcher_of
from eventcore.replay.outcomes import Outcome, Ticket, outcome_of, raised_by

if TYPE_CHECKING:
    from eventcore.replay.effects import Effect

OutcomeEvent = e.EffectCompleted | e.EffectFailed | e.EffectReused


class Wait:
    """A task's wait for one effect.

    Args:
        effect: The effect, its intent recorded.
        call: Makes the request, when it has to be made.

    Attributes:
        effect: The effect.
        arrived: Whether an outcome is recorded.
    """

    def __init__(self, effect: Effect, call: Callable[[Ticket], Awaitable[Outcome]]) -> None:
        self.effect = effect
        self.arrived = False
        self.dispatcher = dispatcher_of(effect.run)
        self._call = call
        self._future: asyncio.Future[Outcome] = self.dispatcher.loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._context = contextvars.copy_context()

    async def outcome(self) -> Outcome:
        """Return the outcome when its turn has come, or raise what the call raised."""
        self._expect()
        try:
            return await self._future
        except asyncio.CancelledError:
            self._cancelled()
            raise

    def _expect(self) -> None:
        replayer = self.effect.replayer
        if replayer is not None:
            replayer.expect(self)
        elif self.effect.reused is not None:
            self.arrive_reused()
        else:
            self.start()

    def start(self) -> None:
        """Make the call. In the loop's thread."""
        if not self._future.done():
            self._task = self.dispatcher.start(self._carry_out(), self.effect.kind, self._context)

    async def _carry_out(self) -> None:
        effect = self.effect
        try:
            await effect.run.settled(effect.ticket.seq)
            seq, event, value = effect.completed(await self._call(effect.ticket))
        except StorageError as error:
            self.refuse(error)
        except Exception as error:
            try:
                seq, failure = effect.failed(error)
            except StorageError as second:
                self.refuse(second)
            else:
                self.arrive(seq, failure, error=error)
        else:
            self.arrive(seq, event, value)

    def arrive(
        self, seq: int, event: OutcomeEvent, value: Outcome | None = None, error: Exception | None = None
    ) -> None:
        """Take the recorded outcome: it is delivered when its turn comes.

        Args:
            seq: Seq of the event.
            event: The event.
            value: The outcome itself; None to make it from the event.
            error: What the call raised; None to make it from the event.
        """
        self.arrived = True
        self.effect.ended_by = event
        if isinstance(event, e.EffectFailed):
            raised = error if error is not None else raised_by(event)
            self.dispatcher.arrived(Delivery(seq, lambda: self.refuse(raised), self.refuse))
        else:
            found = value if value is not None else outcome_of(event)
            self.dispatcher.arrived(Delivery(seq, lambda: self._resolve(found), self.refuse))

    def arrive_reused(self) -> None:
        """Take the answer that was found in the parent's log."""
        assert self.effect.reused is not None
        self.arrive(self.effect.reused_seq, self.effect.reused)

    def _resolve(self, outcome: Outcome) -> None:
        if not self._future.done():
            self._future.set_result(outcome)

    def refuse(self, error: BaseException) -> None:
        """Let the task go on with an error."""
        if not self._future.done():
            self._future.set_exception(error)

    def _cancelled(self) -> None:
        if self._task is not None:
            self._task.cancel()
        replayer = self.effect.replayer
        if replayer is not None:
            replayer.forget(self)
        if not self.arrived:
            self.arrived = True
            with contextlib.suppress(Diverged, StorageError):  # told already; the cancellation goes on
                _, self.effect.ended_by = self.effect.failed(asyncio.CancelledError())
