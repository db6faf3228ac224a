"""The classes user code has defined, by module and qualified name.

A log or a saved program names classes; they resolve only here, so nothing is imported because a file says
so. Classes come in by themselves, when they are defined.
"""

from __future__ import annotations

from eventcore.errors import UnknownClass

_classes: dict[tuple[str, str], type] = {}


def register_class(cls: type) -> type:
    """Make a class findable; one defined again under the same name takes its place."""
    _classes[cls.__module__, cls.__qualname__] = cls
    return cls


def lookup(module: str, qualname: str) -> type:
    """Find a class.

    Raises:
        UnknownClass: No such class has been defined in this process.
    """
    found = _classes.get((module, qualname))
    if found is None:
        raise UnknownClass(
            f"cannot find the class {module}.{qualname}: it has not been defined in this process. "
            "Import the module that defines it first."
        )
    return found
