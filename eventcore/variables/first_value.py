"""What a variable begins with: its schema and first value, from whatever the arguments were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventcore.errors import EventcoreError, InvalidValue, WrongType
from eventcore.history.values import is_text
from eventcore.models.conversion import json_of, schema_of
from eventcore.models.schema import is_model_class
from eventcore.models.trainable import missing_defaults
from eventcore.variables.initializers import Empty


def first_value(initializer: Any, data_model: Any, path: str) -> tuple[dict[str, Any], Any]:
    """Return (schema, first value) from the two arguments."""
    if initializer is None and data_model is None:
        raise InvalidValue(
            f"cannot create variable {path!r} without a schema: pass data_model=, or an initializer"
        )
    if isinstance(initializer, type) and data_model is None:
        initializer = initializer()
    if initializer is None:
        initializer = Empty(data_model=data_model)
    source = data_model
    value = initializer
    if callable(initializer) and not isinstance(initializer, dict):
        made: Callable[..., Any] = initializer
        value = made(data_model=data_model)() if isinstance(initializer, type) else made()
    if source is None:
        source = initializer if hasattr(initializer, "get_schema") else value
        if isinstance(source, dict):
            raise InvalidValue(
                f"cannot create variable {path!r} from a dict alone: pass data_model= beside it"
            )
    return schema_of(source), completed(source, as_dict(value, f"variable {path!r}"))


def completed(source: Any, value: dict[Any, Any]) -> dict[Any, Any]:
    """Return a value with what the default factories of its data model make for absent fields.

    A JSON schema cannot say a factory, so the validator knows only the plain defaults. A value that does not fit
    is returned as it is: the validator says what is wrong with it.
    """
    if not is_model_class(source) or not isinstance(source, type):
        return value
    try:
        made: dict[Any, Any] = source(**value).get_json()
    except (EventcoreError, TypeError):
        return value
    return {**value, **{field: item for field, item in made.items() if field not in value}}


def described(description: object, path: str) -> str:
    """Return a description that is text.

    Raises:
        WrongType: It is not.
    """
    if not isinstance(description, str) or not is_text(description):
        raise WrongType(f"cannot describe variable {path!r} by {description!r}: pass description= as text")
    return description


def as_dict(value: Any, where: str) -> dict[Any, Any]:
    """Return the fields of a dict or of a data model instance.

    Raises:
        WrongType: It is neither.
    """
    found = value if isinstance(value, dict) else json_of(value)
    if not isinstance(found, dict):
        raise WrongType(f"cannot use {value!r} as a value of {where}: pass a dict or a data model")
    return found


def require_defaults(schema: dict[str, Any], where: str) -> None:
    """Raise `InvalidValue`, naming the fields, if a Trainable has fields without a default."""
    lacking = missing_defaults(schema)
    if lacking:
        raise InvalidValue(
            f"cannot create {where}: a Trainable needs a default for every field, and {', '.join(lacking)} "
            "has none; add default= to the Field"
        )
