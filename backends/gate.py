"""A gate many threads pass at once, and one thread can have to itself.

For handles that C code must not use while they are replaced or closed. Passing costs two set
operations and no lock, since every transaction pays it; having the gate alone is rare and waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager


class Gate:
    """Counts who is inside by tokens in a set.

    Adding to and discarding from a set cannot be torn by Ctrl-C, and discarding twice is harmless;
    a counter would be left too high, and nobody could ever be alone again.
    """

    def __init__(self) -> None:
        self._inside: set[object] = set()
        self._shut = False
        self._turnstile = threading.RLock()

    def enter(self, token: object) -> None:
        """Go inside under a token of one's own, waiting while somebody is alone there.

        Call it within the `try` whose `finally` calls `leave`.
        """
        while True:
            self._inside.add(token)
            if not self._shut:
                return
            self._inside.discard(token)
            with self._turnstile:
                pass

    def leave(self, token: object) -> None:
        """Go outside; harmless if one is."""
        self._inside.discard(token)

    @contextmanager
    def alone(self) -> Generator[None]:
        """Wait until everybody is outside and hold others out. Not to be nested, nor used from inside."""
        with self._turnstile:
            try:
                self._shut = True
                while self._inside:
                    time.sleep(0.0002)
                yield
            finally:
                self._shut = False

    @contextmanager
    def hush(self) -> Generator[None]:
        """From inside, hold newcomers out for a moment, while those inside finish what they do.

        If somebody already waits to be alone, newcomers are held out as it is.
        """
        mine = False
        try:
            mine = self._turnstile.acquire(blocking=False)
            if mine:
                self._shut = True
            yield
        finally:
            if mine:
                self._shut = False
                self._turnstile.release()
