"""Who owns what: modules below a module, modules above it, and what follows from that.

Two things follow. *Freezing*: a variable is frozen by every module above it whose flag is off; each
module's flag is told to the variable separately, so an individual freeze survives. *Closing*: after the
first call nothing may change the set of variables a module reports, and that holds for changes made
anywhere below it too. Which attribute holds what is the tracker's business.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from eventcore.errors import WrongType
from eventcore.modules.internals import Seal, core_of, is_module

if TYPE_CHECKING:
    from eventcore.modules.internals import ModuleCore
    from eventcore.modules.module import Module
    from eventcore.variables.variable import Variable

_kinds: dict[type, str] = {}


def track_type(cls: type, kind: str) -> None:
    """Let modules recognise instances of `cls` among their attributes.

    Args:
        cls: The class, subclasses included.
        kind: Under which heading: `"variables"`, `"modules"`, `"metrics"`, ...
    """
    if not isinstance(cast("object", cls), type):
        raise WrongType(f"cannot track {cls!r}: it is not a class.")
    _kinds[cls] = kind
    _kind_of_class.cache_clear()


def kind_of(value: object) -> str | None:
    """The heading a tracked value belongs under, None for an ordinary one."""
    cls: Any = type(value)
    return _kind_of_class(cls)


@lru_cache(maxsize=4096)
def _kind_of_class(cls: type) -> str | None:
    return next((kind for tracked, kind in _kinds.items() if issubclass(cls, tracked)), None)


def modules_below(root: Module) -> Iterator[Module]:
    """Yield `root` and every module under it once, parents first, in order of assignment."""
    seen = {id(root)}
    waiting = [root]
    while waiting:
        module = waiting.pop()
        yield module
        for child in reversed(core_of(module).tracker.members("modules")):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)


def variables_below(root: Module) -> list[Variable]:
    """Every variable of `root` and the modules under it, once each.

    A module's own come first, those made to be trained before the others, then its sub-modules' in order
    of assignment. Freezing does not change the order.
    """
    found: dict[int, Variable] = {}
    for module in modules_below(root):
        own = cast("list[Variable]", core_of(module).tracker.members("variables"))
        for variable in [v for v in own if _meant_for_training(v)] + own:
            found.setdefault(id(variable), variable)
    return list(found.values())


def _meant_for_training(variable: Variable) -> bool:
    return variable.requested and variable.eligible


def ancestors(module: Module) -> Iterator[Module]:
    """Yield `module` and every module above it, once each."""
    seen = {id(module)}
    waiting = [module]
    while waiting:
        here = waiting.pop()
        yield here
        for parent in parents(here):
            if id(parent) not in seen:
                seen.add(id(parent))
                waiting.append(parent)


def parents(module: Module) -> list[Module]:
    """The modules that hold `module` in an attribute."""
    return [parent for reference in core_of(module).parents if (parent := reference()) is not None]


def why_closed(module: Module) -> str | None:
    """Say which first call forbids new variables in `module`, or None when they are welcome."""
    if core_of(module).locked:
        return f"{_title(module)} has been called or built, which locked its variables"
    seen: set[tuple[int, bool]] = set()
    waiting = [(module, False)]
    while waiting:
        here, inside_build = waiting.pop()
        core = core_of(here)
        inside_build = inside_build or core.building is not None
        if core.seal is Seal.FINAL or (core.seal is Seal.SHAPE and not inside_build):
            return f"{_title(here)}, which contains it, has been called, which locked every variable below it"
        for parent in parents(here):
            if (id(parent), inside_build) not in seen:
                seen.add((id(parent), inside_build))
                waiting.append((parent, inside_build))
    return None


def _title(module: Module) -> str:
    core = core_of(module)
    return f"{type(module).__name__} '{core.path or core.name}'"


def attach(owner: Module, child: Any) -> None:
    """`child` came under `owner`: it is frozen by whatever is frozen above."""
    if is_module(child):
        core_of(child).parents.append(weakref.ref(owner))
    for above in _frozen(owner):
        for variable in _variables_in(child):
            variable.freeze(by=above)


def detach(owner: Module, child: Any) -> None:
    """`child` left `owner`: what froze it only from there lets go."""
    if is_module(child):
        core = core_of(child)
        core.parents = [reference for reference in core.parents if reference() is not owner]
    for above in _frozen(owner):
        kept = {id(variable) for variable in variables_below(above)}
        for variable in _variables_in(child):
            if id(variable) not in kept:
                variable.thaw(by=above)


def set_trainable(module: Module, flag: bool) -> None:
    """Set a module's own flag and tell every variable below it."""
    core_of(module).trainable = flag
    for variable in variables_below(module):
        if flag:
            variable.thaw(by=module)
        else:
            variable.freeze(by=module)


def _frozen(module: Module) -> list[Module]:
    return [above for above in ancestors(module) if not core_of(above).trainable]


def _variables_in(child: Any) -> list[Variable]:
    if is_module(child):
        return variables_below(child)
    return [child] if kind_of(child) == "variables" else []


def seal(module: Module, how: Seal) -> None:
    """A first call ended: fix the sets of variables of `module` and of everything below it."""
    core: ModuleCore = core_of(module)
    if how <= core.seal:
        return
    if how is Seal.FINAL:
        for below in modules_below(module):
            core_of(below).tracker.fix()
    core.seal = how
