"""A world: the clock, the random numbers and the identifiers that a script gets without asking through effects.

The determinism doctor runs a script in one world and replays it in another. What the script takes from the world
directly, and lets into its events, differs then. Only the user's own lines get the made-up values, outside
effects: libraries, and what an effect does, see the real ones. Which line took what is noted.
"""

from __future__ import annotations

import datetime
import os
import random
import sys
import sysconfig
import threading
import time
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec

from eventcore.history.scope import scope
from eventcore.history.sources import user_frame

SOURCES = ("clock", "random", "uuid", "hash", "threads")
"""What a world decides, in the order in which they are told."""

_LIBRARIES = tuple(
    {os.path.join(os.path.realpath(place), "") for place in sysconfig.get_paths().values()}
    | {os.path.join(place, "") for place in sysconfig.get_paths().values()}
)


class World(msgspec.Struct, frozen=True):
    """One world.

    Attributes:
        clock: Seconds since 1970 at which its clock starts.
        tick: Seconds by which the clock goes on each time it is looked at.
        random: Seed of the global random numbers.
        uuid: Seed of identifiers and of the system's random bytes.
        hash: `PYTHONHASHSEED`.
        threads: Seconds between two switches of threads.
    """

    clock: float = 1_700_000_000.0
    tick: float = 0.001
    random: int = 1
    uuid: int = 1
    hash: int = 0
    threads: float = 0.005

    def with_another(self, *sources: str) -> World:
        """Return this world with some of its sources changed."""
        changed: dict[str, Any] = {}
        for source in sources:
            changed |= _ANOTHER[source]
        return msgspec.structs.replace(self, **changed)


_ANOTHER: dict[str, dict[str, Any]] = {
    "clock": {"clock": 1_734_567_890.0, "tick": 0.017},
    "random": {"random": 2},
    "uuid": {"uuid": 2},
    "hash": {"hash": 4242},
    "threads": {"threads": 1e-6},
}

Taken = dict[str, list[str]]
"""Source -> the user's lines that took something of it."""


class Entered:
    """A world this process is in.

    Args:
        world: The world.

    Attributes:
        taken: What the user's lines took of it.
    """

    def __init__(self, world: World) -> None:
        self.taken: Taken = {}
        self._world = world
        self._looks = 0
        self._identifiers = random.Random(world.uuid)
        self._real_time, self._real_ns = time.time, time.time_ns
        self._real_urandom, self._real_datetime = os.urandom, datetime.datetime
        sys.setswitchinterval(world.threads)
        random.seed(world.random)
        self._change_clock()
        self._change_random()
        self._change_identifiers()
        self._note_threads()

    def _is_users(self, source: str, what: str) -> bool:
        """Whether the caller of a changed function is a line of the user's, outside effects; note it then."""
        frame: FrameType | None = sys._getframe(2)
        if frame is None or frame.f_code.co_filename.startswith((*_LIBRARIES, "<frozen")):
            return False
        users = user_frame(2)
        if users is not frame or scope().effect is not None:
            return False
        self._note(source, what, frame)
        return True

    def _note(self, source: str, what: str, frame: FrameType) -> None:
        line = f"{what} at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        lines = self.taken.setdefault(source, [])
        if line not in lines:
            lines.append(line)

    def _seconds(self) -> float:
        self._looks += 1
        return self._world.clock + self._looks * self._world.tick

    # --- the clock ---------------------------------------------------------------------------------

    def _change_clock(self) -> None:
        entered = self

        def now() -> float:
            return entered._seconds() if entered._is_users("clock", "time.time()") else entered._real_time()

        def now_ns() -> int:
            if entered._is_users("clock", "time.time_ns()"):
                return int(entered._seconds() * 1e9)
            return entered._real_ns()

        time.time, time.time_ns = now, now_ns
        self._change_datetime()

    def _change_datetime(self) -> None:
        entered, real = self, self._real_datetime

        class Kind(type):
            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, real)

            def __subclasscheck__(cls, subclass: type) -> bool:
                return issubclass(subclass, real)

        class Changed(datetime.datetime, metaclass=Kind):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                if entered._is_users("clock", "datetime.now()"):
                    return real.fromtimestamp(entered._seconds(), tz)
                return real.now(tz)

            @classmethod
            def utcnow(cls) -> Any:
                if entered._is_users("clock", "datetime.utcnow()"):
                    return real.fromtimestamp(entered._seconds(), datetime.UTC).replace(tzinfo=None)
                return real.now(datetime.UTC).replace(tzinfo=None)

            @classmethod
            def today(cls) -> Any:
                if entered._is_users("clock", "datetime.today()"):
                    return real.fromtimestamp(entered._seconds())
                return real.now()

        Changed.__name__ = Changed.__qualname__ = "datetime"
        datetime.datetime = Changed  # type: ignore[misc]

    # --- random numbers and identifiers -----------------------------------------------------------

    def _change_random(self) -> None:
        for name in (
            "random",
            "randint",
            "randrange",
            "choice",
            "choices",
            "shuffle",
            "sample",
            "uniform",
            "gauss",
        ):
            setattr(random, name, self._noted("random", f"random.{name}()", getattr(random, name)))

    def _noted(self, source: str, what: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            self._is_users(source, what)
            return real(*args, **kwargs)

        return noted

    def _change_identifiers(self) -> None:
        real_uuid4, real_uuid1, real_urandom = uuid.uuid4, uuid.uuid1, self._real_urandom

        def uuid4() -> uuid.UUID:
            if self._is_users("uuid", "uuid.uuid4()"):
                return uuid.UUID(int=self._identifiers.getrandbits(128), version=4)
            return real_uuid4()

        def uuid1(*args: Any, **kwargs: Any) -> uuid.UUID:
            if self._is_users("uuid", "uuid.uuid1()"):
                return uuid.UUID(int=self._identifiers.getrandbits(128), version=1)
            return real_uuid1(*args, **kwargs)

        def urandom(size: int, /) -> bytes:
            if self._is_users("uuid", "os.urandom()"):
                return self._identifiers.randbytes(size)
            return real_urandom(size)

        uuid.uuid4, uuid.uuid1, os.urandom = uuid4, uuid1, urandom

    def _note_threads(self) -> None:
        """Threads cannot be made to differ for certain, but where they come from can be told."""
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            frame = user_frame(1)
            if frame is not None and not thread.name.startswith("eventcore-") and scope().effect is None:
                self._note("threads", "a thread started", frame)
            real(thread)

        threading.Thread.start = start  # type: ignore[method-assign, assignment]
