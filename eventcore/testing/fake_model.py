"""`FakeLanguageModel`: a language model for tests that needs no network and does as it is told.

It is a `LanguageModel` in every respect (its calls are effects in the log, with retries, failures and fallbacks);
only what answers is a script. For the wire itself there is `eventcore.testing.model_server`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Self, cast

from eventcore.errors import InvalidValue, ModelFailed
from eventcore.language_models.language_model import LanguageModel
from eventcore.language_models.response import Response
from eventcore.models.conversion import is_data_model
from eventcore.saving.registry import registered_name
from eventcore.testing.made_up import made_up
from eventcore.testing.script_functions import function_named, remembered

JsonDict = dict[str, Any]
Answers = Sequence[Any] | Mapping[str, Any] | Callable[..., Any] | None
Latency = float | Sequence[float] | Callable[[list[JsonDict]], float]
Failures = Collection[int] | Callable[[list[JsonDict]], bool]


class ScriptedFailure(ConnectionError):
    """The trouble a script asks for; like a server that is overloaded and can be asked again at once."""

    headers = {"retry-after-ms": "0"}  # noqa: RUF012 - read where a provider's errors carry theirs


class FakeLanguageModel(LanguageModel):
    """Answers from a script.

    Calls are counted by the object, from 0, and every attempt is one. A list of answers, and numbers of calls that
    fail, are used up by it: another instance, a copy and one that was loaded from a file begin with the first again.
    Where it matters that the same question is answered alike (the checks of modules ask each question many times, of
    many instances), pass a dict or a function.

    Args:
        answers: What it says: a list, one answer after the other in the order of the calls; a dict, the answer whose
            key occurs in the last message (order does not matter then); a plain or async function of the messages;
            None for an answer made up from the schema, the same for the same question. An answer is a str, a dict,
            a data model, a `Response`, or an exception to raise.
        latency: How long each answer takes, in seconds; a list for one after the other, over and over; or a function
            of the messages.
        failures: Numbers of the calls that fail as if the connection had; or a function of the messages that says so.
            A call that fails takes no answer from a list.
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
        failures: Failures = (),
        retry: int = 0,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        script, delays, failing = _answers(answers), _latency(latency), _failures(failures)
        self.calls: list[list[JsonDict]] = []
        super().__init__(function=self._answer, retry=retry, name=name, description=description)
        self._script = script
        self._latency = delays
        self._failures = failing
        self._scripted = 0
        given = {"answers": script, "latency": delays, "failures": failing}
        self._names = {key: name for key, item in given.items() if (name := remembered(item))}

    @property
    def model(self) -> str:
        """What the log calls it."""
        return f"fake/{self.name}"

    @property
    def counts_calls(self) -> bool:
        """Whether it depends on how often it was called what it answers: nobody can ask it the same again."""
        used_up = not callable(self._script) and not isinstance(self._script, Mapping | None)
        return used_up or (not callable(self._failures) and bool(self._failures))

    async def _answer(self, messages: list[JsonDict], schema: Any = None, **asked: Any) -> Any:
        number = len(self.calls)
        self.calls.append(messages)
        failures = self._failures
        fails = failures(messages) if callable(failures) else number in failures
        turn = self._scripted
        if not fails:  # taken before it is waited for: whoever asks first gets the first answer, however late
            self._scripted += 1
        await asyncio.sleep(max(0.0, self._delay(number, messages)))
        if fails:
            raise ScriptedFailure(f"the script says that call {number} fails")
        answer = self._next(turn, messages, schema)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, BaseException) or _is_error_class(answer):
            raise answer
        return answer

    def _delay(self, number: int, messages: list[JsonDict]) -> float:
        latency: Any = self._latency
        if callable(latency):
            return float(cast("float", latency(messages)))
        if isinstance(latency, (int, float)):
            return float(latency)
        return float(latency[number % len(latency)])

    def _next(self, turn: int, messages: list[JsonDict], schema: Any) -> Any:
        script = self._script
        if callable(script):
            return script(messages)
        if isinstance(script, Mapping):
            return _answer_by_key(script, messages[-1].get("content"))
        if script is not None:
            if turn >= len(script):
                raise ModelFailed(
                    f"the script has {len(script)} answers, and one more was asked for; pass more of them, or a dict "
                    "or a function, which are not used up",
                    "NoAnswer",
                )
            return script[turn]
        return made_up(messages, schema)

    def get_config(self) -> JsonDict:
        """Return the constructor's arguments, and in `functions` those that only this process can find, by name."""
        given: JsonDict = {
            "answers": self._script,
            "latency": self._latency,
            "failures": self._failures if callable(self._failures) else sorted(self._failures),
            "retry": super().get_config()["retry"],
            "name": self.name,
            "description": self.description,
        }
        functions = {key: name for key, name in self._names.items() if registered_name(given[key]) is None}
        if not functions:
            return given
        return {key: item for key, item in given.items() if key not in functions} | {"functions": functions}

    @classmethod
    def from_config(cls, config: JsonDict) -> Self:
        """Make the model of its config.

        Raises:
            UnknownClass: It answered by a function that was not registered, and that no fake of this process was given.
        """
        functions: dict[str, str] = config.get("functions") or {}
        given: JsonDict = {key: item for key, item in config.items() if key != "functions"}
        given.update({key: function_named(name) for key, name in functions.items()})
        return cls(**given)


def _answer_by_key(script: Mapping[str, Any], content: Any) -> Any:
    asked = json.dumps(content, ensure_ascii=False)
    said = content if isinstance(content, str) else asked
    for key, answer in script.items():
        if key in said or key in asked:
            return answer
    raise ModelFailed(
        f"the script has no answer to {asked}; its keys are {', '.join(map(repr, script))}", "NoAnswer"
    )


def _answers(answers: Any) -> Any:
    if answers is None or callable(answers):
        return answers
    if isinstance(answers, (str, bytes)) or not isinstance(answers, (Sequence, Mapping)):
        raise InvalidValue(f"cannot answer from {answers!r}: pass a list, a dict, a function or None")
    if isinstance(answers, Mapping):
        named = cast("Mapping[Any, Any]", answers)
        for key in named:
            if not isinstance(key, str):
                raise InvalidValue(f"cannot look for {key!r} in a message: the keys of the answers are texts")
        _check_each(named.values())
        return named
    listed = list(cast("Sequence[Any]", answers))
    _check_each(listed)
    return listed


def _check_each(answers: Iterable[Any]) -> None:
    for answer in answers:
        kinds = (str, dict, BaseException, Response)
        if not isinstance(answer, kinds) and not _is_error_class(answer) and not is_data_model(answer):
            raise InvalidValue(
                f"cannot answer with {answer!r}: an answer is a str, a dict, a data model, a Response or an exception"
            )


def _is_error_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _latency(latency: Any) -> Any:
    if callable(latency):
        return latency
    listed = isinstance(latency, Sequence) and not isinstance(latency, (str, bytes))
    each: list[Any] = list(cast("Sequence[Any]", latency)) if listed else [latency]
    fine = all(
        isinstance(one, (int, float)) and not isinstance(one, bool) and 0 <= one < math.inf for one in each
    )
    if not each or not fine:
        raise InvalidValue(
            f"cannot answer after {latency!r} s: pass a number of at least 0, a list of such numbers with at least one "
            "in it, or a function of the messages"
        )
    return each if listed else latency


def _failures(failures: Any) -> Any:
    if callable(failures):
        return failures
    listed = isinstance(failures, Collection) and not isinstance(failures, (str, bytes, Mapping))
    numbers: list[Any] = list(cast("Collection[Any]", failures)) if listed else []
    fine = all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in numbers)
    if not listed or not fine:
        raise InvalidValue(
            f"cannot fail at the calls {failures!r}: pass their numbers in a list, counted from 0, or a function of "
            "the messages"
        )
    return frozenset(numbers)
