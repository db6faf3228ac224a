"""Symbolic calls: what a module's output looks like is found without data, and a node is left behind.

A module that says it (`compute_output_spec`) is believed. Otherwise its `call` runs on typed placeholders
against a scratch copy of all variables, so nothing real changes and no effect leaves the process. Changes
a `call` makes to ordinary Python attributes do happen; keep state in variables.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from eventcore.errors import (
    EventcoreError,
    GraphError,
    InvalidValue,
    NotInitialized,
    StorageError,
    TracingError,
    TrackerLocked,
)
from eventcore.history.scope import tracing
from eventcore.models.conversion import schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.arguments import holds_model
from eventcore.modules.calling import run_call
from eventcore.modules.internals import core_of
from eventcore.modules.node import Node, attach
from eventcore.modules.placeholders import placeholder
from eventcore.modules.structure import is_schema

if TYPE_CHECKING:
    from eventcore.modules.module import Module

# These say something about the program, not about the placeholder.
_NOT_ABOUT_DATA: tuple[type[EventcoreError], ...] = (TrackerLocked, NotInitialized, GraphError, StorageError)


async def symbolic_outputs(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Find what a call would return, as symbolic data models that remember it.

    Raises:
        TracingError: Neither `compute_output_spec` nor running `call` on placeholders told.
    """
    with tracing():
        spec = module.compute_output_spec(*args, **kwargs)
        if inspect.isawaitable(spec):
            spec = await spec
    return recorded(module, args, kwargs, spec)


def recorded(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], spec: Any) -> Any:
    """Make the outputs of a symbolic call from its specification and attach them to a new node."""
    found: list[SymbolicDataModel] = []
    outputs, shape = _fresh(spec, module, found)
    attach(Node(module, args, kwargs, shape), found)
    return outputs


def _fresh(spec: Any, module: Module, found: list[SymbolicDataModel]) -> tuple[Any, Any]:
    """Make the symbolic outputs of a specification, and the same structure with their places as leaves."""
    if spec is None:
        return None, None
    if isinstance(spec, (list, tuple)):
        pairs = [_fresh(item, module, found) for item in cast("Iterable[Any]", spec)]
        outputs, shapes = [output for output, _ in pairs], [shape for _, shape in pairs]
        return (outputs, shapes) if isinstance(spec, list) else (tuple(outputs), tuple(shapes))
    if isinstance(spec, dict) and not is_schema(cast("dict[str, Any]", spec)):
        named = {key: _fresh(item, module, found) for key, item in cast("dict[str, Any]", spec).items()}
        return {key: pair[0] for key, pair in named.items()}, {key: pair[1] for key, pair in named.items()}
    symbolic = _symbolic(spec, module)
    found.append(symbolic)
    return symbolic, len(found) - 1


def _symbolic(spec: Any, module: Module) -> SymbolicDataModel:
    try:
        schema = schema_of(spec)
    except (InvalidValue, TypeError) as error:
        raise TracingError(
            f"cannot use what `compute_output_spec` of {type(module).__name__} returned: received {spec!r}. "
            "Return a data model class, a schema, a symbolic data model, or a list, tuple or dict of them."
        ) from error
    named = spec if isinstance(spec, (JsonDataModel, SymbolicDataModel)) else None
    return SymbolicDataModel(
        schema=schema, name=named.name if named is not None else f"outputs_{module.name}"
    )


async def traced(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a module's `call` on placeholders and return the specification of its outputs.

    Raises:
        TracingError: It raised, or returned None, for every kind of placeholder; the cause is chained.
    """
    core = core_of(module)
    failure: Exception | None = None
    for full in (False, True):
        try:
            with tracing():
                result = await run_call(module, _stand_in(args, full), _stand_in(kwargs, full), None)
        except _NOT_ABOUT_DATA:
            raise
        except Exception as error:
            failure = failure or error
            continue
        if result is not None and not _has_gap(result):
            return result
    said = f"it raised {type(failure).__name__}: {failure}" if failure is not None else "it returned None"
    raise TracingError(
        f"cannot tell what {type(module).__name__} '{core.path}' returns: its `call` was run on placeholders "
        f"and {said}. Let `call` return a data model for any valid input, or write "
        "`async def compute_output_spec(self, inputs)` returning the data model class of its output."
    ) from failure


def _has_gap(result: Any) -> bool:
    if isinstance(result, dict):
        return any(item is None for item in cast("dict[str, Any]", result).values())
    return isinstance(result, (list, tuple)) and any(item is None for item in cast("list[Any]", result))


def _stand_in(value: Any, full: bool) -> Any:
    """Replace every symbolic data model in `value` by a placeholder of its schema."""
    if isinstance(value, SymbolicDataModel):
        schema = value.get_schema()
        return JsonDataModel(schema=schema, json=placeholder(schema, full=full), name=value.name)
    if isinstance(value, (list, tuple)):
        items = [_stand_in(item, full) for item in cast("Iterable[Any]", value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict) and holds_model(cast("dict[str, Any]", value)):
        return {key: _stand_in(item, full) for key, item in cast("dict[str, Any]", value).items()}
    return value
