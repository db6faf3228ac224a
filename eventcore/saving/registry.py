"""The classes and functions that saved things may be made of.

A log or a saved program names classes; they resolve only here, so nothing is imported or executed because a
file says so. Classes come in by themselves, when they are defined; functions when they are registered. This
module knows no file format and stands below everything that has classes to register.
"""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any, TypeVar

from eventcore.errors import InvalidValue, UnknownClass, WrongType

T = TypeVar("T")
Found = type[Any] | Callable[..., Any]

LIBRARY = "eventcore"
"""The module under which eventcore's own classes are saved, wherever in the library they are defined."""

_EXAMPLES = "eventcore.examples."

# A class at the top of a module lives as long as the process. One made in a function is held weakly, so that
# a function that makes classes does not leak them.
_at_top: dict[tuple[str, str], type[Any]] = {}
_in_functions: weakref.WeakValueDictionary[tuple[str, str], type[Any]] = weakref.WeakValueDictionary()
_by_name: dict[str, Found] = {}
_names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_custom: dict[str, Found] = {}
_scope: ContextVar[Mapping[str, Found] | None] = ContextVar("eventcore_custom_objects", default=None)


def register_class(cls: type[T]) -> type[T]:
    """Make a class findable; one defined again under the same module and name takes its place."""
    key = (cls.__module__, cls.__qualname__)
    _in_functions.pop(key, None)
    if "<locals>" in cls.__qualname__:
        _in_functions[key] = cls
    else:
        _at_top[key] = cls
    return cls


def is_registered(cls: type[Any]) -> bool:
    """Whether exactly this class would be found again in a process that runs the same code."""
    known = _known().get((cls.__module__, cls.__qualname__))
    return known is not None or cls in _names or cls in _custom_now().values()


def is_own(module: str) -> bool:
    """Whether a module is part of the library proper (its examples are programs like a user's)."""
    return module == LIBRARY or (module.startswith(LIBRARY + ".") and not module.startswith(_EXAMPLES))


def register_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Register a class or function under a name of its own, which survives moves and renames.

    Modules, data models and initializers need no registration. Functions do, and so do other classes that
    are given to constructors of saved modules.

    Args:
        package: First part of the name it is saved under.
        name: Second part; the name of the class or function when absent.

    Returns:
        A decorator that returns what it decorates.

    Raises:
        InvalidValue: A name with `>` in it.
        WrongType: Neither a class nor a named function.
    """

    def register(item: T) -> T:
        known: Any = item
        own = getattr(known, "__name__", None)
        if not callable(known) or not isinstance(own, str) or own == "<lambda>":
            raise WrongType(
                f"cannot register {item!r}: received {type(item).__name__}; pass a class or a named function"
            )
        for part in (package, name or own):
            if not part or ">" in part:
                raise InvalidValue(f"cannot register {own!r} under {part!r}: pass a name without '>'")
        full = f"{package}>{name or own}"
        _by_name[full] = known
        _names[known] = full
        if isinstance(known, type):
            register_class(known)
        return item

    return register


def registered_name(item: Any) -> str | None:
    """Return the name something was registered under, None when it was not."""
    try:
        return _names.get(item)
    except TypeError:  # no weak reference to it can be made, so it was never registered
        return None


def get_registered_name(item: Any) -> str:
    """Return the name something was registered under, or else its own."""
    return registered_name(item) or str(getattr(item, "__name__", type(item).__name__))


def get_registered_object(name: str, custom_objects: Mapping[str, Found] | None = None) -> Found | None:
    """Return what is registered under a name, or None; custom objects come first."""
    for known in (custom_objects or {}, _custom_now(), _by_name):
        if name in known:
            return known[name]
    return None


def get_custom_objects() -> dict[str, Found]:
    """Return the process-wide dict of classes and functions by name; what is put into it is found."""
    return _custom


class CustomObjectScope:
    """Context manager: inside, these classes and functions are found by name, before all others.

    Args:
        custom_objects: Classes and functions by class name, `module.class name`, or registered name.
    """

    def __init__(self, custom_objects: Mapping[str, Found] | None) -> None:
        given = dict(custom_objects or {})
        for name, item in given.items():
            if not isinstance(name, str) or not callable(item):
                raise WrongType(
                    f"cannot use {name!r}: {item!r} as a custom object; pass classes and functions by name"
                )
        self._objects = given
        self._tokens: list[Token[Mapping[str, Found] | None]] = []

    def __enter__(self) -> CustomObjectScope:
        self._tokens.append(_scope.set({**(_scope.get() or {}), **self._objects}))
        return self

    def __exit__(self, *_: object) -> None:
        _scope.reset(self._tokens.pop())


def find(module: str | None, qualname: str, name: str | None = None) -> Found:
    """Find a class or function. Imports nothing.

    Looked up in this order: custom objects; what was registered by name; eventcore's own classes; the class
    of that module; and, for classes of `__main__` and of modules that were renamed or are run as a script
    now, the one class of user code with that qualified name.

    Args:
        module: The module it was saved from; None for `__main__`.
        qualname: Its qualified name there.
        name: The name it was registered under, if any.

    Raises:
        UnknownClass: Nothing in this process has that name, or several do and none is from that module.
    """
    custom = _custom_now()
    for wanted in (name, f"{module or '__main__'}.{qualname}", qualname):
        if wanted is not None and wanted in custom:
            return custom[wanted]
    if name is not None and name in _by_name:
        return _by_name[name]
    classes = _known()
    if module == LIBRARY:
        own = [cls for (where, what), cls in classes.items() if what == qualname and is_own(where)]
        if len(own) == 1:
            return own[0]
        raise _unknown(module, qualname)
    exact = classes.get((module or "__main__", qualname))
    if exact is not None:
        return exact
    return _moved(classes, module, qualname)


def _moved(classes: dict[tuple[str, str], type[Any]], module: str | None, qualname: str) -> type[Any]:
    where = sorted(place for place, what in classes if what == qualname and not is_own(place))
    if not where:
        raise _unknown(module, qualname)
    if len(where) > 1:
        raise UnknownClass(
            f"cannot choose the class {qualname!r} that was saved from {module or '__main__'}: it is defined in "
            f"{' and in '.join(where)}; pass the right one as custom_objects={{{qualname!r}: …}}"
        )
    return classes[where[0], qualname]


def lookup(module: str | None, qualname: str) -> type[Any]:
    """Find a class, as `find` does.

    Raises:
        UnknownClass: Nothing of that name, or not a class.
    """
    found = find(module, qualname)
    if not isinstance(found, type):
        raise _unknown(module, qualname)
    return found


def _unknown(module: str | None, qualname: str) -> UnknownClass:
    names = {what for _, what in _known()}
    near = difflib.get_close_matches(qualname, names, 3, 0.7)
    hint = f" Classes of a similar name: {', '.join(near)}." if near else ""
    return UnknownClass(
        f"cannot find the class {module or '__main__'}.{qualname}: no code of this process has defined it, and nothing "
        "is imported because a file says so. Import the module that defines it first, or pass it in custom_objects."
        + hint
    )


def _known() -> dict[tuple[str, str], type[Any]]:
    return {**_at_top, **dict(_in_functions.items())}


def _custom_now() -> Mapping[str, Found]:
    scoped = _scope.get()
    return _custom if not scoped else {**_custom, **scoped}


def names() -> Iterator[str]:
    """Yield the qualified names of all registered classes, with their modules."""
    for module, qualname in _known():
        yield f"{module}.{qualname}"
