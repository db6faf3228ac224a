"""One handle per file and process: shared by all who open the file, unusable in a child made by `fork()`.

LMDB and SQLite both hold locks that belong to the pair of process and file, so a second open in
one process, or through a symbolic link, silently breaks the first. Files are told apart by device
and inode, never by path.
"""

from __future__ import annotations

import ctypes
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from eventcore.errors import StoreClosed

FileKey = tuple[int, int]


class Shared(ABC):
    """What a registry shares.

    Attributes:
        openers: How many have it open.
        forked: True in a child process that inherited it.
    """

    openers: int = 0
    forked: bool = False

    @abstractmethod
    def close(self) -> None:
        """Release files and locks; called when the last opener has left."""

    @abstractmethod
    def handles(self) -> list[object]:
        """Return the objects of the engine that a child of `fork()` must not even destroy."""

    @abstractmethod
    def let_go(self) -> None:
        """In a child of `fork()`: close what would hold a lock of the parent's beyond its life."""

    @abstractmethod
    def name(self) -> str:
        """Return how the file is called in messages."""

    def inherited(self) -> StoreClosed:
        """Build the refusal of what the parent process had open at `fork()`."""
        return StoreClosed(
            f"cannot use {self.name()} in process {os.getpid()}: its parent had it open at fork(), and to use it here "
            "would damage the parent's; open it only after fork(), or start processes with the method 'spawn'"
        )


S = TypeVar("S", bound=Shared)


def file_key(path: Path) -> FileKey | None:
    """Return what identifies a file whatever path leads to it, or None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


_disown: list[Callable[[], None]] = []


class Registry(Generic[S]):
    """What this process has open, by file."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[FileKey, S] = {}
        self._inherited: dict[FileKey, S] = {}
        _disown.append(self._disown)

    def acquire(
        self,
        file: Path,
        *,
        reuse: Callable[[S], None],
        create: Callable[[], S],
    ) -> S:
        """Return what the process shares of `file`.

        Args:
            file: The file that identifies it.
            reuse: Called with what is open already, before it is shared once more; may refuse.
            create: Opens it. Called only while the file is not open in this process.

        Raises:
            StoreClosed: The parent process had the file open at `fork()`.
        """
        with self._lock:
            key = file_key(file)
            shared = self._open.get(key) if key is not None else None
            if shared is not None:
                reuse(shared)
                shared.openers += 1
                return shared
            if key is not None and key in self._inherited:
                raise self._inherited[key].inherited()
            shared = create()
            shared.openers = 1
            key = file_key(file)
            if key is not None:
                self._open[key] = shared
            return shared

    def release(self, shared: S, before_close: Callable[[], None] | None = None) -> None:
        """Give back one share; the last one closes it, after `before_close`."""
        with self._lock:
            shared.openers -= 1
            if shared.openers > 0 or shared.forked:
                return
            try:
                if before_close is not None:
                    before_close()
            finally:
                self._open = {key: held for key, held in self._open.items() if held is not shared}
                shared.close()

    def _disown(self) -> None:
        """In a child of `fork()`: mark all that was open as the parent's."""
        self._lock = threading.RLock()
        for key, shared in self._open.items():
            shared.forked = True
            shared.let_go()
            self._inherited[key] = shared
            for handle in shared.handles():
                # Destroying it, even at the end of the process, would free what the parent holds in
                # shared tables (LMDB's reader slots) or locks. One reference too many keeps it for ever.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))
        self._open = {}


def _after_fork_in_child() -> None:
    for disown in _disown:
        disown()


os.register_at_fork(after_in_child=_after_fork_in_child)
