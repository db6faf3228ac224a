"""Finding one of several named things, and saying which there are when it is not among them."""

from __future__ import annotations

from typing import Any

from eventcore.errors import InvalidValue


def pick(items: list[Any], name: str | None, index: int | None, what: str) -> Any:
    """Find one of some named things, by name, path or place.

    Raises:
        InvalidValue: Both or neither was given, or there is none; the message lists the names.
    """
    names = [item.name for item in items]
    if (name is None) == (index is None):
        raise InvalidValue(f"cannot get a {what}: pass either `name` or `index`. Names: {_listed(names)}.")
    if index is not None:
        if -len(items) <= index < len(items):
            return items[index]
        raise InvalidValue(
            f"cannot get the {what} at index {index}: there are {len(items)}: {_listed(names)}."
        )
    found = [item for item in items if item.path == name] or [item for item in items if item.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        paths = _listed([item.path for item in found])
        raise InvalidValue(
            f"cannot get the {what} named '{name}': {len(found)} have this name; pass a path: {paths}."
        )
    raise InvalidValue(f"cannot get the {what} named '{name}': there are {_listed(names)}.")


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"
