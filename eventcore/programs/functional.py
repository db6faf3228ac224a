"""`Functional`: a program that is a graph, and how such a graph is written down and read back.

A config lists the modules, each with its calls; an argument that came out of a call is written as the
module's name, the number of the call among that module's, and the place among its outputs. What every call
returned is written down too, so reading a config back runs no user code but constructors and `build`.
"""

from __future__ import annotations

from typing import Any, Self, cast

from eventcore.errors import GraphError
from eventcore.models.naming import auto_name
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.input import InputModule
from eventcore.modules.module import Module
from eventcore.modules.node import Node, history_of
from eventcore.modules.structure import leaves, map_structure
from eventcore.modules.tracing import recorded
from eventcore.programs.graph import Graph, Key, key_of
from eventcore.programs.program import Program
from eventcore.variables.scope import name_scope

Config = dict[str, Any]
Place = tuple[str, int, int]
# A dict with one of these keys alone is written for a single thing; any other dict is a structure.
PLACE, VALUE, OUTPUT, TUPLE = "__place__", "__value__", "__output__", "__tuple__"


class Functional(Program):
    """A program made of a graph of modules."""

    def get_config(self) -> Config:
        """Return what `from_config` needs."""
        graph = self._graph
        if graph is None:
            return super().get_config()
        base = {"name": self.name, "description": self.description, "trainable": self.trainable}
        return {**base, **_Writer(graph).config()}

    def clone(self, name: str | None = None) -> Self:
        """Make another program with the same graph, fresh modules and variables, and another name.

        The modules keep their names, below the clone's in the path.
        """
        if self._graph is None:
            return super().clone(name)
        name = auto_name(type(self).__name__) if name is None else name
        config = self.get_config()
        with name_scope(name):
            inputs, outputs = _Reader(config).ends()
        return type(self)(
            inputs=inputs,
            outputs=outputs,
            name=name,
            description=self.description,
            trainable=self.trainable,
        )

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make the program its config describes.

        Raises:
            GraphError: A call depends on one that is not there, or that comes later.
        """
        if "input_modules" not in config:
            return super().from_config(config)
        inputs, outputs = _Reader(config).ends()
        base = {key: config[key] for key in ("name", "description", "trainable") if key in config}
        return cls(inputs=inputs, outputs=outputs, **base)


class _Writer:
    """Writes one graph down."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._places: dict[Key, Place] = {}
        self._entries: dict[str, tuple[Module, list[Config]]] = {}
        self._count = 0

    def config(self) -> Config:
        """Write it."""
        from eventcore.saving.serialization import serialize_object

        for symbolic in self._graph.input_list:
            self._input(symbolic)
        for level in self._graph.levels:
            for node in level:
                self._call(node)
        modules = [
            {**serialize_object(module), "name": name, "inbound_nodes": calls}
            for name, (module, calls) in self._entries.items()
        ]
        return {
            "modules": modules,
            "input_modules": self._written(self._graph.inputs),
            "output_modules": self._written(self._graph.outputs),
        }

    def _input(self, symbolic: SymbolicDataModel) -> None:
        history = history_of(symbolic)
        module = history[0].module if history is not None else None
        if not isinstance(module, InputModule):
            # The graph begins in the middle of another one; what comes in there is an input of this one.
            taken = {held.name for held in self._graph.modules} | self._entries.keys()
            name = symbolic.name
            while name in taken:
                name += "_input"
            module = InputModule(schema=symbolic.get_schema(), name=name)
        outputs = {OUTPUT: [symbolic.name, symbolic.get_schema()]}
        self._add(module, (), {}, outputs, [(key_of(symbolic), 0)])

    def _call(self, node: Node) -> None:
        keys = [((id(node), place), place) for place in leaves(node.shape) if place is not None]
        self._add(node.module, node.args, node.kwargs, written_outputs(node), keys)

    def _add(
        self, module: Module, args: tuple[Any, ...], kwargs: Config, outputs: Any, keys: list[tuple[Key, int]]
    ) -> None:
        _, calls = self._entries.setdefault(module.name, (module, []))
        for key, place in keys:
            self._places[key] = (module.name, len(calls), place)
        written = {"args": self._written(list(args)), "kwargs": self._written(kwargs), "outputs": outputs}
        calls.append({"number": self._count, **written})
        self._count += 1

    def _written(self, structure: Any) -> Any:
        from eventcore.saving.serialization import serialize_object

        def leaf(value: Any) -> Any:
            if isinstance(value, SymbolicDataModel):
                return {PLACE: list(self._places[key_of(value)])}
            return None if value is None else {VALUE: serialize_object(value)}

        return _marked(map_structure(leaf, structure))


class _Reader:
    """Makes a graph again from what was written."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._made: dict[Place, SymbolicDataModel] = {}

    def ends(self) -> tuple[Any, Any]:
        """Make every module and every call, and return inputs and outputs."""
        from eventcore.saving.serialization import deserialize_object

        calls: list[tuple[int, Module, int, Config]] = []
        for entry in self._config["modules"]:
            own = {key: value for key, value in entry.items() if key not in ("name", "inbound_nodes")}
            module = cast("Module", deserialize_object(own))
            calls += [
                (call["number"], module, place, call) for place, call in enumerate(entry["inbound_nodes"])
            ]
        for _, module, place, call in sorted(calls, key=lambda found: found[0]):
            self._make(module, place, call)
        return self._read(self._config["input_modules"]), self._read(self._config["output_modules"])

    def _make(self, module: Module, place: int, call: Config) -> None:
        args, kwargs = tuple(self._read(call["args"])), self._read(call["kwargs"])
        outputs = recorded(module, args, kwargs, read_outputs(call["outputs"]))
        for index, symbolic in enumerate(leaf for leaf in leaves(outputs) if leaf is not None):
            self._made[module.name, place, index] = symbolic

    def _read(self, written: Any) -> Any:
        from eventcore.saving.serialization import deserialize_object

        if isinstance(written, list):
            return [self._read(item) for item in cast("list[Any]", written)]
        if not isinstance(written, dict):
            return written
        parts = cast("Config", written)
        if parts.keys() == {PLACE}:
            name, call, place = parts[PLACE]
            if (name, call, place) not in self._made:
                raise GraphError(
                    f"cannot make a program from its config: a call depends on call {call} of '{name}', which is not "
                    "there or comes later."
                )
            return self._made[name, call, place]
        if parts.keys() == {VALUE}:
            return deserialize_object(parts[VALUE])
        if parts.keys() == {TUPLE}:
            return tuple(self._read(item) for item in parts[TUPLE])
        return {key: self._read(value) for key, value in parts.items()}


def written_outputs(node: Node) -> Any:
    """Write down what a call returned: its structure, with name and schema of each output."""

    def output(place: int | None) -> Any:
        return None if place is None else {OUTPUT: list(node.specs[place])}

    return _marked(map_structure(output, node.shape))


def _marked(written: Any) -> Any:
    """Write tuples in a form that JSON keeps apart from lists; a named tuple becomes an ordinary one."""
    if isinstance(written, dict):
        return {key: _marked(value) for key, value in cast("Config", written).items()}
    if isinstance(written, (list, tuple)):
        items = [_marked(item) for item in cast("list[Any]", written)]
        return items if isinstance(written, list) else {TUPLE: items}
    return written


def read_outputs(written: Any) -> Any:
    """Make the specification of a call's outputs from what was written."""
    if isinstance(written, list):
        return [read_outputs(item) for item in cast("list[Any]", written)]
    if not isinstance(written, dict):
        return written
    parts = cast("Config", written)
    if parts.keys() == {OUTPUT}:
        name, schema = parts[OUTPUT]
        return SymbolicDataModel(schema=schema, name=name)
    if parts.keys() == {TUPLE}:
        return tuple(read_outputs(item) for item in parts[TUPLE])
    return {key: read_outputs(value) for key, value in parts.items()}
