"""How well the optimizers search, counted: nothing here depends on the machine.

A classifier that learns from its own right answers (`eventcore.examples.intents`): accuracy on 120 texts it never
saw, trained minus untrained, for each of ten seeds. Few-shot sets of which 16 of 30 are right: how many seeds end
with a right one. Two variables that are only good together: how many of the trainings that evaluated the right
pair end with it. Sixteen candidates judged by noisy samples of four: how many seeds end with the best.
`OMEGA`: embedding requests for at least forty candidates.

Defends: a lift of 0.10 in the worst seed; 10 of 10; all; 18 of 20; 40 requests.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import eventcore as ec
from benchmarks.figure import Figure
from eventcore.examples import intents
from tests.optimizers import spaces


def learned(directory: Path, seeds: int) -> tuple[float, list[float]]:
    """Return the accuracy untrained, and trained for each seed; every training on LMDB."""
    before, after = 0.0, list[float]()
    for seed in range(seeds):
        ec.clear_session(free_memory=False)
        with ec.open(str(directory / f"intents-{seed}.lmdb")) as store, store.run("intents", seed=seed):
            found = ec.wait(intents.train(verbose=0))
            before = found.before
            after.append(found.after)
    return before, after


def counted(what: str, reached: int, of: int, bound: int) -> Figure:
    """Return the figure of so many out of so many."""
    return Figure(
        what=what, measured=f"{reached} of {of}", value=reached, bound=bound, at_least=True, unit=f"of {of}"
    )


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    before, after = learned(directory, 2 if quick else 10)
    spread = " ".join(f"{score:.3f}" for score in after)
    yield Figure(
        what="`RandomFewShot` on docstrings, held-out accuracy: mean lift "
        f"{statistics.fmean(after) - before:.3f}, the worst seed is judged",
        measured=f"{statistics.fmean(after):.3f} ({spread})",
        baseline=f"untrained {before:.3f}",
        value=min(after) - before,
        bound=0.10,
        at_least=True,
        unit="more",
    )
    scores = spaces.few_shot_ends(2 if quick else 10)
    yield counted(
        "few-shot sets, 16 of 30 right: seeds that end with a right one", scores.count(1.0), len(scores), 10
    )
    ends = spaces.pair_ends(5 if quick else 20)
    met = [score for was_met, _, score in ends if was_met]
    yield counted(
        "a pair only good together: trainings that met it and end with it", met.count(1.0), len(met), len(met)
    )
    chosen = spaces.noisy_ends(2 if quick else 20)
    yield counted("the best of 16 under noise, 12 epochs", chosen.count(spaces.BEST), len(chosen), 18)
    candidates, requests, _ = spaces.embedding_requests()
    yield Figure(
        what=f"`OMEGA`, {candidates} candidates: embedding requests",
        measured=str(requests), value=requests, bound=40, at_least=False, unit="requests",
    )  # fmt: skip
