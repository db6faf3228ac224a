"""The rules a compiled JSON schema is made of: each takes a value and gives canonical JSON, or refuses.

One class per kind of rule, composed into a tree by `eventcore.models.compiling`. Structure (objects,
lists, alternatives) is walked here, because only so can a refusal carry the exact JSON pointer and
alternatives hold any two models; the constraints of single numbers and texts are msgspec's.

A rule's `check` does three things in one pass: it holds the value against the schema, makes it
canonical (see `eventcore.history.values`), and fills the defaults of absent fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec

from eventcore.history.values import (
    Refused,
    check_depth,
    copy_json,
    describe,
    is_dict,
    items_of,
    plain,
    record_of,
)

Step = str | int

_type: Callable[[Any], type[Any]] = type
_field = cast("Callable[[Any, str, Any], Any]", vars(dict)["get"])
_ABSENT = object()


class Rule(ABC):
    """What a value at one place has to be."""

    __slots__ = ()

    def kind(self) -> str:
        """Name the kind of value: `str, int, float, bool, null, list, dict`, else `any` or `mixed`."""
        return "any"

    @abstractmethod
    def allowed(self) -> str:
        """Say what is accepted, for error messages."""

    @abstractmethod
    def check(self, value: Any, depth: int) -> Any:
        """Give the canonical value, with defaults filled in; raise `Refused` when it does not fit."""

    def child(self, step: Step) -> Rule | None:
        """Give the rule one step further down, or None where this rule has no such place."""
        del step
        return None

    def item_suffices(self, deleting: bool) -> bool:
        """Tell whether changing one child can be judged by the child's rule alone."""
        del deleting
        return True


class Anything(Rule):
    """No rule but strict JSON."""

    __slots__ = ()

    def allowed(self) -> str:
        """Anything."""
        return "any JSON value"

    def check(self, value: Any, depth: int) -> Any:
        """Make it canonical."""
        return plain(value, depth)

    def child(self, step: Step) -> Rule | None:
        """Anything goes inside, too."""
        return self


ANYTHING = Anything()


class Null(Rule):
    """Only null."""

    __slots__ = ()

    def kind(self) -> str:
        """Null."""
        return "null"

    def allowed(self) -> str:
        """Null."""
        return "null"

    def check(self, value: Any, depth: int) -> Any:
        """Accept None."""
        if plain(value, depth) is None:
            return None
        raise Refused(describe(value), self.allowed())


class Scalar(Rule):
    """A str, int, float or bool, perhaps with constraints."""

    __slots__ = ("bounded", "text", "type")

    def __init__(self, kind: type[Any], constraint: msgspec.Meta | None, allowed: str) -> None:
        self.type = kind
        self.text = allowed
        # msgspec prepares what it knows of a type once per Struct, so the constraint lives in one.
        self.bounded: Any = None
        if constraint is not None:
            self.bounded = msgspec.defstruct("Bounded", [("value", Annotated[kind, constraint])], gc=False)

    def kind(self) -> str:
        """The type's name."""
        return self.type.__name__

    def allowed(self) -> str:
        """The type and its constraints."""
        return self.text

    def check(self, value: Any, depth: int) -> Any:
        """Accept exactly this type (and an int where a float is wanted), within the constraints."""
        kind = _type(value)
        if kind is not self.type or kind is str or kind is float or kind is int:
            value = plain(value, depth)
            kind = _type(value)
        if kind is not self.type:
            if kind is not int or self.type is not float:
                raise Refused(describe(value), self.allowed())
            value = float(value)
        if self.bounded is None:
            return value
        try:
            return msgspec.convert({"value": value}, self.bounded, strict=True).value
        except msgspec.ValidationError:
            raise Refused(describe(value), self.allowed()) from None


class Choice(Rule):
    """One of listed values (`enum`, `const`)."""

    __slots__ = ("name", "text", "values")

    def __init__(self, values: Sequence[Any]) -> None:
        self.hold(values)

    def hold(self, values: Sequence[Any]) -> None:
        """Take these for the listed values."""
        self.values = {_identity(value): value for value in values}
        kinds = {type(value).__name__ for value in values if value is not None}
        self.name = kinds.pop() if len(kinds) == 1 else "mixed"
        shown = ", ".join(repr(value) for value in values)
        self.text = shown if len(values) == 1 else f"one of {shown}"

    def kind(self) -> str:
        """The values' common type."""
        return self.name

    def allowed(self) -> str:
        """The listed values."""
        return self.text

    def check(self, value: Any, depth: int) -> Any:
        """Accept a listed value of the same type, and an int for a listed float."""
        value = plain(value, depth)
        found = self.values.get(_identity(value), _ABSENT)
        if found is _ABSENT and type(value) is int:
            found = self.values.get(_identity(float(value)), _ABSENT)
        if found is _ABSENT:
            raise Refused(describe(value), self.allowed())
        return copy_json(found)


def _identity(value: Any) -> bytes:
    # JSON text keeps 1, 1.0 and true apart, which == does not.
    return msgspec.json.encode(value, order="sorted")


class ListOf(Rule):
    """A list whose items obey a rule, the first ones perhaps rules of their own."""

    __slots__ = ("item", "leading", "least", "most", "text", "unique")

    def __init__(
        self,
        item: Rule,
        leading: Sequence[Rule] = (),
        least: int = 0,
        most: int | None = None,
        unique: bool = False,
    ) -> None:
        self.item = item
        self.leading = leading
        self.least = least
        self.most = most
        self.unique = unique
        self.text = "list" + _sized(least, most, "item") + (", all different" if unique else "")

    def kind(self) -> str:
        """List."""
        return "list"

    def allowed(self) -> str:
        """A list and its constraints."""
        return self.text

    def check(self, value: Any, depth: int) -> Any:
        """Check every item; a tuple becomes a list."""
        if not isinstance(value, (list, tuple)):
            raise Refused(describe(value), self.allowed())
        check_depth(depth + 1)
        iterator = cast("Any", list if isinstance(value, list) else tuple).__iter__(value)
        result: list[Any] = []
        rule = self.item
        try:
            for item in iterator:
                if self.leading:
                    rule = self.child(len(result))
                result.append(rule.check(item, depth + 1))
        except Refused as refused:
            refused.steps.append(len(result))
            raise
        size = len(result)
        if size < self.least or (self.most is not None and size > self.most):
            raise Refused(describe(result), self.allowed())
        if self.unique and len({_identity(item) for item in result}) != size:
            raise Refused("a list with equal items", self.allowed())
        return result

    def child(self, step: Step) -> Rule:
        """Give the rule of the item at this index."""
        return self.leading[step] if isinstance(step, int) and 0 <= step < len(self.leading) else self.item

    def item_suffices(self, deleting: bool) -> bool:
        """Not where length, position or difference matter."""
        return not (self.least or self.most is not None or self.unique or self.leading)


class Fields(Rule):
    """An object: named properties, and what else may stand beside them."""

    __slots__ = ("_texts", "defaults", "least", "most", "names", "others", "properties", "required", "text")

    def __init__(
        self,
        properties: Mapping[str, Rule],
        required: frozenset[str],
        defaults: Mapping[str, Any],
        others: Rule | None,
        names: Rule | None = None,
        least: int = 0,
        most: int | None = None,
    ) -> None:
        self.properties = dict(properties)
        # The hot path: properties any text fits.
        self._texts = frozenset(
            name
            for name, rule in properties.items()
            if isinstance(rule, Scalar) and rule.type is str and rule.bounded is None
        )
        self.required = required
        self.defaults = dict(defaults)
        self.others = others
        self.names = names
        self.least = least
        self.most = most
        listed = ", ".join(self.properties)
        known = f"an object with the fields {listed}" if listed else "an object"
        self.text = known + _sized(least, most, "field")

    def kind(self) -> str:
        """Dict."""
        return "dict"

    def allowed(self) -> str:
        """An object and its fields."""
        return self.text

    def check(self, value: Any, depth: int) -> Any:
        """Check every field, fill absent ones from their defaults; fields come in declared order."""
        fields: dict[Any, Any] = value if is_dict(value) else self._unwrapped(value)
        check_depth(depth + 1)
        result: dict[str, Any] = {}
        texts = self._texts
        key = ""
        given = 0
        try:
            for key, rule in self.properties.items():
                item = _field(fields, key, _ABSENT)
                if _type(item) is str and key in texts and item.isascii():
                    given += 1
                    result[key] = item
                elif item is not _ABSENT:
                    given += 1
                    result[key] = rule.check(item, depth + 1)
                elif key in self.defaults:
                    result[key] = copy_json(self.defaults[key])
                elif key in self.required:
                    raise Refused("nothing (the field is required)", rule.allowed())
        except Refused as refused:
            refused.steps.append(key)
            raise
        if given != len(fields):
            self._check_others(fields, result, depth + 1)
        size = len(result)
        if size < self.least or (self.most is not None and size > self.most):
            raise Refused(describe(result), self.allowed())
        return result

    def _unwrapped(self, value: Any) -> dict[Any, Any]:
        record = record_of(value)
        if not is_dict(record):
            raise Refused(describe(value), self.allowed())
        return record

    def _check_others(self, value: dict[Any, Any], result: dict[str, Any], depth: int) -> None:
        free = self.others is ANYTHING and self.names is None
        for key, item in items_of(value):
            if key in self.properties:
                continue
            if free and _type(key) is _type(item) is str and key.isascii() and item.isascii():
                result[key] = item
                continue
            rule = self.child(key)
            name = str.__str__(key)
            try:
                result[name] = rule.check(item, depth)
            except Refused as refused:
                refused.steps.append(name)
                raise

    def child(self, step: Step) -> Rule:
        """Give the rule of a field; raise `Refused` when there can be no such field."""
        known = self.properties.get(step) if isinstance(step, str) else None
        if known is not None:
            return known
        if not isinstance(step, str) or _type(step) is not str or not step.isascii():
            plain({step: None}, 0)  # keys are strict JSON, too
        name = str(step)
        if self.others is None:
            listed = ", ".join(self.properties) or "no field at all"
            refused = Refused(
                f"the unknown field {name!r}", f"the fields {listed}" if self.properties else listed
            )
            refused.steps.append(name)
            raise refused
        if self.names is not None:
            self.names.check(name, 0)
        return self.others

    def item_suffices(self, deleting: bool) -> bool:
        """Not where a field must stay, or their number matters."""
        counted = bool(self.least) or self.most is not None
        return not counted and not (deleting and (self.required or self.properties))


def _sized(least: int, most: int | None, noun: str) -> str:
    if most is None:
        return f" of at least {least} {noun}s" if least else ""
    return f" of {least} to {most} {noun}s" if least else f" of at most {most} {noun}s"
