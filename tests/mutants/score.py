"""The mutation score: how many faulty things are caught by the check that should catch them.

python -m tests.mutants.score [--kind module] [--rounds 3]

Every mutant is given to the checks named for it, with a limit of 60 seconds; every sound thing to all of them, under
as many seeds as asked for. Exits with 1 when the score is below 95 % or a sound thing is refused.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eventcore.testing.cases import CASES
from eventcore.testing.checks import ChecksFailed, Report
from tests.mutants.registry import Kind, Mutant

LIMIT = 60.0
WANTED = 0.95
FILES = {
    "modules": ("modules", "modules_used_again", "modules_replayed"),
    "optimizers": ("optimizers", "optimizers_resumed"),
    "rewards": ("rewards",),
    "backends": ("backends", "backends_broken"),
}
"""Where the mutants of each kind stand."""
KINDS = tuple(FILES)

Run = Callable[..., Report]


@dataclass
class Verdict:
    """What became of one mutant."""

    kind: str
    mutant: Mutant
    caught: bool
    seconds: float
    said: str


def runner(kind: str) -> tuple[Kind, Run]:
    """The mutants of a kind, and what checks one."""
    modules = [importlib.import_module(f"tests.mutants.{name}") for name in FILES[kind]]
    return modules[0].KIND, checks_of(kind)


def checks_of(kind: str) -> Run:
    """What checks one thing of a kind: f(factory, only, seed) -> report, failed or not."""
    if kind == "modules":
        from eventcore.testing import check_module
        from tests.mutants.sound_modules import Name

        return lambda factory, only=None, seed=0: check_module(factory, Name, only=only, seed=seed)
    if kind == "optimizers":
        from eventcore.testing import check_optimizer

        return lambda factory, only=None, seed=0: check_optimizer(factory, only=only, seed=seed)
    if kind == "rewards":
        from eventcore.testing import check_reward
        from tests.mutants.rewards import Answer

        return lambda factory, only=None, seed=0: check_reward(factory, Answer, only=only, seed=seed)
    if kind == "backends":
        from eventcore.testing import check_backend

        return lambda factory, only=None, seed=0: check_backend(factory, only=only, seed=seed)
    raise SystemExit(f"no such kind: {kind}; there are {', '.join(KINDS)}")


def judge(kind: str, mutant: Mutant, run: Run) -> Verdict:
    """Give a mutant to the checks named for it."""
    began = time.perf_counter()
    said = "every check passed"
    try:
        run(mutant.factory, only=mutant.caught_by)
        caught = False
    except ChecksFailed as failed:
        caught = True
        said = next(o.message.split("\n")[0] for o in failed.report.outcomes if not o.good)
    seconds = time.perf_counter() - began
    return Verdict(kind, mutant, caught and seconds <= LIMIT, seconds, said)


def score(kinds: Sequence[str], show: bool = False) -> list[Verdict]:
    """Judge all mutants of some kinds."""
    verdicts: list[Verdict] = []
    os.environ.setdefault(CASES, tempfile.mkdtemp(prefix="eventcore-cases-"))
    for kind in kinds:
        found, run = runner(kind)
        for mutant in found.mutants:
            verdict = judge(kind, mutant, run)
            verdicts.append(verdict)
            if show:
                mark = "caught" if verdict.caught else "MISSED"
                print(
                    f"{mark}  {kind:<10} {mutant.name:<28} {verdict.seconds:6.2f} s  {verdict.said[:110]}",
                    flush=True,
                )
    return verdicts


def refused(kinds: Sequence[str], rounds: int, show: bool = False) -> list[str]:
    """Give every sound thing to all checks, under several seeds; returns what was found wrong."""
    wrong: list[str] = []
    for kind in kinds:
        found, run = runner(kind)
        for factory in found.sound:
            began = time.perf_counter()
            for seed in range(rounds):
                try:
                    run(factory, seed=seed)
                except ChecksFailed as failed:
                    wrong.append(f"{kind} {factory.__name__}, seed {seed}: {failed}")
            if show:
                each = (time.perf_counter() - began) / max(1, rounds)
                print(
                    f"sound   {kind:<10} {factory.__name__:<28} {each:6.2f} s each, {rounds} rounds",
                    flush=True,
                )
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every verdict and the score."""
    parser = argparse.ArgumentParser(description="The mutation score of the checks.")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    parser.add_argument("--rounds", type=int, default=3, help="seeds under which sound things must pass")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    kinds = options.kind or KINDS
    verdicts = score(kinds, show=True)
    wrong = refused(kinds, options.rounds, show=True)
    caught = sum(verdict.caught for verdict in verdicts)
    slowest = max((verdict.seconds for verdict in verdicts), default=0.0)
    print(
        f"\n{caught} of {len(verdicts)} mutants caught ({100 * caught / max(1, len(verdicts)):.1f} %), "
        f"the slowest in {slowest:.1f} s; {len(wrong)} sound things refused"
    )
    for line in wrong:
        print(line)
    return 0 if verdicts and not wrong and caught >= WANTED * len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
