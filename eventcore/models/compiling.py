"""Compile a JSON schema into the tree of rules that checks values against it.

What is understood: `type` (one or several), `enum`, `const`, `anyOf`, `oneOf`, `allOf`, `$ref` into
`$defs`, the bounds of numbers, texts, lists and objects, `pattern`, `items`, `prefixItems`,
`uniqueItems`, `properties`, `required`, `additionalProperties`, `propertyNames`, `default`. A keyword
that would restrict values and is not understood is refused at once: a rule silently left out would
let values in that a reader of the schema does not expect. Keywords that restrict nothing (`title`,
`description`, `format`, ...) are left alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from eventcore.errors import InvalidValue
from eventcore.history.values import Refused, describe, is_dict, is_list, pointer_of
from eventcore.models.combining import Either, Every, Reference
from eventcore.models.rules import ANYTHING, Choice, Fields, ListOf, Null, Rule, Scalar

UNSUPPORTED = (
    *("not", "if", "then", "else", "patternProperties", "dependentRequired", "dependentSchemas"),
    *("dependencies", "contains", "minContains", "maxContains", "unevaluatedItems"),
    *("unevaluatedProperties", "additionalItems", "$dynamicRef", "$recursiveRef"),
)
_NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_TEXT = frozenset({"minLength", "maxLength", "pattern"})
_ARRAY = frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})
_OBJECT = frozenset(
    {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}
)
_TYPED = _NUMBER | _TEXT | _ARRAY | _OBJECT
_ALL_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
_INT64 = range(-(2**63), 2**63)


class Compiler:
    """Compiles one schema; `root` is its rule.

    Raises:
        InvalidValue: The schema is malformed, or uses a keyword that cannot be honoured.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._definitions: dict[str, Any] = {}
        for place in ("$defs", "definitions"):
            for name, definition in _object(schema, place, "").items():
                self._definitions[f"#/{place}/{name}"] = definition
        self._table: dict[str, Rule] = {}
        self._pending: list[tuple[str, str, Fields]] = []
        self._choices: list[tuple[Choice, list[Rule]]] = []
        for name, definition in self._definitions.items():
            self._table[name] = self._compile(definition, name[1:])
        self.root = self._table["#"] = self._compile(schema, "")
        for name in self._table:
            self._check_ends(name)
        self._narrow_choices()
        self._settle_defaults()

    def _compile(self, schema: Any, where: str) -> Rule:
        if schema is True:
            return ANYTHING
        if schema is False:
            return Choice([])
        if not is_dict(schema):
            raise _refused(where, f"received {describe(schema)}", "a schema is an object, true or false")
        for keyword in UNSUPPORTED:
            if keyword in schema:
                raise _refused(
                    where, f"received the keyword {keyword!r}", "leave it out, or say it another way"
                )
        parts = [*self._typed(schema, where), *self._combined(schema, where)]
        if "enum" in schema or "const" in schema:
            parts = [self._choice(schema, parts, where)]
        return ANYTHING if not parts else parts[0] if len(parts) == 1 else Every(parts)

    def _combined(self, schema: dict[str, Any], where: str) -> list[Rule]:
        parts: list[Rule] = []
        if "$ref" in schema:
            parts.append(self._reference(schema["$ref"], where))
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword not in schema:
                continue
            options = _array(schema, keyword, where, "at least one schema")
            rules = [self._compile(option, f"{where}/{keyword}/{i}") for i, option in enumerate(options)]
            parts.extend(rules if keyword == "allOf" else [Either(rules, exactly_one=keyword == "oneOf")])
        return parts

    def _reference(self, target: Any, where: str) -> Rule:
        if target != "#" and target not in self._definitions:
            known = ", ".join(self._definitions) or "none"
            raise _refused(where, f"received $ref {describe(target)}", f"the definitions are: {known}")
        return Reference(target, self._table)

    def _choice(self, schema: dict[str, Any], parts: list[Rule], where: str) -> Rule:
        values = (
            _array(schema, "enum", where, "at least one value") if "enum" in schema else [schema["const"]]
        )
        if "const" in schema:
            values = [value for value in values if _accepts(Choice([schema["const"]]), value)]
        choice = Choice(values)
        if parts:
            self._choices.append((choice, parts))
        return choice

    def _narrow_choices(self) -> None:
        """Leave the values that what stands beside them accepts, now that every definition is known."""
        for _ in range(len(self._choices)):  # one may be judged by another
            before = [len(choice.values) for choice, _ in self._choices]
            for choice, parts in self._choices:
                held = list(choice.values.values())
                choice.hold([value for value in held if all(_accepts(rule, value) for rule in parts)])
            if before == [len(choice.values) for choice, _ in self._choices]:
                return

    def _typed(self, schema: dict[str, Any], where: str) -> list[Rule]:
        given = schema.get("type")
        names: list[Any] = given if is_list(given) else [given]
        if given is None:
            # Keywords for values of one type say nothing about values of another.
            names = list(_ALL_TYPES) if _TYPED & schema.keys() else []
        for name in names:
            if name not in _ALL_TYPES:
                raise _refused(where, f"received type {describe(name)}", f"one of {', '.join(_ALL_TYPES)}")
        rules = [self._of_type(name, schema, where) for name in names]
        return [Either(rules)] if len(rules) > 1 else rules

    def _of_type(self, name: str, schema: dict[str, Any], where: str) -> Rule:
        if name == "object":
            return self._fields(schema, where)
        if name == "array":
            return self._list(schema, where)
        if name == "null":
            return Null()
        if name == "boolean":
            return Scalar(bool, None, "bool")
        return {"string": _text, "integer": _integer, "number": _number}[name](schema, where)

    def _list(self, schema: dict[str, Any], where: str) -> Rule:
        leading = _array(schema, "prefixItems", where)
        return ListOf(
            self._compile(schema.get("items", True), f"{where}/items"),
            leading=[self._compile(item, f"{where}/prefixItems/{i}") for i, item in enumerate(leading)],
            least=_count(schema, "minItems", where) or 0,
            most=_count(schema, "maxItems", where),
            unique=bool(schema.get("uniqueItems", False)),
        )

    def _fields(self, schema: dict[str, Any], where: str) -> Rule:
        extra = schema.get("additionalProperties", True)
        others = None if extra is False else self._compile(extra, f"{where}/additionalProperties")
        declared = _object(schema, "properties", where)
        required = _array(schema, "required", where)
        properties = {key: self._compile(part, f"{where}/properties/{key}") for key, part in declared.items()}
        for key in required:
            if key not in properties:
                if others is None:
                    raise _refused(where, f"{key!r} is required but no property", "declare it in properties")
                properties[key] = others
        names = schema.get("propertyNames", True)
        rule = Fields(
            properties,
            required=frozenset(required),
            defaults={
                key: part["default"] for key, part in declared.items() if is_dict(part) and "default" in part
            },
            others=others,
            names=None if names is True else self._compile(names, f"{where}/propertyNames"),
            least=_count(schema, "minProperties", where) or 0,
            most=_count(schema, "maxProperties", where),
        )
        self._pending.extend((f"{where}/properties/{key}", key, rule) for key in rule.defaults)
        return rule

    def _check_ends(self, name: str) -> None:
        """Refuse a definition that, before any field or item, refers back to itself."""
        seen: set[str] = set()
        waiting: list[Rule] = [self._table[name]]
        while waiting:
            rule = waiting.pop()
            if isinstance(rule, Reference):
                if rule.name == name:
                    raise _refused(name[1:], "the definition is itself", "a $ref to something else")
                if rule.name not in seen:
                    seen.add(rule.name)
                    waiting.append(rule.target)
            elif isinstance(rule, (Either, Every)):
                waiting.extend(rule.rules)

    def _settle_defaults(self) -> None:
        """Check every default and make it canonical, inner ones first: filling the outer ones uses them."""
        changed = True
        while changed:
            changed = False
            for where, key, rule in self._pending:
                default = rule.defaults[key]
                settled = self._settled(rule.properties[key], default, where)
                changed = changed or msgspec.json.encode(settled) != msgspec.json.encode(default)
                rule.defaults[key] = settled

    def _settled(self, rule: Rule, default: Any, where: str) -> Any:
        try:
            return rule.check(default, 0)
        except Refused as refused:
            place = pointer_of(reversed(refused.steps[:6]))
            raise _refused(
                where,
                f"its default does not fit{place and f' at {place!r}'}: received {refused.received}",
                f"{refused.allowed} (for a default of null, declare the field Optional)",
            ) from None


def _accepts(rule: Rule, value: Any) -> bool:
    try:
        rule.check(value, 0)
    except Refused:
        return False
    return True


def _refused(where: str, received: str, allowed: str) -> InvalidValue:
    place = where or "the top"
    return InvalidValue(f"cannot use the JSON schema: at {place}, {received}; allowed: {allowed}.")


def _object(schema: Mapping[str, Any], keyword: str, where: str) -> dict[str, Any]:
    value = schema.get(keyword, {})
    if is_dict(value):
        return value
    raise _refused(where, f"received {keyword} {describe(value)}", "an object")


def _array(schema: Mapping[str, Any], keyword: str, where: str, allowed: str = "a list") -> list[Any]:
    value = schema.get(keyword, [])
    if is_list(value) and (value or allowed == "a list"):
        return value
    raise _refused(where, f"received {keyword} {describe(value)}", allowed)


def _count(schema: dict[str, Any], keyword: str, where: str) -> int | None:
    value = schema.get(keyword)
    if value is None or (type(value) is int and value >= 0):
        return value
    raise _refused(where, f"received {keyword} {describe(value)}", "an int of at least 0")


def _meta(kind: type[Any], bounds: dict[str, Any], where: str) -> Rule:
    if not bounds:
        return Scalar(kind, None, kind.__name__)
    try:
        constraint = msgspec.Meta(**bounds)
    except (TypeError, ValueError, re.error) as error:
        raise _refused(
            where, f"the bounds {bounds} cannot be used ({error})", "bounds that msgspec accepts"
        ) from None
    words = {"ge": "≥ ", "gt": "> ", "le": "≤ ", "lt": "< ", "multiple_of": "a multiple of "}
    words |= {"min_length": "of length ≥ ", "max_length": "of length ≤ ", "pattern": "matching "}
    text = ", ".join(f"{words[name]}{bound!r}" for name, bound in bounds.items())
    return Scalar(kind, constraint, f"{kind.__name__} {text}")


def _text(schema: dict[str, Any], where: str) -> Rule:
    bounds: dict[str, Any] = {}
    for keyword, name in (("minLength", "min_length"), ("maxLength", "max_length")):
        count = _count(schema, keyword, where)
        if count is not None:
            bounds[name] = count
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except (re.error, TypeError) as error:
            raise _refused(
                where, f"received pattern {schema['pattern']!r} ({error})", "a regular expression"
            ) from None
        bounds["pattern"] = schema["pattern"]
    return _meta(str, bounds, where)


def _bounds(schema: dict[str, Any], where: str) -> dict[str, Any]:
    for keyword in _NUMBER & schema.keys():
        value = schema[keyword]
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _refused(where, f"received {keyword} {describe(value)}", "a finite number")
    return {keyword: schema[keyword] for keyword in _NUMBER & schema.keys()}


def _integer(schema: dict[str, Any], where: str) -> Rule:
    given = _bounds(schema, where)
    # msgspec wants whole bounds for ints, and one for each side; every such pair comes down to ≥ and ≤.
    low = [math.ceil(given["minimum"])] if "minimum" in given else []
    low += [math.floor(given["exclusiveMinimum"]) + 1] if "exclusiveMinimum" in given else []
    high = [math.floor(given["maximum"])] if "maximum" in given else []
    high += [math.ceil(given["exclusiveMaximum"]) - 1] if "exclusiveMaximum" in given else []
    bounds: dict[str, Any] = {}
    if low:
        bounds["ge"] = max(low)
    if high:
        bounds["le"] = min(high)
    if "multipleOf" in given:
        bounds["multiple_of"] = int(given["multipleOf"])
        if given["multipleOf"] != bounds["multiple_of"]:
            raise _refused(
                where, f"received multipleOf {given['multipleOf']}", "a whole number for an integer"
            )
    for bound in bounds.values():
        if bound not in _INT64:
            raise _refused(where, f"received the bound {bound}", "bounds of signed 64 bits")
    return _meta(int, bounds, where)


def _number(schema: dict[str, Any], where: str) -> Rule:
    given = _bounds(schema, where)
    bounds: dict[str, Any] = {}
    for closed, opened, names, stricter in _SIDES:
        inner, outer = given.get(closed), given.get(opened)
        if inner is not None and (outer is None or (inner != outer and stricter(inner, outer) == inner)):
            bounds[names[0]] = float(inner)
        elif outer is not None:
            bounds[names[1]] = float(outer)
    if "multipleOf" in given:
        bounds["multiple_of"] = float(given["multipleOf"])
    return _meta(float, bounds, where)


_SIDES: tuple[tuple[str, str, tuple[str, str], Callable[..., Any]], ...] = (
    ("minimum", "exclusiveMinimum", ("ge", "gt"), max),
    ("maximum", "exclusiveMaximum", ("le", "lt"), min),
)
