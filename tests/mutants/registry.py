"""What a mutant is: something faulty that somebody could really write, and the check that has to notice it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Mutant:
    """One faulty thing: the factory that makes it, and the names of the checks any of which has to fail."""

    name: str
    factory: Callable[..., Any]
    caught_by: tuple[str, ...]
    why: str


@dataclass
class Kind:
    """Mutants of one kind, and sound things of the same kind that must pass every check."""

    name: str
    mutants: list[Mutant] = field(default_factory=list)
    sound: list[Callable[..., Any]] = field(default_factory=list)

    def mutant(self, *caught_by: str) -> Callable[[T], T]:
        """Note a faulty factory; its docstring says what is wrong with it."""

        def note(factory: T) -> T:
            made: Any = factory
            self.mutants.append(Mutant(made.__name__, made, caught_by, (made.__doc__ or "").split("\n")[0]))
            return factory

        return note

    def good(self, factory: T) -> T:
        """Note a sound factory."""
        made: Any = factory
        self.sound.append(made)
        return factory
