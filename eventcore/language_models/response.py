"""`Response`: what a language model answered, as far as eventcore is concerned.

Providers' own response types are wide, change with every release and do not survive being stored. This one
is small and is exactly what the log keeps, so a replayed answer is made of the same parts as a live one.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from eventcore.errors import SchemaMismatch, WrongType
from eventcore.history.values import canonical
from eventcore.models.conversion import is_data_model, json_of
from eventcore.replay.effects import Outcome

JsonDict = dict[str, Any]


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a language model.

    A function that stands in for a model may return one, to say what the answer cost.

    Attributes:
        content: The text, or None when there is only JSON or tool calls.
        json: The structured answer, or None.
        tool_calls: Tools it wishes to have called: dicts of `id`, `name` and `arguments`.
        reasoning: What it thought before, where the provider tells; "" otherwise.
        model: Which model answered, "" if unknown.
        input_tokens: Tokens of the request, 0 if unknown.
        output_tokens: Tokens of the answer, 0 if unknown.
        cost: US dollars, 0.0 if unknown.
        cut_off: Whether the answer stopped at a limit of length.
    """

    content: str | JsonDict | list[Any] | None = None
    json: JsonDict | None = None
    tool_calls: list[JsonDict] = msgspec.field(default_factory=lambda: list[JsonDict]())
    reasoning: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    cut_off: bool = False

    def answer(self) -> JsonDict:
        """Return what the log keeps of it; `from_outcome` undoes this."""
        parts = {
            "content": self.content,
            "json": self.json,
            "tool_calls": self.tool_calls,
            "reasoning": self.reasoning,
        }
        return {name: part for name, part in parts.items() if part not in (None, "", [])}

    @classmethod
    def from_outcome(cls, outcome: Outcome) -> Response:
        """Make it again from a recorded outcome."""
        kept = cast("JsonDict", outcome.answer)
        return cls(
            content=kept.get("content"),
            json=kept.get("json"),
            tool_calls=kept.get("tool_calls", []),
            reasoning=kept.get("reasoning", ""),
            model=outcome.model,
            input_tokens=outcome.input_tokens,
            output_tokens=outcome.output_tokens,
            cost=outcome.cost,
        )


def from_function(result: Any) -> Response:
    """Read what a function that stands in for a model returned.

    Raises:
        WrongType: Neither text, JSON object, data model nor `Response`.
    """
    if isinstance(result, Response):
        return result
    if isinstance(result, str):
        return Response(content=result)
    if isinstance(result, dict) or is_data_model(result):
        return Response(json=json_of(result))
    raise WrongType(
        f"cannot use {result!r} ({type(result).__name__}) as the answer of a language model; "
        "return a str, a dict, a data model or a Response"
    )


def part(source: Any, *path: str | int, default: Any = None) -> Any:
    """Follow attributes, keys and indexes into a provider's response; `default` where one is missing."""
    for step in path:
        if isinstance(step, int):
            source = source[step] if isinstance(source, (list, tuple)) and len(source) > step else None
        elif isinstance(source, dict):
            source = cast("JsonDict", source).get(step)
        else:
            source = getattr(source, step, None)
        if source is None:
            return default
    return source


def count(value: Any) -> int:
    """Read a number of tokens; 0 for anything that is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def from_provider(raw: Any, cost: float) -> Response:
    """Read a response in OpenAI's form, as an object or a dict.

    Raises:
        SchemaMismatch: It holds no message.
    """
    message = part(raw, "choices", 0, "message")
    if message is None:
        raise SchemaMismatch("cannot read the model's answer: it holds no choices[0].message")
    content = part(message, "content")
    return Response(
        content=content if isinstance(content, (str, list)) else None,
        tool_calls=[_tool_call(call) for call in part(message, "tool_calls", default=[])],
        reasoning=_text(part(message, "reasoning_content")),
        model=_text(part(raw, "model")),
        input_tokens=count(part(raw, "usage", "prompt_tokens")),
        output_tokens=count(part(raw, "usage", "completion_tokens")),
        cost=cost,
        cut_off=part(raw, "choices", 0, "finish_reason") == "length",
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tool_call(call: Any) -> JsonDict:
    arguments = part(call, "function", "arguments", default="")
    return {
        "id": _text(part(call, "id")),
        "name": _text(part(call, "function", "name")),
        "arguments": json_in(arguments) if isinstance(arguments, str) else canonical(arguments, "arguments"),
    }


def json_in(text: str) -> JsonDict:
    """Find the JSON object in a model's text: alone, in a code fence, or between other words.

    Raises:
        SchemaMismatch: There is none.
    """
    first, last = text.find("{"), text.rfind("}")
    for candidate in (text, text[first : last + 1] if 0 <= first < last else ""):
        try:
            found: Any = msgspec.json.decode(candidate)
        except (msgspec.DecodeError, UnicodeEncodeError):
            continue
        if isinstance(found, dict):
            return cast("JsonDict", found)
    shown = text if len(text) <= 200 else f"{text[:120]} … {text[-60:]}"
    raise SchemaMismatch(f"cannot read the model's answer as a JSON object: received {shown!r}")
