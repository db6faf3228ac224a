"""From what a user passed (an object, a class, a name, a config, a function) to an object.

Rewards, metrics and optimizers are all named the same way: snake case or camel case, whatever the case.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.models.naming import snake_case


def resolve(
    identifier: Any,
    known: Mapping[str, type[Any]],
    base: type[Any],
    what: str,
    wrap: Callable[[Any], Any] | None,
) -> Any:
    """Return the object an identifier stands for.

    Args:
        identifier: An instance of `base`, a class of it, its name, a config from `serialize_object`, or a function.
        known: Shipped classes by class name.
        base: What the result is an instance of.
        what: "reward", "metric", "optimizer", for errors.
        wrap: Makes an object of a function; None where functions mean nothing.

    Raises:
        InvalidValue: Nothing of that name; the message lists the known ones.
    """
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, base):
        return identifier()
    if isinstance(identifier, str):
        return known[_named(identifier, known, what)]()
    if isinstance(identifier, dict):
        from eventcore.saving.serialization import deserialize_object

        return deserialize_object(identifier)
    if wrap is not None and callable(identifier):
        return wrap(identifier)
    raise InvalidValue(
        f"cannot use {identifier!r} as {what}: pass a {base.__name__}, its name, or its config; "
        f"the known names are {', '.join(sorted(map(snake_case, known)))}"
    )


def _named(identifier: str, known: Mapping[str, type[Any]], what: str) -> str:
    names = {snake_case(name): name for name in known} | {name.lower(): name for name in known}
    for form in (identifier.lower(), snake_case(identifier)):
        if form in names:
            return names[form]
    shipped = sorted(map(snake_case, known))
    near = difflib.get_close_matches(snake_case(identifier), shipped, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InvalidValue(f"cannot find {what} {identifier!r}: {hint}the known names are {', '.join(shipped)}")
