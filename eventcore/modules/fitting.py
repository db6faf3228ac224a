"""Does a data model of one schema fit where another is expected?

It fits when it has every field the other has, of a kind that can hold the same values. Titles,
descriptions, defaults, bounds and patterns are not compared: they are checked on values, not on shapes.
Fields that nobody asked for are welcome.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

Schema: TypeAlias = dict[str, Any]
_MAX_DEPTH = 16  # schemas may refer to themselves


def misfits(given: Schema, expected: Schema) -> list[str]:
    """Say what keeps a data model of schema `given` from standing in for one of `expected`.

    Returns:
        One clause for each reason, e.g. `"without the field 'name' (string)"`; empty when it fits.
    """
    return _object_misfits(given, expected, given, expected, "", 0)


def _object_misfits(
    given: Schema, expected: Schema, given_root: Schema, expected_root: Schema, prefix: str, depth: int
) -> list[str]:
    if depth > _MAX_DEPTH:
        return []
    found: list[str] = []
    properties: Schema = given.get("properties", {})
    for name, wanted in expected.get("properties", {}).items():
        place = f"{prefix}{name}"
        wanted_kinds = _kinds(wanted, expected_root)
        if name not in properties:
            found.append(f"without the field '{place}' ({_words(wanted_kinds)})")
            continue
        kinds = _kinds(properties[name], given_root)
        if not _overlap(kinds, wanted_kinds):
            found.append(f"whose field '{place}' is {_words(kinds)} instead of {_words(wanted_kinds)}")
            continue
        inner, wanted_inner = _object_in(properties[name], given_root), _object_in(wanted, expected_root)
        if inner is not None and wanted_inner is not None:
            found += _object_misfits(inner, wanted_inner, given_root, expected_root, f"{place}.", depth + 1)
    return found


def _kinds(schema: Any, root: Schema, depth: int = 0) -> frozenset[str]:
    """The JSON types a value of `schema` may have; empty means any."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return frozenset()
    parts = cast("Schema", schema)
    if "$ref" in parts:
        return _kinds(_resolved(parts["$ref"], root), root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if keyword in parts:
            options = [_kinds(option, root, depth + 1) for option in parts[keyword]]
            return frozenset() if frozenset() in options else frozenset().union(*options)
    if "allOf" in parts and len(parts["allOf"]) == 1:
        return _kinds(parts["allOf"][0], root, depth + 1)
    kind = parts.get("type")
    if kind is None:
        values = parts.get("enum", [parts["const"]] if "const" in parts else [])
        return frozenset(_JSON_TYPES[type(value)] for value in values if type(value) in _JSON_TYPES)
    return frozenset([kind] if isinstance(kind, str) else kind)


_JSON_TYPES: dict[type, str] = {
    **{str: "string", bool: "boolean", int: "integer", float: "number"},
    **{type(None): "null", list: "array", dict: "object"},
}


def _overlap(given: frozenset[str], wanted: frozenset[str]) -> bool:
    if not given or not wanted or given & wanted:
        return True
    numbers = {"integer", "number"}
    return bool(given & numbers) and bool(wanted & numbers)


def _object_in(schema: Any, root: Schema) -> Schema | None:
    """The schema of the object a field holds, if it holds one kind of object."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, dict) or "$ref" not in schema:
            break
        schema = _resolved(cast("Schema", schema)["$ref"], root)
    if not isinstance(schema, dict) or "properties" not in schema:
        return None
    return cast("Schema", schema)


def _resolved(reference: Any, root: Schema) -> Any:
    if reference == "#":
        return root
    name = str(reference).rpartition("/")[2]
    return root.get("$defs", {}).get(name, root.get("definitions", {}).get(name, {}))


def _words(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds)) if kinds else "any type"
