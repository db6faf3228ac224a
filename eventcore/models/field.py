"""`Field`: what a data model says about one of its fields beyond the type.

Descriptions and titles are not decoration: they end up in the JSON schema that a language model is
given, so they are part of the prompt. What a field *is* once its annotation is known stands in
`eventcore.models.declaration`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from eventcore.errors import InvalidValue


class Missing(Enum):
    """The mark of an absent default, which `None` cannot be."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """What one `Field(...)` call, or one plain default, says."""

    default: Any = MISSING
    default_factory: Callable[[], Any] | None = None
    title: str | None = None
    description: str | None = None
    examples: tuple[Any, ...] | None = None
    constraints: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    extra: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())

    @property
    def required(self) -> bool:
        """Whether a value must be given because there is no default."""
        return self.default is MISSING and self.default_factory is None

    def over(self, other: FieldInfo) -> FieldInfo:
        """Combine with a weaker source: what is said here wins, the rest comes from `other`."""
        silent = self.default is MISSING and self.default_factory is None
        return FieldInfo(
            default=other.default if silent else self.default,
            default_factory=other.default_factory if silent else self.default_factory,
            title=self.title if self.title is not None else other.title,
            description=self.description if self.description is not None else other.description,
            examples=self.examples if self.examples is not None else other.examples,
            constraints={**other.constraints, **self.constraints},
            extra={**other.extra, **self.extra},
        )


def Field(  # noqa: N802 - the name users of Keras-shaped APIs know; it reads as a declaration
    default: Any = MISSING,
    *,
    default_factory: Callable[[], Any] | None = None,
    title: str | None = None,
    description: str | None = None,
    examples: list[Any] | tuple[Any, ...] | None = None,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    multiple_of: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    json_schema_extra: Mapping[str, Any] | None = None,
    **aliases: Any,
) -> Any:
    """Describe a field of a `DataModel`.

    Args:
        default: Used when no value is given; `...` says that there is none. Copied for each instance.
        default_factory: Called without argument for each instance instead.
        title: Replaces the title made from the field's key.
        description: What the field means; language models read it.
        examples: Example values, for readers of the schema.
        gt: Lower bound of a number, excluded.
        ge: Lower bound of a number, included.
        lt: Upper bound of a number, excluded.
        le: Upper bound of a number, included.
        multiple_of: What a number must be a multiple of.
        min_length: Least number of characters, items or keys.
        max_length: Greatest number of characters, items or keys.
        pattern: Regular expression that must be found in the text.
        json_schema_extra: Further keywords for the field's JSON schema, taken as they are.
        **aliases: `min_items` and `max_items` for the lengths, `regex` for the pattern.

    Raises:
        InvalidValue: Both a default and a factory, or a keyword that is not known.
    """
    if default is ...:
        default = MISSING
    if default is not MISSING and default_factory is not None:
        raise InvalidValue(
            "cannot declare a field with both default and default_factory: received both; give one of them."
        )
    if default_factory in (list, dict):  # then the default can be shown in the schema
        default, default_factory = ([] if default_factory is list else {}), None
    return FieldInfo(
        default=default,
        default_factory=default_factory,
        title=title,
        description=description,
        examples=None if examples is None else tuple(examples),
        constraints=_constraints(
            {"gt": gt, "ge": ge, "lt": lt, "le": le, "multiple_of": multiple_of}
            | {"min_length": min_length, "max_length": max_length, "pattern": pattern},
            aliases,
        ),
        extra=dict(json_schema_extra or {}),
    )


_ALIASES = {"min_items": "min_length", "max_items": "max_length", "regex": "pattern"}


def _constraints(given: dict[str, Any], aliases: dict[str, Any]) -> dict[str, Any]:
    for name, value in aliases.items():
        if name not in _ALIASES:
            allowed = ", ".join(
                (*given, *_ALIASES, "default", "default_factory", "title", "description", "examples")
            )
            raise InvalidValue(f"cannot declare a field: received the keyword {name!r}; allowed: {allowed}.")
        given[_ALIASES[name]] = value
    return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a record class, its annotation resolved."""

    name: str
    annotation: Any
    info: FieldInfo
