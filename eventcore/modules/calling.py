"""The call of a module, from the caller's arguments to what comes back.

In order: the call context opens and hooks hear of it, inputs are converted, the module is built if this
is its first call, inputs are held against what it was built with, its variables are made to live in the
current run (outermost calls only), `call` runs, its outputs are converted. A call with symbolic inputs
builds and checks the same way and leaves a node instead (see `tracing`).
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from eventcore.errors import InvalidValue
from eventcore.history.scope import current_run, in_tracing
from eventcore.models.data_model import DataModel
from eventcore.models.json_data_model import JsonDataModel
from eventcore.modules.arguments import InputConverter, holds_model, is_symbolic, outputs_of
from eventcore.modules.building import ensure_built, has_own_build, record_lock
from eventcore.modules.call_context import CallContext, entered
from eventcore.modules.construction import scope_of
from eventcore.modules.internals import ModuleCore, Seal, core_of, ready_core
from eventcore.modules.ownership import modules_below, seal
from eventcore.modules.structure import check_fit, known_to_fit, leaves

if TYPE_CHECKING:
    from eventcore.modules.module import Module

_NO_SCOPE = nullcontext()
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


async def call_module(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a module.

    Raises:
        NotInitialized: Its class forgot `super().__init__()`.
        InvalidValue: An argument is no data model.
        SchemaMismatch: An argument does not fit what the module was built with.
    """
    core = ready_core(module, f"call {type(module).__name__}")
    training = kwargs.pop("training", None)
    with entered(module, training) as context:
        tell = [] if in_tracing() else list(core.hooks)
        given = args[0] if len(args) == 1 else args
        for hook in tell:
            hook.on_call_begin(context.call_id, context.parent_call_id, given, kwargs)
        try:
            outputs = await _called(module, core, context, args, kwargs)
        except BaseException as error:
            for hook in tell:
                hook.on_call_end(context.call_id, context.parent_call_id, None, error)
            raise
        for hook in tell:
            hook.on_call_end(context.call_id, context.parent_call_id, outputs, None)
        return outputs


async def _called(
    module: Module, core: ModuleCore, context: CallContext, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    args, kwargs = converted(module, args, kwargs)
    given = args[0] if len(args) == 1 else given_inputs(args, kwargs)
    if not core.built:
        inactive = bool(args) and all(leaf is None for leaf in leaves(given))
        if inactive and has_own_build(type(module)):
            return None  # an inactive branch says nothing to build from, and its answer is None anyway
        await ensure_built(module, given)
    if not module.accepts_any_input and not known_to_fit(given, core.input_schema):
        check_fit(given, core.input_schema, f"{type(module).__name__} '{core.path}'")
    symbolic = _any_symbolic(args) or (bool(kwargs) and _any_symbolic(kwargs.values()))
    if context.parent_call_id is None and not in_tracing():
        settle(module, declare=not symbolic)
    if symbolic:
        from eventcore.modules.tracing import symbolic_outputs

        outputs = await symbolic_outputs(module, args, kwargs)
        seal(module, Seal.SHAPE)
        return outputs
    core.calls += 1
    try:
        outputs = await run_call(module, args, kwargs, context.training)
    finally:
        core.calls -= 1
    if in_tracing():
        seal(module, Seal.SHAPE)
    elif core.calls == 0 and core.seal is not Seal.FINAL:
        seal(module, Seal.FINAL)
    return outputs


def _any_symbolic(values: Iterable[Any]) -> bool:
    for value in values:  # noqa: SIM110 - on every call, and the loop costs less than a generator
        if type(value) is not JsonDataModel and is_symbolic(value):
            return True
    return False


def converted(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Turn arguments into data models, plain dicts by the schema the module was built with."""
    core = core_of(module)
    if len(args) == 1:
        args = (core.arrange(module, args[0]),)
        if not kwargs and type(args[0]) is JsonDataModel:
            return args, kwargs  # as between the modules of a graph
        if not kwargs and isinstance(args[0], DataModel):
            return (args[0].to_json_data_model(name=f"inputs_{core.name}"),), kwargs
    converter = InputConverter(f"{type(module).__name__} '{core.path}'", f"inputs_{core.name}")
    known = core.input_schema
    structures = known if len(args) > 1 and isinstance(known, list) and len(known) == len(args) else [known]
    structures = [*structures, *[None] * len(args)][: len(args)]
    new_args = [converter.positional(value, part) for value, part in zip(args, structures, strict=True)]
    new_kwargs = {key: converter.keyword(value) for key, value in kwargs.items()}
    return tuple(new_args), new_kwargs


def given_inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The inputs of a call as one structure: the only argument, the list of them, or those by keyword."""
    if len(args) == 1:
        return args[0]
    if args:
        return list(args)
    named = {key: value for key, value in kwargs.items() if holds_model(value)}
    return named or None


async def run_call(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None
) -> Any:
    """Run a module's `call`, plain or async, and convert what it returns."""
    core = core_of(module)
    cls: Any = type(module)
    if training is not None and takes_training(cls):
        kwargs = {**kwargs, "training": training}
    # Only while something may still be built below does anybody ask for the scope.
    with _NO_SCOPE if core.seal is Seal.FINAL else scope_of(module):
        result = module.call(*args, **kwargs)
        if inspect.isawaitable(result):
            result = await result
    if type(result) is JsonDataModel:
        return result
    return outputs_of(result, f"{type(module).__name__} '{core.path}'", f"outputs_{core.name}")


@functools.lru_cache(maxsize=1024)
def takes_training(cls: Any) -> bool:
    """Whether a class's `call` has a `training` parameter."""
    parameters = inspect.signature(cls.call).parameters
    return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def settle(module: Module, *, declare: bool = True) -> None:
    """Make everything below a module live in the current run: variables, locks, the program's config.

    Args:
        module: The outermost module.
        declare: Whether the program is in use itself, and not only becoming a part of a graph.
    """
    run = home = current_run()  # another one is home to variables that stay where they are
    core = core_of(module)
    if core.seal is Seal.FINAL and core.live_in() is run:
        return
    for below in modules_below(module):
        for variable in core_of(below).tracker.members("variables"):
            variable.adopt()
            home = variable.run
    for below in modules_below(module):
        record_lock(core_of(below), home)
    if declare:
        core.declare(module, home)
    core.live_in = weakref.ref(home)


def refuse_missing_call(module: Module) -> InvalidValue:
    """The error of a module whose class says nothing about what it does."""
    name = type(module).__name__
    return InvalidValue(
        f"cannot call {name}: the class has no `call`. Define `async def call(self, inputs)`."
    )
