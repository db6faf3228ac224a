"""Typed placeholders: a value of a JSON schema that stands in for data while a graph is traced.

Two kinds, because a module may refuse one of them: *small* values (`""`, `0`, empty lists, defaults where
the schema has them) and *full* ones (some text, `1`, lists with an item, the other end of an enum). They
mean nothing; only their types do.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, cast

Schema: TypeAlias = dict[str, Any]
_MAX_DEPTH = 8
_FORMATS = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "someone@example.org",
    "uri": "https://example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def placeholder(schema: Schema, *, full: bool = False) -> dict[str, Any]:
    """Make a placeholder for an object schema.

    Args:
        schema: JSON schema of an object.
        full: Which of the two kinds.
    """
    value = _Maker(schema, full).value(schema, 0)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


class _Maker:
    def __init__(self, root: Schema, full: bool) -> None:
        self._root = root
        self._full = full

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            return None
        parts = cast("Schema", schema)
        if "const" in parts:
            return parts["const"]
        if parts.get("enum"):
            return parts["enum"][-1 if self._full else 0]
        if "default" in parts and not self._full:
            return parts["default"]
        if "$ref" in parts:
            return self.value(self._resolved(parts["$ref"]), depth + 1)
        if "allOf" in parts:
            return (
                self.value({**parts, **_merged(parts["allOf"]), "allOf": None}, depth)
                if parts["allOf"]
                else None
            )
        options = parts.get("anyOf") or parts.get("oneOf")
        if options:
            return self.value(self._chosen(options, depth), depth + 1)
        return self._typed(parts, depth)

    def _resolved(self, reference: str) -> Any:
        if reference == "#":
            return self._root
        name = reference.rpartition("/")[2]
        return self._root.get("$defs", {}).get(name, self._root.get("definitions", {}).get(name))

    def _chosen(self, options: list[Any], depth: int) -> Any:
        """The first alternative that is a value; null only when nothing else, or when it is too deep."""
        null = [option for option in options if option == {"type": "null"}]
        if null and depth > _MAX_DEPTH:
            return null[0]
        others = [option for option in options if option not in null]
        return others[-1 if self._full else 0] if others else options[0]

    def _typed(self, schema: Schema, depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = [name for name in cast("list[str]", kind) if name != "null"]
            kind = kinds[0] if kinds else "null"
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._text(schema)
        if kind in ("integer", "number"):
            return _number(schema, integer=kind == "integer", start=1 if self._full else 0)
        if kind == "boolean":
            return self._full
        return None if kind == "null" else {} if depth == 0 else ""

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        found: dict[str, Any] = {}
        for name, inner in schema.get("properties", {}).items():
            if depth <= _MAX_DEPTH or name in required:
                found[name] = self.value(inner, depth + 1) if depth <= 3 * _MAX_DEPTH else None
        return found

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        leading = [self.value(item, depth + 1) for item in schema.get("prefixItems", ())]
        wanted = max(schema.get("minItems", 0), 1 if self._full and depth <= _MAX_DEPTH else 0)
        wanted = min(wanted, schema.get("maxItems", wanted))
        more = [self.value(schema.get("items", {}), depth + 1) for _ in range(wanted - len(leading))]
        return leading + more

    def _text(self, schema: Schema) -> str:
        text: str = _FORMATS.get(schema.get("format", ""), "text" if self._full else "")
        text += "x" * (schema.get("minLength", 0) - len(text))
        return text[: int(schema.get("maxLength", len(text)))]


def _merged(schemas: list[Schema]) -> Schema:
    merged: Schema = {}
    for schema in schemas:
        merged.update(schema)
    return merged


def _number(schema: Schema, *, integer: bool, start: int) -> int | float:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    step = schema.get("multipleOf", 1 if integer else 0)
    if "exclusiveMinimum" in schema:
        low = max(
            low,
            schema["exclusiveMinimum"] + (1 if integer else 1e-9 + abs(schema["exclusiveMinimum"]) * 1e-9),
        )
    if "exclusiveMaximum" in schema:
        high = min(
            high,
            schema["exclusiveMaximum"] - (1 if integer else 1e-9 + abs(schema["exclusiveMaximum"]) * 1e-9),
        )
    value = max(low, min(high, start))
    if step:
        value = math.ceil(value / step) * step
        value = value if value <= high else math.floor(high / step) * step
    return int(value) if integer else float(value)
