"""The graph between a program's inputs and outputs: found once, run on data as often as wanted.

Nodes are found backwards from the outputs and put into levels: a node stands one level above the highest
node it needs. Levels run one after the other, the nodes of a level concurrently, each module as often as it
has nodes. An input may join at any level.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from eventcore.errors import DuplicateName, GraphError, InvalidValue
from eventcore.history.scope import in_tracing
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.input import InputModule
from eventcore.modules.node import Node, history_of
from eventcore.modules.structure import leaves, map_structure

if TYPE_CHECKING:
    from eventcore.modules.module import Module

Key: TypeAlias = tuple[int, int]


class Graph:
    """The calls that lead from some symbolic data models to others.

    Args:
        inputs: A symbolic data model, or a list, tuple or dict of them: where data enters.
        outputs: The same: what is wanted.

    Attributes:
        inputs: As given.
        outputs: As given.
        levels: The nodes to run, a level at a time.
        modules: The modules of inputs and nodes, each once: inputs first, then by level.

    Raises:
        InvalidValue: Something given is not symbolic.
        GraphError: An output does not lead back to the inputs, or the graph has a cycle.
        DuplicateName: Two modules have the same name.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.input_list = _symbolic_leaves(inputs, "inputs")
        self.output_list = _symbolic_leaves(outputs, "outputs")
        self._starts = {key_of(symbolic) for symbolic in self.input_list}
        if len(self._starts) != len(self.input_list):
            raise GraphError("cannot make a program: the same input was given twice. Pass each input once.")
        self.levels = _levels(self.output_list, self._starts)
        self._keys = [key_of(symbolic) for symbolic in self.input_list]
        self.modules = self._modules()

    def _modules(self) -> list[Module]:
        found: dict[int, Module] = {}
        for symbolic in self.input_list:
            history = history_of(symbolic)
            if history is not None and isinstance(history[0].module, InputModule):
                found.setdefault(id(history[0].module), history[0].module)
        for level in self.levels:
            for node in level:
                found.setdefault(id(node.module), node.module)
        names: dict[str, Module] = {}
        for module in found.values():
            if module.name in names:
                raise DuplicateName(
                    f"cannot make a program: two of its modules are called '{module.name}' "
                    f"({names[module.name]!r} and {module!r}). Give one of them another name."
                )
            names[module.name] = module
        return list(found.values())

    def input_names(self) -> list[str]:
        """The names data can be passed by, one for each input."""
        return [_module_name(symbolic) for symbolic in self.input_list]

    def output_names(self) -> list[str]:
        """The names of the modules that produce the outputs, numbered where one produces several."""
        names: list[str] = []
        for symbolic in self.output_list:
            wanted = name = _module_name(symbolic)
            number = 0
            while name in names:
                number += 1
                name = f"{wanted}_{number}"
            names.append(name)
        return names

    async def run(self, inputs: Sequence[Any]) -> Any:
        """Run the graph on data.

        Args:
            inputs: One data model or None for each input, in the order of `input_list`.

        Returns:
            The outputs, in the structure of `outputs`.

        Raises:
            Exception: What the first failing module raised; the others of its level are cancelled.
        """
        values: dict[Key, Any] = dict(zip(self._keys, inputs, strict=True))
        for level in self.levels:
            if len(level) == 1:
                _place(await _call(level[0], values), level[0].shape, level[0], values)
                continue
            results = await together([partial(_call, node, values) for node in level])
            for node, result in zip(level, results, strict=True):
                _place(result, node.shape, node, values)
        return _filled(self.outputs, values)


def key_of(symbolic: SymbolicDataModel) -> Key:
    """Identify a symbolic data model: by its node and place, or by itself if nothing produced it."""
    history = history_of(symbolic)
    return (id(symbolic), -1) if history is None else (id(history[0]), history[1])


def _symbolic_leaves(structure: Any, which: str) -> list[SymbolicDataModel]:
    found = list(leaves(structure))
    for leaf in found:
        if not isinstance(leaf, SymbolicDataModel):
            raise InvalidValue(
                f"cannot make a program: among its {which} is {leaf!r} ({type(leaf).__name__}). "
                "Inputs come from `Input(...)`, outputs from calling modules on them."
            )
    if not found:
        raise InvalidValue(f"cannot make a program: it has no {which}.")
    return cast("list[SymbolicDataModel]", found)


def _module_name(symbolic: SymbolicDataModel) -> str:
    history = history_of(symbolic)
    return symbolic.name if history is None else history[0].module.name


def _levels(outputs: list[SymbolicDataModel], starts: set[Key]) -> list[list[Node]]:
    """Find the nodes behind the outputs, sorted into levels, within a level in order of creation."""
    nodes: dict[int, Node] = {}
    level_of: dict[int, int] = {}
    open_nodes: set[int] = set()
    waiting: list[tuple[Node, bool]] = [
        (node, False) for symbolic in reversed(outputs) if (node := _source(symbolic, starts)) is not None
    ]
    while waiting:
        node, ready = waiting.pop()
        if id(node) in level_of:
            continue
        needed = [source for symbolic in node.symbolic_arguments() if (source := _source(symbolic, starts))]
        if ready:
            open_nodes.discard(id(node))
            level_of[id(node)] = 1 + max((level_of[id(source)] for source in needed), default=-1)
            nodes[id(node)] = node
            continue
        if id(node) in open_nodes:
            raise GraphError(f"cannot make a program: the graph has a cycle through '{node.module.name}'.")
        open_nodes.add(id(node))
        waiting.append((node, True))
        waiting.extend((source, False) for source in reversed(needed))
    levels: list[list[Node]] = [[] for _ in range(1 + max(level_of.values(), default=-1))]
    for node in sorted(nodes.values(), key=lambda node: node.number):
        levels[level_of[id(node)]].append(node)
    return levels


def _source(symbolic: SymbolicDataModel, starts: set[Key]) -> Node | None:
    """The node to run for a symbolic data model, None if it is one of the inputs.

    Raises:
        GraphError: Neither.
    """
    if key_of(symbolic) in starts:
        return None
    history = history_of(symbolic)
    if history is None or isinstance(history[0].module, InputModule):
        raise GraphError(
            f"cannot make a program: an output depends on '{_module_name(symbolic)}', which is not among the inputs. "
            "Add it to `inputs`."
            if history is not None
            else f"cannot make a program: '{symbolic.name}' is connected to no module. "
            "Start from `Input(...)` and call modules on it."
        )
    return history[0]


async def _call(node: Node, values: dict[Key, Any]) -> Any:
    args = [_filled(value, values) for value in node.args]
    kwargs = {name: _filled(value, values) for name, value in node.kwargs.items()}
    return await node.module(*args, **kwargs)


def _filled(structure: Any, values: dict[Key, Any]) -> Any:
    if isinstance(structure, SymbolicDataModel):
        return values[key_of(structure)]
    return map_structure(
        lambda leaf: values[key_of(leaf)] if isinstance(leaf, SymbolicDataModel) else leaf, structure
    )


def _place(result: Any, shape: Any, node: Node, values: dict[Key, Any]) -> None:
    """Store the results of a node where the symbolic outputs say they belong."""
    if shape is None:
        return
    if isinstance(shape, int):
        values[id(node), shape] = result
    elif isinstance(shape, dict):
        named = cast("dict[str, Any]", shape)
        given = cast("dict[str, Any]", result if isinstance(result, dict) else {})
        if result is not None and given.keys() != named.keys():
            raise _other_shape(node, named, result)
        for key, inner in named.items():
            _place(given.get(key), inner, node, values)
    else:
        places = cast("list[Any]", shape)
        items = cast("list[Any]", [None] * len(places) if result is None else result)
        if not isinstance(items, (list, tuple)) or len(items) != len(places):
            raise _other_shape(node, places, result)
        for item, inner in zip(items, places, strict=True):
            _place(item, inner, node, values)


def _other_shape(node: Node, shape: Iterable[Any], result: Any) -> InvalidValue:
    expected = (
        f"a dict with the keys {', '.join(shape)}"
        if isinstance(shape, dict)
        else f"{len(list(shape))} outputs"
    )
    return InvalidValue(
        f"cannot use what '{node.module.name}' returned: received {result!r}; "
        f"when the graph was built it was {expected}."
    )


async def together(calls: Sequence[Callable[[], Coroutine[Any, Any, Any]]]) -> list[Any]:
    """Call and await all concurrently; when one fails, cancel the others, wait for them, and raise its error."""
    if len(calls) == 1 or in_tracing():
        # On placeholders nothing is waited for, and without tasks a trace needs no event loop of its own.
        return [await call() for call in calls]
    tasks = [asyncio.ensure_future(call()) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.gather(*unfinished, return_exceptions=True)
    failed = [task for task in tasks if not task.cancelled() and task.exception() is not None]
    early = [task for task in failed if task not in unfinished]
    for task in early or failed:
        task.result()
    return [task.result() for task in tasks]
