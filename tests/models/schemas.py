"""An independent reading of JSON schema, and strategies for schemas with values that nearly fit them.

Nothing here uses eventcore: the tests hold the library's validator against this second opinion.
"""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

TEXT = st.text("ab1", max_size=3)
NAMES = st.sampled_from(["a", "b", "c", "d"])


class Unfit(Exception):
    """The value does not fit."""


def read(schema: Any, value: Any, definitions: dict[str, Any]) -> Any:
    """Give the value with defaults filled in and ints as floats where the schema says number."""
    if schema is True:
        return value
    if "$ref" in schema:
        return read(definitions[schema["$ref"].rsplit("/", 1)[1]], value, definitions)
    if "anyOf" in schema:
        return _read_any(schema["anyOf"], value, definitions)
    if "enum" in schema:
        if not any(type(option) is type(value) and option == value for option in schema["enum"]):
            raise Unfit
        return value
    kind = schema.get("type")
    return value if kind is None else _READERS[kind](schema, value, definitions)


def _read_any(options: list[Any], value: Any, definitions: dict[str, Any]) -> Any:
    fitting: list[Any] = []
    for option in options:
        try:
            fitting.append(read(option, value, definitions))
        except Unfit:
            pass
    if not fitting:
        raise Unfit
    return next((result for result in fitting if type(result) is type(value)), fitting[0])


def _null(schema: Any, value: Any, definitions: Any) -> Any:
    if value is not None:
        raise Unfit


def _bool(schema: Any, value: Any, definitions: Any) -> Any:
    if not isinstance(value, bool):
        raise Unfit
    return value


def _int(schema: Any, value: Any, definitions: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit
    return _bounded(schema, value)


def _number(schema: Any, value: Any, definitions: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unfit
    return float(_bounded(schema, value))


def _bounded(schema: Any, value: Any) -> Any:
    if value < schema.get("minimum", value) or value > schema.get("maximum", value):
        raise Unfit
    if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
        raise Unfit
    if "exclusiveMaximum" in schema and not value < schema["exclusiveMaximum"]:
        raise Unfit
    if "multipleOf" in schema and value % schema["multipleOf"] != 0:
        raise Unfit
    return value


def _text(schema: Any, value: Any, definitions: Any) -> Any:
    if not isinstance(value, str):
        raise Unfit
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 99):
        raise Unfit
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise Unfit
    return value


def _array(schema: Any, value: Any, definitions: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise Unfit
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 99):
        raise Unfit
    result = [read(schema.get("items", True), item, definitions) for item in value]
    if schema.get("uniqueItems") and len({repr(item) for item in result}) < len(result):
        raise Unfit
    return result


def _object(schema: Any, value: Any, definitions: Any) -> Any:
    if not isinstance(value, dict):
        raise Unfit
    properties = schema.get("properties", {})
    result: dict[str, Any] = {}
    for key, inner in properties.items():
        if key in value:
            result[key] = read(inner, value[key], definitions)
        elif "default" in inner:
            result[key] = read(inner, inner["default"], definitions)
        elif key in schema.get("required", []):
            raise Unfit
    others = schema.get("additionalProperties", True)
    for key in value:
        if key not in properties:
            if others is False:
                raise Unfit
            result[key] = read(others, value[key], definitions)
    return result


_READERS = {
    "null": _null,
    "boolean": _bool,
    "integer": _int,
    "number": _number,
    "string": _text,
    "array": _array,
    "object": _object,
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 6) | st.sampled_from([0.5, 1.0, 2.5, -1.0]) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def numbers(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": kind}
    bound = st.integers(-2, 4) | st.sampled_from([-0.5, 1.5, 3.0])
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if draw(st.integers(0, 4)) == 0:
            schema[keyword] = draw(bound)
    if draw(st.integers(0, 4)) == 0:
        schema["multipleOf"] = draw(st.integers(1, 3))
    return schema


@st.composite
def texts(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if draw(st.booleans()):
        schema["minLength"] = draw(st.integers(0, 2))
    if draw(st.booleans()):
        schema["maxLength"] = draw(st.integers(1, 3))
    if draw(st.integers(0, 3)) == 0:
        schema["pattern"] = draw(st.sampled_from(["^a", "b$", "1"]))
    return schema


ENUMS = st.lists(st.sampled_from(["a", "b", 1, 2, True, None]), min_size=1, max_size=3, unique_by=repr).map(
    lambda options: {"enum": options}
)
LEAVES = st.one_of(
    st.just({}),
    st.just({"type": "null"}),
    st.just({"type": "boolean"}),
    numbers("integer"),
    numbers("number"),
    texts(),
    ENUMS,
    st.just({"$ref": "#/$defs/Leaf"}),
)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties: dict[str, Any] = draw(st.dictionaries(NAMES, inner, max_size=3))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    wanted = draw(st.booleans())
    if properties and wanted:
        required: list[str] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
        schema["required"] = required
    forbidden: st.SearchStrategy[Any] = st.just(False)
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(forbidden | inner)
    return schema


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": draw(inner)}
    if draw(st.integers(0, 2)) == 0:
        schema["minItems"] = draw(st.integers(0, 2))
    if draw(st.integers(0, 2)) == 0:
        schema["maxItems"] = draw(st.integers(1, 3))
    if draw(st.integers(0, 3)) == 0:
        schema["uniqueItems"] = True
    return schema


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        objects(inner)
        | arrays(inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    ),
    max_leaves=5,
)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a schema for a whole object, defaults among its properties."""
    schema = draw(objects(SCHEMAS))
    leaf = draw(st.just({"type": "string"}) | numbers("number") | st.just({"type": "boolean"}))
    definitions = {"Leaf": leaf}
    for name, declared in schema["properties"].items():
        if draw(st.booleans()):
            default = draw(fitting(declared, definitions) | VALUES)
            if fits(declared, default, definitions):
                schema["properties"][name] = {**declared, "default": default}
    return {**schema, "$defs": definitions}


CANDIDATES: list[Any] = [
    None,
    True,
    False,
    *range(-3, 7),
    -1.0,
    0.5,
    1.0,
    2.5,
    3.0,
    "",
    "a",
    "b",
    "1",
    "ab",
    "a1b",
]


def fits(schema: Any, value: Any, definitions: dict[str, Any]) -> bool:
    """Tell whether the independent reading accepts the value."""
    try:
        read(schema, value, definitions)
    except Unfit:
        return False
    return True


@st.composite
def fitting(draw: st.DrawFn, schema: Any, definitions: dict[str, Any]) -> Any:
    """Draw a value that most often fits the schema."""
    if schema is True or not schema or draw(st.integers(0, 40)) == 40:
        return draw(VALUES)
    if "anyOf" in schema:
        return draw(fitting(draw(st.sampled_from(schema["anyOf"])), definitions))
    kind = schema.get("type")
    if kind == "array":
        least = schema.get("minItems", 0)
        size = st.lists(
            fitting(schema.get("items", True), definitions),
            min_size=least,
            max_size=max(least, schema.get("maxItems", 3)),
        )
        return draw(size)
    if kind == "object":
        return {
            key: draw(fitting(inner, definitions))
            for key, inner in schema.get("properties", {}).items()
            if key in schema.get("required", []) or draw(st.integers(0, 3))
        }
    return draw(
        st.sampled_from([value for value in CANDIDATES if fits(schema, value, definitions)] or CANDIDATES)
    )
