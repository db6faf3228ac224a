"""`EmbeddingModel`: turns texts into vectors through litellm, or a function of yours, and records every call.

Texts that were embedded before are not sent again; the call is recorded all the same, so that a replay in
another process, where nothing was embedded before, finds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from eventcore.errors import InvalidValue, ModelFailed, SchemaMismatch, WrongType
from eventcore.history.scope import in_tracing
from eventcore.history.state import digest_of
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
from eventcore.language_models.default_model import DefaultModel
from eventcore.language_models.language_model import checked_patience
from eventcore.language_models.litellm_library import cost_of, litellm_here
from eventcore.language_models.providers import address_of
from eventcore.language_models.response import count, part
from eventcore.models.generic import EmbeddingRequest, Embeddings
from eventcore.models.json_data_model import JsonDataModel
from eventcore.modules.hooks import Hook
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.replay.effects import Ticket

JsonDict = dict[str, Any]


class EmbeddingModel(Module):
    """An embedding model.

    Calling it takes `EmbeddingRequest(texts=…)`, a text or a list of texts, and returns a data model with
    `embeddings`, one vector per text in order, or None when the model failed, with a warning.

    Args:
        model: Name of the model as litellm knows it ("ollama/all-minilm").
        api_base: Address of the server; None for the provider's own.
        timeout: Longest time one attempt may take, in seconds; None for no limit.
        retry: Attempts after the first one.
        retry_max_wait: Longest wait between two attempts, in seconds.
        fallback: A model, or its name, that is asked when this one fails.
        caching: Whether texts that were embedded before are answered from memory.
        cache_dir: Folder that keeps vectors beyond this process.
        name: Its name.
        description: What it is for.
        hooks: Told when a call begins and ends.
        function: Called in place of litellm: an async or plain function from a list of texts to as many vectors.
        threaded: Call a plain `function` in a thread.
        **default_kwargs: Arguments of every call: `dimensions`, `api_key`, …

    Raises:
        InvalidValue: Neither model nor function, or a number that cannot be.
    """

    accepts_any_input = True

    def __init__(
        self,
        *,
        model: str | None = None,
        api_base: str | None = None,
        timeout: float | None = 600,
        retry: int = 5,
        retry_max_wait: float = 60,
        fallback: Any = None,
        caching: bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        hooks: Iterable[Hook] | None = None,
        function: Callable[..., Any] | None = None,
        threaded: bool = False,
        **default_kwargs: Any,
    ) -> None:
        default_kwargs.pop("trainable", None)
        super().__init__(name=name, description=description, hooks=hooks, trainable=False)
        core_of(self).recorded = False
        if function is not None and not callable(function):
            raise WrongType(f"cannot call {function!r}: `function` must be a function of a list of texts")
        if (not model and function is None) or (model is not None and not isinstance(model, str)):
            raise InvalidValue(
                f"cannot make an EmbeddingModel: received model={model!r}. Pass the name of a model "
                "('ollama/all-minilm'), or function=f with f(texts)."
            )
        self._caching = bool(caching)
        self._cache_dir = None if cache_dir is None else os.fspath(cache_dir)
        self._vectors = AnswersCache(cache_dir) if caching or cache_dir is not None else None
        patience = checked_patience(timeout, retry, retry_max_wait)
        self._connection = Connection(
            model or "", api_base, patience, default_kwargs, None, function, threaded
        )
        self.fallback: EmbeddingModel | None = (
            None if fallback is None else as_embedding_model(fallback, "fallback")
        )

    @property
    def model(self) -> str:
        """Name of the model, the function's name where one stands in for it."""
        return self._connection.model or str(getattr(self._connection.function, "__name__", "function"))

    async def __call__(self, request: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Embed texts. None is answered by None."""
        if request is None and not args:
            return None
        if isinstance(request, str) or (
            isinstance(request, (list, tuple)) and all(isinstance(text, str) for text in request)
        ):
            texts: Any = request if isinstance(request, str) else list(request)
            request = EmbeddingRequest.from_config({"texts": texts})
        return await super().__call__(request, *args, **kwargs)

    async def call(
        self, inputs: Any, variable: Any = None, training: bool | None = None, **kwargs: Any
    ) -> Any:
        """Embed the texts of an `EmbeddingRequest`.

        Args:
            inputs: The texts.
            variable: The variable this is asked on behalf of: the cost is counted to it.
            training: Makes no difference.
            **kwargs: Arguments of this call.

        Returns:
            A `JsonDataModel` of `Embeddings`, or None when there is no answer or no text.
        """
        given = inputs.get("texts")
        if not isinstance(given, (str, list)):
            raise InvalidValue(
                f"cannot embed {inputs!r}: pass EmbeddingRequest(texts=…), a text or a list of texts"
            )
        texts = [given] if isinstance(given, str) else given
        if not texts:
            return None
        name = f"outputs_{self.name}"
        if in_tracing():
            return JsonDataModel(
                data_model=Embeddings, json={"embeddings": [[1.0] for _ in texts]}, name=name
            )
        vectors = await self.embed(texts, variable=variable, **kwargs)
        return (
            None
            if vectors is None
            else JsonDataModel(data_model=Embeddings, json={"embeddings": vectors}, name=name)
        )

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        """Return `Embeddings`."""
        return Embeddings

    async def embed(
        self, texts: list[str], *, variable: Any = None, **kwargs: Any
    ) -> list[list[float]] | None:
        """Embed plain texts: one vector each, in order, or None as in `call`."""
        question = _Texts(self._connection, self.model, self._vectors, texts, kwargs)
        try:
            outcome = await ask("embedding", self._connection, question.request, question.send, variable)
        except ModelFailed as error:
            what = f"embedding model {self.model!r}"
            if self.fallback is None:
                warn_of(error, what, "the result is None")
                return None
            warn_of(error, what, f"asking {self.fallback.model!r}")
        else:
            vectors: list[list[float]] = outcome.answer["embeddings"]
            return vectors
        return await self.fallback.embed(texts, variable=variable, **kwargs)

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


class _Texts:
    """Texts to embed, and how those not known yet are sent."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        known: AnswersCache | None,
        texts: list[str],
        kwargs: JsonDict,
    ) -> None:
        self._connection = connection
        self._known = known
        self._texts = texts
        self._arguments = {**connection.arguments, **kwargs}
        same = {"model": connection.model or name, **identity(self._arguments)}
        self.request: JsonDict = {**same, "texts": texts}
        self._digests = [digest_of([same, text]) for text in texts] if known is not None else []

    async def send(self, ticket: Ticket, unusable: int, spent: Spent) -> Answered:
        """Make one attempt, for the texts that are not known."""
        found = [self._recall(place) for place in range(len(self._texts))]
        missing = list(dict.fromkeys(text for text, v in zip(self._texts, found, strict=True) if v is None))
        vectors: dict[str, list[float]] = {}
        model = self._connection.model
        if missing:
            made, model = await self._embed(missing, spent)
            vectors = dict(zip(missing, made, strict=True))
        for place, text in enumerate(self._texts):
            if found[place] is None:
                found[place] = vectors[text]
                if self._known is not None:
                    self._known.put(self._digests[place], {"embedding": vectors[text]})
        return {"embeddings": found}, model

    def _recall(self, place: int) -> list[float] | None:
        kept = self._known.get(self._digests[place]) if self._known is not None else None
        return None if kept is None else kept["embedding"]

    async def _embed(self, texts: list[str], spent: Spent) -> tuple[list[list[float]], str]:
        if self._connection.function is not None:
            raw = await call_function(self._connection, texts, **self._arguments)
            return _vectors(raw, len(texts)), self._connection.model
        arguments: JsonDict = {
            "model": self._connection.model,
            "input": texts,
            "timeout": self._connection.patience.timeout,
            "caching": False,
            "max_retries": 0,
            **address_of(self._connection.model),
            **self._arguments,
        }
        if self._connection.api_base is not None:
            arguments["api_base"] = self._connection.api_base
        raw = await (await litellm_here()).aembedding(**arguments)
        spent.add(count(part(raw, "usage", "prompt_tokens")), 0, cost_of(raw))
        items = sorted(part(raw, "data", default=[]), key=lambda item: count(part(item, "index")))
        return _vectors([part(item, "embedding") for item in items], len(texts)), str(
            part(raw, "model", default="")
        )


def _vectors(raw: Any, wanted: int) -> list[list[float]]:
    """Check that an answer is `wanted` vectors of numbers.

    Raises:
        SchemaMismatch: It is not.
    """
    rows = raw.tolist() if hasattr(raw, "tolist") else raw
    if not isinstance(rows, (list, tuple)) or len(rows) != wanted:
        got = f"{len(rows)} vectors" if isinstance(rows, (list, tuple)) else type(rows).__name__
        raise SchemaMismatch(f"cannot use the embeddings: received {got} for {wanted} texts")
    vectors: list[list[float]] = []
    for row in rows:
        numbers = row.tolist() if hasattr(row, "tolist") else row
        if not isinstance(numbers, (list, tuple)) or not numbers:
            raise SchemaMismatch(f"cannot use the embeddings: received {numbers!r} where a vector belongs")
        try:
            vectors.append([float(number) for number in numbers])
        except (TypeError, ValueError):
            raise SchemaMismatch(
                "cannot use the embeddings: a vector holds something that is no number"
            ) from None
    return vectors


_default = DefaultModel(EmbeddingModel, "embedding_model", "ollama/all-minilm")


def set_default_embedding_model(model: Any) -> None:
    """Set the model that is used where none is given; None takes it away again."""
    _default.set(model)


def get_default_embedding_model() -> EmbeddingModel | None:
    """Return the model that is used where none is given, or None."""
    return _default.get()


def as_embedding_model(value: Any, role: str = "embedding_model") -> EmbeddingModel:
    """Return the model a caller means: a model, the name of one, a function, or None for the default.

    Raises:
        InvalidValue: None, and there is no default.
        WrongType: Something else.
    """
    return _default.meant(value, role)
