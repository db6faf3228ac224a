"""A world: the clock, the random numbers and the identifiers that a script gets without asking through effects.

The determinism doctor runs a script in one world and replays it in another. What the script takes from the world
directly, and lets into its events, differs then. Only the user's own lines get the made-up values, outside
effects: libraries, and what an effect does, see the real ones. Which line took what is noted.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import CodeType, FrameType
from typing import Any

import msgspec

from eventcore.history.scope import scope
from eventcore.history.sources import user_frame
from eventcore.replay.libraries import is_librarys
from eventcore.replay.surroundings import change_clock, change_identifiers, change_random

SOURCES = ("clock", "random", "uuid", "hash", "threads")
"""What a world decides, in the order in which they are told."""

_SECRETS = os.path.join(os.path.dirname(random.Random.seed.__code__.co_filename), "secrets.py")
_PASSING_ON = frozenset({random.Random.seed.__code__.co_filename, _SECRETS})
_ASYNCIO = os.path.join(os.path.dirname(_SECRETS), "asyncio", "")
_POOLS = ThreadPoolExecutor.submit.__code__.co_filename


class World(msgspec.Struct, frozen=True):
    """One world.

    Attributes:
        clock: Seconds since 1970 at which its clock starts.
        tick: Seconds by which the clock goes on when it is looked at, the second time twice as many, and so on.
        random: Seed of the random numbers that have none: the global ones, the system's, a generator's.
        uuid: Seed of identifiers.
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
    # A Saturday morning in the other half of a later year; where the first is a Tuesday evening.
    "clock": {"clock": 1_749_285_699.0, "tick": 0.5},
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
        world: The world.
        taken: What the user's lines took of it.
        drawn: The random numbers of what has no seed.
        seeded: Modules whose shared random numbers the script has given a seed.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.taken: Taken = {}
        self.drawn = random.Random(world.random)
        self.seeded: set[str] = set()
        self._looks = 0
        self._passed = 0.0
        sys.setswitchinterval(world.threads)
        change_clock(self)
        change_random(self)
        change_identifiers(self)
        self._note_threads()

    # --- the clock ---------------------------------------------------------------------------------

    def seconds(self) -> float:
        """Look at the clock: seconds since 1970.

        It goes on faster and faster, so that what waits by looking at it comes to an end.
        """
        self._looks += 1
        self._passed += self._looks * self.world.tick
        return self.world.clock + self._passed

    def seconds_up(self) -> float:
        """Look at the clock: seconds since some time; few, so that real timers set by it do not wait long."""
        return self.seconds() - self.world.clock + self.world.clock % 100

    def pass_time(self, length: float) -> None:
        """Let the clock go on: the script has slept."""
        self._passed += length

    # --- who asks ----------------------------------------------------------------------------------

    def is_users(self, source: str, what: str) -> bool:
        """Whether the caller of a replaced function is a line of the user's, outside effects; note it then.

        Args:
            source: What is taken, "" to note nothing.
            what: The function, as it is told.
        """
        frame = sys._getframe(2)
        depth = 2
        while _only_passes_on(frame) and frame.f_back is not None:
            if frame.f_code.co_filename == _SECRETS:
                what = f"secrets.{frame.f_code.co_name}()"
            elif what.startswith("random.SystemRandom()") and not frame.f_code.co_name.startswith("_"):
                what = f"random.SystemRandom().{frame.f_code.co_name}()"
            frame = frame.f_back
            depth += 1
        if _is_library(frame) or user_frame(depth) is not frame or scope().effect is not None:
            return False
        if source and not _is_numpys(what, frame):
            self._note(source, what, frame.f_code, frame.f_lineno)
        return True

    def _note(self, source: str, what: str, code: CodeType, number: int) -> None:
        line = f"{what} at {code.co_filename}:{number} in {code.co_qualname}"
        lines = self.taken.setdefault(source, [])
        if line not in lines:
            lines.append(line)

    # --- threads -----------------------------------------------------------------------------------

    def _note_threads(self) -> None:
        """Threads cannot be made to differ for certain, but where they come from can be told."""
        real_start, real_submit = threading.Thread.start, ThreadPoolExecutor.submit

        def start(thread: threading.Thread) -> None:
            if sys._getframe(1).f_code.co_filename != _POOLS and not thread.name.startswith("eventcore-"):
                self._note_thread(getattr(thread, "_target", None) or thread.run)
            real_start(thread)

        def submit(pool: ThreadPoolExecutor, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            self._note_thread(_run_by(function, args))
            return real_submit(pool, function, *args, **kwargs)

        threading.Thread.start = start  # type: ignore[method-assign, assignment]
        ThreadPoolExecutor.submit = submit  # type: ignore[method-assign, assignment]

    def _note_thread(self, function: Any) -> None:
        """Note the user's line that has a function run in a thread; if an event loop does it, the function's line."""
        if scope().effect is not None:
            return
        frame: FrameType | None = sys._getframe(2)
        depth, starter = 2, None
        while frame is not None and _is_library(frame):
            if frame.f_code.co_name == "run_forever":
                frame = None
                break
            starter = starter or frame
            depth, frame = depth + 1, frame.f_back
        if frame is not None and user_frame(depth) is not frame:
            return  # this package's own: it knows the order
        code = getattr(inspect.unwrap(function), "__code__", None)
        if frame is not None:
            self._note("threads", "a thread started", frame.f_code, frame.f_lineno)
        elif code is not None and not code.co_filename.startswith(_ASYNCIO):
            self._note("threads", f"{code.co_name}() run in a thread", code, code.co_firstlineno)
        elif code is None and starter is not None:
            self._note("threads", "a thread started", starter.f_code, starter.f_lineno)


def _is_library(frame: FrameType) -> bool:
    return is_librarys(frame.f_code.co_filename)


def _only_passes_on(frame: FrameType) -> bool:
    """Whether a frame only does for its caller what that asked for: `random.randint`, or making a dataclass."""
    code = frame.f_code
    return code.co_filename in _PASSING_ON or (code.co_filename == "<string>" and code.co_name == "__init__")


def _is_numpys(what: str, frame: FrameType) -> bool:
    """Whether the bits are for a generator of numpy, which takes some even if it has a seed."""
    names = frame.f_code.co_names
    return what.endswith("getrandbits()") and "getrandbits" not in names and "randbits" not in names


def _run_by(function: Any, args: tuple[Any, ...]) -> Any:
    """Return what is really run: `asyncio.to_thread` hands over the `run` of a context."""
    while isinstance(function, functools.partial):
        function, args = function.func, (*function.args, *args)
    if isinstance(getattr(function, "__self__", None), contextvars.Context) and args:
        return _run_by(args[0], args[1:])
    return function
