"""A module's run with all that was done in it: it can be done again over its log, and the module made again elsewhere.

What was done is kept as functions of a bench, since the last time the module was made. After a fork it cannot be done
again: the log then begins in another run. The machine of modules stands on this.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from eventcore.errors import Diverged
from eventcore.history.scope import in_run
from eventcore.history.store import open as open_store
from eventcore.models.naming import fresh_names
from eventcore.programs.program import Program
from eventcore.saving.construction import program_from_run
from eventcore.testing.module_replay import length_judged
from eventcore.testing.module_subject import Bench, workbench
from eventcore.testing.own_lines import told_of_divergence


class Life:
    """What was done with one module since it was made.

    Args:
        bench: Where it is.
        make: Makes it again; None where that is not enough to do the same again.

    Attributes:
        bench: Where it is now.
    """

    def __init__(self, bench: Bench, make: Callable[[], Any] | None) -> None:
        self.bench = bench
        self._make = make
        self._names = copy.deepcopy(bench.names)
        self._done: list[Callable[[Bench], Any]] = []

    @property
    def repeatable(self) -> bool:
        """Whether all of it can be done again."""
        return self._make is not None

    def do(self, step: Callable[[Bench], Any]) -> Any:
        """Do something, and keep in mind that it was done."""
        self._done.append(step)
        return step(self.bench)

    def restarted(self, stack: ExitStack) -> Bench:
        """Do all of it again over a copy of the log, with a fresh instance, and stay there.

        Raises:
            AssertionError: It did something else than is recorded, less or more, or ended in another state.
        """
        source = self.bench.run
        head = source.flush()
        digest = source.at(head).digest
        with ExitStack() as new:
            # A run that was started again says so, now or when it goes on; for us that is nothing new.
            new.enter_context(contextlib.redirect_stderr(io.StringIO()))
            store = new.enter_context(open_store("memory:"))
            store.import_run(source)
            try:
                run = new.enter_context(store.run(source.name, resume=True))
                new.enter_context(fresh_names())
                assert self._make is not None
                bench = Bench(store, run, self._make(), copy.deepcopy(self._names))
                for step in self._done:
                    step(bench)
            except Diverged as error:
                raise AssertionError(f"started again, the same steps {told_of_divergence(error)}") from error
            for fine, otherwise in length_judged(run, head):
                assert fine, f"started again, the same steps {otherwise}"
            assert run.state.digest == digest, "started again, the same steps end in another state"
            stack.push(new.pop_all())
        self.bench = bench
        return bench

    def forked(self, stack: ExitStack) -> Life:
        """Make the module from a fork of its run."""
        source = self.bench.run
        source.flush()
        fork = stack.enter_context(source.fork())
        assert fork.state.digest == source.state.digest, "a fork begins with another state"
        program = program_from_run(fork)
        stack.enter_context(in_run(fork))
        return Life(Bench(self.bench.store, fork, program, self.bench.names), None)

    def loaded(self, stack: ExitStack, seed: int, suffix: str) -> Life:
        """Save the module and load it in a run that begins anew."""
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="eventcore-machine-"))
        path = str(Path(folder) / f"saved{suffix}")
        self.bench.module.save(path)
        store, run = stack.enter_context(workbench(seed))
        return Life(Bench(store, run, Program.load(path), self.bench.names), lambda: Program.load(path))
