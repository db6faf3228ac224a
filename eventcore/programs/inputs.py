"""Bringing what a program is called with into the structure of its inputs.

A program with several inputs may be given a list, or a dict by the names of its inputs; one with a single
input may be given it alone in a list. Whether the data fits is checked elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from eventcore.errors import InvalidValue
from eventcore.modules.input import InputModule
from eventcore.modules.node import history_of
from eventcore.modules.structure import leaves

if TYPE_CHECKING:
    from eventcore.models.symbolic import SymbolicDataModel
    from eventcore.programs.graph import Graph


def arranged(inputs: Any, graph: Graph, path: str) -> Any:
    """Give inputs the structure of a graph's inputs where that is a matter of names.

    Args:
        inputs: As the caller wrote them.
        graph: What they go into.
        path: How messages call the program.

    Raises:
        InvalidValue: An input that is not optional is missing.
    """
    expected = graph.inputs
    if isinstance(expected, dict):
        if not isinstance(inputs, dict):
            return inputs
        return _complete(cast("dict[str, Any]", inputs), cast("dict[str, Any]", expected), path)
    if isinstance(expected, (list, tuple)):
        symbolic = cast("list[SymbolicDataModel]", expected)
        if isinstance(inputs, dict):
            by_name = dict(zip(graph.input_names(), symbolic, strict=False))
            named = cast("dict[str, Any]", inputs)
            if len(symbolic) > 1 or named.keys() == by_name.keys():
                return list(_complete(named, by_name, path).values())
        return inputs if isinstance(inputs, (list, tuple)) or len(symbolic) > 1 else [inputs]
    if isinstance(inputs, (list, tuple)) and len(cast("list[Any]", inputs)) == 1:
        return inputs[0]
    return inputs


def _complete(inputs: dict[str, Any], expected: dict[str, Any], path: str) -> dict[str, Any]:
    missing = [
        name for name, symbolic in expected.items() if name not in inputs and not is_optional(symbolic)
    ]
    unknown = [name for name in inputs if name not in expected]
    if missing or unknown:
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(map(str, unknown))} unknown"] if unknown else []
        raise InvalidValue(
            f"cannot call '{path}': received the inputs {', '.join(map(str, inputs)) or 'none'}: {', '.join(wrong)}. "
            f"It takes {', '.join(expected)}."
        )
    return {name: inputs.get(name) for name in expected}


def is_optional(symbolic: Any) -> bool:
    """Whether an input may be left out."""
    history = history_of(symbolic) if hasattr(symbolic, "producer") else None
    return history is not None and isinstance(history[0].module, InputModule) and history[0].module.optional


def leaves_like(inputs: Any, structure: Any) -> list[Any]:
    """List the data models in `inputs` in the order of `structure`; no input at all gives None everywhere."""
    if inputs is None:
        return [None for _ in leaves(structure)]
    if isinstance(structure, dict):
        named = cast("dict[str, Any]", structure)
        return [leaf for key, inner in named.items() for leaf in leaves_like(inputs[key], inner)]
    if isinstance(structure, (list, tuple)):
        pairs = zip(inputs, cast("list[Any]", structure), strict=True)
        return [leaf for item, inner in pairs for leaf in leaves_like(item, inner)]
    return [inputs]
