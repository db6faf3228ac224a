"""One paid request from intent to outcome, the same for language and embedding models.

Puts together what stands next door: the effect that makes it part of the log, retries, the cache, and the
secrets that must stay out. What is sent, and what its answer means, the models know.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from eventcore.errors import EventcoreError, ModelFailed
from eventcore.history.scope import current_run
from eventcore.history.state import digest_of
from eventcore.history.values import canonical
from eventcore.language_models.answers_cache import AnswersCache
from eventcore.language_models.credentials import known_secrets, scrubbed, without_login, without_secrets
from eventcore.language_models.retrying import Patience, persist
from eventcore.replay.effects import Outcome, Ticket, perform
from eventcore.replay.randomness import stream
from eventcore.replay.secrets import redacted_text
from eventcore.variables.variable import Variable

JsonDict = dict[str, Any]

_CONNECTION = frozenset(
    {
        "api_base", "api_version", "base_url", "cache", "client", "custom_llm_provider", "deployment_id",
        "extra_headers", "headers", "max_retries", "metadata", "num_retries", "organization", "project",
        "request_timeout", "timeout", "user", "verify", "ssl_verify",
    }
)  # fmt: skip
"""Arguments that say how a model is reached, not what it is asked; they are no part of a request's identity."""


_LONGEST_MESSAGE = 600
"""Some libraries put a whole traceback into the text of an error."""


class Connection(msgspec.Struct, frozen=True):
    """How a model is reached.

    Attributes:
        model: Its name, as the user wrote it; "" for a function.
        api_base: Address of the server, or None for the provider's own.
        patience: Timeout and retries.
        arguments: Further arguments of every call.
        cache: Answers of equal requests, or None.
        function: Called instead of litellm, or None.
        threaded: Whether a plain function is called in a thread of its own.
    """

    model: str
    api_base: str | None
    patience: Patience
    arguments: Mapping[str, Any]
    cache: AnswersCache | None
    function: Callable[..., Any] | None
    threaded: bool

    def arguments_config(self) -> JsonDict:
        """The further arguments fit for a config: without secrets."""
        found: JsonDict = without_secrets(self.arguments)
        return found

    def address_config(self) -> str | None:
        """The address without the login in it."""
        return None if self.api_base is None else without_login(self.api_base)


class Spent:
    """What the attempts of one request used up, the unusable answers included."""

    def __init__(self) -> None:
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = 0.0

    def add(self, input_tokens: int, output_tokens: int, cost: float) -> None:
        """Count one answer, usable or not."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost += cost


Answered = tuple[JsonDict, str]
"""An answer for the log, and which model gave it."""
Send = Callable[[Ticket, int, Spent], Awaitable[Answered]]


async def ask(
    kind: str, connection: Connection, request: JsonDict, send: Send, variable: Any = None
) -> Outcome:
    """Ask a model, as an effect of the current run.

    Args:
        kind: "language_model" or "embedding".
        connection: How the model is reached.
        request: What is asked, for the log and for the identity of the request.
        send: Makes one attempt. It is given the ticket, the number of unusable answers before, and what to
            count its use in. It raises `SchemaMismatch` for an answer that cannot be used.
        variable: The `Variable`, or number of one, this is asked on behalf of.

    Raises:
        ModelFailed: There is no usable answer; the failure is recorded.
    """
    secrets = known_secrets(connection.arguments, {"api_base": connection.api_base})
    kept = scrubbed(request, secrets)

    def shown(text: str) -> str:
        text = redacted_text(scrubbed(text, secrets))
        return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} …"

    async def call(ticket: Ticket) -> Outcome:
        digest = digest_of([kind, kept]) if connection.cache is not None else ""
        found = connection.cache.get(digest) if connection.cache is not None else None
        if found is not None:
            return Outcome(found["answer"], found["model"], attempts=0)
        spent = Spent()
        rng = stream(current_run().seed, "backoff", ticket.key)
        try:
            (answer, model), attempts = await persist(
                lambda unusable: send(ticket, unusable, spent), connection.patience, rng, shown
            )
        except ModelFailed as error:
            error.input_tokens, error.output_tokens = spent.input_tokens, spent.output_tokens
            error.cost = spent.cost
            raise
        answer = scrubbed(answer, secrets)
        if connection.cache is not None:
            connection.cache.put(digest, {"answer": answer, "model": model})
        model = model or str(request["model"])
        return Outcome(answer, model, spent.input_tokens, spent.output_tokens, spent.cost, attempts)

    number = variable.number if isinstance(variable, Variable) else variable
    return await perform(kind, kept, call, variable=number, paid=connection.function is None)


def identity(arguments: Mapping[str, Any]) -> JsonDict:
    """The part of a call's arguments that says what is asked: no secrets, no connection, only JSON."""
    kept: JsonDict = {}
    for name, value in without_secrets(arguments).items():
        if name in _CONNECTION or value is None:
            continue
        try:
            kept[name] = canonical(value, name)
        except EventcoreError:
            kept[name] = f"<{type(value).__name__}>"  # a client, a callback: no part of a request
    return kept


async def call_function(connection: Connection, *args: Any, **kwargs: Any) -> Any:
    """Call the function that stands in for a model, with those keywords it takes.

    An async one is awaited. A plain one is called right here, so it has to be quick; a slow one belongs in a
    thread (`threaded=True`), where other calls go on meanwhile and the timeout works. Context variables reach
    it either way.
    """
    function = connection.function
    assert function is not None
    taken = accepted(function, kwargs)
    if connection.threaded and not inspect.iscoroutinefunction(function):
        import asyncio

        result = await asyncio.to_thread(function, *args, **taken)
    else:
        result = function(*args, **taken)
    return await result if inspect.isawaitable(result) else result


def accepted(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> JsonDict:
    """The keyword arguments a function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return dict(kwargs)
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return dict(kwargs)
    named = {
        parameter.name
        for parameter in parameters
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    return {name: value for name, value in kwargs.items() if name in named}


def warn_of(error: ModelFailed, what: str, then: str) -> None:
    """Say once that a model failed, and what happens now."""
    warnings.warn(f"{what} gave no answer ({error}); {then}", stacklevel=3)
