"""The attributes of modules that are no variables: what a call must not change.

Only classes of users are looked at; what eventcore's own modules keep is eventcore's affair. Objects are described
by what they hold, a few levels deep, and by nothing where they hold nothing that can be described.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from eventcore.modules.module import Module
from eventcore.modules.ownership import modules_below
from eventcore.variables.variable import Variable

DEEPEST = 4
LONGEST = 100
"""Letters of an attribute in a message."""
_LIBRARY = "eventcore."


def plain_attributes(module: Module) -> dict[str, str]:
    """Describe the attributes of a module, of those below it, and of their classes, by name."""
    found: dict[str, str] = {}
    for below in modules_below(module):
        if _is_ours(type(below)):
            continue
        for name, value in vars(below).items():
            if name != "_core":
                found[f"{below.name}.{name}"] = _described(value, 0)
        for cls in type(below).__mro__:
            if cls is not object and not _is_ours(cls):
                for name, value in vars(cls).items():
                    if _is_data(name, value):
                        found[f"{cls.__name__}.{name}"] = _described(value, 0)
    return found


def changed_attributes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name what is there on one side only, or is not the same on both."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def changes_told(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Say what changed, from what to what, shortened; "" for nothing."""
    changed = changed_attributes(before, after)
    return "; ".join(f"{name}, {_cut(before.get(name))} to {_cut(after.get(name))}" for name in changed)


def _cut(described: str | None) -> str:
    text = "absent" if described is None else described
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 25]} … {text[-20:]}"


def described(value: Any) -> str:
    """Describe a value by what it holds, a few levels deep: equal descriptions, nothing seen to have changed."""
    return _described(value, 0)


def _is_ours(cls: type[Any]) -> bool:
    return cls.__module__.startswith(_LIBRARY)


def _is_data(name: str, value: object) -> bool:
    return not name.startswith("__") and isinstance(
        value, (bool, int, float, str, list, dict, set, type(None))
    )


def _described(value: Any, depth: int) -> str:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if isinstance(value, (Module, Variable)):
        return f"<{value.name}>"
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        inner = sorted(f"{_described(key, depth + 1)}: {_described(item, depth + 1)}" for key, item in pairs)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, (set, frozenset)):
        return (
            "{"
            + ", ".join(sorted(_described(item, depth + 1) for item in cast("Iterable[Any]", value)))
            + "}"
        )
    if isinstance(value, (list, tuple)) or type(value).__name__ == "deque":
        return "[" + ", ".join(_described(item, depth + 1) for item in cast("Iterable[Any]", value)) + "]"
    if isinstance(value, type) or callable(value) or not hasattr(value, "__dict__") or _is_ours(type(value)):
        return f"<{type(value).__name__}>"
    held = vars(value)
    return f"<{type(value).__name__} " + _described(held, depth + 1) + ">"
