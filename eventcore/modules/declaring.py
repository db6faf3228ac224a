"""Declaring a module's variables: names, scopes and the lock; values are checked by `Variable` itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventcore.errors import TrackerLocked
from eventcore.modules import ownership
from eventcore.modules.construction import scope_of
from eventcore.modules.internals import core_of
from eventcore.variables.variable import Variable

if TYPE_CHECKING:
    from eventcore.modules.module import Module


def declare_variable(
    module: Module,
    initializer: Any,
    data_model: Any,
    trainable: bool,
    name: str | None,
    description: str | None,
) -> Variable:
    """Make a variable under a module's path and let the module hold it.

    Raises:
        TrackerLocked: The module, or one that contains it, has been called; nothing was declared.
    """
    core = core_of(module)
    reason = ownership.why_closed(module)
    if reason is not None:
        asked = "a variable" if name is None else f"the variable '{name}'"
        raise TrackerLocked(
            f"cannot add {asked} to '{core.path}': {reason}. Create variables in `__init__` or `build`"
            + (
                ", and build early what is called late: `await module.build(schema)`."
                if core.building
                else "."
            )
        )
    if name is None:
        name = core.tracker.free_name(f"variable_{core.name}")
    with scope_of(module):
        variable = Variable(
            initializer=initializer,
            data_model=data_model,
            trainable=trainable,
            name=name,
            description=description,
        )
    core.tracker.add(variable)
    return variable
