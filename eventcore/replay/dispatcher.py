"""The dispatcher: tasks of a run wait for outcomes, and get them one at a time, in one order.

Tasks of a run share its state, so the order in which they go on is part of the run. One outcome is delivered,
the run's own tasks go on until all of them are blocked, then the next one is delivered: when recording and when
replaying alike. Outcomes are delivered in the order of their events; what waits for a commit only is delivered
before any of them, in the order of asking.

A task is blocked when nothing of it lies in the loop's ready queue. Tasks of the host application, and what an
effect does while it is under way, are not the run's own and hold nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakSet

import msgspec

from eventcore.errors import BusyTask
from eventcore.history.run import Run
from eventcore.history.scope import Scope, current, process_scope
from eventcore.replay.endings import runner_cancels

PASS_LIMIT = 100_000
"""Passes of the loop during which a run's task may keep itself ready while outcomes wait for it to block."""

CALM_PASSES = 16
"""Passes without an event that count as blocked in a loop whose ready queue cannot be looked into."""

T = TypeVar("T")
Deliver = Callable[[], None]


class Delivery(msgspec.Struct, frozen=True):
    """Something that lets a task go on.

    Attributes:
        seq: Event that must be durable first.
        deliver: Called in the loop, in the run's own context.
        refuse: Called instead when the event cannot be made durable.
        again: Records the event once more, if it is delivered later than a replay would deliver it.
        after: What must be done first besides (a thread that runs again), or None.
    """

    seq: int
    deliver: Deliver
    refuse: Callable[[BaseException], None]
    again: Deliver | None = None
    after: asyncio.Future[None] | None = None


class Turn(asyncio.Future[T]):
    """What a task waits for. Its cancellation has a turn too.

    Who cancels several tasks at once may do so in an order that the addresses of objects decide (a `TaskGroup`
    does): they hear of it in the order in which they began to wait.

    Args:
        dispatcher: Who gives turns.
        seq: Seq of the effect that is waited for, 0 for none.

    Attributes:
        seq: That.
        ordinal: Its place among those who began to wait.
        by_runner: Whether it was `asyncio.run` that cancelled it.
    """

    def __init__(self, dispatcher: Dispatcher, seq: int = 0) -> None:
        super().__init__(loop=dispatcher.loop)
        self.seq = seq
        self.by_runner = False
        self._dispatcher = dispatcher
        self._told: tuple[Any, ...] = ()
        self.ordinal = dispatcher.next_ordinal()

    def cancel(self, msg: Any | None = None) -> bool:
        """Have the wait cancelled, when all tasks of the run are blocked."""
        if self.done():
            return False
        self._told = () if msg is None else (msg,)
        self.by_runner = self.by_runner or runner_cancels()
        self._dispatcher.give_up(self)
        return True

    def cancel_now(self) -> None:
        """Cancel the wait."""
        super().cancel(*self._told)


class Dispatcher:
    """Delivers to the tasks of one run in one event loop.

    Args:
        run: The run.
        loop: Its loop, running.
    """

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self.run = run
        self.loop = loop
        self._commits: deque[Delivery] = deque()  # waits for a commit, nothing else
        self._outcomes: deque[Delivery] = deque()
        self._cancelled: dict[int, Turn[Any]] = {}
        self._ordinal = 0
        self._scheduled = self._waiting = False
        self._passes = self._calm = self._seen_head = 0
        self._arrivals = 0
        self._disturbed = False
        self._cancelling = False  # a wait was cancelled, and its task has not blocked again
        self._held: tuple[Delivery, int] | None = (
            None  # waits for its commit, and what was recorded before that
        )
        self._thread = threading.get_ident()
        # Tasks of the host that were there before the run: in a process-wide run nothing else tells them apart.
        self._hosts: WeakSet[asyncio.Task[Any]] = run.host_tasks
        # What the queue is looked at in: not the run's own context, or the dispatcher would see itself.
        self.context = contextvars.copy_context()
        self.context.run(current.set, Scope(run, effect="dispatcher"))

    # --- what others hand over ---------------------------------------------------------------------

    async def committed(self, seq: int) -> None:
        """Return once `seq` is durable and it is this task's turn."""
        future: Turn[None] = Turn(self)
        self._commits.append(
            Delivery(seq, lambda: _resolve(future, None), lambda error: _fail(future, error))
        )
        self.wake()
        await future

    def arrived(self, delivery: Delivery) -> None:
        """Take an outcome whose event is recorded; it is delivered when its turn comes. From any thread."""
        self._arrivals += 1
        self._disturbed = self._disturbed or self._cancelling
        self._outcomes.append(delivery)
        if threading.get_ident() == self._thread:
            self.wake()
        else:
            self.call(self.wake)

    def give_up(self, turn: Turn[Any]) -> None:
        """Cancel a wait in its turn. In the loop's thread."""
        self._cancelled[turn.ordinal] = turn
        self._schedule()

    def next_ordinal(self) -> int:
        """Count those who wait."""
        self._ordinal += 1
        return self._ordinal

    def start(
        self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context
    ) -> asyncio.Task[None]:
        """Start what an effect does, outside the run's own tasks.

        Args:
            work: What it does.
            name: Name of the effect.
            context: Where it was asked for; a copy that nobody else uses.
        """
        here = context.get(current) or process_scope
        context.run(current.set, Scope(self.run, here.rollout, here.cause, None, name))
        return self.loop.create_task(work, context=context)

    def call(self, work: Callable[[], None]) -> None:
        """Call something soon, in the loop's thread. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(work, context=self.context)

    @property
    def idle(self) -> bool:
        """Whether nothing is there to be delivered."""
        return not self._commits and not self._outcomes

    # --- turns -------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look again, soon. In the loop's thread."""
        if not self._waiting:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._turn, context=self.context)

    def _turn(self) -> None:
        self._scheduled = False
        replaying = self.run.replaying
        if not self._cancelled and not self._commits and not self._outcomes and replaying is None:
            return
        busy = self._busy()
        if busy is not None:
            self._pass_by(busy)
            return
        self._passes = 0
        self._cancelling = False
        given_up = self._given_up()
        if given_up is not None:
            self._disturbed = self._disturbed or bool(self._outcomes)
            self._cancelling = True
            given_up.cancel_now()
            self._schedule()
            return
        if self._waiting:
            return
        queue = self._commits or self._outcomes
        if queue:
            self._hand_out(queue)
        elif replaying is not None:
            replaying.blocked(self)

    def _given_up(self) -> Turn[Any] | None:
        """Take the next wait that is to be cancelled. In a replay that is the one that was cancelled here.

        A time limit of asyncio's own may be up sooner or later than it was then, and all the same.
        """
        for ordinal in [ordinal for ordinal, turn in self._cancelled.items() if turn.done()]:
            del self._cancelled[ordinal]
        if not self._cancelled:
            return None
        ordinals = {turn.seq: ordinal for ordinal, turn in sorted(self._cancelled.items(), reverse=True)}
        chosen = ordinals.get(0, min(self._cancelled))
        if self.run.replaying is not None and 0 not in ordinals:
            seq = self.run.replaying.given_up(ordinals)
            if seq is None:
                return None
            chosen = ordinals[seq]
        return self._cancelled.pop(chosen)

    def _hand_out(self, queue: deque[Delivery]) -> None:
        delivery = queue[0]
        if delivery.after is not None and not delivery.after.done():
            self._waiting = True
            delivery.after.add_done_callback(lambda _: self._go_on(), context=self.context)
            return
        settlement = self.run.settlement(delivery.seq)
        if settlement is False:
            self._waiting = True
            if self._held is None or self._held[0] is not delivery:
                self._held = (delivery, self._progress())
            self.run.when_durable(delivery.seq, lambda: self.call(self._go_on))
            return
        self._settle_order(delivery)
        queue.popleft()
        if settlement is True:
            delivery.deliver()
        else:
            delivery.refuse(settlement)
        self.wake()

    def _settle_order(self, delivery: Delivery) -> None:
        """Record the outcomes that wait once more, here, if the run's code went on without one of them.

        It did if one was held up meanwhile, or if waits were cancelled: whatever did that, a timer perhaps, may be
        later in a replay, which holds up nothing and would deliver them where they are recorded first.
        """
        disturbed, self._disturbed = self._disturbed, False
        if self._held is not None and self._held[0] is delivery:
            disturbed = disturbed or self._progress() != self._held[1]
            self._held = None
        if disturbed:
            for waiting in self._outcomes:
                if waiting.again is not None:
                    waiting.again()

    def _go_on(self) -> None:
        self._waiting = False
        self.wake()

    def _progress(self) -> int:
        """Count what was recorded besides outcomes that arrived: by a timer, a thread, a connection of one's own."""
        return self.run.head - self._arrivals

    def _pass_by(self, busy: str) -> None:
        """Let the run's tasks go on; one that never blocks is told so in place of an outcome."""
        self._passes += 1
        if self._passes <= PASS_LIMIT:
            self._schedule()
            return
        self._passes = 0
        error = BusyTask(
            f"cannot deliver an outcome to the tasks of run {self.run.name!r}: {busy} has kept itself ready for "
            f"{PASS_LIMIT} passes of the event loop and never waited; await an effect, a queue or ec.sleep() in it, "
            "or start it outside the run"
        )
        for queue in (self._commits, self._outcomes):
            while queue:
                queue.popleft().refuse(error)
        while self._cancelled:
            self._cancelled.popitem()[1].cancel_now()
        if self.run.replaying is not None:
            self.run.replaying.stuck(error)

    # --- who is busy -------------------------------------------------------------------------------

    def _busy(self) -> str | None:
        """Name what of the run is ready to go on, None if all its tasks are blocked."""
        ready: Any = getattr(self.loop, "_ready", None)
        if ready is None:
            return self._restless()
        for handle in ready:
            if not handle.cancelled() and self.is_own(handle._context, handle._callback):
                return _named(handle._callback)
        return None

    def _restless(self) -> str | None:
        """Whether anything happened in the last passes: all that can be known of a loop without a ready queue."""
        head = self.run.head
        self._calm = self._calm + 1 if head == self._seen_head else 0
        self._seen_head = head
        if self._calm < CALM_PASSES:
            return "a task"
        self._calm = 0
        return None

    def is_own(self, context: contextvars.Context, callback: Any) -> bool:
        """Whether a callback in the loop's queue lets one of the run's own tasks go on."""
        here = context.get(current)
        if here is None:
            return process_scope.run is self.run and getattr(callback, "__self__", None) not in self._hosts
        return here.effect is None and (here.run or process_scope.run) is self.run


def _named(callback: Any) -> str:
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        coroutine: Any = task.get_coro()
        return f"task {task.get_name()!r} ({getattr(coroutine, '__qualname__', coroutine)})"
    return f"callback {getattr(callback, '__qualname__', callback)!s}"


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def dispatcher_of(run: Run) -> Dispatcher:
    """Return the dispatcher of a run in the running loop."""
    loop = asyncio.get_running_loop()
    found: Dispatcher | None = run.dispatchers.get(loop)
    if found is None:
        # The run keeps them, so that they go with it; those of loops that were closed go before.
        for closed in [other for other in list(run.dispatchers) if other.is_closed()]:
            run.dispatchers.pop(closed, None)
        found = run.dispatchers[loop] = Dispatcher(run, loop)
    return found
