"""Examples: what a program is trained on, brought into one form whatever they came in.

Lists, arrays, generators and datasets become batches of `Example`s, for any number of epochs. Shuffling is
derived from the run's seed and the epoch; the global random state is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, cast

import msgspec

from eventcore.errors import InvalidValue, WrongType
from eventcore.history.patches import plain
from eventcore.history.state import digest_of
from eventcore.replay.randomness import stream
from eventcore.replay.rollouts import example_digest


class Example(msgspec.Struct):
    """One example.

    Attributes:
        x: Input of the program: a data model, a dict, or a list or dict of them for several inputs.
        y: Target, None without one.
        digest: Identity of the input.
    """

    x: Any
    y: Any
    digest: str


class Source(Protocol):
    """Where examples come from: batches for any epoch."""

    size: int
    digest: str

    def batches(self, epoch: int, batch_size: int, shuffle_seed: int | None) -> Iterator[list[Example]]:
        """Yield the batches of one epoch; `shuffle_seed` None keeps the order."""
        ...


class Examples:
    """Examples held in memory.

    Attributes:
        size: How many.
        digest: Digest of all inputs, in order.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = list(examples)
        self.size = len(self.examples)
        self.digest = digest_of([example.digest for example in self.examples])[:32]

    def batches(self, epoch: int, batch_size: int, shuffle_seed: int | None) -> Iterator[list[Example]]:
        """Yield the batches of one epoch."""
        order = list(range(self.size))
        if shuffle_seed is not None:
            stream(shuffle_seed, "shuffle", epoch).shuffle(order)
        for start in range(0, self.size, batch_size):
            yield [self.examples[index] for index in order[start : start + batch_size]]

    def first(self, count: int) -> list[Example]:
        """Return up to `count` examples from the beginning."""
        return self.examples[:count]

    def split(self, fraction: float) -> tuple[Examples, Examples]:
        """Hold out the last part: floor(n * (1 - fraction)) examples are kept for training.

        Raises:
            InvalidValue: A side would be empty.
        """
        cut = math.floor(self.size * (1 - fraction) + 1e-9)
        if not 0 < cut < self.size:
            raise InvalidValue(
                f"cannot split {self.size} examples by validation_split={fraction}: one side would be empty; "
                "pass validation_data=, another fraction, or validation_split=0 to select on training rewards"
            )
        return Examples(self.examples[:cut]), Examples(self.examples[cut:])


class Stream:
    """Batches from a generator, a dataset, or a function that makes an iterator.

    A function and a dataset are asked anew each epoch. A generator can be read once: with `steps_per_epoch`
    it goes on where it was; else what it gave in the first epoch is kept for the later ones.
    """

    size = -1
    digest = ""

    def __init__(self, given: Any, steps: int | None) -> None:
        self._given_out = 0
        self._make: Callable[[], Iterable[Any]] | None = cast("Any", given) if callable(given) else None
        self._given: Any = given
        self._steps = steps
        self._iterator: Iterator[Any] | None = None
        self._kept: list[list[Example]] | None = None
        self._ahead: Iterator[list[Example]] | None = None

    def first(self, count: int) -> list[Example]:
        """Return up to `count` examples of the first batch; it is given again when batches are asked for."""
        opened = self._opened()
        batch = next(opened, None)
        self._ahead = opened if batch is None else chain([batch], opened)
        return [] if batch is None else batch[:count]

    def of_use(self) -> str:
        """Say what to pass instead when there are no batches for an epoch."""
        if self._make is not None or iter(self._given) is not self._given:
            return "pass a function or a dataset that gives (x_batch, y_batch) in every epoch"
        if self._steps is None or not self._given_out:
            return "a generator can be read once: pass a fresh one, a function that makes one, or a list"
        return (
            f"the generator ended after {self._given_out} batches, and each epoch goes on where the one before "
            f"stopped, for steps_per_epoch={self._steps} of them; omit steps_per_epoch to train every epoch on all of "
            "them, pass fewer epochs or a smaller steps_per_epoch, or a function that makes a generator"
        )

    def _opened(self) -> Iterator[list[Example]]:
        """Begin to read the source, or go on where `first` stopped."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return ahead
        return self._converted(self._given if self._make is None else self._make())

    def batches(self, epoch: int, batch_size: int, shuffle_seed: int | None) -> Iterator[list[Example]]:
        """Yield the batches of one epoch; the order and the size are the source's."""
        if self._make is not None or iter(self._given) is not self._given:
            yield from self._limited(self._opened())
            return
        if self._steps is not None:
            if self._iterator is None:
                self._iterator = self._opened()
            yield from self._limited(self._iterator)
            return
        if self._kept is None:
            kept: list[list[Example]] = []
            for batch in self._opened():
                kept.append(batch)
                yield batch
            self._kept = kept
        else:
            yield from self._kept

    def _limited(self, batches: Iterable[list[Example]]) -> Iterator[list[Example]]:
        if self._steps is None:
            yield from batches
            return
        iterator = iter(batches)
        for _ in range(self._steps):
            batch = next(iterator, None)
            if batch is None:
                return
            self._given_out += 1
            yield batch

    @staticmethod
    def _converted(batches: Iterable[Any]) -> Iterator[list[Example]]:
        for number, batch in enumerate(batches):
            if isinstance(batch, tuple) and len(batch) == 2:
                yield paired(batch[0], batch[1], f"batch {number}")
            else:
                yield paired(batch, None, f"batch {number}")


def source_of(x: Any, y: Any, steps: int | None = None) -> Examples | Stream:
    """Turn what the user passed into a source.

    Args:
        x: A list, tuple or array of inputs; or a generator, dataset or function giving `(x_batch, y_batch)`.
        y: Targets for a list of inputs, or None.
        steps: Batches of an epoch, for generators; None for all they give.

    Raises:
        InvalidValue: No examples, x and y of different length, or y beside a generator.
        WrongType: Nothing that can be iterated.
    """
    if is_sequence(x):
        return Examples(paired(x, y, "the data"))
    if y is not None:
        raise InvalidValue("cannot use y= beside a generator: it must give (x_batch, y_batch) pairs itself")
    if not callable(x) and not hasattr(x, "__iter__"):
        raise WrongType(
            f"cannot take examples from {type(x).__name__}: pass a list or array of data models or dicts, or a "
            "generator of (x_batch, y_batch)"
        )
    return Stream(x, steps)


def is_sequence(value: Any) -> bool:
    """Whether examples can be counted and taken by index."""
    if isinstance(value, (str, bytes, dict)) or hasattr(value, "get_json"):
        return False
    return isinstance(value, (list, tuple)) or is_array(value)


def is_array(value: Any) -> bool:
    """Whether a value is NumPy's, without importing it."""
    return type(value).__module__.partition(".")[0] == "numpy"


def _json(part: Any) -> Any:
    return plain(part.get_json()) if hasattr(part, "get_json") else part


def paired(x: Any, y: Any, where: str) -> list[Example]:
    """Pair inputs with targets.

    Raises:
        InvalidValue: Empty, or of different length.
    """
    if not is_sequence(x):
        raise WrongType(f"cannot take the inputs of {where} from {type(x).__name__}: pass a list of inputs")
    inputs = _rows(x)
    if not inputs:
        raise InvalidValue(f"cannot use {where}: it holds no examples")
    if y is None:
        targets: list[Any] = [None] * len(inputs)
    else:
        targets = _rows(y)
        if len(targets) != len(inputs):
            raise InvalidValue(
                f"cannot pair {len(inputs)} inputs with {len(targets)} targets in {where}: pass as many of each"
            )
    return [
        Example(value, target, _digest(value, where, i))
        for i, (value, target) in enumerate(zip(inputs, targets, strict=True))
    ]


def _rows(values: Any) -> list[Any]:
    """Return the items of a list or array; a row of a two-dimensional array becomes a list."""
    return [list(item) if is_array(item) and item.ndim else item for item in values]


def _digest(value: Any, where: str, index: int) -> str:
    try:
        if isinstance(value, dict):
            return example_digest({key: _json(part) for key, part in value.items()})
        if isinstance(value, (list, tuple)):
            return example_digest([_json(part) for part in value])
        return example_digest(value)
    except TypeError as error:
        raise WrongType(
            f"cannot use example {index} of {where}: received {type(value).__name__}; "
            "pass a data model or a dict"
        ) from error
