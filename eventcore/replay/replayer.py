"""The replayer: compares what code does, when it is run again, with the log of the run, event by event.

It stands in for the end of the log (`eventcore.history.rerun.Replaying`). What the code does must be the next
recorded event; outcomes of effects are handed out where they are recorded; what came from outside (an edit, a
label, an opening of the run) happens again at its seq. Reads may be more or fewer. What happens at the first
divergence, and where the log ends, the subclasses say: a resumed run goes on for real, a replay is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from eventcore.errors import CallInDoubt, Diverged
from eventcore.history import events as e
from eventcore.history.reading import Reader
from eventcore.history.run import Run
from eventcore.history.state import State, apply
from eventcore.replay.divergence import Divergence, divergence, same
from eventcore.replay.endings import OUTCOMES, is_cancelled, is_interruption, is_mark, only_ends
from eventcore.replay.spending import take_note
from eventcore.replay.stillness import has_timers, may_hear
from eventcore.replay.threads import Threads

if TYPE_CHECKING:
    from eventcore.replay.dispatcher import Dispatcher
    from eventcore.replay.effects import Effect
    from eventcore.replay.waiting import OutcomeEvent, Wait

FROM_OUTSIDE = (e.RunStarted, e.SourceSeen, e.LabelSet, e.EditedFromOutside, e.StateRestored)
"""Events that are not compared: not the code's own doing, or lines of code, which move when it is edited."""

CHANGES = (e.EditedFromOutside, e.StateRestored)
"""Those of them that change values: the code must see that from their seq on."""

PASSED_OVER = (e.FieldRead, *FROM_OUTSIDE)

_FARTHEST = 1000
"""Events from outside that are looked through for one that changes a value."""

PATIENCE = 10.0
"""Seconds in which a thread, or whatever the code waits for besides effects, may bring it to the next event."""

LOOK_AHEAD = 10_000
"""Events among which a read is looked for that is not recorded next."""

POLL = 0.002

CALM_PASSES = 3
"""Passes of the loop in which a recorded cancellation may still come of itself."""


class Replayer:
    """Compares code with the log of its run.

    Args:
        run: The run, with a live state that is not in use yet.
        first: Seq of the first event to compare; the state before it is the live state's.
        last: Last seq; what is recorded later does not count.
        reader: Reads the log; None for the run's own, which is of no use once the store is closed.

    Attributes:
        run: The run.
        position: Seq of the last recorded event the code has come to.
        last: Last recorded seq.
        effects: Effects answered from the log.
        added_reads: Reads the log does not have.
        missing_reads: Reads only the log has.
        goes_on: Whether the run is written again where its log ends.
    """

    goes_on = False

    def __init__(self, run: Run, first: int, last: int, reader: Reader | None = None) -> None:
        self.run = run
        self.position = first - 1
        self.last = last
        self.effects = self.added_reads = self.missing_reads = 0
        self._reader = run.store.reader(run.number) if reader is None else reader
        self._coming: deque[tuple[int, e.Event]] = deque()
        self._source: Iterator[tuple[int, e.Event]] = self._reader.events(first, last)
        self._waits: dict[int, Wait] = {}
        self._last_outcomes = _last(self._reader.events(first, last))
        self._earlier: dict[int, OutcomeEvent] = {}  # arrived, and not what the program saw: that comes later
        self._threads = Threads()
        self._moved = (time.monotonic(), 0)  # when, and by the clock of the log
        self._turn = threading.Condition(run.lock)
        self._calm = (0, 0)  # how often everything was blocked at a position
        self._error: Diverged | CallInDoubt | None = None
        self._interrupted = False  # what the code still does is no more than its ending: it is not recorded

    def begin(self, state: State) -> None:
        """Take the place of the log's end."""
        self.run.begin_replay(self, state)
        self.run.opened_at = self.position
        with self._turn:
            self._take_from_outside()

    # --- what the code does --------------------------------------------------------------------

    def record(self, event: e.Event, size: int = 0) -> int:
        """Take what the code does as the next recorded event and return that one's seq.

        Raises:
            Diverged: It is not.
        """
        with self._turn:
            while True:
                if self.run.replaying is not self:
                    return self.run.record(event, size)
                self._require_intact()
                if self._interrupted:
                    apply(self.run.replayed_state, event)
                    return self.position
                if isinstance(event, e.LabelSet) and (labelled := self._labelled(event.label)) is not None:
                    return labelled
                self._take_outcomes()
                coming = self._peek()
                if coming is None:
                    self.ended(event)
                    continue
                if same(coming[1], event):
                    return self._consumed(event)
                if not self._others_came(coming, event):
                    self.leave(coming, event)

    def _labelled(self, label: str) -> int | None:
        """Take a label that is recorded next, beside reads and what came from outside, as the one the code sets."""
        self._take_outcomes(reads=True)
        for count, (_, event) in enumerate(itertools.islice(self._ahead(), _FARTHEST)):
            if not isinstance(event, PASSED_OVER):
                return None
            if isinstance(event, e.LabelSet) and event.label == label:
                for _ in range(count):
                    self.missing_reads += isinstance(self._coming[0][1], e.FieldRead)
                    self._consumed(self._coming[0][1])
                return self._consumed(event)
        return None

    def read(self, event: e.FieldRead) -> bool:
        """Take note of a read; False if the log is at its end and the run goes on for real."""
        with self._turn:
            if self.run.replaying is not self:
                return False
            self._require_intact()
            if self._interrupted:
                return True
            self._take_outcomes(reads=True)
            if self._threads.running and self._wait_to_read(event):
                return self.run.replaying is self
            skipped: list[tuple[int, e.Event]] = []
            while (coming := self._peek(reads=True)) is not None and isinstance(coming[1], PASSED_OVER):
                if same(coming[1], event):
                    for _, passed in skipped:
                        self.missing_reads += isinstance(passed, e.FieldRead)
                        apply(self.run.replayed_state, passed)
                    self._consumed(coming[1])
                    return True
                skipped.append(self._coming.popleft())
            self._coming.extendleft(reversed(skipped))
            if coming is None and not skipped:
                self.ended(event)
                return self.run.replaying is self
            self.added_reads += 1
            return True

    def _wait_to_read(self, event: e.FieldRead) -> bool:
        """Read in turn, beside threads; False for a read that is not recorded, or that nobody lets come."""
        while self.run.replaying is self:
            self._require_intact()
            self._take_outcomes(reads=True)
            # A line of code or a label is nobody's turn: who comes next is said by what follows it.
            coming = next((found for found in self._ahead() if not isinstance(found[1], FROM_OUTSIDE)), None)
            if coming is not None and same(coming[1], event):
                self._consumed_through(coming)
                return True
            if coming is None or not self._is_ahead(event) or not self._others_came(coming, event):
                return False
        return True

    def _is_ahead(self, event: e.FieldRead) -> bool:
        """Whether a read is recorded later."""
        return any(same(coming, event) for _, coming in itertools.islice(self._ahead(), LOOK_AHEAD))

    def _ahead(self) -> Iterator[tuple[int, e.Event]]:
        """What is recorded next, and stays so."""
        for number in itertools.count():
            if number >= len(self._coming):
                found = next(self._source, None)
                if found is None:
                    return
                self._coming.append(found)
            yield self._coming[number]

    def thread_began(self, seq: int) -> None:
        """A thread of the run is under way, and then it is the one that says so: its effect is `seq`."""
        with self._turn:
            self._threads.running[seq] = threading.get_ident() if seq in self._threads.running else None

    def thread_ended(self, seq: int) -> None:
        """A thread of the run records nothing more."""
        with self._turn:
            self._threads.running.pop(seq, None)
            self._turn.notify_all()

    def expect(self, wait: Wait) -> None:
        """Hand the outcome of an effect to `wait` when the log comes to it."""
        with self._turn:
            if self.run.replaying is not self:
                self.launch(wait)
                return
            if self._interrupted:
                wait.refuse(asyncio.CancelledError())
                return
            self._waits[wait.effect.ticket.seq] = wait
        wait.dispatcher.wake()

    def forget(self, wait: Wait) -> None:
        """Expect nothing for a wait that was cancelled, unless its outcome is recorded before that."""
        with self._turn:
            if self.run.replaying is self and self._error is None:
                self._take_outcomes(reads=True)
            self._waits.pop(wait.effect.ticket.seq, None)
            wait.arrived = wait.arrived or wait.effect.ticket.seq in self._earlier

    def take(self, effect: Effect) -> OutcomeEvent | None:
        """Return the recorded outcome of a plain function's effect; None if the call has to be made."""
        with self._turn:
            recorded = self._recorded(effect)
        return self.doubtful(effect) if recorded is None else recorded

    def _recorded(self, effect: Effect) -> OutcomeEvent | None:
        """Come to the outcome of an effect in the log; None if the log ends before."""
        while self.run.replaying is self:
            self._require_intact()
            if self._interrupted:
                raise KeyboardInterrupt
            self._take_outcomes()
            coming = self._peek()
            if coming is None:
                self.require_leave([effect])
                self.ended(None)
                continue
            event = coming[1]
            if isinstance(event, OUTCOMES) and event.cause == effect.ticket.seq:
                self._consumed(event)
                self.effects += 1
                return event
            if not self._others_came(coming, effect.ticket.seq):
                reason = f"the code waits for the outcome of {effect.kind!r}, which is not there"
                self.leave(coming, None, reason)
        return None

    # --- what the dispatcher says ----------------------------------------------------------------

    def blocked(self, dispatcher: Dispatcher) -> None:
        """All tasks of the run wait: hand out the next outcome, or see why there is none."""
        with self._turn:
            if (
                self._error is not None
                or self._interrupted
                or self.run.replaying is not self
                or not dispatcher.idle
            ):
                return  # a thread may have handed out something just now
            before = self.position
            self._take_outcomes(reads=True)
            if self.position == before:
                self._take_outcomes()
            if self.position != before:
                dispatcher.wake()
                return
            coming = self._peek()
            if not self._waits:
                return
            if coming is None:
                with contextlib.suppress(CallInDoubt):  # those who wait have been told
                    self.ended(None)
                return
            self._look_again(dispatcher, coming)

    def _look_again(self, dispatcher: Dispatcher, coming: tuple[int, e.Event]) -> None:
        """Nothing can be handed out: a timer, a thread or a connection of the code's own may be what it waits for."""
        event = coming[1]
        if is_cancelled(event) and self._may_be_over():
            dispatcher.wake()
            return
        moves = has_timers(dispatcher) or may_hear(dispatcher) or self._threads.others_may_come(event)
        if not moves or time.monotonic() > self._deadline(event):
            try:
                wanted = self._threads.wanted(event)
                reason = (
                    "the code waits, and nothing that it waits for is recorded next" if wanted is None else ""
                )
                self.leave(coming, wanted, reason)
            except Diverged:
                return  # those who wait have been told
            dispatcher.wake()
            return
        dispatcher.loop.call_later(POLL, dispatcher.wake, context=dispatcher.context)

    def _may_be_over(self) -> bool:
        """Whether the code's coroutine may just have ended: its loop cancels what is left a few passes later."""
        position, passes = self._calm
        self._calm = (self.position, passes + 1 if position == self.position else 1)
        return self._calm[1] <= CALM_PASSES

    def given_up(self, waits: Iterable[int]) -> int | None:
        """Say which wait is to be cancelled next: the one that was; one of which the log knows no end, at once."""
        with self._turn:
            self._interrupted = self._interrupted or is_interruption(None)
            if self._error is None and self.run.replaying is self and not self._interrupted:
                self._take_outcomes(reads=True)
                coming = next(
                    (event for _, event in self._ahead() if not isinstance(event, PASSED_OVER)), None
                )
                if coming is not None and is_cancelled(coming) and coming.cause in waits:
                    return coming.cause
                if coming is not None:
                    waits = (seq for seq in waits if seq not in self._last_outcomes)
            return min(waits, default=None)

    def stuck(self, error: Exception) -> None:
        """A task of the run never waits: those that wait for outcomes are told so."""
        with self._turn:
            self._refuse_all(error)

    def _refuse_all(self, error: Exception) -> None:
        waits, self._waits = list(self._waits.values()), {}
        for wait in waits:
            wait.arrived = True
            wait.refuse(error)

    # --- what is recorded --------------------------------------------------------------------------

    def _peek(self, reads: bool = False) -> tuple[int, e.Event] | None:
        """The next recorded event, None at the end; reads and lines of code are passed over unless asked for."""
        while (coming := next(self._ahead(), None)) is not None:
            if reads or not isinstance(coming[1], PASSED_OVER):
                return coming
            is_read = isinstance(coming[1], e.FieldRead)
            if is_read and self._threads.running and not self._threads.is_mine(coming[1]):
                return coming
            self.missing_reads += is_read
            self._consumed(coming[1])
        return None

    def _consumed(self, event: e.Event) -> int:
        """The code has come to the next recorded event: `event` is that one or equal to it."""
        seq, _ = self._coming.popleft()
        take_note(self.run, seq, event)
        apply(self.run.replayed_state, event)
        self.position = seq
        self._moved = (time.monotonic(), event.time)
        self._take_from_outside()
        self._turn.notify_all()
        return seq

    def _consumed_through(self, coming: tuple[int, e.Event]) -> None:
        """Come to `coming`, passing over what came from outside before it."""
        while self.position < coming[0]:
            self._consumed(self._coming[0][1])

    def _take_from_outside(self) -> None:
        """Change what was changed from outside at this point; the rest of it is passed over when the code goes on."""
        while (count := self._up_to_a_change()) > 0:
            for _ in range(count):
                seq, event = self._coming.popleft()
                apply(self.run.replayed_state, event)
                self.position = seq

    def _up_to_a_change(self) -> int:
        """How many events from outside come next, up to the first that changes a value; 0 if none does."""
        for count, (_, event) in enumerate(itertools.islice(self._ahead(), _FARTHEST), start=1):
            if isinstance(event, CHANGES):
                return count
            if not isinstance(event, FROM_OUTSIDE):
                return 0
        return 0

    def _take_outcomes(self, reads: bool = False) -> None:
        """Hand the outcomes that are recorded next to those who wait for them, passing over reads or not."""
        while (coming := self._peek(reads)) is not None:
            seq, event = coming
            if not isinstance(event, OUTCOMES):
                return
            if is_cancelled(event):
                return
            if self._last_outcomes[event.cause] != seq:
                self._earlier[event.cause] = event
                self._consumed(event)
                continue
            wait = self._waits.pop(event.cause, None)
            if wait is None:
                return
            self._consumed(event)
            self.effects += 1
            wait.arrive(seq, self._earlier.get(event.cause, event))

    def _others_came(self, coming: tuple[int, e.Event], wanted: e.Event | int) -> bool:
        """Wait for another thread to come to the next event; False if there is none, or it took too long."""
        event = coming[1]
        if time.monotonic() > self._deadline(event) or not self._threads.others_may_come(event):
            return self._passed_over(coming)
        me = threading.get_ident()
        self._threads.waiting[me] = wanted
        self._turn.notify_all()  # those who wait may see by this that nobody comes any more
        try:
            self._turn.wait(0.05)
        finally:
            del self._threads.waiting[me]
        return True

    def _passed_over(self, coming: tuple[int, e.Event]) -> bool:
        """Pass over a read that nobody comes to."""
        if not isinstance(coming[1], e.FieldRead):
            return False
        self.missing_reads += 1
        self._consumed_through(coming)
        return True

    def _deadline(self, coming: e.Event) -> float:
        """Until when to wait for whatever brings the next event: as long as it took then, and some time more."""
        when, recorded = self._moved
        took = (coming.time - recorded) / 1e6 if recorded else 0.0
        return when + PATIENCE + max(0.0, took)

    # --- leaving the log -----------------------------------------------------------------------

    def _require_intact(self) -> None:
        if self._error is not None:
            raise self._error

    def leave(self, coming: tuple[int, e.Event], event: e.Event | None, reason: str = "") -> None:
        """Stop at a divergence, unless what follows in the log is only how an interrupted process ended."""
        if is_interruption(event):
            self._interrupted = True
            return
        if self.may_pass_ending(coming):
            return
        found = divergence(coming[0], coming[1], event, self.rest(), reason)
        self._error = self.diverged(found)
        self._refuse_all(self._error)
        raise self._error

    def rest(self) -> Iterator[tuple[int, e.Event]]:
        """What is recorded after the present position."""
        return self._reader.events(self.position + 1, self.last)

    def may_pass_ending(self, coming: tuple[int, e.Event]) -> bool:
        """Pass over the end of an interrupted process, where the run was resumed behind it before."""
        between: list[tuple[int, e.Event]] = []
        for seq, event in self.rest():
            if isinstance(event, e.StateRestored) and self._came_from(event.back_to):
                if not only_ends(between):
                    return False
                self.pass_to(seq)
                return True
            between.append((seq, event))
        return False

    def is_cut_short(self) -> bool:
        """Whether what is recorded from here on is only how a process ended that was cut short."""
        rest = list(self.rest())
        return any(is_mark(event) for _, event in rest) and only_ends(rest)

    def _came_from(self, seq: int) -> bool:
        """Whether nothing of the code's own doing is recorded between a seq and the present position."""
        since = self._reader.events(seq + 1, self.position) if seq < self.position else ()
        return seq <= self.position and all(
            isinstance(event, (*OUTCOMES, *PASSED_OVER)) for _, event in since
        )

    def pass_to(self, seq: int) -> None:
        """Skip recorded events up to `seq`; outcomes among them reach those who wait."""
        while (coming := self._peek(reads=True)) is not None and coming[0] <= seq:
            self._coming.popleft()
            self.position = coming[0]
            take_note(self.run, *coming)
            self._hand_over(coming)
        self._take_from_outside()
        self._turn.notify_all()

    def _hand_over(self, coming: tuple[int, e.Event]) -> None:
        seq, event = coming
        if isinstance(event, OUTCOMES) and (event.cause in self._earlier or not is_cancelled(event)):
            wait = self._waits.pop(event.cause, None)
            if wait is not None:
                wait.arrive(seq, self._earlier.get(event.cause, event))

    def waiting(self) -> list[Wait]:
        """Those who wait for an outcome, in the order of asking."""
        return [self._waits[seq] for seq in sorted(self._waits)]

    @property
    def broken(self) -> bool:
        """Whether the code left the log, or may not go on behind it: nothing is recorded any more."""
        return self._error is not None

    def next_seq(self) -> int | None:
        """Seq of the next recorded event that is no read, None at the end. The caller holds the run's lock."""
        coming = self._peek()
        return None if coming is None else coming[0]

    # --- for subclasses --------------------------------------------------------------------------

    def ended(self, event: e.Event | None) -> None:
        """The log is at its end and the code goes on, with `event` if it is known."""
        raise self.diverged(divergence(self.last + 1, None, event, ()))

    def diverged(self, found: Divergence) -> Diverged:
        """Say that the code left the log, and return what it gets to hear."""
        return Diverged(str(found), found)

    def require_leave(self, effects: Iterable[Effect]) -> None:
        """Raise, while the run is unchanged, if calls that had left must not be made again."""

    def doubtful(self, effect: Effect) -> OutcomeEvent | None:
        """Decide about a call that had left, whose outcome is not recorded: the outcome it gets; None to make it."""
        return None

    def launch(self, wait: Wait) -> None:
        """Make a call for which nothing is recorded."""
        wait.start()

    def finish(self) -> None:
        """The code has ended."""


def _last(events: Iterator[tuple[int, e.Event]]) -> dict[int, int]:
    """Seq of the last outcome of each effect: that is the one the program saw."""
    return {event.cause: seq for seq, event in events if isinstance(event, OUTCOMES)}
