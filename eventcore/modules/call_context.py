"""The context of a call: which call is running, inside which one, and whether it trains.

It lives in a context variable, so tasks started inside a call belong to it and concurrent calls do not
meet. It decides nothing; modules read it when they are called.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from eventcore.modules.module import Module


class CallContext(msgspec.Struct, frozen=True):
    """One call in progress.

    Attributes:
        entry: The module whose call is the outermost one.
        module: The module of this call.
        call_id: Identity of this call, unique in the process.
        parent_call_id: Identity of the call it was made from, or None for the outermost.
        training: What was asked for by this call or one above it, None when nobody said.
    """

    entry: Module
    module: Module
    call_id: str
    parent_call_id: str | None
    training: bool | None


_current: ContextVar[CallContext | None] = ContextVar("eventcore_call", default=None)
_numbers = itertools.count(1)


def current_call() -> CallContext | None:
    """Return the innermost call in progress here, or None outside any."""
    return _current.get()


class entered:  # noqa: N801 - used like a function; a class costs a third of what a generator does
    """A call of `module` begins; `training` None means: as the call around it."""

    __slots__ = ("_here", "_token")

    def __init__(self, module: Module, training: bool | None) -> None:
        outer = _current.get()
        call_id = f"call-{next(_numbers)}"
        if outer is None:
            self._here = CallContext(module, module, call_id, None, training)
        else:
            inherited = outer.training if training is None else training
            self._here = CallContext(outer.entry, module, call_id, outer.call_id, inherited)

    def __enter__(self) -> CallContext:
        self._token: Token[CallContext | None] = _current.set(self._here)
        return self._here

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)
