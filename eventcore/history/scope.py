"""Who acts: the current run, the rollout and the cause that new events are stamped with.

A scope lives in a context variable, so tasks, `gather`, `TaskGroup` and `asyncio.to_thread` inherit it
and two runs in one event loop do not meet. Without a scope the process's own applies: the run that
`store.run()` opened last, or else a bounded run in memory that is made when something happens.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventcore.history.run import Run


class Scope:
    """What events made here are stamped with.

    Attributes:
        run: The current run, None for the process's default.
        rollout: Identity of the rollout, or None.
        cause: Seq of the causing event, 0 for none.
        overlay: While a graph is traced, scratch values by variable; nothing is recorded then.
        effect: Name of the effect whose call is under way here, or None. What it does is no part of the run.
        plain: Whether neither is the case: variables are written for real here.
    """

    __slots__ = ("cause", "effect", "overlay", "plain", "rollout", "run", "token")

    def __init__(
        self,
        run: Run | None = None,
        rollout: str | None = None,
        cause: int = 0,
        overlay: dict[Any, Any] | None = None,
        effect: str | None = None,
    ) -> None:
        self.run = run
        self.rollout = rollout
        self.cause = cause
        self.overlay = overlay
        self.effect = effect
        self.plain = overlay is None and effect is None
        self.token: Token[Scope] | None = None  # what undoes it, for a run used in a `with` statement


process_scope = Scope()
"""The scope of everything that runs outside any block."""

current: ContextVar[Scope] = ContextVar("eventcore_scope")
entered_scope = current.get
"""Looked up once: every read and update of a variable begins with it."""


def scope() -> Scope:
    """Return the scope in force here."""
    return current.get(process_scope)


def current_run() -> Run:
    """Return the run that is current here, making the in-memory one if nothing was opened."""
    here = current.get(process_scope)
    if here.run is not None:
        return here.run
    if process_scope.run is None:
        from eventcore.history.store import memory_run  # it stands above this module

        process_scope.run = memory_run()
    return process_scope.run


@contextmanager
def _entered(new: Scope) -> Generator[Scope]:
    token = current.set(new)
    try:
        yield new
    finally:
        current.reset(token)


def in_run(run: Run) -> Any:
    """Context manager: `run` is current inside; a rollout or cause of another run does not reach in."""
    return _entered(Scope(run))


def in_rollout(rollout: str, cause: int = 0) -> Any:
    """Context manager: events inside belong to `rollout`."""
    here = scope()
    return _entered(Scope(current_run(), rollout, cause or here.cause, here.overlay, here.effect))


def caused_by(seq: int) -> Any:
    """Context manager: events inside name `seq` as their cause."""
    here = scope()
    return _entered(Scope(current_run(), here.rollout, seq, here.overlay, here.effect))


def in_effect(name: str) -> Any:
    """Context manager: inside, the call of an effect is under way."""
    here = scope()
    return _entered(Scope(current_run(), here.rollout, here.cause, here.overlay, name))


def tracing() -> Any:
    """Context manager: variables read and write scratch copies inside, and nothing is recorded.

    Nested tracings share one scratch copy.
    """
    here = scope()
    overlay = here.overlay if here.overlay is not None else {}
    return _entered(Scope(here.run, here.rollout, here.cause, overlay, here.effect))


def for_real() -> Any:
    """Context manager: leave a tracing for a moment (a module's `build` declares its variables for real)."""
    here = scope()
    return _entered(Scope(here.run, here.rollout, here.cause, None, here.effect))


def in_tracing() -> bool:
    """Whether a graph is being traced here."""
    return scope().overlay is not None
