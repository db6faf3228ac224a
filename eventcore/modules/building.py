"""Building and locking: the first call runs `build` once, then the module's variables are final.

`build` runs for eager and symbolic input alike, for real even while a graph is traced, once however many
calls arrive together, and all or nothing: after a failure the module is as it was. What may still be
added, and where, is decided in `ownership`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from eventcore.errors import InvalidValue
from eventcore.history import events
from eventcore.history.scope import current_run, for_real
from eventcore.modules.construction import making, scope_of
from eventcore.modules.internals import ModuleCore, core_of, ready_core
from eventcore.modules.structure import schemas_in, symbolic_inputs
from eventcore.variables.scope import current_path

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.modules.module import Module

_under_construction: ContextVar[tuple[Any, ...]] = ContextVar("eventcore_building", default=())
_claims = threading.Lock()


def build_once(build: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a class's `build`: called from outside it builds the module, once; from inside it is `super()`."""

    @functools.wraps(build)
    async def building(self: Module, *args: Any, **kwargs: Any) -> None:
        if self in _under_construction.get():
            result = build(self, *args, **kwargs)
            if inspect.isawaitable(result):
                await result
            return
        given = args[0] if args else next(iter(kwargs.values()), None)
        await ensure_built(self, given)

    return building


async def ensure_built(module: Module, given: Any) -> None:
    """Build a module unless that was done; calls that arrive meanwhile wait for the one that does it.

    Args:
        module: What to build.
        given: Its input: data models, symbolic ones, schemas, or a list or dict of them.

    Raises:
        InvalidValue: It is called from its own `build`.
    """
    core = ready_core(module, "build it")
    while not core.built:
        if module in _under_construction.get():
            raise InvalidValue(f"cannot call '{core.path}' inside its own `build`: it is not built yet.")
        mine: Future[None] = Future()
        mine.set_running_or_notify_cancel()
        with _claims:
            running, core.building = core.building, core.building or mine
        if running is not None:
            await asyncio.wrap_future(running)
            continue
        try:
            if not core.built:
                await _build(module, given)
        finally:
            core.building = None
            mine.set_result(None)


async def _build(module: Module, given: Any) -> None:
    core = core_of(module)
    structure = schemas_in(given)
    if not core.parent_path and not core.tracker.members("variables"):
        move(core, current_path())
    undo = core.tracker.checkpoint()
    cls: Any = type(module)
    token = _under_construction.set((*_under_construction.get(), module))
    try:
        with for_real(), scope_of(module), making(core):
            await module.build(symbolic_inputs(given) if wants_inputs(cls) else structure)
    except BaseException:
        undo()
        raise
    finally:
        _under_construction.reset(token)
    finish(module, structure)


def move(core: ModuleCore, parent_path: str) -> None:
    """Put a module that has no variables yet under other scopes."""
    core.parent_path = parent_path
    core.path = f"{parent_path}/{core.name}" if parent_path else core.name


def finish(module: Module, structure: Any) -> None:
    """Note that a module is built for inputs of these schemas, and lock it."""
    core = core_of(module)
    if core.input_schema is None:  # a program with a graph knows it from its inputs
        core.input_schema = structure
    core.built = True
    core.locked = True
    core.tracker.fix()
    core.restored = None
    with for_real():
        record_lock(core, current_run())


def record_lock(core: ModuleCore, run: Run) -> None:
    """Write into `run` that the module's variables are final, once per run."""
    if core.locked and core.recorded and run not in core.locks_in:
        core.locks_in.add(run)
        run.record(events.TrackerLocked(*run.stamp(), module=core.path))


def has_own_build(cls: type) -> bool:
    """Whether a class, or one it derives from, says how to build."""
    return not getattr(cls.build, "__eventcore_default__", False)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=1024)
def wants_inputs(cls: Any) -> bool:
    """Whether `build` calls its parameter `inputs`: then it is given symbolic data models, not schemas."""
    parameters = list(inspect.signature(cls.build).parameters)
    return parameters[1:2] == ["inputs"]
