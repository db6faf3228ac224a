"""Hooks: somebody is told when a module's call begins and ends.

For logging and monitoring. A hook sees inputs and outputs and changes neither; an error it raises is the
call's error. Tracing a graph calls no hooks, because nothing happens then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from eventcore.errors import WrongType

if TYPE_CHECKING:
    from eventcore.modules.module import Module


class Hook:
    """Base class: override what you want to hear of.

    Attributes:
        module: The module the hook was added to last, or None.
    """

    module: Module | None = None

    def set_module(self, module: Module) -> None:
        """Remember the module; called when the hook is added to it."""
        self.module = module

    def on_call_begin(
        self, call_id: str, parent_call_id: str | None, inputs: Any, kwargs: Mapping[str, Any]
    ) -> None:
        """A call begins.

        Args:
            call_id: Identity of the call, unique in the process.
            parent_call_id: Identity of the call it was made from, or None.
            inputs: The only positional argument, or the tuple of them.
            kwargs: The keyword arguments.
        """

    def on_call_end(
        self, call_id: str, parent_call_id: str | None, outputs: Any, exception: BaseException | None
    ) -> None:
        """A call ended.

        Args:
            call_id: As in `on_call_begin`.
            parent_call_id: As in `on_call_begin`.
            outputs: What it returned, None when it raised.
            exception: What it raised (a cancellation too), or None.
        """


def checked_hooks(hooks: Iterable[Hook] | None) -> list[Hook]:
    """Return the hooks as a list.

    Raises:
        WrongType: One of them lacks the two methods of `Hook`.
    """
    found = list(hooks or ())
    for hook in found:
        if not (
            callable(getattr(hook, "on_call_begin", None)) and callable(getattr(hook, "on_call_end", None))
        ):
            raise WrongType(
                f"cannot add {hook!r} as a hook: it has no `on_call_begin` and `on_call_end`. "
                "Derive from `eventcore.modules.Hook`."
            )
    return found
