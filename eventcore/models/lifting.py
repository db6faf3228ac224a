"""From valid JSON back to the objects an annotation promises: models, enum members, lists of them.

A data model's attributes are these objects; its JSON is made from them again. Values are trusted
here, because `eventcore.models.validation` has judged them before.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Union

import msgspec

from eventcore.history.values import JsonDict, Refused
from eventcore.models.compiling import Compiler
from eventcore.models.rules import Rule
from eventcore.models.schema import (
    SchemaBuilder,
    is_model_class,
    is_pydantic_class,
    is_record_class,
    split_annotation,
)

Lifter = Callable[[Any], Any]


def lifter_of(annotation: Any) -> Lifter | None:
    """Give the function from JSON to what the annotation says, or None when JSON is that already."""
    annotation, _ = split_annotation(annotation)
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if origin is Union or origin is types.UnionType:
        return _either(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is typing.Literal:
        return None
    if arguments:
        inner = lifter_of(arguments[-1])
        if inner is None:
            return None
        if inspect.isclass(origin) and issubclass(origin, Mapping):
            return lambda value: {key: inner(item) for key, item in value.items()}
        return lambda value: [inner(item) for item in value]
    if inspect.isclass(origin) and issubclass(origin, enum.Enum):
        return origin
    return _record(origin) if is_record_class(origin) else None


def _record(cls: type[Any]) -> Lifter:
    if is_model_class(cls):
        return lambda value: vars(cls)["__declaration__"].build(value)
    if is_pydantic_class(cls):
        return lambda value: cls.model_validate(value)

    def nested(kind: type[Any], value: Any) -> Any:  # a data model inside a Struct or dataclass
        lift = lifter_of(kind)
        return value if lift is None else lift(value)

    return lambda value: msgspec.convert(value, cls, dec_hook=nested)


def _tuple(arguments: tuple[Any, ...]) -> Lifter:
    if not arguments or arguments[-1] is ...:
        inner = lifter_of(arguments[0]) if arguments else None
        return tuple if inner is None else lambda value: tuple(inner(item) for item in value)
    lifters = [lifter_of(argument) for argument in arguments]
    return lambda value: tuple(
        item if lift is None else lift(item) for lift, item in zip(lifters, value, strict=True)
    )


def _either(arguments: tuple[Any, ...]) -> Lifter | None:
    lifters = [lifter_of(argument) for argument in arguments]
    if all(lift is None for lift in lifters):
        return None
    options = [(argument, lift) for argument, lift in zip(arguments, lifters, strict=True)]
    others = [option for option in options if option[0] is not type(None)]
    if len(others) == 1:
        only = others[0][1]
        return lambda value: value if value is None or only is None else only(value)
    rules: list[Rule] = []

    def lift(value: Any) -> Any:
        if not rules:  # made late: the classes may not be declared to the end yet
            rules.extend(_rule_of(argument) for argument, _ in options)
        for rule, (_, chosen) in zip(rules, options, strict=True):
            if _keeps(rule, value):
                return value if chosen is None else chosen(value)
        return value

    return lift


def _keeps(rule: Rule, value: Any) -> bool:
    try:
        return msgspec.json.encode(rule.check(value, 0)) == msgspec.json.encode(value)
    except Refused:
        return False


def _rule_of(annotation: Any) -> Rule:
    builder = SchemaBuilder()
    schema: JsonDict = builder.of(annotation)
    return Compiler({**schema, "$defs": builder.definitions}).root
