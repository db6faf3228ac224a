"""The check that a training may be killed anywhere: at every event of a short one its log is cut, and resumed.

What a second execution of the same code exposes is whatever the first left in the process or on the disk, whatever
is taken from the clock, from global random numbers or from the length of the log, and whatever is done only because
a run is resumed. Nothing is killed here; that is what `tests/crash` is for.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Generator
from random import Random
from typing import Any

from eventcore.errors import Diverged
from eventcore.history import events as e
from eventcore.history.run import Run
from eventcore.history.store import Store
from eventcore.history.store import open as open_store
from eventcore.models.naming import fresh_names
from eventcore.replay.effects import Outcome, Ticket, perform
from eventcore.testing.checks import CheckFailed, Tally
from eventcore.testing.elsewhere import by_name, elsewhen, importable, tell_back, told_elsewhere
from eventcore.testing.optimizer_subject import OptimizerSubject, Search, chance, graded

MOST_CUTS = 250
"""Seqs that are tried at most; a longer training is cut at so many of its seqs, and the report says so."""

RUN = "resumed"


def resumes_at_every_event(subject: OptimizerSubject, tally: Tally) -> None:
    """Do so in a fresh process, where nothing is left of what the optimizer did before, if that can be."""
    where = importable(subject.factory)
    if where is None or not subject.usual:
        tally.note(
            "tried in this process only: no fresh one can make the optimizer and its variables by name, so what it "
            "left in the process before may hide what it leaves there"
        )
        cut_everywhere(subject, tally)
        return
    told = told_elsewhere(tell, {"factory": where, "number": subject.number}, 0)
    for note in told["notes"]:
        tally.note(note)
    tally.count(told["exercised"])
    if told["wrong"]:
        tally.fail(told["wrong"])


def tell(given: dict[str, Any]) -> None:
    """Do it in this process and tell what was found; the other side of `resumes_at_every_event`."""
    tally, wrong = Tally(), ""
    try:
        cut_everywhere(OptimizerSubject(by_name(*given["factory"]), None, given["number"]), tally)
    except CheckFailed as error:
        wrong = str(error)
    tell_back({"exercised": tally.exercised, "notes": tally.notes, "wrong": wrong})


def cut_everywhere(subject: OptimizerSubject, tally: Tally) -> None:
    """Train once, then cut the log at every seq and let the same code go on from there, at another time."""
    with elsewhen(1, 0), _place(subject) as (_, run):
        search, _ = _trained(subject, run)
        with elsewhen(2, 1):
            for seq in _cuts(run.head, subject.number, tally):
                _resume_at(subject, search, seq, tally)


def _cuts(head: int, number: int, tally: Tally) -> list[int]:
    if head <= MOST_CUTS:
        return list(range(1, head + 1))
    tally.note(f"the training has {head} events, {MOST_CUTS} of which were tried, the last among them")
    return [*sorted(Random(number).sample(range(1, head), MOST_CUTS - 1)), head]


@contextlib.contextmanager
def _place(
    subject: OptimizerSubject, source: Run | None = None, seq: int = 0
) -> Generator[tuple[Store, Run]]:
    """A place of its own, with a new run or with one that was cut at a seq."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), open_store("memory:") as store, fresh_names():
        if source is not None:
            store.import_run(source, at=seq)
        # A cut between two reads is a cut between the two acts around them.
        with store.run(RUN, seed=subject.number, resume=source is not None, record_reads=False) as run:
            yield store, run


def _trained(subject: OptimizerSubject, run: Run) -> tuple[Search, list[str]]:
    """Train, and return the keys of the questions that were really asked."""
    asked: list[str] = []

    async def ask(number: int, about: str) -> None:
        async def call(ticket: Ticket) -> Outcome:
            asked.append(ticket.key)
            return Outcome(round(chance(number, about), 6))

        await perform("ask", {"number": number, "about": about}, call)

    search = Search(subject, run, graded, ask=ask)
    search.fit(seen=3, held_out=1, epochs=2, batch_size=2, minibatch_size=1)
    search.look()
    return search, asked


def _resume_at(subject: OptimizerSubject, whole: Search, seq: int, tally: Tally) -> None:
    left = f"resumed from seq {seq} of {whole.run.head}"
    try:
        with _place(subject, whole.run, seq) as (_, run):
            search, asked = _trained(subject, run)
            twice = _answered(whole.run, seq).intersection(asked)
            again = [cause for cause, count in _outcomes(run).items() if count > 1]
    except Diverged as error:
        raise CheckFailed(f"{left}, the same code {error.divergence or error}") from error
    tally.require(not twice, f"{left}, it asks again what was answered: {sorted(twice)[:3]}")
    tally.require(not again, f"{left}, the effects at seqs {again[:3]} have two outcomes")
    for path in {**whole.values, **search.values}:
        tally.require(
            search.values.get(path) == whole.values.get(path),
            f"{left}, the training ends with another value of {path!r}: {search.values.get(path)} and not "
            f"{whole.values.get(path)}",
        )
    tally.require(search.digest == whole.digest, f"{left}, the training ends in another state")


def _answered(run: Run, last: int) -> set[str]:
    """Keys of the effects whose outcome is recorded up to a seq."""
    keys: dict[int, str] = {}
    found: set[str] = set()
    for record in run.events(1, last):
        event = record.event
        if isinstance(event, e.EffectStarted):
            keys[record.seq] = f"{event.rollout or ''}#{event.digest}#{event.ordinal}"
        elif isinstance(event, e.EffectCompleted):
            found.add(keys[event.cause])
    return found


def _outcomes(run: Run) -> Counter[int]:
    """How many outcomes each effect has, by the seq of its request."""
    return Counter(
        record.event.cause
        for record in run.events()
        if isinstance(record.event, (e.EffectCompleted, e.EffectFailed, e.EffectReused))
    )
