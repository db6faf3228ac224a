"""The functions by which a script looks at the clock or takes random numbers, replaced by ones of a made-up world.

What stands in for a function asks the world whether a line of the user's calls it, and else does what the real one
does. A replaced function stays replaced: the process is one that the determinism doctor started.
"""

from __future__ import annotations

import copyreg
import datetime
import importlib.abc
import importlib.machinery
import os
import random
import sys
import time
import types
import uuid
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventcore.replay.worlds import Entered

_UP = ("monotonic", "perf_counter", "process_time", "thread_time")


class StandIn:
    """Stands in a module for one of its functions.

    It is no function itself: those become methods of a class that holds them, built-in ones do not.

    Args:
        entered: The world to ask.
        source: What the function takes something of, "" if that is not to be noted.
        module: Where it is; the stand-in takes its place there.
        name: Its name.
        instead: What is called in its place for the user's lines, None for the real one.
        asks: Whether a call with these arguments takes something of the world.
    """

    def __init__(
        self,
        entered: Entered,
        source: str,
        module: ModuleType,
        name: str,
        instead: Callable[..., Any] | None = None,
        asks: Callable[..., bool] | None = None,
    ) -> None:
        self._entered = entered
        self._source = source
        self._what = f"{module.__name__}.{name}()"
        self._real: Callable[..., Any] = getattr(module, name)
        self._instead = instead or self._real
        self._asks = asks
        self.__module__, self.__name__, self.__qualname__ = module.__name__, name, name
        self.__doc__, self.__wrapped__ = self._real.__doc__, self._real
        setattr(module, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the function does, in this world or in the real one."""
        asks = self._asks is None or self._asks(*args, **kwargs)
        if asks and self._entered.is_users(self._source, self._what):
            return self._instead(*args, **kwargs)
        return self._real(*args, **kwargs)

    def __reduce__(self) -> str:
        return self.__name__


# --- the clock -------------------------------------------------------------------------------------


def change_clock(entered: Entered) -> None:
    """Have the user's lines see the clock of a world, whatever function they look at it by."""
    seconds, up, real_localtime, real_gmtime = (
        entered.seconds,
        entered.seconds_up,
        time.localtime,
        time.gmtime,
    )
    real_ctime, real_asctime, real_strftime, real_sleep = time.ctime, time.asctime, time.strftime, time.sleep

    def put(name: str, instead: Callable[..., Any], asks: Callable[..., bool] | None = None) -> None:
        StandIn(entered, "clock", time, name, instead, asks)

    def without_seconds(given: float | None = None) -> bool:
        return given is None

    def sleep(length: float, /) -> None:
        real_sleep(length)
        entered.pass_time(length)

    put("time", seconds)
    put("time_ns", lambda: int(seconds() * 1e9))
    for name in _UP:
        put(name, up)
        put(f"{name}_ns", lambda: int(up() * 1e9))
    put("localtime", lambda given=None: real_localtime(seconds()), without_seconds)
    put("gmtime", lambda given=None: real_gmtime(seconds()), without_seconds)
    put("ctime", lambda given=None: real_ctime(seconds()), without_seconds)
    put("asctime", lambda: real_asctime(real_localtime(seconds())), lambda *given: not given)
    put(
        "strftime",
        lambda form: real_strftime(form, real_localtime(seconds())),
        lambda *given: len(given) == 1,
    )
    if hasattr(time, "clock_gettime"):
        put("clock_gettime", lambda clock: seconds() if clock == time.CLOCK_REALTIME else up())
        put(
            "clock_gettime_ns", lambda clock: int((seconds() if clock == time.CLOCK_REALTIME else up()) * 1e9)
        )
    StandIn(entered, "", time, "sleep", sleep)
    _change_dates(entered)


_REAL: dict[str, type[Any]] = {"datetime": datetime.datetime, "date": datetime.date}


def real_value(name: str, *state: Any) -> Any:
    """Return a date or a time as it was before it was pickled."""
    return _REAL[name](*state)


def _change_dates(entered: Entered) -> None:
    """Replace the two classes. Their values stay real ones: libraries want the exact type."""
    for new, name in zip(_dates_of(entered), ("date", "datetime"), strict=True):
        _replaced[new] = _REAL[name]
        new.__name__ = new.__qualname__ = name
        new.__module__ = "datetime"
        copyreg.pickle(_REAL[name], lambda value, name=name: (real_value, (name, *value.__reduce__()[1])))  # type: ignore[misc]
        setattr(datetime, name, new)


_replaced: dict[type, type[Any]] = {}


class Replaced(type):
    """A class that stands for a real one: what is asked of it is asked of that."""

    def __instancecheck__(cls, instance: object) -> bool:
        real = _replaced.get(cls)
        return super().__instancecheck__(instance) if real is None else isinstance(instance, real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        real = _replaced.get(cls)
        return super().__subclasscheck__(subclass) if real is None else issubclass(subclass, real)


def _dates_of(entered: Entered) -> tuple[type[Any], type[Any]]:
    """Make the dates and times of a world."""
    real_time, real_date = datetime.datetime, datetime.date

    class Date(datetime.date, metaclass=Replaced):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real_date.__new__(_replaced.get(cls, cls), *args, **kwargs)

        @classmethod
        def today(cls) -> Any:
            users = entered.is_users("clock", "date.today()")
            return super().fromtimestamp(entered.seconds()) if users else super().today()

    class Time(datetime.datetime, metaclass=Replaced):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return real_time.__new__(_replaced.get(cls, cls), *args, **kwargs)

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            users = entered.is_users("clock", "datetime.now()")
            return super().fromtimestamp(entered.seconds(), tz) if users else super().now(tz)

        @classmethod
        def utcnow(cls) -> Any:
            users = entered.is_users("clock", "datetime.utcnow()")
            now = (
                super().fromtimestamp(entered.seconds(), datetime.UTC) if users else super().now(datetime.UTC)
            )
            return now.replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            users = entered.is_users("clock", "datetime.today()")
            return super().fromtimestamp(entered.seconds()) if users else super().now()

    return Date, Time


# --- random numbers and identifiers ----------------------------------------------------------------


def change_random(entered: Entered) -> None:
    """Seed what has no seed by the world, and note who takes of it."""
    drawn = entered.drawn
    random.seed(entered.world.random)
    _change_seeding(entered)
    for name in random.__all__:
        value = getattr(random, name)
        if isinstance(value, types.MethodType | types.BuiltinMethodType) and not name.endswith(
            ("seed", "state")
        ):
            StandIn(entered, "random", random, name, asks=lambda *_, **__: "random" not in entered.seeded)
    StandIn(entered, "random", os, "urandom", drawn.randbytes)
    _change_system_random(entered)
    entered_numpy = sys.modules.get("numpy.random")
    if entered_numpy is not None:
        _change_numpy(entered, entered_numpy)
    else:
        sys.meta_path.insert(0, _WhenImported("numpy.random", lambda module: _change_numpy(entered, module)))


def _change_seeding(entered: Entered) -> None:
    real_seed, shared = random.Random.seed, random.random.__self__  # type: ignore[attr-defined]

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        what = "random.seed()" if self is shared else "random.Random() without a seed"
        if a is None and entered.is_users("random", what):
            a = entered.drawn.getrandbits(64)
        elif a is not None and self is shared:
            entered.seeded.add("random")
        real_seed(self, a, version)

    random.Random.seed = seed  # type: ignore[method-assign]
    random.seed = shared.seed


def _change_system_random(entered: Entered) -> None:
    system, drawn = random.SystemRandom, entered.drawn

    def changed(name: str) -> Callable[..., Any]:
        real, made_up = getattr(system, name), getattr(drawn, name)

        def called(self: random.SystemRandom, *args: Any) -> Any:
            users = entered.is_users("random", f"random.SystemRandom().{name}()")
            return made_up(*args) if users else real(self, *args)

        called.__name__ = called.__qualname__ = name
        return called

    for name in ("random", "getrandbits", "randbytes"):
        setattr(system, name, changed(name))
    import secrets

    secrets.randbits = secrets.SystemRandom().getrandbits


class _WhenImported(importlib.abc.MetaPathFinder):
    """Does something to a module as soon as it is imported, if it ever is.

    Args:
        name: The module.
        then: What to do.
    """

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Have the module's own loader tell when it is done."""
        if fullname != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            real = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                real(module)
                self._then(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _change_numpy(entered: Entered, module: Any) -> None:
    def not_seeded(*_: Any, **__: Any) -> bool:
        return "numpy" not in entered.seeded

    def default_rng(seed: Any = None) -> Any:
        return real_default(entered.drawn.getrandbits(64))

    def reseed(seed: Any = None) -> None:
        real_seed(entered.drawn.getrandbits(32))

    def without_seed(seed: Any = None) -> bool:
        if seed is not None:
            entered.seeded.add("numpy")
        return seed is None

    real_default, real_seed = module.default_rng, module.seed
    real_seed(entered.world.random)
    shared = module.rand.__self__
    for name in module.__all__:
        if getattr(getattr(module, name), "__self__", None) is shared and not name.endswith("_state"):
            StandIn(entered, "random", module, name, asks=not_seeded)
    StandIn(entered, "random", module, "default_rng", default_rng, lambda seed=None: seed is None)
    module.seed = real_seed
    StandIn(entered, "random", module, "seed", reseed, without_seed)


def change_identifiers(entered: Entered) -> None:
    """Have the user's lines get identifiers of the world."""
    drawn = random.Random(entered.world.uuid)
    for version in (1, 4, 6, 7):
        if hasattr(uuid, f"uuid{version}"):
            StandIn(
                entered, "uuid", uuid, f"uuid{version}",
                lambda *_, version=version, **__: uuid.UUID(int=drawn.getrandbits(128), version=version),
            )  # fmt: skip
