"""One place that knows all the things that can stand for a data model, and turns them into JSON.

A data model class or instance, a `JsonDataModel`, a `SymbolicDataModel`, anything with `get_schema()`
(a variable, say), a msgspec Struct, a dataclass, a pydantic model and a plain JSON schema all give a
schema through `schema_of` and a validator through `validator_of`, so they mean the same everywhere.
"""

from __future__ import annotations

import weakref
from typing import Any

from eventcore.errors import WrongType
from eventcore.history.values import JsonDict, canonical, copy_json, describe, is_dict, record_of
from eventcore.models.schema import is_model_class, is_record_class, record_schema
from eventcore.models.validation import Validator, validator_for

_schemas: weakref.WeakKeyDictionary[type[Any], JsonDict] = weakref.WeakKeyDictionary()


def schema_of(source: Any) -> JsonDict:
    """Give the JSON schema of whatever carries one, as a copy of its own.

    Args:
        source: A data model class or instance of any supported library, an object with
            `get_schema()`, or a JSON schema.

    Raises:
        WrongType: It carries no schema.
        InvalidValue: It does, but the schema cannot be used.
    """
    if hasattr(source, "get_schema") and (is_model_class(source) or not isinstance(source, type)):
        schema: JsonDict = source.get_schema()
        return schema
    if is_dict(source):
        plain: Any = canonical(source, "the JSON schema")
        return dict(plain)
    cls: Any = source if isinstance(source, type) else type(source)
    if not is_record_class(cls):
        raise WrongType(
            f"cannot take a JSON schema from {describe(source)}; allowed: a data model (class or instance), a msgspec "
            "Struct, a dataclass, a pydantic model, an object with get_schema(), or a JSON schema as a dict."
        )
    known = _schemas.get(cls)
    if known is None:
        known = _schemas[cls] = record_schema(cls)
    copied: JsonDict = copy_json(known)
    return copied


def shared_schema(source: Any) -> JsonDict:
    """Give the JSON schema as `schema_of` does, without a copy where it is known to stay as it is.

    For reading only.
    """
    cls: Any = source if isinstance(source, type) else type(source)
    if is_model_class(cls):
        schema: JsonDict = vars(cls)["__declaration__"].schema
        return schema
    if hasattr(source, "shared_schema") and not isinstance(source, type):
        shared: JsonDict = source.shared_schema()
        return shared
    return schema_of(source)


def validator_of(source: Any) -> Validator:
    """Give the validator for whatever carries a schema; equal schemas share one.

    Raises:
        WrongType: It carries no schema.
        InvalidValue: It does, but the schema cannot be used.
    """
    cls: Any = source if isinstance(source, type) else type(source)
    if is_model_class(cls):
        validator: Validator = vars(cls)["__declaration__"].validator
        return validator
    return validator_for(shared_schema(source))


def json_of(value: Any, where: str = "value") -> JsonDict:
    """Give the JSON of a data model instance of any supported library, or of a dict, as a copy.

    Raises:
        WrongType: It is neither.
        SchemaMismatch: Its JSON is not strict.
    """
    if is_model_class(type(value)):
        known: JsonDict = value.get_json()
        return known
    given = value if is_dict(value) else None if isinstance(value, type) else record_of(value)
    if given is None:
        raise WrongType(
            f"cannot take JSON from {describe(value)}; allowed: a data model instance, a msgspec Struct, a dataclass, "
            "a pydantic model, or a dict."
        )
    plain: Any = canonical(given, where)
    return dict(plain)


def is_data_model(value: Any) -> bool:
    """Tell whether it is a data model and no class of one: a value, a variable or a placeholder."""
    if isinstance(value, type):
        return False
    return (hasattr(value, "get_json") and hasattr(value, "get_schema")) or is_record_class(type(value))


def missing_defaults(source: Any) -> list[str]:
    """List the fields that have no default, so that nothing could be built from the schema alone."""
    return list(validator_of(source).required)


def defaults_of(source: Any) -> JsonDict:
    """Give the JSON of an object of which no field was given.

    Raises:
        SchemaMismatch: A field has no default.
    """
    if is_model_class(source):
        made: JsonDict = source().get_json()
        return made
    return validator_of(source).check({}, "the defaults")
