"""What the checks of backends are about: a factory of URLs or a class, opened here and in other processes.

It decides nothing; what has to hold is said by `backend_checks` and `backend_breakage`.
"""

from __future__ import annotations

import inspect
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventcore.errors import EventcoreError, InvalidValue
from eventcore.history.backend import Backend
from eventcore.history.urls import backend_class, open_backend, split
from eventcore.testing.checks import DoesNotApply
from eventcore.testing.factories import named
from eventcore.testing.whereabouts import whereabouts, why_not

UrlFactory = Any
"""f(place) -> URL, or a backend class with `open(place, **options)`. A place is a path where nothing is yet."""

PATIENCE = 60.0
"""Seconds a process may take."""


class BackendSubject:
    """What the checks of backends are about.

    Args:
        factory: Gives the URL of a store at a place, or is the class of the backend.
        number: Decides what is drawn, and when processes are killed.
    """

    def __init__(self, factory: UrlFactory, number: int = 0) -> None:
        self.factory = factory
        self.number = number
        self.is_class = hasattr(factory, "open")

    @property
    def name(self) -> str:
        """What is checked, in words."""
        return named(self.factory)

    def prepare(self) -> None:
        """Say what every check would stumble over.

        Raises:
            InvalidValue: The factory names no store of a backend that is known here.
        """
        wanted = "pass f(place) -> URL, such as `lambda place: f'sqlite:{place}'`, or the backend's class"
        if not self.is_class and not callable(self.factory):
            raise InvalidValue(f"cannot check {self.factory!r} as a backend: it is no function; {wanted}")
        if self.is_class and not isinstance(self.factory, type):
            raise InvalidValue(
                f"cannot check {self.factory!r}: received a backend that is open, and every check needs a new store; "
                f"{wanted}"
            )
        if not self.is_class and not _takes_a_place(self.factory):
            raise InvalidValue(f"cannot check {self.name} as a backend: it takes no place; {wanted}")
        with folder() as path:
            if self.is_class:
                return
            url, other = (self.factory(str(path / name)) for name in ("store", "other"))
            if not isinstance(url, str):
                raise InvalidValue(f"cannot check {self.name} as a backend: it returned {url!r}; {wanted}")
            scheme, _ = split(url)
            backend_class(scheme)
            if url == other and scheme != "memory":
                raise InvalidValue(
                    f"cannot check {self.name} as a backend: it returned {url!r} for two places, so that all checks "
                    f"would share one store; {wanted}"
                )

    def open(self, place: str, **options: Any) -> Backend:
        """Open the store at a place."""
        if self.is_class:
            backend: Backend = self.factory.open(place, **options)
            return backend
        return open_backend(self.factory(place), **options)

    def opener(self, place: str) -> dict[str, Any]:
        """Return what lets another process open the store at a place.

        Raises:
            DoesNotApply: It cannot be: the store is gone with its process, or its class cannot be imported.
        """
        backend = self.open(place)
        durable = backend.durable
        backend.close()
        if not durable:
            raise DoesNotApply("the backend says that it is not durable")
        return self.opener_of(place)

    def opener_of(self, place: str) -> dict[str, Any]:
        """Return what `opener` does, without making a store there."""
        if not self.is_class:
            return {"url": self.factory(place)}
        where = whereabouts(self.factory)
        if where is None:
            raise DoesNotApply(f"no other process can open the store: {why_not(self.factory)}")
        return {"where": where, "place": place}


def _takes_a_place(factory: Any) -> bool:
    if isinstance(factory, type):
        return False  # without `open` it is no backend
    try:
        inspect.signature(factory).bind("place")
    except TypeError:
        return False
    except ValueError:  # it has no signature
        return True
    return True


@contextmanager
def folder() -> Generator[Path]:
    """A folder that is gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="eventcore-check-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def abilities(subject: BackendSubject) -> tuple[bool, bool]:
    """Find out whether a store opens for reading only, and whether it opens twice."""
    with folder() as path:
        place = str(path / "store")
        first = subject.open(place)
        found: list[bool] = []
        for options in ({"read_only": True}, {}):
            try:
                second = subject.open(place, **options)
            except (EventcoreError, TypeError):
                found.append(False)
                continue
            # What is in memory may be another store each time; what is on disk may not.
            found.append(first.durable or second.log_id == first.log_id)
            second.close()
        first.close()
    return found[0], found[1]
