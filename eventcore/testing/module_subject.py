"""A module under test: how it is made, what it is given, and a fresh place in memory to do it in.

The checks of `eventcore.testing.module_checks` stand on this. A `Bench` is one run in memory with one fresh
instance in it, so no check sees what another left; names begin anew, so two benches are comparable.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from eventcore.errors import InvalidValue, TracingError
from eventcore.history.population import BOOKKEEPING
from eventcore.history.run import Run
from eventcore.history.scope import in_rollout, scope
from eventcore.history.store import Store
from eventcore.history.store import open as open_store
from eventcore.models.conversion import schema_of
from eventcore.models.naming import fresh_names
from eventcore.modules.hooks import Hook
from eventcore.modules.input import Input
from eventcore.modules.internals import core_of
from eventcore.modules.module import Module
from eventcore.modules.ownership import modules_below
from eventcore.programs.program import Program
from eventcore.replay.rollouts import RolloutNames, example_digest
from eventcore.testing.checks import DoesNotApply
from eventcore.testing.factories import named, require_factory
from eventcore.testing.module_inputs import (
    EXAMPLES,
    call_arguments,
    example_json,
    examples_from,
    examples_of,
    examples_told,
    mapped,
    shown,
)
from eventcore.testing.scheduling import run_coroutine
from eventcore.variables.variable import Variable

Factory = Callable[[], Any]


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
        inputs: What it is called with, as in `check_module`; None to take it from the module.
        number: Decides what is drawn.

    Attributes:
        factory: Makes a fresh instance.
        given: What was passed for inputs.
        number: Decides what is drawn.
    """

    def __init__(self, factory: Factory, inputs: Any = None, number: int = 0) -> None:
        self.factory = factory
        self.number = number
        self.given = inputs
        self._examples: list[Any] | None = None

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return named(self.factory)

    def make(self) -> Any:
        """Make an instance.

        Raises:
            InvalidValue: The factory makes something else than a module.
        """
        made = self.factory()
        if isinstance(made, type):
            raise InvalidValue(
                f"cannot check what {self.name} makes: received the class {made.__name__}; return an instance, "
                f"`{made.__name__}()`, or pass the class itself"
            )
        if not isinstance(made, Module):
            raise InvalidValue(f"cannot check what {self.name} makes: received {made!r}; return a module")
        return made

    def prepare(self) -> Any:
        """Try what every check needs: an instance, and examples for it.

        A factory that raises is no matter of usage: that is left to the checks.

        Returns:
            The examples, for `adopt`; None without.

        Raises:
            InvalidValue: There is no such thing; the message says what to pass instead.
        """
        require_factory(self.factory, Module, "a module")
        raised: list[Exception] = []

        def made() -> Any:
            try:
                return factory()
            except Exception as error:
                raised.append(error)
                raise

        factory, self.factory = self.factory, made
        made.__qualname__ = named(factory)
        try:
            with workbench(self.number):
                _require_steady(self.make(), self.name)
            return examples_told(self.examples(6 * EXAMPLES))
        except Exception:
            if not raised:
                raise
        finally:
            self.factory = factory
        return None

    def adopt(self, told: Any) -> None:
        """Use the examples that `prepare` made in another process: drawing them takes longer than most checks."""
        if self._examples is None and told is not None:
            self._examples = examples_from(told)

    def examples(self, count: int = EXAMPLES) -> list[Any]:
        """Return different inputs, at most `count`, at least one.

        Raises:
            InvalidValue: There is nothing to take them from, or they are nothing the module takes.
        """
        if self._examples is None:
            with workbench(self.number):
                self._examples = examples_of(self.given, self.make(), self.name, self.number)
        return self._examples[:count]

    def shown(self, place: int) -> str:
        """One of the examples, for a message: its number and its JSON."""
        return f"example {place} {shown(example_json(self.examples()[place]))}"

    @contextmanager
    def bench(self, seed: int | None = None, url: str = "memory:", built: bool = False) -> Generator[Bench]:
        """Open a fresh place with a fresh instance in it; if `built`, what is made in `build` is there."""
        with workbench(self.number if seed is None else seed, url) as (store, run):
            bench = Bench(store, run, self.make())
            if built and any(has_own_build(module) for module in modules_below(bench.module)):
                # What cannot be traced is the matter of checks that trace.
                with suppress(TracingError):
                    run_coroutine(lambda: symbolic_call(bench.module, self.examples(1)[0]))
            yield bench


def has_own_build(module: Any) -> bool:
    """Whether a module makes something when it is first called."""
    return type(module).build is not Module.build


def own_fields(variable: Any) -> list[str]:
    """Names of the fields of a variable that are no bookkeeping."""
    return [key for key in variable.get_schema()["properties"] if key not in BOOKKEEPING]


def read_fields(variable: Any) -> list[str]:
    """Names of the fields that an optimizer writes for a module to read: its own, and the examples."""
    return [*own_fields(variable), *({"examples"} & variable.get_schema()["properties"].keys())]


def _require_steady(module: Any, name: str) -> None:
    """Refuse a model whose answers are used up: instances that are compared would be told different things."""
    for each in modules_below(module):
        if getattr(each, "counts_calls", False):
            raise InvalidValue(
                f"cannot check {name}: its FakeLanguageModel answers from a list, which is used up, or fails at "
                "numbered calls; pass it a dict or a function"
            )


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
        names: Gives rollouts their names.
    """

    def __init__(self, store: Store, run: Run, module: Any, names: RolloutNames | None = None) -> None:
        self.store = store
        self.run = run
        self.module = module
        self.calls: list[Call] = []
        self.names = names if names is not None else RolloutNames("training", 0)

    def watch(self) -> None:
        """Note the calls of the module and of all below it from now on."""
        for module in modules_below(self.module):
            module.add_hook(Watch(self.calls))

    async def call(self, example: Any, *, training: bool = False, rollout: str | None = None) -> Any:
        """Call the module on one example, in a rollout of its own."""
        name = rollout or self.names.name(example_digest(example_json(example)))
        by_place, by_name = call_arguments(self.module, example)
        with in_rollout(name):
            return await self.module(*by_place, **by_name, training=training)

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


def called(module: Any, example: Any, **options: Any) -> Any:
    """Call a module or program on an example, in an event loop of its own."""

    async def work() -> Any:
        by_place, by_name = call_arguments(module, example)
        return await module(*by_place, **by_name, **options)

    return run_coroutine(work)


async def symbolic_call(module: Any, example: Any) -> Any:
    """Call a module as a graph is built, with symbols of data models like those of an example."""
    by_place, by_name = call_arguments(module, mapped(example, lambda part: Input(schema=schema_of(part))))
    return await module(*by_place, **by_name)


async def program_around(module: Any, example: Any) -> Any:
    """Return a program of one module, taking inputs like `example`; a program is returned as it is."""
    if isinstance(module, Program):
        return module
    inputs = mapped(example, lambda part: Input(schema=schema_of(part)))
    by_place, by_name = call_arguments(module, inputs)
    return Program(
        inputs=inputs,
        outputs=await module(*by_place, **by_name),
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
