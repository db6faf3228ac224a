"""Effects: calls whose answer the program cannot compute itself, through one chokepoint.

Before the call leaves, its intent is durable; before the program continues, its outcome is. Intents made
together share a commit, and so do outcomes that arrive together. An effect's key is its rollout, the digest
of its request and how many equal requests the rollout made before: never a name, a batch position or the
order of arrival. In a replay the answer comes from the log, in a fork from its parent where it can, in a test from
its cassette.
"""

from __future__ import annotations

import time
import warnings
from asyncio import CancelledError
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from eventcore.errors import InvalidValue, ModelFailed, TracingError
from eventcore.history import events as e
from eventcore.history.run import Run
from eventcore.history.scope import current_run, in_effect, scope
from eventcore.history.state import digest_of, size_of
from eventcore.history.values import canonical
from eventcore.replay.outcomes import CANCELLED, Outcome, Ticket, outcome_of
from eventcore.replay.raised import class_name, held_by, message_of, raised_by
from eventcore.replay.reuse import Answer, recorded_answer, stamped, tape_here
from eventcore.replay.secrets import redacted
from eventcore.replay.spending import require_budget, sort_of, spending, take_note
from eventcore.replay.under_way import UnderWay
from eventcore.replay.waiting import OutcomeEvent, Wait

if TYPE_CHECKING:
    from eventcore.replay.replayer import Replayer

__all__ = ["Effect", "Outcome", "Ticket", "perform", "perform_now"]

_ordinals: WeakKeyDictionary[Run, Counter[tuple[str, str]]] = WeakKeyDictionary()
_warned: WeakKeyDictionary[Run, bool] = WeakKeyDictionary()


async def perform(
    kind: str,
    request: dict[str, Any],
    call: Callable[[Ticket], Awaitable[Outcome]],
    *,
    variable: int | None = None,
    paid: bool = False,
) -> Outcome:
    """Carry out one effect and return its outcome once it is durable and it is this task's turn.

    Args:
        kind: "language_model", "embedding", or the name of a user's effect.
        request: What is asked, JSON; secrets in it are redacted in the log and left out of the digest.
        call: Makes the request. Its exception is recorded as a failure and raised again.
        variable: Number of the variable whose module asks, for attribution.
        paid: Whether money is spent: in a run that is only in memory this warns once.

    Returns:
        The outcome, its answer canonical JSON.

    Raises:
        TracingError: Inside a traced call.
        InvalidValue: Inside the call of another effect.
        BudgetExceeded: The run's budget is spent; the call did not leave.
        SchemaMismatch: The request or the answer is no JSON value.
        StorageError: The intent could not be made durable; the call did not leave.
        Diverged: The code is run again, and its log has another request here.
        CallNotRecorded: A cassette is in use that does not have it and makes no calls.
    """
    effect = Effect(kind, request, variable, paid)

    async def made(ticket: Ticket) -> Outcome:
        with effect.under_way.entered():
            return await call(ticket)

    return await Wait(effect, made).outcome()


def perform_now(
    kind: str,
    request: dict[str, Any],
    call: Callable[[Ticket], Outcome],
    *,
    variable: int | None = None,
    paid: bool = False,
) -> Outcome:
    """Carry out one effect of a plain function; otherwise like `perform`. Blocks while it is made durable."""
    effect = Effect(kind, request, variable, paid)
    recorded = effect.recorded()
    if recorded is not None:
        if isinstance(recorded, e.EffectFailed):
            raise raised_by(recorded)
        return outcome_of(recorded)
    effect.run.settle()
    try:
        with in_effect(kind), effect.under_way.entered():
            answered = call(effect.ticket)
        _, _, outcome = effect.completed(answered)
    except Exception as error:
        effect.failed(error)
        effect.run.settle()
        raise
    effect.run.settle()
    return outcome


class Effect:
    """One effect from intent to outcome, whoever waits for it.

    Attributes:
        kind: What it is.
        run: The run it belongs to.
        ticket: Its place and key.
        paid: Whether it costs money.
        asked: Its intent.
        tape: What keeps its outcome besides the run, or None.
        moment: Whether it stands for a moment only (a sleep, the end of a thread): nothing is sent, so it is no
            call, is never in doubt and never reused.
        replayer: What its outcome is taken from while the code is run again, else None.
        reused: The recorded outcome of an equal request of the parent or a cassette, else None.
        reused_seq: Where that was recorded here.
        under_way: What its call says of itself.
    """

    def __init__(
        self,
        kind: str,
        request: dict[str, Any],
        variable: int | None = None,
        paid: bool = False,
        moment: bool = False,
    ) -> None:
        here = scope()
        if here.overlay is not None:
            raise TracingError(
                f"cannot perform effect {kind!r} while a graph is traced: placeholders have no answer"
            )
        if here.effect is not None:
            raise InvalidValue(
                f"cannot perform effect {kind!r} inside effect {here.effect!r}: that one is answered from the log when "
                "the run is replayed, and this one would never be asked; call it outside, and pass its answer in"
            )
        self.kind = kind
        self.run = run = current_run()
        self.paid = paid
        self.moment = moment
        self.tape = None if moment else tape_here()
        if paid and self.tape is None and not run.store.backend.durable:
            _warn_once(run)
        asked = canonical(redacted(request), f"the request of {kind}")
        self.ticket = Ticket(0, "")
        self.under_way = UnderWay(run, kind)
        self.reused: Answer | None = None
        self.reused_seq = 0
        self._intend(asked, here.rollout, variable)
        replaying: Any = run.replaying
        self.replayer: Replayer | None = replaying
        self._began = time.monotonic_ns()

    def _intend(self, asked: Any, rollout: str | None, variable: int | None) -> None:
        run = self.run
        digest = digest_of([self.kind, asked])[:32]
        counter = _ordinals.get(run)
        if counter is None:
            counter = _ordinals[run] = _asked_before(run)
        place = (rollout or "", digest)
        ordinal = counter[place]
        source = run.source()
        self.asked = e.EffectStarted(*run.stamp(), self.kind, digest, ordinal, asked, variable, source)
        replaying = run.replaying is not None
        # Before the intent: a call that may not be made leaves nothing behind.
        found = None if replaying or self.moment else recorded_answer(run, self.asked)
        if run.budget is not None:
            spending(run)  # the fold waits for commits, which need the lock
        with run.lock:  # no other thread's call comes between
            if found is None and not replaying and not self.moment:
                require_budget(run, sort_of(self.kind, asked))
            counter[place] += 1
            seq = self._record(self.asked, size_of(asked) + 64)
        self.under_way.key = key = f"{place[0]}#{digest}#{ordinal}"
        self.ticket = Ticket(seq, key)
        if found is not None:
            self._take(found)
        elif replaying and run.replaying is None:
            self.reuse()

    def reuse(self) -> bool:
        """Take the recorded outcome of an equal request, and record so, if there is one.

        Raises:
            CallNotRecorded: There is none, and none may be made. The call is in doubt then: a resumed run makes it.
        """
        found = None if self.moment else recorded_answer(self.run, self.asked)
        if found is not None:
            self._take(found)
        return found is not None

    def _take(self, found: Answer) -> None:
        moment, _, _ = self.run.stamp()
        self.reused = stamped(found, moment, self.asked.rollout, self.ticket.seq)
        size = 0 if isinstance(found, e.EffectFailed) else size_of(found.answer)
        self.reused_seq = self._record(self.reused, size + 64)

    def recorded(self) -> OutcomeEvent | None:
        """Return the outcome of a plain function's effect if it need not be called."""
        return self.reused if self.replayer is None else self.replayer.take(self)

    def completed(self, outcome: Outcome) -> tuple[int, e.EffectCompleted, Outcome]:
        """Record the outcome; return its seq, its event, and it with its answer as canonical JSON."""
        answer = canonical(outcome.answer, f"the answer of {self.kind}")
        outcome = self._with_spent(msgspec.structs.replace(outcome, answer=answer))
        event = e.EffectCompleted(
            *_stamp(self.run, self.ticket.seq), answer, outcome.model, outcome.input_tokens, outcome.output_tokens,
            outcome.cost, (time.monotonic_ns() - self._began) // 1000, outcome.attempts,
        )  # fmt: skip
        seq = self._record(event, size_of(answer))
        if self.tape is not None:
            self.tape.keep(self.asked, event)
        return seq, event, outcome

    def _with_spent(self, outcome: Outcome) -> Outcome:
        """Count what the call said it spent; from here on it can say no more."""
        here = self.under_way
        here.over = True
        return msgspec.structs.replace(
            outcome,
            input_tokens=outcome.input_tokens + here.input_tokens,
            output_tokens=outcome.output_tokens + here.output_tokens,
            cost=float(outcome.cost) + here.cost,
        )

    def failed(self, error: BaseException, sent: bool = True) -> tuple[int, e.EffectFailed]:
        """Record that the call failed for good, and return the seq and event of that.

        Args:
            error: What it raised.
            sent: Whether that counts as a call; False where its outcome is recorded already.
        """
        name = CANCELLED if isinstance(error, CancelledError) else type(error).__name__
        told: ModelFailed = error if isinstance(error, ModelFailed) else ModelFailed("", name)
        message, held = message_of(error), {} if name == CANCELLED else held_by(error)
        spent = Outcome(None, "", told.input_tokens, told.output_tokens, told.cost, told.attempts)
        spent = self._with_spent(spent) if sent and not self.moment else Outcome(None, attempts=0)
        event = e.EffectFailed(
            *_stamp(self.run, self.ticket.seq), told.kind, message, (time.monotonic_ns() - self._began) // 1000,
            spent.attempts, spent.input_tokens, spent.output_tokens, spent.cost, class_name(error), held,
        )  # fmt: skip
        seq = self._record(event, len(message) + size_of(held) + 64)
        if self.tape is not None and sent:
            self.tape.keep(self.asked, event)
        return seq, event

    def record_again(self, event: OutcomeEvent) -> None:
        """Record an outcome once more, as one that cost nothing: here the program sees it."""
        moment = _stamp(self.run, self.ticket.seq)
        if isinstance(event, e.EffectFailed):
            again: e.Event = e.EffectFailed(
                *moment, event.error, event.message, 0, 0, raised=event.raised, held=event.held
            )
        else:
            again = e.EffectCompleted(*moment, event.answer, event.model, 0, 0, 0.0, 0, 0)
        self._record(again, 64)

    def _record(self, event: e.Event, size: int) -> int:
        seq = self.run.record(event, size)
        if self.run.replaying is None:  # or else the replayer took note of it
            take_note(self.run, seq, event)
        return seq


def _asked_before(run: Run) -> Counter[tuple[str, str]]:
    """Count the requests made before in this run: a key must never stand for two calls.

    Code that is run again makes them anew, so only what lies before it counts.
    """
    asked: Counter[tuple[str, str]] = Counter()
    for record in run.events(run.first_stored, kind=e.EffectStarted):
        if isinstance(record.event, e.EffectStarted):
            asked[(record.event.rollout or "", record.event.digest)] += 1
    return asked


def _stamp(run: Run, cause: int) -> tuple[int, str | None, int]:
    moment, rollout, _ = run.stamp()
    return moment, rollout, cause


def _warn_once(run: Run) -> None:
    if run not in _warned:
        _warned[run] = True
        warnings.warn(
            "a paid call is recorded in memory only and is gone when the process ends; "
            "open a store first: run = eventcore.open('runs.lmdb').run()",
            stacklevel=6,
        )
