"""Waiting for the outcome of one effect in an event loop: made now, answered from a log, or taken from a parent.

Whoever waits goes on when the dispatcher says so. A wait that is cancelled ends its effect, and the log says so:
the last outcome recorded for an effect is the one the program saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from eventcore.errors import Diverged, StorageError
from eventcore.history import events as e
from eventcore.replay.dispatcher import Delivery, Turn, dispatcher_of
from eventcore.replay.endings import cancellation
from eventcore.replay.outcomes import Outcome, Ticket, outcome_of
from eventcore.replay.raised import raised_by
from eventcore.replay.spending import is_refused

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
        delivered: Whether it reached the task.
        over: Whether nothing is waited for any more: it was delivered, or the wait was cancelled.
        after: What else must be done before it is delivered, or None.
    """

    def __init__(self, effect: Effect, call: Callable[[Ticket], Awaitable[Outcome]]) -> None:
        self.effect = effect
        self.arrived = self.delivered = self.over = False
        self.after: asyncio.Future[None] | None = None
        self.dispatcher = dispatcher_of(effect.run)
        self.context = contextvars.copy_context()
        self._call = call
        self._future: Turn[Outcome] = Turn(self.dispatcher, effect.ticket.seq)
        self._task: asyncio.Task[None] | None = None

    async def outcome(self) -> Outcome:
        """Return the outcome when its turn has come, or raise what the call raised."""
        self.expect()
        try:
            return await self._future
        except asyncio.CancelledError:
            self.give_up()
            raise

    def expect(self) -> None:
        """Have the outcome brought: from the log, from the parent, or by the call."""
        replayer = self.effect.replayer
        if replayer is not None:
            replayer.expect(self)
        elif self.effect.reused is not None:
            self.arrive_reused()
        else:
            self.start()

    def start(self) -> None:
        """Make the call. In the loop's thread."""
        if not self.over:
            self._task = self.dispatcher.start(self._carry_out(), self.effect.kind, self.context)

    async def _carry_out(self) -> None:
        effect = self.effect
        try:
            if not effect.moment:
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
        durable = 0 if self.effect.moment else seq
        deliver = partial(self.deliver, event, value, error)
        self.dispatcher.arrived(
            Delivery(durable, deliver, self.refuse, partial(self._again, event), self.after)
        )

    def arrive_reused(self) -> None:
        """Take the answer that was found in the parent's log."""
        assert self.effect.reused is not None
        self.arrive(self.effect.reused_seq, self.effect.reused)

    def deliver(self, event: OutcomeEvent, value: Outcome | None, error: Exception | None) -> None:
        """Let the task go on with the outcome: its turn has come."""
        if isinstance(event, e.EffectFailed):
            self.refuse(error if error is not None else raised_by(event))
        else:
            self.resolve(value if value is not None else outcome_of(event))

    def resolve(self, outcome: Outcome) -> None:
        """Let the task go on."""
        if not self.over:
            self.delivered = self.over = True
            if not self._future.done():
                self._future.set_result(outcome)

    def refuse(self, error: BaseException) -> None:
        """Let the task go on with an error."""
        if not self.over:
            self.delivered = self.over = True
            if not self._future.done():
                self._future.set_exception(error)

    def _again(self, event: OutcomeEvent) -> None:
        """Record the outcome once more, where it is delivered: the run's code went on by itself since it arrived."""
        if not self.over and self.effect.run.replaying is None:
            self.effect.record_again(event)

    def give_up(self) -> None:
        """The task does not wait any more: end the effect, and record so unless the outcome was delivered."""
        if self._task is not None:
            self._task.cancel()
        replayer = self.effect.replayer
        if replayer is not None:
            replayer.forget(self)
        if self.over:
            return
        self.over = True
        with contextlib.suppress(Diverged, StorageError):  # told already; the cancellation goes on
            error = cancellation(self._future.by_runner or is_refused(self.effect.run))
            self.effect.failed(error, sent=not self.arrived)
        self.arrived = True
