"""Nodes: what a symbolic call leaves behind, so that a program can run the same calls on data.

A symbolic data model that came out of a call remembers its node and its place among the node's outputs;
a node remembers the module and the arguments. Nodes do not know their outputs, so a graph nobody holds is
freed at once. Finding the graph between inputs and outputs is the work of `eventcore.programs.graph`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

from eventcore.models.symbolic import SymbolicDataModel

if TYPE_CHECKING:
    from eventcore.modules.module import Module

_numbers = itertools.count(1)


class Node:
    """One symbolic call.

    Attributes:
        module: What was called.
        args: Positional arguments; symbolic data models in them lead to other nodes.
        kwargs: Keyword arguments.
        shape: Structure of the outputs: each leaf is its place, None where there is no output.
        specs: Name and schema of each output.
        number: Counts up with every node of the process; arguments come from lower numbers.
    """

    __slots__ = ("args", "kwargs", "module", "number", "shape", "specs")

    def __init__(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], shape: Any) -> None:
        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.shape = shape
        self.specs: list[tuple[str, dict[str, Any]]] = []
        self.number = next(_numbers)

    def symbolic_arguments(self) -> list[SymbolicDataModel]:
        """The symbolic data models among the arguments, in order."""
        found: list[SymbolicDataModel] = []
        waiting: list[Any] = [self.kwargs, self.args]
        while waiting:
            value = waiting.pop()
            if isinstance(value, SymbolicDataModel):
                found.append(value)
            elif isinstance(value, dict):
                waiting.extend(reversed(list(value.values())))
            elif isinstance(value, (list, tuple)):
                waiting.extend(reversed(list(value)))
        return found


def attach(node: Node, outputs: list[SymbolicDataModel]) -> None:
    """Let each output remember that it is this node's, and which."""
    node.specs = [(output.name, output.get_schema()) for output in outputs]
    for index, output in enumerate(outputs):
        output.producer = (node, index)


def history_of(symbolic: SymbolicDataModel) -> tuple[Node, int] | None:
    """The node a symbolic data model came from and its place among the outputs, None for a loose one."""
    found = symbolic.producer
    return cast("tuple[Node, int]", found) if isinstance(found, tuple) else None
