"""Answers made up from a schema: what a `FakeLanguageModel` says that was given no script.

They mean nothing, but the same question gets the same answer in every process, and another question another one. It
is no strategy: for all that a schema allows there is `eventcore.testing.schema_strategies`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from eventcore.errors import InvalidValue, SchemaMismatch
from eventcore.models.validation import validator_for

JsonDict = dict[str, Any]

DEEPEST = 2
"""References inside references before an answer is as small as its schema allows."""


def made_up(messages: Sequence[JsonDict], schema: Mapping[str, Any] | None = None) -> Any:
    """Make up an answer that fits a schema: the same for the same messages, another for others.

    Args:
        messages: The conversation.
        schema: JSON schema of the answer; None for text.

    Raises:
        InvalidValue: No value fits the schema.
    """
    said = json.dumps(list(messages), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(said, digest_size=8).hexdigest()
    if schema is None:
        return f"answer {digest}"
    validator = validator_for(dict(schema))
    try:
        return validator.check(_Made(dict(schema), digest).of(schema, "", 0), "a made-up answer")
    except (SchemaMismatch, _Endless):
        return _drawn(schema, int(digest, 16))


def _drawn(schema: Mapping[str, Any], number: int) -> Any:
    from hypothesis.errors import Unsatisfiable

    from eventcore.testing.schema_strategies import draw, json_values

    try:
        return draw(json_values(schema), 2, number)[-1]
    except Unsatisfiable:
        raise InvalidValue(
            "cannot make up an answer: no value was found that fits the schema asked for"
        ) from None


class _Endless(Exception):
    """A value refers to itself without end; an inner signal."""


class _Made:
    """Makes a value of a schema out of a digest; simple on purpose, what it cannot do is drawn instead."""

    def __init__(self, root: JsonDict, digest: str) -> None:
        self._root = root
        self._digest = digest
        # Answers are as small as can be from DEEPEST on: what still refers to itself has no end.
        self._hopeless = DEEPEST + 2 + sum(len(root.get(place, ())) for place in ("$defs", "definitions"))

    def of(self, schema: Any, place: str, depth: int) -> Any:
        parts = cast("JsonDict", schema) if isinstance(schema, dict) else {}
        number = int(hashlib.blake2b(f"{self._digest}{place}".encode(), digest_size=4).hexdigest(), 16)
        if "$ref" in parts:
            if depth > self._hopeless:
                raise _Endless
            return self.of(self._resolved(str(parts["$ref"])), place, depth + 1)
        if "const" in parts:
            return parts["const"]
        if "enum" in parts:
            return parts["enum"][number % len(parts["enum"])]
        options = parts.get("anyOf") or parts.get("oneOf")
        if options:
            ending = [option for option in options if "$ref" not in json.dumps(option)]
            options = ending if depth > DEEPEST and ending else options
            return self.of(options[number % len(options)], place, depth)
        kind = parts.get("type", "string")
        if isinstance(kind, list):
            kind = kind[number % len(cast("list[Any]", kind))]
        return self._typed(str(kind), parts, place, depth, number)

    def _resolved(self, name: str) -> Any:
        if name == "#":
            return self._root
        folder, _, key = name.removeprefix("#/").partition("/")
        return self._root.get(folder, {}).get(key)

    def _typed(self, kind: str, parts: JsonDict, place: str, depth: int, number: int) -> Any:
        if kind == "object":
            required = parts.get("required", ())
            return {
                key: self.of(part, f"{place}/{key}", depth)
                for key, part in parts.get("properties", {}).items()
                if key in required or depth <= DEEPEST
            }
        if kind == "array":
            least = int(parts.get("minItems", 0))
            most = int(parts.get("maxItems", least + 2)) if depth <= DEEPEST else least
            count = min(least + number % 3, most)
            return [self.of(parts.get("items", {}), f"{place}/{index}", depth) for index in range(count)]
        if kind in ("integer", "number"):
            return _number(kind, parts, number)
        if kind == "boolean":
            return bool(number % 2)
        return None if kind == "null" else self._text(parts, place, number)

    def _text(self, parts: JsonDict, place: str, number: int) -> str:
        text = f"{place.rsplit('/', 1)[-1] or 'answer'} {self._digest[:6]} {number % 97}"
        text = text.ljust(int(parts.get("minLength", 0)), "x")
        return text[-int(parts["maxLength"]) :] if 0 < int(parts.get("maxLength", 0)) < len(text) else text


def _number(kind: str, parts: JsonDict, number: int) -> int | float:
    step = parts.get("multipleOf", 1)
    low, high = parts.get("minimum"), parts.get("maximum")
    least = 0 if low is None and high is None else low if low is not None else high - 100 * step
    most = least + 100 * step if high is None else high
    first = math.ceil(least / step)
    count = max(1, min(101, math.floor(most / step) - first + 1))
    value = (first + number % count) * step
    return int(value) if kind == "integer" else value
