"""Nested inputs: one data model, or a list, tuple or dict of them, and the same shape made of schemas.

A leaf of a structure of schemas is a JSON schema of an object; a list or a dict of leaves is a structure.
Here a module's inputs are turned into such a structure, and later inputs are held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from eventcore.errors import InvalidValue, SchemaMismatch
from eventcore.models.conversion import schema_of, shared_schema
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.fitting import misfits

_KEPT = 512
_fitting: dict[tuple[int, int], tuple[Any, Any]] = {}
"""Pairs of schemas of which the first was found to fit the second, by identity.

The schemas are held, so that no other ones get their ids; nobody changes a schema that is shared.
"""


def is_schema(value: object) -> bool:
    """Whether `value` is a JSON schema of an object, and not a dict of inputs by name."""
    if not isinstance(value, dict):
        return False
    schema: dict[Any, Any] = value
    return isinstance(schema.get("properties"), dict) and isinstance(schema.get("type", "object"), str)


def map_structure(visit: Callable[[Any], Any], value: Any) -> Any:
    """Apply `visit` to every leaf; lists, tuples and dicts (schemas are leaves) keep their shape."""
    if isinstance(value, dict) and not is_schema(value):
        named = cast("dict[Any, Any]", value)
        return {key: map_structure(visit, item) for key, item in named.items()}
    if isinstance(value, (list, tuple)):
        items = [map_structure(visit, item) for item in cast("Iterable[Any]", value)]
        return items if isinstance(value, list) else _rebuilt_tuple(cast("tuple[Any, ...]", value), items)
    return visit(value)


def _rebuilt_tuple(old: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    make = getattr(type(old), "_make", None)
    return make(items) if make is not None else tuple(items)


def leaves(value: Any) -> Iterator[Any]:
    """Yield every leaf of a structure in order."""
    found: list[Any] = []
    map_structure(found.append, value)
    yield from found


def schemas_in(given: Any) -> Any:
    """Turn inputs into the structure of their schemas: lists and dicts stay, None stays None.

    Raises:
        InvalidValue: A leaf carries no schema.
    """

    def schema(leaf: Any) -> Any:
        return None if leaf is None else schema_of(leaf)

    structure = map_structure(schema, given)
    return list(cast("tuple[Any, ...]", structure)) if isinstance(structure, tuple) else structure


def symbolic_inputs(given: Any) -> Any:
    """Turn inputs into symbolic data models a graph can start from; symbolic ones stay themselves."""
    from eventcore.modules.input import Input

    def symbolic(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, SymbolicDataModel):
            return leaf
        return Input(schema=schema_of(leaf))

    return map_structure(symbolic, given)


def known_to_fit(given: Any, structure: Any) -> bool:
    """Whether `check_fit` has accepted an input of this very schema for this very structure lately."""
    return type(given) is JsonDataModel and (id(given.shared_schema()), id(structure)) in _fitting


def check_fit(given: Any, structure: Any, where: str) -> None:
    """Hold inputs against the structure of schemas a module was built with.

    None passes everywhere: it says that a branch is inactive.

    Raises:
        SchemaMismatch: A field is missing or of another kind; the message names each.
        InvalidValue: The shape differs.
    """
    if given is None or structure is None:
        return
    if is_schema(structure):
        if isinstance(given, (list, tuple, dict)):
            raise InvalidValue(
                f"cannot call {where}: received a {type(given).__name__}; it takes one data model."
            )
        schema = shared_schema(given)
        found = misfits(schema, cast("dict[str, Any]", structure))
        if found:
            expected = ", ".join(structure["properties"])
            raise SchemaMismatch(
                f"cannot call {where}: received '{getattr(given, 'name', type(given).__name__)}' {'; '.join(found)}. "
                f"It takes the fields {expected}."
            )
        if len(_fitting) >= _KEPT:
            _fitting.clear()
        _fitting[id(schema), id(cast("object", structure))] = (schema, structure)
        return
    for part, inner, place in _pairs(given, structure, where):
        check_fit(part, inner, place)


def _pairs(given: Any, structure: Any, where: str) -> Iterator[tuple[Any, Any, str]]:
    if isinstance(structure, dict):
        expected = cast("dict[str, Any]", structure)
        got = cast("dict[str, Any]", given) if isinstance(given, dict) else None
        if got is None or not expected.keys() <= got.keys():
            received = type(given).__name__ if got is None else ", ".join(map(repr, got))
            allowed = f"a dict with the keys {', '.join(expected)}"
            raise InvalidValue(f"cannot call {where}: received {received}; it takes {allowed}.")
        for key, inner in expected.items():
            yield got[key], inner, f"{where} with input '{key}'"
        return
    expected_items = cast("list[Any]", structure)
    items = list(cast("Iterable[Any]", given)) if isinstance(given, (list, tuple)) else None
    if items is None or len(items) != len(expected_items):
        received = type(given).__name__ if items is None else f"{len(items)} data models"
        allowed = f"a list of {len(expected_items)} data models"
        raise InvalidValue(f"cannot call {where}: received {received}; it takes {allowed}.")
    for index, (part, inner) in enumerate(zip(items, expected_items, strict=True)):
        yield part, inner, f"{where} with input {index}"
