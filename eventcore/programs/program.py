"""`Program`: a module one trains, saves and loads.

Three ways to make one: `Program(inputs=, outputs=)` from a graph (a `Functional`), a class of one's own
with `call`, or both: a class whose `build` calls `super().__init__(inputs=, outputs=)`. This class holds the
graph if there is one, and arranges and checks inputs; training and files are other packages' work.
"""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING, Any, Self, cast

from eventcore.errors import EventcoreError, InvalidValue
from eventcore.history import events
from eventcore.history.values import copy_json
from eventcore.modules.calling import call_module
from eventcore.modules.internals import core_of, ready_core
from eventcore.modules.module import Module
from eventcore.modules.picking import pick
from eventcore.modules.structure import schemas_in
from eventcore.programs.graph import Graph
from eventcore.programs.inputs import arranged, leaves_like
from eventcore.programs.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eventcore.history.run import Run
    from eventcore.models.symbolic import SymbolicDataModel
    from eventcore.modules.hooks import Hook


class Program(Trained, Module):
    """A module that can be trained, saved and loaded.

    `Program(inputs=, outputs=)` makes a `Functional`. Derive a class and define `call` for anything a graph
    cannot say.

    Args:
        inputs: Symbolic data models where data enters: one, or a list, tuple or dict of them.
        outputs: Symbolic data models that are the result, likewise.
        name: Its name.
        description: What it is for; optimizers read it.
        trainable: False freezes every variable below.
        hooks: Told when a call begins and ends.

    Raises:
        InvalidValue: Only one of `inputs` and `outputs` was given, or something in them is not symbolic.
        GraphError: The outputs do not lead back to the inputs.
        DuplicateName: Two modules of the graph have the same name.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make a `Functional` when a graph is given to `Program` itself."""
        graph = len(args) >= 2 or "outputs" in kwargs
        if cls is Program and graph:
            from eventcore.programs.functional import Functional

            return cast("Self", Module.__new__(Functional, *args, **kwargs))
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        *,
        name: str | None = None,
        description: str | None = None,
        trainable: bool | None = None,
        hooks: Iterable[Hook] | None = None,
    ) -> None:
        super().__init__(trainable=trainable is not False, name=name, description=description, hooks=hooks)
        if not hasattr(self, "_graph"):
            self._graph: Graph | None = None
            self._declared_in: weakref.WeakSet[Run] = weakref.WeakSet()
            core = core_of(self)
            core.arrange, core.declare = _arrange, _declare
        if inputs is not None or outputs is not None:
            if inputs is None or outputs is None:
                lacking = "inputs" if inputs is None else "outputs"
                raise InvalidValue(
                    f"cannot make a program: it has no {lacking}. Pass `inputs=` and `outputs=`."
                )
            self._use(Graph(inputs, outputs))

    def _use(self, graph: Graph) -> None:
        """Be this graph from now on."""
        core = core_of(self)
        for module in graph.modules:
            core.tracker.add(module)
        self._graph = graph
        core.input_schema = schemas_in(graph.inputs)

    # --- what it is made of --------------------------------------------------------------------

    @property
    def modules(self) -> list[Module]:
        """Its modules: those of its graph, inputs first, or those in its attributes."""
        ready_core(self, "list the modules of a program")
        if self._graph is not None:
            return list(self._graph.modules)
        return core_of(self).tracker.members("modules")

    def get_module(self, name: str | None = None, index: int | None = None) -> Module:
        """Find one of its modules, by name or by its place in `modules`.

        Raises:
            InvalidValue: Both or neither was given, or there is no such module; the message lists them.
        """
        return cast("Module", pick(self.modules, name, index, f"module of '{self.name}'"))

    @property
    def inputs(self) -> list[SymbolicDataModel]:
        """The symbolic inputs of its graph in order, none without one."""
        return [] if self._graph is None else list(self._graph.input_list)

    @property
    def outputs(self) -> list[SymbolicDataModel]:
        """The symbolic outputs of its graph in order, none without one."""
        return [] if self._graph is None else list(self._graph.output_list)

    @property
    def input_schema(self) -> Any:
        """The JSON schema of its input (a list or dict of them for several), None if not known yet."""
        return copy_json(core_of(self).input_schema)

    @property
    def output_schema(self) -> Any:
        """The JSON schema of its output (a list or dict of them for several), None without a graph."""
        return None if self._graph is None else schemas_in(self._graph.outputs)

    @property
    def input_names(self) -> list[str]:
        """The names its inputs can be passed by in a dict."""
        return [] if self._graph is None else self._graph.input_names()

    @property
    def output_names(self) -> list[str]:
        """The names of the modules that produce its outputs."""
        return [] if self._graph is None else self._graph.output_names()

    # --- calling -------------------------------------------------------------------------------

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the program; symbolic inputs add the call to a graph."""
        if self._apart is None:
            return await call_module(self, args, kwargs)
        with self.at_home():
            return await call_module(self, args, kwargs)

    async def call(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph; a class without one overrides this."""
        if self._graph is None:
            return Module.call(self, *args, **kwargs)
        surplus = [name for name in kwargs if name != "training"]
        if surplus or not args:
            received = f"the argument {', '.join(surplus)}" if surplus else "no input"
            raise InvalidValue(
                f"cannot call {type(self).__name__} '{self.path}': received {received}. "
                f"Pass its input ({', '.join(self.input_names)}) by position, and training= if you like."
            )
        result = await self._graph.run(leaves_like(args[0], self._graph.inputs))
        outputs = self._graph.outputs
        if isinstance(outputs, (list, tuple)) and len(cast("list[Any]", outputs)) == 1:
            return result[0]
        return result

    async def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Say what the graph says; without one, run `call` on placeholders."""
        if self._graph is None or type(self).call is not Program.call:
            return await super().compute_output_spec(*args, **kwargs)
        outputs = self._graph.outputs
        if isinstance(outputs, (list, tuple)) and len(cast("list[Any]", outputs)) == 1:
            return outputs[0]
        return outputs

    # --- saving --------------------------------------------------------------------------------

    def save(self, path: Any, **options: Any) -> None:
        """Save the program: its config, every value and, in a store, its whole history.

        Args:
            path: Where to; the suffix chooses the form (none or `.lmdb`, `.sqlite`, `.db`, `.json`).
            **options: As in `eventcore.saving.save_program`.
        """
        from eventcore.saving import save_program

        save_program(self, path, **options)

    @classmethod
    def load(
        cls, path: Any, run: str | None = None, at: Any = None, custom_objects: dict[str, type] | None = None
    ) -> Program:
        """Load a program; it lives in the current run, and what was read is not written to.

        Args:
            path: Where it was saved.
            run: Which run, where there are several.
            at: As of which event: a seq or a label; the last one when absent.
            custom_objects: Classes by name, beside those defined in this process.
        """
        from eventcore.saving import load_program

        return cast("Program", load_program(path, run=run, at=at, custom_objects=custom_objects))

    def to_json(self) -> str:
        """Return what `save` writes to a `.json` file; `saving.program_from_json` makes the program again."""
        from eventcore.saving import to_json

        return to_json(self)

    def save_variables(self, path: Any, **options: Any) -> None:
        """Save the values of its variables alone."""
        from eventcore.saving import save_variables

        save_variables(self, path, **options)

    def load_variables(self, path: Any, **options: Any) -> None:
        """Load the values of its variables, saved by a program with the same variables."""
        from eventcore.saving import load_variables

        load_variables(self, path, **options)

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print a table of its modules and one of its variables: path, fields, whether trained and if not why.

        Args:
            print_fn: Called with each line of plain text instead of printing.
        """
        from eventcore.programs.summary import print_program

        print_program(self, print_fn)


def _declare(program: Program, run: Run) -> None:
    """Write a program's config into `run`, once, so that the run can be turned into the program again."""
    declared_in = program._declared_in  # pyright: ignore[reportPrivateUsage]
    if run not in declared_in:
        declared_in.add(run)
        config = _serialized(program)
        if run.live.programs.get(program.name) != config:
            run.record(events.ProgramDeclared(*run.stamp(), program=program.name, config=config))


def _serialized(program: Program) -> dict[str, Any]:
    from eventcore.saving import describe_program

    try:
        return describe_program(program)
    except EventcoreError as error:
        # A program that cannot be saved runs all the same; whoever asks the run for it is told why.
        cls = type(program)
        return {
            "module": cls.__module__,
            "class_name": cls.__qualname__,
            "config": None,
            # Where an object lies in memory says nothing, and differs when the code is run again.
            "unsaved": re.sub(r" at 0x[0-9a-fA-F]+", "", str(error)),
        }


def _arrange(program: Program, inputs: Any) -> Any:
    graph = program._graph  # pyright: ignore[reportPrivateUsage]
    return inputs if graph is None or inputs is None else arranged(inputs, graph, program.path)
