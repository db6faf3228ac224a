"""When did it turn: the first seq from which on a question about the state has the answer it has at the end.

A million events take some twenty states. What the question is, and what runs it, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventcore.errors import InvalidValue, NotFound, StorageError
from eventcore.history.state import State

Predicate = Callable[[State], Any]
"""A question about a state: true or false, or None where it cannot be answered."""


class Turn(int):
    """The seq at which a predicate turned.

    Attributes:
        before: What the predicate said of the state just before it.
        after: What it says from then on.
        tried: Pairs of seq and answer (None where there was none), in the order they were asked.
    """

    before: bool
    after: bool
    tried: tuple[tuple[int, bool | None], ...]

    def __repr__(self) -> str:
        return f"Turn({int(self)}, {self.before} -> {self.after}, {len(self.tried)} states tried)"


class Bisection:
    """One search.

    Args:
        ask: Answers the question as of a seq.
        first: The oldest state that may be asked about.
        last: The newest.
    """

    def __init__(self, ask: Callable[[int], Any], first: int, last: int) -> None:
        self._question = ask
        self._first = first
        self._last = last
        self._answers: dict[int, bool | None] = {}

    def run(self) -> Turn:
        """Search, in at most ceil(log2 n) + 1 states of n when all of them can be answered.

        Raises:
            NotFound: The predicate never turns, or where it does cannot be told.
            InvalidValue: It raised, or there is only one state.
        """
        if self._first >= self._last:
            raise InvalidValue(
                f"cannot bisect between seq {self._first} and {self._last}: there is no event between them"
            )
        end = self._ask(self._last)
        if end is None:
            raise NotFound(f"cannot bisect: the state at seq {self._last}, the last, could not be judged")
        low, high = self._first, self._last
        looks = (high - low).bit_length()  # ceil(log2 n)
        while low < high:
            middle = self._judged(low, high, self._look(low, high, looks))
            looks -= 1
            if middle is None:
                raise NotFound(
                    f"cannot tell where the predicate turns: somewhere from seq {low} to {high}, and the states "
                    "before the last of these could not be judged"
                )
            low, high = (low, middle) if self._answers[middle] == end else (middle + 1, high)
        if low == self._first:
            raise NotFound(
                f"the predicate never turns: it is {end} at seq {self._first} and at seq {self._last}; "
                "search elsewhere with start= and stop="
            )
        found = Turn(low)
        found.before, found.after, found.tried = not end, end, tuple(self._answers.items())
        return found

    def _look(self, low: int, high: int, looks: int) -> int:
        """Return the seq to ask about next, with so many looks left.

        While it may be that the predicate never turns, the oldest state is come to as early as the looks that are
        left allow: who asked something that never turns learns it soon, and nobody pays more states for it.
        """
        if low > self._first or looks < 1:
            return (low + high) // 2
        return high - min(high - low, 1 << (looks - 1))

    def _judged(self, low: int, high: int, middle: int) -> int | None:
        """Return a seq before `high` with an answer, nearest to a wanted one; None if there is none."""
        for distance in range(max(high - middle, middle - low + 1)):
            for seq in dict.fromkeys((middle + distance, middle - distance)):
                if low <= seq < high and self._ask(seq) is not None:
                    return seq
        return None

    def _ask(self, seq: int) -> bool | None:
        if seq not in self._answers:
            try:
                answer = self._question(seq)
            except StorageError:
                raise
            except Exception as error:
                raise _refused(seq, error) from error
            self._answers[seq] = None if answer is None else bool(answer)
        return self._answers[seq]


def _refused(seq: int, error: Exception) -> InvalidValue:
    return InvalidValue(
        f"cannot bisect: the predicate raised {type(error).__name__} ({error}) for the state at seq {seq}; let it "
        "return None where it cannot answer, or pass start= a seq from which on it can"
    )
