"""Effects: calls whose answer the program cannot compute itself, through one chokepoint.

Before the call leaves, its intent is durable; before the program continues, its outcome is. Intents made
together share a commit, and so do outcomes that arrive together. An effect's key is its rollout, the digest
of its request and how many equal requests the rollout made before: never a name, a batch position or the
order of arrival.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from eventcore.errors import TracingError
from eventcore.history import events as e
from eventcore.history.run import Run
from eventcore.history.scope import current_run, scope
from eventcore.history.state import digest_of, size_of
from eventcore.history.values import canonical
from eventcore.replay.secrets import redacted, redacted_text
from eventcore.replay.spending import begun, ended


class Outcome(msgspec.Struct, frozen=True):
    """What an effect came back with.

    Attributes:
        answer: A JSON value.
        model: Which model answered, "" if that means nothing.
        input_tokens: Tokens of the request, 0 if unknown.
        output_tokens: Tokens of the answer, 0 if unknown.
        cost: US dollars, 0.0 if unknown.
        attempts: Requests sent, retries included.
    """

    answer: Any
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    attempts: int = 1


class Ticket(msgspec.Struct, frozen=True):
    """An effect under way.

    Attributes:
        seq: Seq of its `EffectStarted`.
        key: Stable identity: rollout, digest, ordinal. Providers that take one get it as idempotency key.
    """

    seq: int
    key: str


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
    """Carry out one effect and return its outcome once it is durable.

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
        BudgetExceeded: The run's budget is spent; the call did not leave.
        SchemaMismatch: The request or the answer is no JSON value.
        StorageError: The intent could not be made durable; the call did not leave.
    """
    under_way = _Effect(kind, request, variable, paid)
    with under_way:
        await under_way.run.settled(under_way.ticket.seq)
        try:
            outcome = under_way.completed(await call(under_way.ticket))
        except Exception as error:
            await under_way.run.settled(under_way.failed(error))
            raise
        await under_way.run.settled(under_way.outcome_seq)
    return outcome


def perform_now(
    kind: str,
    request: dict[str, Any],
    call: Callable[[Ticket], Outcome],
    *,
    variable: int | None = None,
    paid: bool = False,
) -> Outcome:
    """Carry out one effect of a plain function; otherwise like `perform`. Blocks while it is made durable."""
    under_way = _Effect(kind, request, variable, paid)
    with under_way:
        under_way.run.settle()
        try:
            outcome = under_way.completed(call(under_way.ticket))
        except Exception as error:
            under_way.failed(error)
            under_way.run.settle()
            raise
        under_way.run.settle()
    return outcome


class _Effect:
    """One effect from intent to outcome, whoever waits for the commits."""

    def __init__(self, kind: str, request: dict[str, Any], variable: int | None, paid: bool) -> None:
        here = scope()
        if here.overlay is not None:
            raise TracingError(
                f"cannot perform effect {kind!r} while a graph is traced: placeholders have no answer"
            )
        self.kind = kind
        self.run = run = current_run()
        if paid and not run.store.backend.durable:
            _warn_once(run)
        asked = canonical(redacted(request), f"the request of {kind}")
        begun(run)
        self._recorded: e.Event | None = None
        self.outcome_seq = 0
        try:
            self.ticket = self._intend(asked, here.rollout, variable)
        except BaseException:
            ended(run, None)
            raise
        self._began = time.monotonic_ns()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        ended(self.run, self._recorded)

    def _intend(self, asked: Any, rollout: str | None, variable: int | None) -> Ticket:
        run = self.run
        digest = digest_of([self.kind, asked])[:32]
        counter = _ordinals.get(run)
        if counter is None:
            counter = _ordinals[run] = _asked_before(run)
        place = (rollout or "", digest)
        ordinal = counter[place]
        counter[place] += 1
        source = run.source()
        event = e.EffectStarted(*run.stamp(), self.kind, digest, ordinal, asked, variable, source)
        return Ticket(run.record(event, size_of(asked) + 64), f"{place[0]}#{digest}#{ordinal}")

    def completed(self, outcome: Outcome) -> Outcome:
        """Record the outcome and return it with its answer as canonical JSON."""
        answer = canonical(outcome.answer, f"the answer of {self.kind}")
        event = e.EffectCompleted(
            *_stamp(self.run, self.ticket.seq), answer, outcome.model, outcome.input_tokens, outcome.output_tokens,
            float(outcome.cost), (time.monotonic_ns() - self._began) // 1000, outcome.attempts,
        )  # fmt: skip
        self.outcome_seq = self.run.record(event, size_of(answer))
        self._recorded = event
        return msgspec.structs.replace(outcome, answer=answer)

    def failed(self, error: Exception) -> int:
        """Record that the call failed for good and return the seq of that."""
        attempts: int = getattr(error, "attempts", 1)
        message = redacted_text(str(error))[:2000].encode("utf-8", "replace").decode()
        latency = (time.monotonic_ns() - self._began) // 1000
        kind: str = getattr(error, "kind", type(error).__name__)
        event = e.EffectFailed(
            *_stamp(self.run, self.ticket.seq), kind, message, latency, attempts,
            getattr(error, "input_tokens", 0), getattr(error, "output_tokens", 0), getattr(error, "cost", 0.0),
        )  # fmt: skip
        seq = self.run.record(event, len(message) + 32)
        self._recorded = event
        return seq


def _asked_before(run: Run) -> Counter[tuple[str, str]]:
    """Count the requests an earlier process made in this run: a key must never stand for two calls."""
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
