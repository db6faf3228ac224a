"""`Sequential`: a program that passes data through modules one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from eventcore.errors import DuplicateName, InvalidValue, TrackerLocked
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.building import finish
from eventcore.modules.construction import making
from eventcore.modules.input import Input, InputModule
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.modules.node import history_of
from eventcore.modules.ownership import variables_below
from eventcore.modules.structure import is_schema
from eventcore.modules.tracing import recorded
from eventcore.programs.functional import read_outputs, written_outputs
from eventcore.programs.graph import Graph
from eventcore.programs.program import Program


class Sequential(Program):
    """A program made of a list of modules; the graph is made when the input is known, at the latest on first call.

    Args:
        modules: The modules, first to last; the first may be an `Input(...)`.
        trainable: False freezes every variable below.
        name: Its name.
        description: What it is for; needed, because optimizers read it.

    Raises:
        InvalidValue: There is no description, a second input, or something that is no module.
        DuplicateName: Two modules have the same name.
    """

    def __init__(
        self,
        modules: Iterable[Any] | None = None,
        trainable: bool = True,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(trainable=trainable, name=name, description=description)
        if not description:
            raise InvalidValue(
                "cannot make a Sequential: received no description. Pass `description=` saying what the program is for."
            )
        self._entry: InputModule | None = None
        self._sequence: list[Module] = []
        for module in modules or ():
            self.add(module)

    @property
    def modules(self) -> list[Module]:
        """Its modules in order, the input first if there is one."""
        entry: list[Module] = [] if self._entry is None else [self._entry]
        return entry + list(self._sequence)

    def add(self, module: Any, rebuild: bool = True) -> None:
        """Append a module, or begin with an input.

        Args:
            module: A module, or what `Input(...)` returned.
            rebuild: Whether the graph is made anew on the next call.

        Raises:
            InvalidValue: It is neither, or an input and not the first.
            DuplicateName: A module has this name.
            TrackerLocked: The program has been called, and the module has variables.
        """
        found = _module_of(module)
        if isinstance(found, InputModule):
            if self.modules:
                raise InvalidValue(f"cannot add the input '{found.name}': '{self.name}' has begun already.")
            self._entry = found
            core_of(self).input_schema = found.schema
            return
        if found.name in [held.name for held in self.modules]:
            raise DuplicateName(
                f"cannot add '{found.name}': '{self.name}' has a module of this name. Name it otherwise."
            )
        self._check_open([found])
        self._sequence.append(found)
        if rebuild:
            self._forget_graph()

    def pop(self, rebuild: bool = True) -> Module:
        """Remove the last module and return it.

        Args:
            rebuild: Whether the graph is made anew on the next call.

        Raises:
            InvalidValue: There is none.
            TrackerLocked: The program has been called, and the module has variables.
        """
        if not self.modules:
            raise InvalidValue(f"cannot pop from '{self.name}': it has no modules.")
        if not self._sequence:
            entry, self._entry = cast("InputModule", self._entry), None
            core_of(self).input_schema = None
            return entry
        self._check_open(self._sequence[-1:])
        module: Module = self._sequence.pop()
        if rebuild:
            self._forget_graph()
        return module

    def _check_open(self, modules: list[Module]) -> None:
        core = core_of(self)
        if core.locked and any(variables_below(module) for module in modules):
            raise TrackerLocked(
                f"cannot change the variables of '{self.path}': it has been called, which locked them. "
                "Make another Sequential."
            )

    def _forget_graph(self) -> None:
        core = core_of(self)
        self._graph = None
        core.built = False
        core.input_schema = None if self._entry is None else self._entry.schema

    async def build(self, input_schema: Any) -> None:
        """Pass a symbolic input through the modules and be the resulting graph.

        Raises:
            InvalidValue: It has no modules, or its input is not known or not one data model.
        """
        if not self._sequence:
            raise InvalidValue(f"cannot build '{self.name}': it has no modules. Add some first.")
        start = self._start(input_schema)
        end: Any = start
        for module in self._sequence:
            end = await module(end)
        self._use(Graph(start, end))

    def _start(self, input_schema: Any) -> Any:
        if self._entry is not None:
            return self._entry.symbolic()
        if input_schema is None:
            raise InvalidValue(
                f"cannot build '{self.name}': its input is not known. Begin with `Input(...)`, or call it on data."
            )
        if not is_schema(input_schema):
            raise InvalidValue(
                f"cannot build '{self.name}': received {len(input_schema)} inputs; a Sequential takes one data model. "
                "Combine them first (`a + b`), or make a graph of them: `Program(inputs=[...], outputs=...)`."
            )
        return Input(schema=input_schema)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        base = {"name": self.name, "description": self.description, "trainable": self.trainable}
        return {"modules": self.modules, **base}

    def get_build_config(self) -> dict[str, Any] | None:
        """Return what `build_from_config` needs, None before the program is built."""
        config = super().get_build_config()
        if config is not None and self._graph is not None:
            config["outputs"] = [written_outputs(level[0]) for level in self._graph.levels]
        return config

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make the graph as it was, from what every module returned then, without running one."""
        outputs = config.get("outputs", [])
        if outputs and len(outputs) == len(self._sequence) and not self.built:
            with making(core_of(self)):  # so that the input gets the name it had
                start = self._start(config.get("input_schema"))
            end: Any = start
            for module, written in zip(self._sequence, outputs, strict=True):
                end = recorded(module, (end,), {}, read_outputs(written))
            self._use(Graph(start, end))
            finish(self, config.get("input_schema"))
        super().build_from_config(config)


def _module_of(given: Any) -> Module:
    if isinstance(given, SymbolicDataModel):
        history = history_of(given)
        if history is not None and isinstance(history[0].module, InputModule):
            return history[0].module
    if isinstance(given, Module):
        return given
    raise InvalidValue(
        f"cannot add {given!r} to a Sequential: it is no module. Pass a module, or `Input(...)` first."
    )
