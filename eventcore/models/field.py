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

CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


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
    json_schema_extra: Mapping[str, Any] | None = None,
    **constraints: Any,
) -> Any:
    """Describe a field of a `DataModel`.

    Args:
        default: Used when no value is given; `...` says that there is none. Copied for each instance.
        default_factory: Called without argument for each instance instead.
        title: Replaces the title made from the field's key.
        description: What the field means; language models read it.
        examples: Example values, for readers of the schema.
        json_schema_extra: Further keywords for the field's JSON schema, taken as they are.
        **constraints: `gt, ge, lt, le, multiple_of` for numbers; `min_length, max_length` for text,
            lists (also `min_items, max_items`) and dicts; `pattern` (also `regex`), searched in text.

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
        constraints=_known_constraints(constraints),
        extra=dict(json_schema_extra or {}),
    )


_ALIASES = {"min_items": "min_length", "max_items": "max_length", "regex": "pattern"}


def _known_constraints(given: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in given.items():
        known = _ALIASES.get(name, name)
        if known not in CONSTRAINTS:
            allowed = ", ".join((*CONSTRAINTS, *_ALIASES, "title", "description", "examples"))
            raise InvalidValue(f"cannot declare a field: received the keyword {name!r}; allowed: {allowed}.")
        if value is not None:
            result[known] = value
    return result
