"""Effects of one's own: any function whose answer the program cannot compute itself, and the clock.

    @ec.effect
    async def search(query: str) -> list[str]: ...

A decorated function is called as before. Its request (the arguments, as JSON) is durable before it runs, its
answer before the caller continues. What the caller gets is the recorded answer, decoded by the return annotation,
so a program sees the same kind of value whether the call was made or answered from a log.
"""

from __future__ import annotations

import functools
import inspect
import uuid as uuid_module
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from random import Random
from typing import Any, ParamSpec, TypeVar, cast, overload
from weakref import WeakKeyDictionary

from eventcore.errors import InvalidValue, WrongType
from eventcore.history.costs import MOMENTS
from eventcore.history.run import Run
from eventcore.history.scope import current_run, scope
from eventcore.history.values import describe
from eventcore.replay.effects import Outcome, Ticket, perform, perform_now
from eventcore.replay.moments import in_thread
from eventcore.replay.moments import sleep as sleep
from eventcore.replay.moments import timeout as timeout
from eventcore.replay.randomness import stream
from eventcore.replay.returns import Returned, as_json

P = ParamSpec("P")
R = TypeVar("R")

_draws: WeakKeyDictionary[Run, Counter[tuple[str, str]]] = WeakKeyDictionary()


@overload
def effect(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def effect(
    *, ignore: Iterable[str] = (), name: str | None = None, paid: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def effect(
    function: Callable[..., Any] | None = None,
    /,
    *,
    ignore: Iterable[str] = (),
    name: str | None = None,
    paid: bool = False,
) -> Any:
    """Record every call of a function as an effect.

    Args:
        function: A plain or async function, a partial of one or an object that can be called. Its arguments are JSON
            values or data models; its result is too, or what its return annotation makes of JSON: data models in
            containers, datetime, bytes, Decimal, Path, set[...], dict[int, ...].
        ignore: Names of arguments that are no part of the request: clients, sessions, keys.
        name: What the log calls it; None for the qualified name of the function, of a partial's function or of an
            object's class.
        paid: Whether a call costs money: in a run that is only in memory this warns once.

    Returns:
        A function of the same kind. It raises what the function raises, after recording the failure.

    Raises:
        InvalidValue: `ignore` names an argument the function does not have, the name is taken, or no log could hold
            what the annotation says it returns.
        SchemaMismatch: At a call: an argument or the result is no JSON value.
    """
    if function is None:
        return functools.partial(_decorated, ignore=tuple(ignore), name=name, paid=paid)
    return _decorated(function, ignore=(), name=name, paid=paid)


def _signature(function: Callable[..., Any], own: str, ignore: tuple[str, ...]) -> inspect.Signature:
    """Return which arguments a function takes; those to be ignored must be among them."""
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise InvalidValue(
            f"cannot make {own} an effect: Python does not say which arguments it takes; wrap it in a function of "
            "your own"
        ) from error
    unknown = [argument for argument in ignore if argument not in signature.parameters]
    if unknown:
        raise InvalidValue(
            f"cannot ignore argument {unknown[0]!r} of {own}: it has {', '.join(signature.parameters) or 'none'}"
        )
    return signature


def _decorated(function: Callable[..., Any], *, ignore: tuple[str, ...], name: str | None, paid: bool) -> Any:
    own = _own_name(function)
    signature = _signature(function, own, ignore)
    kind = name or own
    if kind in MOMENTS:
        raise InvalidValue(
            f"cannot call an effect {kind!r}: the log knows ec.{kind} by that; pass another: @ec.effect(name=...)"
        )
    returned = Returned(function, kind)

    def request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        returned.require()
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return {
            key: as_json(value, f"argument {key!r} of {kind}")
            for key, value in bound.arguments.items()
            if key not in ignore
        }

    if _is_async(function):

        @functools.wraps(function)
        async def asked(*args: Any, **kwargs: Any) -> Any:
            async def call(ticket: Ticket) -> Outcome:
                return Outcome(returned.encode(await function(*args, **kwargs)))

            return returned.decode((await perform(kind, request(args, kwargs), call, paid=paid)).answer)

        return asked

    @functools.wraps(function)
    def asked_now(*args: Any, **kwargs: Any) -> Any:
        def call(ticket: Ticket) -> Outcome:
            return Outcome(returned.encode(function(*args, **kwargs)))

        return returned.decode(perform_now(kind, request(args, kwargs), call, paid=paid).answer)

    return asked_now


def _own_name(function: Any) -> str:
    """What a function is called where no name was given: a partial by its function, an object by its class."""
    if not callable(function):
        raise WrongType(
            f"cannot make an effect of {describe(function)}: pass a function; a name goes to @ec.effect(name=...)"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidValue(
            f"cannot make an effect of {function.__qualname__}: it yields, and one answer is recorded; return a list"
        )
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    found: str = getattr(function, "__qualname__", type(function).__qualname__)
    return found


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__)


def now() -> datetime:
    """Return the time, in UTC, as an effect: recorded, and the same again when the run is replayed."""
    outcome = perform_now("now", {}, lambda ticket: Outcome(datetime.now(UTC).isoformat()))
    return datetime.fromisoformat(outcome.answer)


def uuid() -> str:
    """Return a random UUID as an effect: recorded, and the same again when the run is replayed."""
    answer: str = perform_now("uuid", {}, lambda ticket: Outcome(str(uuid_module.uuid4()))).answer
    return answer


def random(purpose: str) -> Random:
    """Return a generator derived from the run's seed, the purpose, the rollout and how often it was asked for there.

    Nothing is recorded: the same place of the same run gets the same numbers, in every process. The global
    `random` module is not touched.

    Args:
        purpose: What the numbers are for.
    """
    run, rollout = current_run(), scope().rollout or ""
    counter = _draws.setdefault(run, Counter())
    ordinal = counter[(rollout, purpose)]
    counter[(rollout, purpose)] += 1
    begun = (run.opened_at,) if run.opened_at else ()
    return stream(run.seed, purpose, rollout, ordinal, *begun)


async def to_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a plain function in a thread that belongs to this rollout: what it records carries it.

    In a replay the thread runs again, and what it records and when it ends have their turn as they had before. A
    thread or executor of one's own does not know the rollout; its records would be nobody's.

    Args:
        function: What to run. It may read and write variables and perform effects.
        args: Its arguments.
        kwargs: Its arguments.

    Returns:
        What it returns. It raises what the function raises.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return await in_thread(name, functools.partial(function, *args, **kwargs))
