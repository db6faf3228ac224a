"""`Validator`: the one thing that decides whether a value fits a schema.

Every source of a schema (a data model, a msgspec Struct, a dataclass, a pydantic model, a plain JSON
schema) is turned into a JSON schema first and then checked here, so a value cannot be good in one
place and bad in another. A validator also checks parts: one field, one item of a list, the place at a
path inside a container, so that a small change costs a small check.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import msgspec

from eventcore.errors import InvalidValue
from eventcore.history.values import (
    INT_MAX,
    INT_MIN,
    JsonDict,
    Path,
    Refused,
    canonical,
    copy_json,
    describe,
    is_dict,
    items_of,
)
from eventcore.models.combining import Every, Reference
from eventcore.models.compiling import Compiler
from eventcore.models.rules import ANYTHING, Fields, Rule, Scalar

_type: Callable[[Any], type[Any]] = type
_CACHED = 1024
SCALAR_SIZE = 16
"""Bytes counted for a field in the log besides its text."""


class Validator:
    """Checks values, and parts of them, against one JSON schema.

    What it returns is canonical: plain JSON of exact built-in types, ints stored as floats where the
    schema says number, tuples as lists, sharing nothing with the input.

    Raises:
        InvalidValue: The schema does not describe an object, or uses a keyword that restricts values
            and is not understood.
    """

    __slots__ = ("_exact", "_root", "_rule", "_schema")

    def __init__(self, schema: JsonDict) -> None:
        plain = canonical(schema, "the JSON schema")
        if not isinstance(plain, dict):
            raise InvalidValue(
                f"cannot use a JSON schema: received {_type(schema).__name__}; allowed: a dict."
            )
        self._schema: JsonDict = plain
        if not {"type", "$ref", "anyOf", "oneOf", "enum", "const"} & plain.keys():
            plain = {
                **plain,
                "type": "object",
            }  # a data model is an object even if the schema forgets to say so
        self._rule = Compiler(plain).root
        self._root = _fields_of(self._rule)
        # The hot path: fields whose exact type alone decides.
        self._exact: dict[str, type[Any]] = {
            name: rule.type
            for name, rule in self._root.properties.items()
            if isinstance(rule, Scalar) and rule.bounded is None
        }

    @property
    def fields(self) -> tuple[str, ...]:
        """The declared fields, in order."""
        return tuple(self._root.properties)

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that must be given: required and without a default."""
        return tuple(
            name for name in self.fields if name in self._root.required and name not in self._root.defaults
        )

    def schema(self) -> JsonDict:
        """Give a copy of the JSON schema this validator was made from."""
        copied: JsonDict = copy_json(self._schema)
        return copied

    def defaults(self) -> JsonDict:
        """Give a copy of the defaults the schema states, by field."""
        copied: JsonDict = copy_json(self._root.defaults)
        return copied

    def field_kind(self, name: str) -> str:
        """Name the kind of a field: `str, int, float, bool, null, list, dict`, else `any` or `mixed`.

        An optional field has the kind of what it is when it is not null. A field the schema does not
        name but allows has the kind of such fields.

        Raises:
            SchemaMismatch: There can be no such field.
        """
        try:
            return self._root.child(name).kind()
        except Refused as refused:
            raise refused.mismatch("a field") from None

    def check(self, value: object, where: str = "value") -> JsonDict:
        """Check a whole object and fill the defaults of absent fields, nested ones too.

        Returns:
            The canonical object, its fields in declared order.

        Raises:
            SchemaMismatch: It does not fit; the message has the JSON pointer, received and allowed.
        """
        try:
            result: JsonDict = self._rule.check(value, 0)
        except Refused as refused:
            raise refused.mismatch(where) from None
        return result

    def check_update(self, changes: object, where: str = "value") -> JsonDict:
        """Check some of the fields, as a merge would write them. No default is filled at the top.

        Raises:
            SchemaMismatch: A field is unknown or its value does not fit; nothing is returned then.
        """
        fields = changes if is_dict(changes) else canonical(changes, where)
        if not is_dict(fields):
            raise Refused(describe(changes), "a dict of fields").mismatch(where)
        return {name: self.check_field(name, value, where) for name, value in items_of(fields)}

    def scalars_size(self, fields: dict[Any, Any]) -> int:
        """Return about how many bytes these fields take in the log if each fits by its type alone, else 0.

        With 0 nothing is said about them: `check_update` decides.
        """
        exact = self._exact
        size = SCALAR_SIZE * len(fields)
        for name in fields:
            kind = type(value := fields[name])
            if type(name) is not str or name not in exact or exact[name] is not kind:
                return 0
            if kind is str:
                if not value.isascii():
                    return 0
                size += len(value)
            elif kind is int:
                if not INT_MIN <= value <= INT_MAX:
                    return 0
            elif kind is float and value - value != 0.0:
                return 0
        return size

    def check_field(self, name: str, value: Any, where: str = "value") -> Any:
        """Check the value of one field.

        Raises:
            SchemaMismatch: The field is unknown, or the value does not fit.

        Complexity: constant for a str, int, float or bool field without constraints.
        """
        kind = _type(value)
        if self._exact.get(name) is kind:
            if kind is str:
                if value.isascii():
                    return value
            elif kind is int:
                if INT_MIN <= value <= INT_MAX:
                    return value
            elif kind is bool or value - value == 0.0:
                return value
        return self.check_at((name,), value, where)

    def check_item(self, name: str, value: Any, where: str = "value") -> Any:
        """Check one element to be added to a list field.

        Raises:
            SchemaMismatch: The element does not fit; the pointer ends in `/-`, JSON's end of a list.
        """
        return self._judge(self.rule_at((name, -1), where), (name, "-"), value, where)

    def check_at(self, path: Path, value: Any, where: str = "value") -> Any:
        """Check a value for the place at `path`: a field, then items, keys and fields below it.

        Containers on the way are not looked at; `item_suffices` tells when that is not enough.

        Raises:
            SchemaMismatch: There can be no such place, or the value does not fit it.
        """
        return self._judge(self.rule_at(path, where), path, value, where)

    def item_suffices(self, path: Path, *, deleting: bool = False, where: str = "value") -> bool:
        """Tell whether a change of the element at `path` can be judged by `check_at` alone.

        False when a container above it counts its items, wants them all different, has alternatives
        to choose between, or (when deleting) has fields that must stay. Then check the whole field.
        """
        rule: Rule = self._root
        for depth, step in enumerate(path, start=1):
            if not rule.item_suffices(deleting and depth == len(path)):
                return False
            rule = self._step(rule, step, path[: depth - 1], where)
        return True

    def rule_at(self, path: Path, where: str = "value") -> Rule:
        """Find the rule for the place at `path`.

        Raises:
            SchemaMismatch: There can be no such place.
        """
        rule: Rule = self._root
        for depth, step in enumerate(path):
            rule = self._step(rule, step, path[:depth], where)
        return rule

    def _step(self, rule: Rule, step: str | int, passed: Path, where: str) -> Rule:
        try:
            inner = rule.child(step)
        except Refused as refused:
            raise refused.mismatch(where, passed) from None
        if inner is None:
            raise Refused(f"a place inside {rule.allowed()}", rule.allowed()).mismatch(where, (*passed, step))
        return inner

    def _judge(self, rule: Rule, path: Path, value: Any, where: str) -> Any:
        try:
            return rule.check(value, len(path))
        except Refused as refused:
            raise refused.mismatch(where, path) from None


def _fields_of(rule: Rule) -> Fields:
    if isinstance(rule, Fields):
        return rule
    if isinstance(rule, Reference):
        return _fields_of(rule.target)
    if isinstance(rule, Every):
        kept = [part for part in rule.rules if part is not ANYTHING]
        if len(kept) == 1:
            return _fields_of(kept[0])
    raise InvalidValue(
        f"cannot use a JSON schema as a data model: it describes {rule.allowed()}; "
        "allowed: a schema of type object with its properties at the top."
    )


_cache: OrderedDict[bytes, Validator] = OrderedDict()
_lock = Lock()


def validator_for(schema: JsonDict) -> Validator:
    """Give the validator of a JSON schema, made once for equal schemas (the latest 1,024 are kept)."""
    try:
        key = msgspec.json.encode(schema)
    except (TypeError, ValueError, RecursionError):
        return Validator(schema)  # which says what is wrong with it
    with _lock:
        found = _cache.get(key)
        if found is not None:
            _cache.move_to_end(key)
            return found
    made = Validator(schema)
    with _lock:
        _cache[key] = made
        if len(_cache) > _CACHED:
            _cache.popitem(last=False)
    return made
