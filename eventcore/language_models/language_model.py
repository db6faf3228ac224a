"""`LanguageModel`: asks a model through litellm, or a function of yours, and records every call.

The program is given a data model, or None when the model gave no usable answer; how often it was tried, what
it cost and why it failed is in the log (`EffectStarted`, `EffectCompleted`, `EffectFailed`). Prompts are not
made here; that is `Generator`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from eventcore.errors import InvalidValue, ModelFailed, SchemaMismatch, WrongType
from eventcore.history.scope import current_run, in_tracing
from eventcore.language_models.answers_cache import AnswersCache
from eventcore.language_models.asking import (
    Answered,
    Connection,
    Spent,
    ask,
    call_function,
    identity,
    warn_of,
)
from eventcore.language_models.conversation import as_conversation, for_provider
from eventcore.language_models.default_model import DefaultModel
from eventcore.language_models.litellm_library import arguments_for_tools, cost_of, litellm_here, reasons
from eventcore.language_models.providers import (
    address_of,
    provider_of,
    resolved_model,
    structured_arguments,
    without_refused_nulls,
)
from eventcore.language_models.response import Response, from_function, from_provider, json_in
from eventcore.language_models.retrying import Patience
from eventcore.models.chat import ChatMessage
from eventcore.models.conversion import schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.validation import validator_for
from eventcore.modules.hooks import Hook
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.modules.placeholders import placeholder
from eventcore.replay.effects import Ticket
from eventcore.replay.under_way import key_for_service

JsonDict = dict[str, Any]

_KNOW_IDEMPOTENCY = frozenset({"openai", "azure"})


class LanguageModel(Module):
    """A language model.

    Calling it takes a conversation (a text, `ChatMessages`, a list of messages) and returns a `ChatMessage`, or
    with `schema` a data model of that schema. Trouble on the way and answers that break the schema are tried
    again; then the fallback is asked; then the answer is None, with a warning.

    Args:
        model: Name of the model as litellm knows it ("openai/gpt-4o-mini", "ollama/llama3.2").
        api_base: Address of the server; None for the provider's own.
        timeout: Longest time one attempt may take, in seconds; None for no limit.
        retry: Attempts after the first one.
        retry_max_wait: Longest wait between two attempts, in seconds, whatever the server asks for.
        fallback: A model, or its name, that is asked when this one fails.
        caching: Whether equal requests are answered from memory. Off: the log already spares resumed runs.
        cache_dir: Folder that keeps cached answers beyond this process.
        name: Its name.
        description: What it is for.
        hooks: Told when a call begins and ends.
        function: Called in place of litellm: an async or plain function of the messages (a list of dicts), and
            of `schema` and sampling arguments if it takes them. It returns a str, a dict, a data model or a
            `Response`. A plain one is called in the event loop and has to be quick.
        threaded: Call a plain `function` in a thread, where others go on meanwhile and the timeout works.
        **default_kwargs: Arguments of every call: `temperature`, `api_key`, …

    Raises:
        InvalidValue: Neither model nor function, or a number that cannot be.
    """

    accepts_any_input = True

    def __init__(
        self,
        model: str | None = None,
        api_base: str | None = None,
        timeout: float | None = 600,
        retry: int = 5,
        retry_max_wait: float = 60,
        fallback: Any = None,
        caching: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        hooks: Iterable[Hook] | None = None,
        *,
        function: Callable[..., Any] | None = None,
        threaded: bool = False,
        **default_kwargs: Any,
    ) -> None:
        default_kwargs.pop("trainable", None)  # never, whatever a config says
        super().__init__(name=name, description=description, hooks=hooks, trainable=False)
        core_of(self).recorded = False  # it has no variables, so that they are final is no news
        _check_target(model, function)
        self._caching = bool(caching)
        self._cache_dir = None if cache_dir is None else os.fspath(cache_dir)
        self._connection = Connection(
            model or "",
            api_base,
            checked_patience(timeout, retry, retry_max_wait),
            default_kwargs,
            AnswersCache(cache_dir) if caching or cache_dir is not None else None,
            function,
            threaded,
        )
        self.fallback: LanguageModel | None = (
            None if fallback is None else as_language_model(fallback, "fallback")
        )

    @property
    def model(self) -> str:
        """Name of the model, the function's name where one stands in for it."""
        return self._connection.model or _name_of(self._connection.function)

    @property
    def function(self) -> Callable[..., Any] | None:
        """The function that stands in for a model, or None."""
        return self._connection.function

    async def __call__(self, messages: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Ask the model; see `call`. None is answered by None."""
        if messages is None and not args:
            return None
        return await super().__call__(as_conversation(messages), *args, **kwargs)

    async def call(
        self,
        messages: Any,
        schema: Any = None,
        tools: list[JsonDict] | None = None,
        tool_schemas: list[JsonDict] | None = None,
        streaming: bool = False,
        variable: Any = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Ask the model.

        Args:
            messages: The conversation.
            schema: JSON schema (or data model class) the answer has to have.
            tools: Functions the model may wish to have called, in OpenAI's form.
            tool_schemas: More of them.
            streaming: Receive the answer piece by piece. The result is the same; long answers survive gateways
                that close silent connections.
            variable: The variable whose text is in the prompt: the cost is counted to it.
            training: Makes no difference.
            **kwargs: Arguments of this call: `temperature`, `max_tokens`, …

        Returns:
            A `JsonDataModel` (of `schema`, or a `ChatMessage`), or None when there is no usable answer.

        Raises:
            InvalidValue: Both schema and tools, or a provider of which it is not known how it is asked for JSON.
            Unavailable: litellm is not installed.
        """
        offered = [*(tools or ()), *(tool_schemas or ())]
        if schema is not None and offered:
            raise InvalidValue("cannot ask for JSON and offer tools in one call: pass `schema` or `tools`")
        wanted = None if schema is None else schema_of(schema)
        said = messages.get_json()["messages"]
        if not said:
            return None
        if in_tracing():
            return _stand_in(wanted, f"outputs_{self.name}")
        response = await self.ask(
            said, wanted, tools=offered, streaming=streaming, variable=variable, **kwargs
        )
        return None if response is None else _result(response, wanted, f"outputs_{self.name}")

    def compute_output_spec(self, messages: Any, schema: Any = None, **kwargs: Any) -> Any:
        """Return the schema asked for, or that of a chat message."""
        return ChatMessage if schema is None else schema_of(schema)

    async def ask(
        self,
        messages: list[JsonDict],
        schema: JsonDict | None = None,
        *,
        tools: list[JsonDict] | None = None,
        streaming: bool = False,
        variable: Any = None,
        **kwargs: Any,
    ) -> Response | None:
        """Ask with plain messages and get the whole `Response`: text, JSON, usage, cost. Else as `call`."""
        question = Question(self._connection, messages, schema, tools or [], streaming, kwargs)
        try:
            outcome = await ask(
                "language_model", self._connection, question.request(), question.send, variable
            )
        except ModelFailed as error:
            what = f"language model {self.model!r}"
            if self.fallback is None:
                warn_of(error, what, "the result is None")
                return None
            warn_of(error, what, f"asking {self.fallback.model!r}")
        else:
            return Response.from_outcome(outcome)
        return await self.fallback.ask(
            messages, schema, tools=tools, streaming=streaming, variable=variable, **kwargs
        )

    def get_config(self) -> JsonDict:
        """Return the constructor's arguments, without keys: they are found in the environment again."""
        patience = self._connection.patience
        config: JsonDict = {
            "model": self._connection.model or None,
            "api_base": self._connection.address_config(),
            "timeout": patience.timeout,
            "retry": patience.retry,
            "retry_max_wait": patience.max_wait,
            "fallback": self.fallback,
            "caching": self._caching,
            "cache_dir": self._cache_dir,
            "name": self.name,
            "description": self.description,
        }
        if self._connection.function is not None:
            config |= {"function": self._connection.function, "threaded": self._connection.threaded}
        return config | self._connection.arguments_config()


class Question:
    """One question to a model, and how each attempt at it is sent and read."""

    def __init__(
        self,
        connection: Connection,
        messages: list[JsonDict],
        schema: JsonDict | None,
        tools: list[JsonDict],
        streaming: bool,
        kwargs: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._messages = for_provider(messages)
        self._schema = schema
        self._tools = tools
        self._streaming = streaming
        self._asked = {name: value for name, value in kwargs.items() if value is not None}

    def request(self) -> JsonDict:
        """What is asked, for the log."""
        asked: JsonDict = {
            "model": self._connection.model or _name_of(self._connection.function),
            "messages": self._messages,
            **identity({**self._connection.arguments, **self._asked}),
        }
        if self._schema is not None:
            asked["schema"] = self._schema
        if self._tools:
            asked["tools"] = self._tools
        return asked

    async def send(self, ticket: Ticket, unusable: int, spent: Spent) -> Answered:
        """Make one attempt.

        Raises:
            SchemaMismatch: The answer cannot be used.
            ModelFailed: The answer was cut off; asking again would cut it off again.
        """
        if self._connection.function is not None:
            response = from_function(await self._call_function())
        else:
            response = await self._call_litellm(ticket, unusable)
        spent.add(response.input_tokens, response.output_tokens, response.cost)
        return self._usable(response).answer(), response.model

    async def _call_function(self) -> Any:
        extra = {**self._connection.arguments, **self._asked}
        if self._schema is not None:
            extra["schema"] = self._schema
        if self._tools:
            extra["tools"] = self._tools
        return await call_function(self._connection, self._messages, **extra)

    async def _call_litellm(self, ticket: Ticket, unusable: int) -> Response:
        library = await litellm_here()
        arguments = self._arguments(ticket, unusable)
        raw: Any = await library.acompletion(**arguments)
        if self._streaming and hasattr(raw, "__aiter__"):
            chunks = [chunk async for chunk in raw]
            raw = library.stream_chunk_builder(chunks, messages=self._messages)
        return from_provider(raw, cost_of(raw))

    def _arguments(self, ticket: Ticket, unusable: int) -> JsonDict:
        model = resolved_model(self._connection.model)
        asked = dict(self._asked)
        if "reasoning_effort" in asked and not reasons(model):
            del asked["reasoning_effort"]  # a wish; a model that does not reason would refuse the call
        arguments: JsonDict = {
            "model": model,
            "messages": self._messages,
            "timeout": self._connection.patience.timeout,
            "caching": False,  # ours, which the log knows of
            "max_retries": 0,  # as well
            **address_of(self._connection.model),
            **self._connection.arguments,
            **asked,
        }
        if self._connection.api_base is not None:
            arguments["api_base"] = self._connection.api_base
        if self._tools:
            arguments["tools"] = self._tools
        if self._schema is not None:
            arguments |= structured_arguments(model, self._schema)
        if arguments.get("tools"):
            arguments |= arguments_for_tools()
        if self._streaming:
            arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        if provider_of(model) in _KNOW_IDEMPOTENCY:
            key = key_for_service(current_run(), ticket.key, unusable)  # another one after an unusable answer
            arguments["extra_headers"] = {**(arguments.get("extra_headers") or {}), "Idempotency-Key": key}
        return arguments

    def _usable(self, response: Response) -> Response:
        """Hold an answer against what was asked for, and return the part of it that counts."""
        if self._schema is None:
            if response.content is None and response.json is not None:
                return Response(content=response.json)
            if response.content is None and not response.tool_calls:
                raise SchemaMismatch("cannot use the model's answer: it is empty")
            return response
        try:
            value = without_refused_nulls(_structured(response), self._schema)
            checked = validator_for(self._schema).check(value, "the model's answer")
        except SchemaMismatch as error:
            if response.cut_off:
                raise ModelFailed(
                    f"the answer was cut off at the limit of length ({error}); raise max_tokens", "CutOff"
                ) from None
            raise
        return Response(json=checked, reasoning=response.reasoning)


def _structured(response: Response) -> JsonDict:
    if response.json is not None:
        return response.json
    if response.tool_calls:
        return cast("JsonDict", response.tool_calls[0]["arguments"])
    if isinstance(response.content, dict):
        return response.content
    return json_in(response.content if isinstance(response.content, str) else "")


def _result(response: Response, schema: JsonDict | None, name: str) -> JsonDataModel:
    if schema is not None:
        return JsonDataModel.trusted(schema, response.json or {}, name)
    message: JsonDict = {"role": "assistant", "content": response.content}
    if response.tool_calls:
        message["tool_calls"] = response.tool_calls
    return JsonDataModel(data_model=ChatMessage, json=message, name=name)


def _stand_in(schema: JsonDict | None, name: str) -> JsonDataModel:
    """An answer for a graph being traced, when nobody is asked: only its shape matters."""
    if schema is None:
        return JsonDataModel(data_model=ChatMessage, json={"role": "assistant", "content": "text"}, name=name)
    return JsonDataModel.trusted(schema, placeholder(schema, full=True), name)


def _check_target(model: Any, function: Any) -> None:
    if function is not None and not callable(function):
        raise WrongType(f"cannot call {function!r}: `function` must be a function of the messages")
    if (model is None and function is None) or (model is not None and not isinstance(model, str)):
        raise InvalidValue(
            f"cannot make a LanguageModel: received model={model!r}. Pass the name of a model "
            "('ollama/llama3.2'), or function=f with f(messages)."
        )
    if model == "":
        raise InvalidValue(
            "cannot make a LanguageModel: its name is empty; pass one such as 'ollama/llama3.2'"
        )


def checked_patience(timeout: float | None, retry: int, max_wait: float) -> Patience:
    """Make a `Patience` of a constructor's arguments.

    Raises:
        InvalidValue: A number is negative, or the timeout zero.
    """
    if not isinstance(retry, int) or isinstance(retry, bool) or retry < 0:
        raise InvalidValue(f"cannot retry {retry!r} times: pass an integer of at least 0")
    if timeout is not None and not timeout > 0:
        raise InvalidValue(f"cannot wait {timeout!r} s for an answer: pass a number above 0, or None")
    if not max_wait >= 0:
        raise InvalidValue(f"cannot wait {max_wait!r} s between attempts: pass a number of at least 0")
    return Patience(retry, float(max_wait), None if timeout is None else float(timeout))


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


_default = DefaultModel(LanguageModel, "language_model", "ollama/llama3.2")


def set_default_language_model(model: Any) -> None:
    """Set the model that modules use when they are given none; None takes it away again."""
    _default.set(model)


def get_default_language_model() -> LanguageModel | None:
    """Return the model that modules use when they are given none, or None."""
    return _default.get()


def as_language_model(value: Any, role: str = "language_model") -> LanguageModel:
    """Return the model a caller means: a model, the name of one, a function, or None for the default.

    Raises:
        InvalidValue: None, and there is no default.
        WrongType: Something else.
    """
    return _default.meant(value, role)
