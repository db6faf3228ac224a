"""The mutation score: how many faulty things are caught by the check that should catch them.

python -m tests.mutants.score [--kind module] [--rounds 3] [--whole] [--only NAME] [--first-seed 0]

Every mutant is given to the checks named for it, with a limit of 60 seconds, or with `--whole` to all checks, as a
user would, of which one that is named for it has to fail; every sound thing to all of them, under as many seeds as
asked for. Exits with 1 when the score is below 95 % or a sound thing is refused.
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
    "rewards": ("rewards", "rewards_judging"),
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


def judge(kind: str, mutant: Mutant, run: Run, whole: bool = False) -> Verdict:
    """Give a mutant to the checks named for it, or to all; the seconds are those of the checks that found something."""
    said, caught, seconds = "every check passed", False, 0.0
    try:
        run(mutant.factory, only=None if whole else mutant.caught_by)
    except ChecksFailed as failed:
        found = [each for each in failed.report.outcomes if not each.good]
        meant = [each for each in found if each.check in mutant.caught_by]
        caught = bool(meant)
        said = f"only {found[0].check} failed" if not meant else meant[0].message.split("\n")[0]
        seconds = max(each.seconds for each in meant or found)
    return Verdict(kind, mutant, caught and seconds <= LIMIT, seconds, said)


def score(
    kinds: Sequence[str], show: bool = False, whole: bool = False, only: Sequence[str] = ()
) -> list[Verdict]:
    """Judge all mutants of some kinds, or those with some names."""
    verdicts: list[Verdict] = []
    os.environ.setdefault(CASES, tempfile.mkdtemp(prefix="eventcore-cases-"))
    for kind in kinds:
        found, run = runner(kind)
        for mutant in found.mutants:
            if only and mutant.name not in only:
                continue
            verdict = judge(kind, mutant, run, whole)
            verdicts.append(verdict)
            if show:
                mark = "caught" if verdict.caught else "MISSED"
                print(
                    f"{mark}  {kind:<10} {mutant.name:<28} {verdict.seconds:6.2f} s  {verdict.said[:110]}",
                    flush=True,
                )
    return verdicts


def refused(
    kinds: Sequence[str], rounds: int, show: bool = False, only: Sequence[str] = (), first: int = 0
) -> list[str]:
    """Give every sound thing to all checks, under several seeds from `first` on; returns what was found wrong."""
    wrong: list[str] = []
    for kind in kinds:
        found, run = runner(kind)
        for factory in found.sound:
            if only and factory.__name__ not in only:
                continue
            began, before = time.perf_counter(), len(wrong)
            for seed in range(first, first + rounds):
                try:
                    run(factory, seed=seed)
                except ChecksFailed as failed:
                    wrong.append(f"{kind} {factory.__name__}, seed {seed}: {failed}")
                    if show:
                        print(f"REFUSED {wrong[-1]}", flush=True)
            if show:
                each = (time.perf_counter() - began) / max(1, rounds)
                print(
                    f"sound   {kind:<10} {factory.__name__:<28} {each:6.2f} s each, {rounds} rounds, "
                    f"{len(wrong) - before} refused",
                    flush=True,
                )
    return wrong


def names(kinds: Sequence[str]) -> list[str]:
    """What all mutants and sound things of some kinds are called."""
    found = [runner(kind)[0] for kind in kinds]
    mutants = [mutant.name for kind in found for mutant in kind.mutants]
    return mutants + [factory.__name__ for kind in found for factory in kind.sound]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every verdict and the score."""
    parser = argparse.ArgumentParser(description="The mutation score of the checks.")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    parser.add_argument("--rounds", type=int, default=3, help="seeds sound things must pass under")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of these seeds")
    parser.add_argument("--whole", action="store_true", help="give mutants to all checks")
    parser.add_argument("--only", action="append", default=[], help="only what has this name")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    kinds = options.kind or KINDS
    unknown = [name for name in options.only if name not in names(kinds)]
    if unknown:
        parser.error(f"nothing is called {', '.join(unknown)}; there are {', '.join(names(kinds))}")
    verdicts = score(kinds, True, options.whole, options.only)
    wrong = refused(kinds, options.rounds, True, options.only, options.first_seed)
    caught = sum(verdict.caught for verdict in verdicts)
    slowest = max((verdict.seconds for verdict in verdicts), default=0.0)
    print(
        f"\n{caught} of {len(verdicts)} mutants caught ({100 * caught / max(1, len(verdicts)):.1f} %), "
        f"the slowest in {slowest:.1f} s; {len(wrong)} sound things refused"
    )
    tried = bool(verdicts) or bool(options.only and options.rounds)
    return 0 if tried and not wrong and caught >= WANTED * len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
