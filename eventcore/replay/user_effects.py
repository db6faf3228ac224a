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
import typing
import uuid as uuid_module
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from random import Random
from typing import Any, ParamSpec, TypeVar, overload
from weakref import WeakKeyDictionary

import msgspec

from eventcore.errors import InvalidValue, WrongType
from eventcore.history.costs import MOMENTS
from eventcore.history.run import Run
from eventcore.history.scope import current_run, scope
from eventcore.history.values import canonical
from eventcore.models.conversion import is_data_model, json_of
from eventcore.replay.effects import Outcome, Ticket, perform, perform_now
from eventcore.replay.moments import in_thread
from eventcore.replay.moments import sleep as sleep
from eventcore.replay.moments import timeout as timeout
from eventcore.replay.randomness import stream

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
        function: A plain or async function whose arguments and result are JSON values or data models.
        ignore: Names of arguments that are no part of the request: clients, sessions, keys.
        name: What the log calls it; None for the function's qualified name.
        paid: Whether a call costs money: in a run that is only in memory this warns once.

    Returns:
        A function of the same kind. It raises what the function raises, after recording the failure.

    Raises:
        InvalidValue: `ignore` names an argument the function does not have, or the name is taken.
        SchemaMismatch: At a call: an argument or the result is no JSON value.
    """
    if function is None:
        return functools.partial(_decorated, ignore=tuple(ignore), name=name, paid=paid)
    return _decorated(function, ignore=(), name=name, paid=paid)


def _decorated(function: Callable[..., Any], *, ignore: tuple[str, ...], name: str | None, paid: bool) -> Any:
    signature = inspect.signature(function)
    unknown = [argument for argument in ignore if argument not in signature.parameters]
    if unknown:
        raise InvalidValue(
            f"cannot ignore argument {unknown[0]!r} of {function.__qualname__}: it has "
            f"{', '.join(signature.parameters) or 'none'}"
        )
    kind = name or function.__qualname__
    if kind in MOMENTS:
        raise InvalidValue(
            f"cannot call an effect {kind!r}: the log knows ec.{kind} by that; pass another: @ec.effect(name=...)"
        )
    decode = _decoder(function)

    def request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return {
            key: _as_json(value, f"argument {key!r} of {kind}")
            for key, value in bound.arguments.items()
            if key not in ignore
        }

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def asked(*args: Any, **kwargs: Any) -> Any:
            async def call(ticket: Ticket) -> Outcome:
                return Outcome(_as_json(await function(*args, **kwargs), f"the result of {kind}"))

            return decode((await perform(kind, request(args, kwargs), call, paid=paid)).answer)

        return asked

    @functools.wraps(function)
    def asked_now(*args: Any, **kwargs: Any) -> Any:
        def call(ticket: Ticket) -> Outcome:
            return Outcome(_as_json(function(*args, **kwargs), f"the result of {kind}"))

        return decode(perform_now(kind, request(args, kwargs), call, paid=paid).answer)

    return asked_now


def _as_json(value: Any, where: str) -> Any:
    if is_data_model(value) and not isinstance(value, type):
        return json_of(value, where)
    return canonical(value, where)


def _decoder(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return what turns a recorded answer into what the annotation promises; without one it stays JSON."""

    @functools.cache
    def wanted() -> Any:
        try:
            return typing.get_type_hints(function).get("return", Any)
        except NameError:
            # An annotation that cannot be resolved promises nothing that could be kept.
            return Any

    def decode(answer: Any) -> Any:
        kind = wanted()
        if kind in (Any, None, type(None)) or answer is None:
            return answer
        if isinstance(kind, type) and hasattr(kind, "from_config") and hasattr(kind, "get_schema"):
            return kind.from_config(answer)
        try:
            return msgspec.convert(answer, kind)
        except (TypeError, msgspec.ValidationError) as error:
            raise WrongType(
                f"cannot give what {function.__qualname__} returned as {kind}: {error}; annotate what it returns"
            ) from error

    return decode


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
