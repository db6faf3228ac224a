"""What happens around a module's constructor: its arguments are kept, its name and scope are settled.

The arguments make a default `get_config` possible, so that a class without one saves and loads. While a
constructor or a `build` runs, modules made inside it lie below it in the path, and the automatic names
they get are written down, so that rebuilding gives them the same names again.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from eventcore.errors import InvalidValue
from eventcore.models.naming import auto_name, reserve, snake_case
from eventcore.modules.internals import ModuleCore, core_of
from eventcore.variables.scope import current_path, name_scope

if TYPE_CHECKING:
    from eventcore.modules.module import Module

BASE_ARGUMENTS = ("name", "description", "trainable")
"""What every module has, whether its constructor takes it or not."""


@dataclass
class Restored:
    """What is known about a module that is being made again.

    Attributes:
        cls: Its class.
        name: Its name, for a constructor that takes none.
        description: As above.
        trainable: As above.
        names: Automatic names its inner modules had, in order of creation.
    """

    cls: type
    name: str | None = None
    description: str | None = None
    trainable: bool | None = None
    names: list[str] = field(default_factory=lambda: list[str]())


_restored: ContextVar[Restored | None] = ContextVar("eventcore_restored", default=None)
_maker: ContextVar[ModuleCore | None] = ContextVar("eventcore_maker", default=None)


@contextmanager
def restoring(
    cls: type,
    *,
    name: str | None = None,
    description: str | None = None,
    trainable: bool | None = None,
    names: list[str] | None = None,
) -> Generator[None]:
    """The next module of exactly this class made inside is one that existed before.

    Args:
        cls: Its class.
        name: Its name, used if its constructor is given none. The other two likewise.
        description: Its description.
        trainable: Its own flag.
        names: The automatic names of the modules made inside it (`get_build_config()["names"]`).
    """
    outer = _restored.get()
    known = outer if outer is not None and outer.cls is cls else Restored(cls)
    new = Restored(
        cls,
        known.name if name is None else name,
        known.description if description is None else description,
        known.trainable if trainable is None else trainable,
        list(known.names if names is None else names),
    )
    token = _restored.set(new)
    try:
        yield
    finally:
        _restored.reset(token)


def take_restored(cls: type) -> Restored | None:
    """Return what is known about a module of `cls` that begins to exist, once."""
    known = _restored.get()
    if known is None or known.cls is not cls:
        return None
    _restored.set(None)
    return known


def kept_arguments(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Copy a constructor's arguments, plain containers deeply, other objects as they are."""
    return tuple(_kept(value) for value in args), {key: _kept(value) for key, value in kwargs.items()}


def _kept(value: Any) -> Any:
    kind = cast("type[Any]", type(value))
    if kind in (list, tuple, set):
        return kind(_kept(item) for item in value)
    if kind is dict:
        return {key: _kept(item) for key, item in value.items()}
    return value


def constructor(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap `__init__`: scopes it opens are closed when the outermost one returns."""

    @functools.wraps(init)
    def construct(self: Module, *args: Any, **kwargs: Any) -> None:
        core = core_of(self)
        if core.constructing is not None or core.initialized:
            init(self, *args, **kwargs)
            return
        with ExitStack() as stack:
            core.constructing = stack
            try:
                stack.enter_context(making(core))
                init(self, *args, **kwargs)
            finally:
                core.constructing = None

    return construct


@contextmanager
def making(core: ModuleCore) -> Generator[None]:
    """Modules made inside are made by the module of `core`."""
    core.maker = _maker.get()
    token = _maker.set(core)
    try:
        yield
    finally:
        _maker.reset(token)
        core.maker = None


def settle_name(module: Module, name: str) -> None:
    """Give a module its name and path, and open its scope for the rest of its constructor."""
    core = core_of(module)
    core.name = name
    reserve(name)
    core.made_in = core.parent_path = current_path()
    core.path = f"{core.parent_path}/{name}" if core.parent_path else name
    if core.constructing is not None:
        core.constructing.enter_context(scope_of(module))


@contextmanager
def scope_of(module: Module) -> Generator[None]:
    """The name scope of a module: paths of variables made inside begin with the module's path."""
    core = core_of(module)
    with name_scope(core.name, caller=module, override_parent=core.parent_path):
        yield


def automatic_name(core: ModuleCore, prefix: str) -> str:
    """Give a module without a name one: the one it had before if it is being rebuilt, else a new one."""
    maker = core.maker
    name = None if maker is None else _name_before(maker, prefix)
    name = auto_name(prefix) if name is None else name
    if maker is not None:
        maker.given_names.append(name)
    return name


def _name_before(maker: ModuleCore, prefix: str) -> str | None:
    names = maker.restored.names if maker.restored is not None else []
    if names and re.fullmatch(re.escape(snake_case(prefix)) + r"(_\d+)?", names[0]):
        return names.pop(0)
    return None


def signature_of(cls: type) -> inspect.Signature:
    """The signature of a class's constructor, `self` left out."""
    init: Callable[..., None] = cls.__init__  # type: ignore[misc]  # of exactly this class
    signature = inspect.signature(init)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def takes(cls: type, name: str) -> bool:
    """Whether a class's constructor has a parameter `name` that can be passed by keyword.

    `**kwargs` is none: whether it reaches `Module.__init__` or means something else, nobody can tell.
    """
    parameter = signature_of(cls).parameters.get(name)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return parameter is not None and parameter.kind in kinds


def constructor_arguments(module: Module) -> dict[str, Any]:
    """Return what the constructor was given, by the names a second call can use.

    Raises:
        InvalidValue: It was given arguments that have no name to pass them by.
    """
    cls = type(module)
    args, kwargs = core_of(module).arguments
    bound = signature_of(cls).bind(*args, **kwargs)
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        elif kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise InvalidValue(
                f"cannot make the config of {cls.__name__}: its argument '{name}' has no keyword to pass it by. "
                "Write `get_config` and `from_config`, or take the argument by name."
            )
        else:
            found[name] = value
    found.pop("hooks", None)
    return found
