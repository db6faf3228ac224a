"""Several backends driven as one: whatever is asked of it is asked of all, and all have to answer alike.

What may differ (when a run was made, what a store is called) is made equal before answers are compared. The state
machine of backends holds each against a model; this holds them against each other, errors included.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from eventcore.backends.wrappers import Wrapper
from eventcore.errors import EventcoreError
from eventcore.history.backend import Backend, Block, Problem, RunRow

ASKED = frozenset(Backend.__abstractmethods__) | {"head"}
"""What all are asked, and have to answer alike."""


class Different(AssertionError):
    """Two backends gave different answers."""


class Together:
    """Stands for several backends: a method asks all of them and answers once."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.backends = list(backends)
        self.url = "lockstep:" + ",".join(backend.url for backend in backends)
        self.log_id = self.backends[0].log_id
        self.read_only, self.durable = False, True

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in ASKED:
            raise AttributeError(name)
        return functools.partial(self._all, name)

    def _all(self, name: str, *args: Any, **named: Any) -> Any:
        answers = [_answer(getattr(backend, name), args, named) for backend in self.backends]
        for backend, (answer, _) in zip(self.backends, answers, strict=True):
            if _equal(answer) != _equal(answers[0][0]):
                raise Different(
                    f"{name}{args}: {self.backends[0].url} answers {answers[0][0]!r}, {backend.url} {answer!r}"
                )
        answer, error = answers[0]
        if error is not None:
            raise error
        return answer

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with any."""
        for backend in self.backends:
            yield from backend.problems()

    def facts(self) -> dict[str, object]:
        """Nothing: what they say of themselves may differ."""
        return {}

    def close(self) -> None:
        """Close all."""
        for backend in self.backends:
            backend.close()


class Lockstep(Wrapper):
    """Backends that must not differ."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        together: Any = Together(backends)
        super().__init__(together)

    def blocks(self, run: int, first: int, last: int) -> Iterator[Block]:
        """Yield blocks, all of which were read and compared."""
        return iter(super().blocks(run, first, last))


def _answer(method: Callable[..., Any], args: Any, named: Any) -> tuple[Any, EventcoreError | None]:
    try:
        answer = method(*args, **named)
        return (list(answer) if isinstance(answer, Iterator) else answer), None
    except EventcoreError as error:
        return type(error).__name__, error


def _equal(answer: Any) -> Any:
    if isinstance(answer, RunRow):
        return msgspec.structs.replace(answer, created=0.0)
    if isinstance(answer, list):
        return [_equal(item) for item in answer]
    return answer
