"""The one attribute behind every module: what the framework knows about it.

A module's own attributes belong to the user, so everything of ours lives in a single `_core` object and
no name the user picks can collide with it. It holds facts; what they mean is decided elsewhere
(`tracker`, `ownership`, `building`, `calling`).
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from eventcore.errors import NotInitialized

if TYPE_CHECKING:
    from eventcore.modules.construction import Restored
    from eventcore.modules.hooks import Hook
    from eventcore.modules.module import Module
    from eventcore.modules.tracker import Tracker


class Seal(enum.IntEnum):
    """How final the set of variables below a module is.

    `NONE` before the first call. After a symbolic one, `SHAPE`: only the first call of a module that is
    already there may still build it (tracing takes one branch only). After a call on data, `FINAL`.
    """

    NONE = 0
    SHAPE = 1
    FINAL = 2


class ModuleCore:
    """Facts about one module.

    Attributes:
        module: The module itself, held weakly.
        arguments: What its constructor was given, positional and by keyword.
        initialized: Whether `Module.__init__` ran.
        constructing: Open scopes while the constructor runs, else None.
        maker: The core of the module whose constructor or `build` makes this one, while its own runs.
        path: Scopes around it and its name, joined by `/`.
        made_in: The scopes around it when it was made; a first call inside another module may have moved it.
        trainable: Its own flag.
        built: Whether `build` ran.
        building: Set while `build` runs; others wait on it.
        locked: Whether its own tracker refuses changes.
        recorded: Whether its lock is worth an event (not for inputs and operators).
        calls: Calls in flight.
        input_schema: Structure of schemas it was built with, None if it was built without.
        given_names: Automatic names handed to modules made inside its constructor and `build`.
        restored: What is known from a save about the object being made.
        parents: Modules that hold it.
        live_in: The run its tree was last seen to live in.
        locks_in: Runs that have its lock recorded.
        arrange: Brings the module's only argument into the structure it expects; programs have one.
        declare: Writes into a run what has to be known to make the module again; programs have one.
    """

    __slots__ = (
        "arguments",
        "arrange",
        "building",
        "built",
        "calls",
        "constructing",
        "declare",
        "description",
        "given_names",
        "hooks",
        "initialized",
        "input_schema",
        "live_in",
        "locked",
        "locks_in",
        "made_in",
        "maker",
        "module",
        "name",
        "parent_path",
        "parents",
        "path",
        "recorded",
        "restored",
        "seal",
        "tracker",
        "trainable",
    )

    def __init__(
        self,
        module: Module,
        tracker: Tracker,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        restored: Restored | None,
    ) -> None:
        self.module: Callable[[], Module | None] = weakref.ref(module)
        self.tracker = tracker
        self.arguments = arguments
        self.restored = restored
        self.initialized = False
        self.constructing: ExitStack | None = None
        self.maker: ModuleCore | None = None
        self.name = ""
        self.description = ""
        self.made_in = ""
        self.parent_path = ""
        self.path = ""
        self.trainable = True
        self.hooks: list[Hook] = []
        self.built = False
        self.building: Future[None] | None = None
        self.locked = False
        self.recorded = True
        self.seal = Seal.NONE
        self.calls = 0
        self.input_schema: Any = None
        self.given_names: list[str] = []
        self.parents: list[weakref.ref[Module]] = []
        self.live_in: Callable[[], Any] = lambda: None
        self.locks_in: weakref.WeakSet[Any] = weakref.WeakSet()
        self.arrange: Callable[[Any, Any], Any] = lambda module, inputs: inputs
        self.declare: Callable[[Any, Any], None] = lambda module, run: None


def is_module(value: object) -> bool:
    """Whether `value` is a module, without importing the class."""
    return isinstance(getattr(value, "__dict__", {}).get("_core"), ModuleCore)


def core_of(module: Any) -> ModuleCore:
    """Return the core of a module, initialized or not."""
    core: ModuleCore = module.__dict__["_core"]
    return core


def ready_core(module: Any, action: str) -> ModuleCore:
    """Return the core of a module that is about to be used.

    Raises:
        NotInitialized: Its class forgot `super().__init__()`.
    """
    core = module.__dict__.get("_core")
    if not isinstance(core, ModuleCore) or not core.initialized:
        name = type(module).__name__
        raise NotInitialized(
            f"cannot {action}: the constructor of {name} never called `super().__init__()`. "
            f"Make it the first line of `{name}.__init__`."
        )
    return core
