"""Values of data models for property tests: JSON schemas translated into hypothesis strategies.

What is drawn is strict JSON that the schema's own validator accepts, with bounds, patterns, enums, nested and
recursive models and absent optional fields among it. The translator knows the keywords that
`eventcore.models.compiling` knows; what only the whole schema can judge is filtered by the validator.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from eventcore.errors import InvalidValue, SchemaMismatch
from eventcore.models.conversion import schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.schema import is_model_class
from eventcore.models.validation import validator_for
from eventcore.testing.profiles import ANY_HEALTH
from eventcore.testing.text_strategies import characters, texts

Schema = dict[str, Any]
Values = st.SearchStrategy[Any]

text: st.SearchStrategy[str] = st.text(characters, max_size=12)
_scalars: Values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
anything: Values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
"""Any strict JSON value."""

_PLACES = ("$defs", "definitions")
"""Where a schema keeps its definitions."""
DEEPEST = 4
"""References inside references before recursive models are drawn as small as they can be."""
LONGEST = 4
"""Items of a list, and fields of an open object, beyond the fewest the schema asks for."""


def from_model(model: Any) -> Values:
    """Draw instances of a data model.

    Args:
        model: A `DataModel` class, a msgspec Struct, a dataclass, a pydantic model, an object with
            `get_schema()`, or a JSON schema.

    Returns:
        A strategy: instances of the class where it is a `DataModel`, else a `JsonDataModel` of its schema.

    Raises:
        WrongType: It carries no schema.
        InvalidValue: Its schema cannot be used.
    """
    schema = schema_of(model)
    drawn = json_values(schema)
    if is_model_class(model):
        return drawn.map(lambda value: model(**value))
    return drawn.map(lambda value: JsonDataModel(schema=schema, json=value))


def json_values(schema: Mapping[str, Any]) -> Values:
    """Draw JSON values of a schema, as plain dicts, lists and scalars. Every one of them validates.

    Args:
        schema: A JSON schema, usually of an object.

    Raises:
        InvalidValue: It is no schema, is malformed, uses a keyword that cannot be honoured, or allows no value at all
            by its types, bounds and choices, or by a pattern whose shortest text is too long. What only values that
            were drawn can tell, such as a pattern whose longest text is too short, or options of `oneOf` that always
            fit together, ends where they are drawn: hypothesis then says `Unsatisfiable` or `FailedHealthCheck`.
    """
    if not isinstance(schema, Mapping):
        raise InvalidValue(
            f"cannot draw values of {schema!r}: pass a JSON schema as a dict, or a data model to `from_model`"
        )
    root = dict(schema)
    if (
        root.get("type") == "object"
        and not {"enum", "const", "anyOf", "oneOf", "allOf", "$ref"} & root.keys()
    ):
        return _objects(root, root)
    # A validator is of objects only, so any other schema is judged inside one.
    wrapped = {
        "type": "object",
        "properties": {"value": {key: part for key, part in root.items() if key not in _PLACES}},
        "required": ["value"],
    }
    wrapped |= {place: root[place] for place in _PLACES if place in root}
    return _objects(wrapped, root).map(lambda held: held["value"])


def _objects(root: Schema, told: Schema) -> Values:
    """Draw values of an object's schema; `told` is the one to name where there are none."""
    validator = validator_for(root)

    # To a JSON schema 2.0 is an integer, so it may fit two options of which it must fit one.
    as_whole = '"oneOf"' in json.dumps(root)

    def fits(value: Any) -> bool:
        try:
            validator.check(value, "a drawn value")
            if as_whole:
                validator.check(_whole(value), "a drawn value")
        except SchemaMismatch:
            return False
        return True

    drawn = _Translator(root).of(root, 0)
    if drawn.is_empty:
        raise InvalidValue(f"cannot draw values of {told!r}: no value fits this schema")
    return drawn.filter(fits)


def draw(strategy: st.SearchStrategy[Any], count: int, number: int = 0) -> list[Any]:
    """Draw `count` values, the same ones for the same number while the same modules are imported.

    Args:
        strategy: What to draw from.
        count: How many; fewer come back only when the strategy has fewer to give.
        number: Which ones.
    """
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=max(1, count),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=ANY_HEALTH,
        derandomize=False,
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found[:count]


class _Translator:
    """Translates the parts of one schema; `of` is the only door."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._known: dict[tuple[str, int], Values] = {}
        # Values are as small as can be from there on: what still refers to itself has no end.
        self._hopeless = DEEPEST + 2 + sum(len(root.get(place, ())) for place in _PLACES)

    def of(self, schema: Any, depth: int) -> Values:
        if schema is True or schema == {}:
            return anything
        if schema is False:
            return st.nothing()
        parts = cast("Schema", schema)
        if "const" in parts:
            return self._among([parts["const"]], parts)
        if "enum" in parts:
            return self._among(parts["enum"], parts)
        if "allOf" in parts:
            return self.of(self._merged(parts), depth)
        if "$ref" in parts:
            return self._reference(parts, depth)
        for keyword in ("anyOf", "oneOf"):
            if keyword in parts:
                return self._one_of(parts, keyword, depth)
        return self._typed(parts, depth)

    def _among(self, choices: list[Any], parts: Schema) -> Values:
        """Those of the choices that what stands beside them allows."""
        if _RESTRICTING & parts.keys() - {"const", "enum"} or {"const", "enum"} <= parts.keys():
            held: Schema = {"type": "object", "properties": {"value": parts}, "required": ["value"]}
            held |= {place: self._root[place] for place in _PLACES if place in self._root}
            validator = validator_for(held)
            choices = [choice for choice in choices if _is_allowed(validator, choice)]
        return st.sampled_from(choices) if choices else st.nothing()

    def _reference(self, parts: Schema, depth: int) -> Values:
        others = {key: value for key, value in parts.items() if key != "$ref" and key in _RESTRICTING}
        if others:
            return self.of(self._merged({"allOf": [{"$ref": parts["$ref"]}, others]}), depth)
        name = str(parts["$ref"])
        known = self._known.get((name, depth))
        if depth > self._hopeless:
            return st.nothing()
        if known is None:
            target = self._resolved(name)
            known = st.deferred(lambda: self.of(target, depth + 1))
            self._known[name, depth] = known
        return known

    def _resolved(self, name: str) -> Schema:
        if name == "#":
            return self._root
        place, _, key = name.removeprefix("#/").partition("/")
        target: Schema = self._root[place][key]
        return target

    def _one_of(self, parts: Schema, keyword: str, depth: int) -> Values:
        options: list[Any] = parts[keyword]
        if depth >= DEEPEST:
            shallow = [option for option in options if not _refers(option)]
            options = shallow or options
        others = {key: value for key, value in parts.items() if key != keyword and key in _RESTRICTING}
        if others:
            options = [self._merged({"allOf": [option, others]}) for option in options]
        return st.one_of([self.of(option, depth) for option in options])

    def _merged(self, parts: Schema) -> Schema:
        """Bring `allOf`, and what stands beside it, into one schema; the validator judges what is left over."""
        merged: Schema = {key: value for key, value in parts.items() if key != "allOf"}
        for part in cast("list[Any]", parts["allOf"]):
            schema = part
            while isinstance(schema, dict) and set(schema) & {"$ref", "allOf"}:
                open_part = cast("Schema", schema)
                if "$ref" in open_part:
                    rest = {key: value for key, value in open_part.items() if key != "$ref"}
                    schema = {**self._resolved(str(open_part["$ref"])), **rest}
                else:
                    schema = self._merged(open_part)
            if isinstance(schema, dict):
                merged = _both(merged, cast("Schema", schema))
        return merged

    def _typed(self, parts: Schema, depth: int) -> Values:
        kinds: Any = parts.get("type")
        if kinds is None:
            kinds = _implied(parts)
            if kinds is None:
                return anything
        if isinstance(kinds, list):
            return st.one_of(
                [self._typed({**parts, "type": kind}, depth) for kind in cast("list[str]", kinds)]
            )
        if kinds == "object":
            return self._object(parts, depth)
        if kinds == "array":
            return self._array(parts, depth)
        return _SCALARS[str(kinds)](parts)

    def _array(self, parts: Schema, depth: int) -> Values:
        leading = [self.of(item, depth) for item in parts.get("prefixItems", [])]
        least = max(0, int(parts.get("minItems", 0)) - len(leading))
        room = 0 if depth >= DEEPEST else LONGEST
        most = max(0, int(parts.get("maxItems", len(leading) + least + room)) - len(leading))
        items = self.of(parts.get("items", True), depth)
        unique: Callable[[Any], Any] | None = _identity if parts.get("uniqueItems") else None
        if parts.get("items") is False or most == 0 or items.is_empty:
            rest: Values = st.just([]) if least == 0 else st.nothing()
        elif least > most:
            rest = st.nothing()
        else:
            # `unique_by` set to None means no uniqueness at all.
            rest = st.lists(items, min_size=least, max_size=min(most, least + room), unique_by=unique)
            if unique is not None:
                try:
                    rest.validate()
                except InvalidArgument:  # there are not that many different items
                    rest = st.nothing()
        if not leading:
            return rest
        return st.tuples(st.tuples(*leading), rest).map(lambda pair: [*pair[0], *pair[1]])

    def _object(self, parts: Schema, depth: int) -> Values:
        declared: Schema = parts.get("properties", {})
        required: list[str] = list(parts.get("required", []))
        extra = parts.get("additionalProperties", True)
        always = {key: self.of(declared.get(key, extra), depth) for key in required}
        sometimes = {key: self.of(part, depth) for key, part in declared.items() if key not in always}
        # A property nothing fits may still be left out.
        sometimes = {} if depth >= DEEPEST else {k: v for k, v in sometimes.items() if not v.is_empty}
        named = st.fixed_dictionaries(always, optional=sometimes)
        least, most = int(parts.get("minProperties", 0)), parts.get("maxProperties")
        told = isinstance(extra, dict) and depth < DEEPEST  # of more fields something is said
        open_object = extra is not False and (not declared or least > len(declared) or told)
        if not open_object:
            return named if most is None and not least else named.filter(_sized(least, most))
        keys = self.of({"type": "string", **parts.get("propertyNames", {})}, depth)
        keys = keys.filter(lambda key: key not in declared)
        short = max(0, least - len(always))
        others = st.dictionaries(keys, self.of(extra, depth), min_size=short, max_size=short + 3)
        both = st.tuples(named, others).map(lambda pair: {**pair[1], **pair[0]})
        return both.filter(_sized(least, most))


def _is_allowed(validator: Any, choice: Any) -> bool:
    try:
        validator.check({"value": choice}, "a choice")
    except SchemaMismatch:
        return False
    return True


def _sized(least: int, most: Any) -> Callable[[Any], bool]:
    return lambda value: least <= len(value) and (most is None or len(value) <= most)


def _identity(value: Any) -> str:
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    """To a JSON schema 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in cast("Schema", value).items()}
    return value


_BY_KIND = {
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset(
        {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}
    ),
}
_RESTRICTING = frozenset().union(*_BY_KIND.values()) | {"type", "enum", "const", "anyOf", "oneOf", "allOf"}


def _implied(parts: Schema) -> str | None:
    """The type the keywords of a schema without `type` speak of; values of other types would fit as well."""
    return next((kind for kind, keywords in _BY_KIND.items() if keywords & parts.keys()), None)


def _refers(schema: Any) -> bool:
    if isinstance(schema, dict):
        parts = cast("Schema", schema)
        return "$ref" in parts or any(_refers(part) for part in parts.values())
    return isinstance(schema, list) and any(_refers(part) for part in cast("list[Any]", schema))


_LOWEST = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_HIGHEST = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})


def _both(one: Schema, other: Schema) -> Schema:
    """A schema that is near to both; what it cannot say is left to the validator."""
    result = dict(one)
    for key, value in other.items():
        if key not in result:
            result[key] = value
        elif key in _LOWEST:
            result[key] = max(result[key], value)
        elif key in _HIGHEST:
            result[key] = min(result[key], value)
        elif key == "required":
            result[key] = list(dict.fromkeys([*result[key], *value]))
        elif key == "properties":
            shared = {name: _both(part, value[name]) for name, part in result[key].items() if name in value}
            result[key] = {**value, **result[key], **shared}
        elif key == "enum":
            result[key] = [item for item in result[key] if item in value]
        elif key == "type" and isinstance(result[key], list):
            result[key] = value
    return result


def _integers(parts: Schema) -> st.SearchStrategy[int]:
    low, high = -(2**63), 2**63 - 1
    if "minimum" in parts:
        low = max(low, math.ceil(parts["minimum"]))
    if "exclusiveMinimum" in parts:
        low = max(low, math.floor(parts["exclusiveMinimum"]) + 1)
    if "maximum" in parts:
        high = min(high, math.floor(parts["maximum"]))
    if "exclusiveMaximum" in parts:
        high = min(high, math.ceil(parts["exclusiveMaximum"]) - 1)
    step = int(parts.get("multipleOf", 1))
    low, high = -(-low // step), high // step
    if low > high:
        return st.nothing()
    return st.integers(low, high).map(lambda number: number * step)


def _numbers(parts: Schema) -> st.SearchStrategy[float]:
    low, low_open = _tightest(parts, "minimum", "exclusiveMinimum", max)
    high, high_open = _tightest(parts, "maximum", "exclusiveMaximum", min)
    if low is not None and high is not None and (low > high or (low == high and (low_open or high_open))):
        return st.nothing()
    if "multipleOf" in parts:
        return _multiples(Decimal(str(parts["multipleOf"])), (low, low_open), (high, high_open))
    return st.floats(
        min_value=low,
        max_value=high,
        exclude_min=low_open,
        exclude_max=high_open,
        allow_nan=False,
        allow_infinity=False,
    )


def _multiples(
    step: Decimal, low: tuple[float | None, bool], high: tuple[float | None, bool]
) -> st.SearchStrategy[float]:
    """Draw multiples as they are written in decimals: 0.3, not 3 * 0.1; what floats cannot hold is left out."""
    bottom = None if low[0] is None else Decimal(str(low[0])) / step
    top = None if high[0] is None else Decimal(str(high[0])) / step
    least = -1000 if bottom is None else math.floor(bottom) + 1 if low[1] else math.ceil(bottom)
    most = least + 2000 if top is None else math.ceil(top) - 1 if high[1] else math.floor(top)
    least = max(least, most - 2000) if bottom is None else least

    def exact(number: float) -> bool:
        return (number / float(step)).is_integer()

    return (
        st.integers(least, most).map(lambda times: float(times * step)).filter(exact)
        if least <= most
        else st.nothing()
    )


def _tightest(
    parts: Schema, closed: str, opened: str, stricter: Callable[..., Any]
) -> tuple[float | None, bool]:
    """Return the bound of one side, and whether it is excluded itself."""
    inner, outer = parts.get(closed), parts.get(opened)
    if outer is not None and (inner is None or stricter(inner, outer) == outer):
        return float(outer), True
    return (None if inner is None else float(inner)), False


_SCALARS: dict[str, Callable[[Schema], Values]] = {
    "null": lambda parts: st.none(),
    "boolean": lambda parts: st.booleans(),
    "integer": _integers,
    "number": _numbers,
    "string": texts,
}
