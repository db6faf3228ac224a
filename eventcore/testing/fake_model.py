"""`FakeLanguageModel`: a language model for tests that needs no network and does as it is told.

It is a `LanguageModel` in every respect (its calls are effects in the log, with retries, failures and fallbacks);
only what answers is a script. For the wire itself there is `eventcore.testing.model_server`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

from eventcore.errors import InvalidValue, ModelFailed
from eventcore.language_models.language_model import LanguageModel
from eventcore.models.validation import validator_for

JsonDict = dict[str, Any]
Answers = Sequence[Any] | Mapping[str, Any] | Callable[..., Any] | None
Latency = float | Sequence[float] | Callable[[list[JsonDict]], float]


class FakeLanguageModel(LanguageModel):
    """Answers from a script.

    Args:
        answers: What it says: a list, one answer after the other in the order of the calls; a dict, the answer whose
            key occurs in the last message (order does not matter then); a function of the messages; None for an answer
            made up from the schema, the same for the same question. An answer is a str, a dict, or an exception to
            raise.
        latency: How long each answer takes, in seconds; a list for one after the other; or a function of the messages.
        failures: Numbers of the calls that fail, counted from 0; or a function of the messages that says so.
        retry: Attempts after the first one; none, so that a failure shows.
        name: Its name.
        description: What it is for.

    Attributes:
        calls: The messages of every call so far, oldest first.

    Raises:
        InvalidValue: A script that cannot be.
    """

    def __init__(
        self,
        answers: Answers = None,
        latency: Latency = 0.0,
        failures: Collection[int] | Callable[[list[JsonDict]], bool] = (),
        retry: int = 0,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        if isinstance(answers, (str, bytes)):
            raise InvalidValue(f"cannot answer from {answers!r}: pass a list, a dict, a function or None")
        self.calls: list[list[JsonDict]] = []
        super().__init__(function=self._answer, retry=retry, name=name, description=description)
        self._script = answers
        self._latency = latency
        self._failures = failures
        self._scripted = 0

    @property
    def model(self) -> str:
        """What the log calls it."""
        return f"fake/{self.name}"

    async def _answer(self, messages: list[JsonDict], schema: Any = None, **asked: Any) -> Any:
        number = len(self.calls)
        self.calls.append(messages)
        delay = self._delay(number, messages)
        if delay > 0:
            await asyncio.sleep(delay)
        else:
            await asyncio.sleep(0)
        failures = self._failures
        if failures(messages) if callable(failures) else number in failures:
            raise ModelFailed(f"the script says that call {number} fails", "ScriptedFailure")
        answer = self._next(messages, schema)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _delay(self, number: int, messages: list[JsonDict]) -> float:
        latency = self._latency
        if callable(latency):
            return latency(messages)
        if isinstance(latency, (int, float)):
            return float(latency)
        return float(latency[number % len(latency)])

    def _next(self, messages: list[JsonDict], schema: Any) -> Any:
        script = self._script
        if callable(script):
            return script(messages)
        if isinstance(script, Mapping):
            asked = json.dumps(messages[-1].get("content"), ensure_ascii=False)
            for key, answer in script.items():
                if key in asked:
                    return answer
            raise ModelFailed(f"the script has no answer to {asked}", "NoAnswer")
        if script is not None:
            if self._scripted >= len(script):
                raise ModelFailed(
                    f"the script has {len(script)} answers, and one more was asked for", "NoAnswer"
                )
            self._scripted += 1
            return script[self._scripted - 1]
        return made_up(messages, schema)

    def get_config(self) -> JsonDict:
        """Return the constructor's arguments; a function among them has to be registered to be saved."""
        return {
            "answers": self._script,
            "latency": self._latency,
            "failures": self._failures if callable(self._failures) else sorted(self._failures),
            "retry": super().get_config()["retry"],
            "name": self.name,
            "description": self.description,
        }


def made_up(messages: Sequence[JsonDict], schema: Mapping[str, Any] | None = None) -> Any:
    """Make up an answer that fits a schema: the same for the same messages, another for others.

    Args:
        messages: The conversation.
        schema: JSON schema of the answer; None for text.
    """
    said = json.dumps(list(messages), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(said, digest_size=8).hexdigest()
    if schema is None:
        return f"answer {digest}"
    value = _Made(dict(schema), digest).of(schema, "")
    try:
        return validator_for(dict(schema)).check(value, "a made-up answer")
    except InvalidValue:
        from eventcore.testing.schema_strategies import draw, json_values

        return draw(json_values(schema), 2, int(digest, 16))[-1]


class _Made:
    """Makes a value of a schema out of a digest; simple on purpose, what it cannot do is drawn instead."""

    def __init__(self, root: JsonDict, digest: str) -> None:
        self._root = root
        self._digest = digest

    def of(self, schema: Any, place: str) -> Any:
        parts = cast("JsonDict", schema) if isinstance(schema, dict) else {}
        number = int(hashlib.blake2b(f"{self._digest}{place}".encode(), digest_size=4).hexdigest(), 16)
        if "$ref" in parts:
            folder, _, name = str(parts["$ref"]).removeprefix("#/").partition("/")
            return self.of(self._root.get(folder, {}).get(name), place)
        options = parts.get("enum") or parts.get("anyOf") or parts.get("oneOf")
        if "const" in parts:
            return parts["const"]
        if options:
            chosen = options[number % len(options)]
            return chosen if "enum" in parts else self.of(chosen, place)
        kind = parts.get("type", "string")
        if kind == "object":
            return {key: self.of(part, f"{place}/{key}") for key, part in parts.get("properties", {}).items()}
        if kind == "array":
            return [self.of(parts.get("items", {}), f"{place}/{index}") for index in range(number % 3)]
        if kind in ("integer", "number"):
            low = parts.get("minimum", 0)
            return low + number % (int(parts.get("maximum", low + 100) - low) + 1)
        simple: JsonDict = {"boolean": bool(number % 2), "null": None}
        return simple.get(
            str(kind), f"{place.rsplit('/', 1)[-1] or 'answer'} {self._digest[:6]} {number % 97}"
        )
