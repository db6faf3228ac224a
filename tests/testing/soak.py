"""Random steps on all backends at once: `python -m tests.testing.soak --steps 1000000`.

Every step is carried out by memory, LMDB and SQLite in lockstep, and by the model of plain dicts; the first difference
ends it with the shortest program that shows it. Nothing is killed here: that is `make crash`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from eventcore.backends.lmdb import LmdbBackend
from eventcore.backends.memory import MemoryBackend
from eventcore.backends.sqlite import SqliteBackend
from eventcore.history.backend import Backend
from eventcore.testing.backend_machine import BackendMachine
from eventcore.testing.profiles import ANY_HEALTH
from tests.testing.lockstep import Lockstep

STEPS = 50
"""Steps of one history."""


class LockstepMachine(BackendMachine):
    """The machine, on all three backends."""

    alone = "one of the stores is in memory"
    steps: ClassVar[int] = 0
    held: MemoryBackend | None = None

    def open(self, place: str) -> Backend:
        """Open all three; what is in memory is held open beside, so that it outlives a reopening too."""
        self.held = self.held or MemoryBackend.open(place)
        lmdb, sqlite = LmdbBackend.open(place + ".lmdb"), SqliteBackend.open(place + ".db")
        return Lockstep([MemoryBackend.open(place), lmdb, sqlite])

    def teardown(self) -> None:
        """Let go of what was held."""
        super().teardown()
        if self.held is not None:
            self.held.close()

    def check_invariants(self, settings: Any, output: Any, runtimes: Any) -> None:
        """Count a step: hypothesis asks for what always holds after each."""
        LockstepMachine.steps += 1
        super().check_invariants(settings, output, runtimes)


def soak(steps: int, first: int = 0, show: bool = False) -> tuple[int, float]:
    """Take at least so many steps; returns how many, and the seconds.

    Args:
        steps: How many.
        first: First seed.
        show: Print how far it is.
    """
    memory = Path("/dev/shm")
    # The disk's own slowness is no part of what is compared.
    tempfile.tempdir = str(memory) if memory.is_dir() else None
    LockstepMachine.steps, number, began = 0, first, time.perf_counter()
    while LockstepMachine.steps < steps:
        run_state_machine_as_test(
            seed(number)(LockstepMachine),
            settings=settings(
                max_examples=100,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=ANY_HEALTH,
            ),
        )
        number += 1
        if show:
            seconds = time.perf_counter() - began
            rate = LockstepMachine.steps / seconds
            print(
                f"{LockstepMachine.steps} steps, 0 differences, {seconds:.0f} s, {rate:.0f} a second",
                flush=True,
            )
    return LockstepMachine.steps, time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak and say what was found; a difference is raised with the program that shows it."""
    parser = argparse.ArgumentParser(description="Random steps on all backends at once.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    steps, seconds = soak(options.steps, options.seed, show=True)
    print(f"{steps} steps on memory, LMDB and SQLite: 0 differences, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
