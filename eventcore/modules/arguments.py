"""What a call is given and gives back, turned into what flows between modules.

A `call` gets JSON data models (or None for an inactive branch), however the caller wrote them: data model
instances, plain dicts where the schema is known, msgspec Structs, dataclasses. What it returns is turned
the same way. Values are converted here, not held against anything; that is `structure.check_fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from eventcore.errors import InvalidValue
from eventcore.models.conversion import json_of, schema_of
from eventcore.models.data_model import DataModel
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.models.validation import validator_for
from eventcore.modules.structure import is_schema

Convert = Callable[[Any, Any], Any]


def is_model(value: object) -> bool:
    """Whether `value` flows between modules as it is."""
    return isinstance(value, (JsonDataModel, SymbolicDataModel))


def holds_model(value: object) -> bool:
    """Whether `value` is, or contains, a data model of any kind."""
    if is_model(value) or isinstance(value, DataModel):
        return True
    if isinstance(value, dict):
        return any(holds_model(item) for item in cast("dict[Any, Any]", value).values())
    if isinstance(value, (list, tuple)):
        return any(holds_model(item) for item in cast("Iterable[Any]", value))
    return False


def is_symbolic(value: object) -> bool:
    """Whether `value` is, or contains, a symbolic data model."""
    if isinstance(value, SymbolicDataModel):
        return True
    if isinstance(value, dict):
        return any(is_symbolic(item) for item in cast("dict[Any, Any]", value).values())
    return isinstance(value, (list, tuple)) and any(
        is_symbolic(item) for item in cast("Iterable[Any]", value)
    )


class InputConverter:
    """Turns the inputs of one module into JSON or symbolic data models.

    Args:
        where: How messages call the module.
        name: Name for a data model that has none.
    """

    def __init__(self, where: str, name: str) -> None:
        self._where = where
        self._name = name

    def positional(self, value: Any, structure: Any) -> Any:
        """Convert an argument that has to be a data model, None, or a list, tuple or dict of them.

        Args:
            value: As the caller wrote it.
            structure: The schemas the module was built with, None if unknown.

        Raises:
            InvalidValue: It is something else.
            SchemaMismatch: It is a plain dict that breaks the schema.
        """
        if value is None or is_model(value):
            return value
        if isinstance(value, DataModel):
            return value.to_json_data_model(name=self._name)
        if isinstance(value, type):
            raise InvalidValue(
                f"cannot call {self._where}: received the class {value.__name__}. "
                f"Pass an instance, or `Input(data_model={value.__name__})` to build a graph."
            )
        if isinstance(value, dict):
            return self._dict(cast("dict[str, Any]", value), structure)
        if isinstance(value, (list, tuple)):
            return self._items(cast("tuple[Any, ...]", value), structure)
        return self._object(value)

    def keyword(self, value: Any) -> Any:
        """Convert the data models in a keyword argument and leave anything else alone."""
        if isinstance(value, DataModel):
            return value.to_json_data_model(name=self._name)
        if not holds_model(value) or is_model(value):
            return value
        if isinstance(value, dict):
            return {key: self.keyword(item) for key, item in cast("dict[Any, Any]", value).items()}
        return type(value)(self.keyword(item) for item in value)

    def _dict(self, value: dict[str, Any], structure: Any) -> Any:
        if is_schema(structure):
            json = validator_for(structure).check(value, f"the input of {self._where}")
            return JsonDataModel.trusted(structure, json, self._name)
        if not isinstance(structure, dict) and not holds_model(value):
            raise InvalidValue(
                f"cannot call {self._where}: received a plain dict, and what it takes is not known yet. "
                "Pass a data model, or build it first: `await module.build(schema)`."
            )
        inner = cast("dict[str, Any]", structure) if isinstance(structure, dict) else {}
        return {key: self.positional(item, inner.get(key)) for key, item in value.items()}

    def _items(self, value: Any, structure: Any) -> Any:
        known = cast("list[Any]", structure) if isinstance(structure, list) else []
        inner = known if len(known) == len(value) else [None] * len(value)
        items = [self.positional(item, part) for item, part in zip(value, inner, strict=True)]
        return items if isinstance(value, list) else tuple(items)

    def _object(self, value: Any) -> Any:
        if isinstance(value, (str, bytes, int, float, bool)) or not _carries_schema(value):
            raise InvalidValue(
                f"cannot call {self._where}: received {value!r} ({type(value).__name__}). "
                "Positional arguments are data models, None, or lists, tuples and dicts of them; "
                "pass anything else by keyword."
            )
        return JsonDataModel(schema=schema_of(value), json=json_of(value), name=self._name)


def _carries_schema(value: Any) -> bool:
    try:
        schema_of(value)
    except (InvalidValue, TypeError):
        return False
    return True


def outputs_of(value: Any, where: str, name: str) -> Any:
    """Turn what a `call` returned into JSON data models.

    Raises:
        InvalidValue: It returned something that is no data model, None, or a list, tuple or dict of them.
    """
    if value is None or is_model(value):
        return value
    if isinstance(value, DataModel):
        return value.to_json_data_model(name=name)
    if isinstance(value, dict):
        return {key: outputs_of(item, where, name) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        items = [outputs_of(item, where, name) for item in cast("Iterable[Any]", value)]
        return items if isinstance(value, list) else tuple(items)
    if not isinstance(value, (str, bytes, int, float, bool, type)) and _carries_schema(value):
        return JsonDataModel(schema=schema_of(value), json=json_of(value), name=name)
    raise InvalidValue(
        f"cannot use what the `call` of {where} returned: received {value!r} ({type(value).__name__}). "
        "Return a data model, None, or a list, tuple or dict of them."
    )
