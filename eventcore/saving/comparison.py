"""Whether two schemas ask for the same values, whatever words they describe them with."""

from __future__ import annotations

from typing import Any

_WORDS = frozenset({"$comment", "default", "description", "examples", "title"})
_MAPS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_VALUES = frozenset({"const", "enum", "required"})


def same_structure(one: Any, other: Any) -> bool:
    """Tell whether two JSON schemas differ in titles, descriptions and defaults at most."""
    return bool(_bare(one) == _bare(other))


def _bare(schema: Any) -> Any:
    """Leave out what describes and does not constrain."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _WORDS:
            continue
        if key in _MAPS and isinstance(value, dict):
            kept[key] = {name: _bare(inner) for name, inner in value.items()}
        elif key == "required" and isinstance(value, list):
            kept[key] = sorted(map(str, value))
        elif key in _VALUES:
            kept[key] = value
        else:
            kept[key] = _bare(value)
    return kept
