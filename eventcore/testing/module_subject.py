"""A module under test: how it is made, what it is given, and a fresh place in memory to do it in.

The checks of `eventcore.testing.module_checks` stand on this. A `Bench` is one run in memory with one fresh
instance in it, so no check sees what another left; names begin anew, so two benches are comparable.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history.run import Run
from eventcore.history.scope import in_rollout, scope
from eventcore.history.store import Store
from eventcore.history.store import open as open_store
from eventcore.models.conversion import is_data_model, schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.naming import fresh_names
from eventcore.models.schema import is_record_class
from eventcore.modules.hooks import Hook
from eventcore.modules.input import Input
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.modules.ownership import modules_below
from eventcore.modules.structure import is_schema
from eventcore.programs.program import Program
from eventcore.replay.rollouts import RolloutNames, example_digest
from eventcore.testing.checks import DoesNotApply
from eventcore.testing.scheduling import run_coroutine
from eventcore.testing.schema_strategies import draw, from_model
from eventcore.variables.variable import Variable

Factory = Callable[[], Any]
EXAMPLES = 8
"""How many different inputs a check uses where the input has that many."""


class Call:
    """One call of one module, as a hook saw it.

    Attributes:
        module: The module.
        rollout: Identity of the rollout it was made in, None outside any.
        inputs: What it was given.
        outputs: What it returned, None while it runs and when it raised.
        done: Whether it returned.
    """

    def __init__(self, module: Module, rollout: str | None, inputs: Any) -> None:
        self.module = module
        self.rollout = rollout
        self.inputs = inputs
        self.outputs: Any = None
        self.done = False


class Watch(Hook):
    """Notes every call of one module."""

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self._open: dict[str, Call] = {}

    def on_call_begin(self, call_id: str, parent_call_id: str | None, inputs: Any, kwargs: Any) -> None:
        """Note that it began."""
        assert self.module is not None
        self._open[call_id] = call = Call(self.module, scope().rollout, inputs)
        self.calls.append(call)

    def on_call_end(
        self, call_id: str, parent_call_id: str | None, outputs: Any, exception: BaseException | None
    ) -> None:
        """Note what it returned."""
        call = self._open.pop(call_id)
        call.outputs, call.done = outputs, exception is None


class ModuleSubject:
    """What the checks of modules are about.

    Args:
        factory: Makes a fresh instance: a class, or a function without arguments.
        inputs: Examples (data models), a data model class or schema to draw them from, or a hypothesis strategy;
            None to take the schema from the module.
        number: Decides what is drawn.

    Raises:
        InvalidValue: There is nothing to take inputs from.
    """

    def __init__(self, factory: Factory, inputs: Any = None, number: int = 0) -> None:
        self.factory = factory
        self.number = number
        self._given = inputs
        self._examples: list[Any] | None = None

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return getattr(self.factory, "__qualname__", None) or repr(self.factory)

    def make(self) -> Any:
        """Make an instance.

        Raises:
            InvalidValue: The factory makes something else than a module.
        """
        made = self.factory()
        if not isinstance(made, Module):
            raise InvalidValue(f"cannot check {made!r}: the factory must return a module")
        return made

    def examples(self, count: int = EXAMPLES) -> list[Any]:
        """Return different inputs, at most `count`, at least one."""
        if self._examples is None:
            self._examples = self._drawn()
        return self._examples[:count]

    def _drawn(self) -> list[Any]:
        given: Any = self._given
        if given is None:
            given = self._own_schema()
        if isinstance(given, (list, tuple)):
            found: list[Any] = [self._model(example) for example in typing.cast("Sequence[Any]", given)]
        else:
            strategy = given if hasattr(given, "filter") and hasattr(given, "map") else from_model(given)
            found = draw(strategy, 6 * EXAMPLES, self.number)
        if not found:
            raise InvalidValue("cannot check a module without inputs: pass at least one example in `inputs`")
        return list({example_digest(_json_of(example)): example for example in found}.values())

    def _model(self, example: Any) -> Any:
        if isinstance(example, (list, tuple)):
            return [self._model(part) for part in typing.cast("Sequence[Any]", example)]
        if is_data_model(example):
            return example
        return JsonDataModel(schema=schema_of(self._own_schema()), json=example)

    def _own_schema(self) -> Any:
        with workbench(self.number):
            module = self.make()
            found = core_of(module).input_schema
            if found is None and isinstance(module, Program):
                found = module.input_schema
            if found is None:
                found = _annotated_input(type(module))
        if isinstance(found, list) and len(typing.cast("list[Any]", found)) == 1:
            found = found[0]
        if found is None or not (is_schema(found) or isinstance(found, type)):
            raise InvalidValue(
                f"cannot tell what {self.name} takes: pass `inputs=`, a data model class or a list of examples, "
                "or annotate the first argument of `call` with a data model class"
            )
        return found

    @contextmanager
    def bench(self, seed: int | None = None, url: str = "memory:") -> Generator[Bench]:
        """Open a fresh place with a fresh instance in it."""
        with workbench(self.number if seed is None else seed, url) as (store, run):
            yield Bench(store, run, self.make())


@contextmanager
def workbench(seed: int = 0, url: str = "memory:") -> Generator[tuple[Store, Run]]:
    """A run of its own, current inside, with automatic names beginning anew."""
    with ExitStack() as stack:
        store = stack.enter_context(open_store(url))
        run = stack.enter_context(store.run("checked", seed=seed))
        stack.enter_context(fresh_names())
        yield store, run


class Bench:
    """One run with one module in it.

    Attributes:
        store: The store, in memory unless asked for otherwise.
        run: The run, current.
        module: The instance.
        calls: Every call of the module and those below it that was watched.
    """

    def __init__(self, store: Store, run: Run, module: Any) -> None:
        self.store = store
        self.run = run
        self.module = module
        self.calls: list[Call] = []
        self._names = RolloutNames("training", 0)

    def watch(self) -> None:
        """Note the calls of the module and of all below it from now on."""
        for module in modules_below(self.module):
            module.add_hook(Watch(self.calls))

    async def call(self, example: Any, *, training: bool = False, rollout: str | None = None) -> Any:
        """Call the module on one example, in a rollout of its own."""
        name = rollout or self._names.name(example_digest(_json_of(example)))
        with in_rollout(name):
            arguments: list[Any] = (
                list(typing.cast("list[Any]", example)) if isinstance(example, list) else [example]
            )
            if isinstance(self.module, Program):
                return await self.module(example, training=training)
            return await self.module(*arguments, training=training)

    def answer(self, example: Any, *, training: bool = False, rollout: str | None = None) -> Any:
        """Call the module on one example, in an event loop of its own; arguments as in `call`."""
        return run_coroutine(lambda: self.call(example, training=training, rollout=rollout))

    def owner(self, variable: Variable) -> Module | None:
        """Return the module whose attribute holds a variable."""
        for module in modules_below(self.module):
            if any(mine is variable for mine in core_of(module).tracker.members("variables")):
                return module
        return None

    def trainable(self) -> list[Variable]:
        """Return the trainable variables.

        Raises:
            DoesNotApply: There are none.
        """
        found: list[Variable] = self.module.trainable_variables
        if not found:
            raise DoesNotApply("the module has no trainable variables")
        return found

    def events(self, *kinds: str, start: int = 1) -> Iterator[Any]:
        """Yield the events of some kinds, oldest first; of all kinds without any."""
        if start > self.run.head:
            return
        for record in self.run.events(start):
            if not kinds or type(record.event).__name__ in kinds:
                yield record.event


def called(module: Any, *inputs: Any, **options: Any) -> Any:
    """Call a module or program, in an event loop of its own."""

    async def work() -> Any:
        return await module(*inputs, **options)

    return run_coroutine(work)


async def program_around(module: Any, example: Any) -> Any:
    """Return a program of one module, taking inputs like `example`; a program is returned as it is."""
    if isinstance(module, Program):
        return module
    parts: list[Any] = list(example) if isinstance(example, list) else [example]
    inputs = [Input(schema=schema_of(part)) for part in parts]
    outputs = await module(*inputs)
    return Program(
        inputs=inputs if isinstance(example, list) else inputs[0],
        outputs=outputs,
        name="checked_program",
        description="A program around the module under test.",
    )


def outputs_json(outputs: Any) -> Any:
    """Return what a call gave as plain JSON: data models in lists and dicts become their JSON."""
    if outputs is None:
        return None
    if isinstance(outputs, (list, tuple)):
        return [outputs_json(part) for part in typing.cast("Iterable[Any]", outputs)]
    if isinstance(outputs, dict):
        return {key: outputs_json(part) for key, part in typing.cast("dict[str, Any]", outputs).items()}
    return outputs.get_json()


def _json_of(example: Any) -> Any:
    if isinstance(example, list):
        return [_json_of(part) for part in typing.cast("list[Any]", example)]
    return example.get_json() if hasattr(example, "get_json") else example


def example_json(example: Any) -> Any:
    """Return an example as plain JSON."""
    return _json_of(example)


def _annotated_input(cls: type[Any]) -> Any:
    """Return the data model the first argument of `call` is annotated with, None without one."""
    names = list(inspect.signature(cls.call).parameters)[1:2]
    try:
        hints = typing.get_type_hints(cls.call)
    except (NameError, TypeError):
        return None
    found = hints.get(names[0]) if names else None
    options = [part for part in typing.get_args(found) or [found] if is_record_class(part)]
    return options[0] if options else None
