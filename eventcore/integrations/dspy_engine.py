"""The engine under a recorded `dspy.LM`: what DSPy asks for is an effect, what it gets is the recorded answer.

DSPy hands an engine one request at a time and wants one response. Its cache, its history and its bookkeeping lie
above, and the model that really answers, with its retries, lies below. A call in a thread of DSPy's own is refused:
which of them comes first is nobody's decision, so it could not be the same again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dspy  # pyright: ignore[reportMissingTypeStubs]
from dspy._vendor.lm15 import serde  # pyright: ignore[reportMissingTypeStubs]
from dspy.lm15 import Request, Response, response_to_events  # pyright: ignore[reportMissingTypeStubs]
from dspy.utils import exceptions  # pyright: ignore[reportMissingTypeStubs]

from eventcore.errors import InvalidValue
from eventcore.history.scope import scope
from eventcore.integrations.attribution import attributed_to
from eventcore.integrations.halting import halting
from eventcore.replay.effects import Outcome, Ticket, perform, perform_now
from eventcore.replay.secrets import redacted_text

KIND = "dspy.lm"


class Needed(BaseException):
    """Says what an engine that may not ask is asked for.

    Attributes:
        request: The request.
    """

    def __init__(self, request: Request) -> None:
        super().__init__("an answer is needed")
        self.request = request


_at_hand: ContextVar[list[Outcome] | None] = ContextVar("eventcore_dspy_answers", default=None)


class RecordedEngine:
    """Answers requests of a `dspy.LM` by another model, every call an effect.

    Args:
        lm: The model that answers.

    Attributes:
        lm: The model that answers.
        spent: US dollars of the answers since this was last set to 0.
    """

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.spent = 0.0
        self._paid = isinstance(getattr(lm, "engine", None), str)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("supports_") or name == "supported_params":
            return getattr(self.lm, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __deepcopy__(self, memo: Any) -> RecordedEngine:
        return self  # a copied program asks the same model

    def complete(self, request: Request) -> Response:
        """Answer one request."""
        answers = _at_hand.get()
        if answers is None:
            outcome = self._ask(request)
        elif answers:
            outcome = answers.pop(0)
        else:
            raise Needed(request)
        self.spent += outcome.cost
        return serde.response_from_dict(outcome.answer)

    def stream(self, request: Request) -> Iterator[Any]:
        """Answer one request in pieces, all of them there when the first one is."""
        events: Iterator[Any] = iter(response_to_events(self.complete(request)))
        return events

    def close(self) -> None:
        """Leave the model open: it is borrowed."""

    @halting
    def _ask(self, request: Request) -> Outcome:
        _require_own_thread()

        def call(ticket: Ticket) -> Outcome:
            with _Asked(self.lm) as asked:
                return asked.outcome(asked.lm(request, cache=False))

        try:
            return perform_now(
                KIND, serde.request_to_dict(request), call, variable=attributed_to(), paid=self._paid
            )
        except exceptions.LMError as error:
            raise _same_again(error) from error

    async def ask(self, request: Request) -> Outcome:
        """Answer one request in an event loop."""

        async def call(ticket: Ticket) -> Outcome:
            with _Asked(self.lm) as asked:
                if self._paid:
                    return asked.outcome(await asked.lm.acall(request, cache=False))
                # An engine of one's own need not have an asynchronous side.
                return asked.outcome(await asyncio.to_thread(asked.lm, request, cache=False))

        try:
            return await perform(
                KIND, serde.request_to_dict(request), call, variable=attributed_to(), paid=self._paid
            )
        except exceptions.LMError as error:
            raise _same_again(error) from error


@contextmanager
def at_hand(answers: list[Outcome]) -> Generator[None]:
    """Context manager: an engine asks nobody; it has these answers, and says what it needs beyond them."""
    token = _at_hand.set(answers)
    try:
        yield
    finally:
        _at_hand.reset(token)


class _Asked:
    """One call of the model below: outside DSPy's history and counters, which the model above writes."""

    def __init__(self, lm: Any) -> None:
        self._entries: list[dict[str, Any]] = []
        self.lm = lm.copy()
        self.lm.update_history = self._entries.append
        self.lm.callbacks = []
        self._apart: Any = dspy.context(
            callbacks=[], disable_history=False, send_stream=None, usage_tracker=None
        )

    def __enter__(self) -> _Asked:
        self._apart.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._apart.__exit__(*details)

    def outcome(self, response: Response) -> Outcome:
        entry = self._entries[-1] if self._entries else {}
        usage = response.usage
        return Outcome(
            serde.response_to_dict(response, include_provider_data=True),
            response.model or "",
            int(usage.input_tokens or 0),
            int(usage.output_tokens or 0),
            float(entry.get("cost") or 0.0),
        )


def _same_again(error: Exception) -> Exception:
    """Make the error a program gets: as much of it as the log holds, whether it was raised or recorded."""
    kind = getattr(exceptions, type(error).__name__, exceptions.LMUnexpectedError)
    same: Exception = kind(message=redacted_text(str(error))[:2000])
    return same


def _require_own_thread() -> None:
    if threading.current_thread() is threading.main_thread() or scope().run is not None:
        return
    raise InvalidValue(
        f"cannot record a call of a model in thread {threading.current_thread().name!r}: which thread calls first "
        "is not the same when the script is run again; pass num_threads=1 to the optimizer or to dspy.Evaluate"
    )
