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
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from eventcore.errors import Diverged, InvalidValue
from eventcore.history import events as e
from eventcore.history.run import Run
from eventcore.history.store import Store
from eventcore.history.store import open as open_store
from eventcore.models.naming import fresh_names
from eventcore.replay.effects import Outcome, Ticket, perform
from eventcore.testing.checks import CheckFailed, Tally
from eventcore.testing.elsewhere import elsewhen, tell_back, told_elsewhere
from eventcore.testing.optimizer_comparing import first_difference, require_same
from eventcore.testing.optimizer_search import Search, lengths, nothing_tried
from eventcore.testing.optimizer_subject import OptimizerSubject, chance, graded

MOST_CUTS = 250
"""Seqs that are tried at most; a longer training is cut at so many of its seqs, and the report says so."""

PARTS = 2
"""Fresh processes that share the seqs."""

RUN = "resumed"


def resumes_at_every_event(subject: OptimizerSubject, tally: Tally) -> None:
    """Do so in fresh processes, where nothing is left of what the optimizer did before, if that can be."""
    lively_one = _lively(subject, tally)
    try:
        given = lively_one.told()
    except InvalidValue as reason:
        tally.note(
            f"tried in this process only, so what it left there before may hide what it leaves: {reason}"
        )
        cut_everywhere(lively_one, tally)
        return
    with ThreadPoolExecutor(PARTS) as pool:
        parts = [{"subject": given, "part": part} for part in range(PARTS)]
        found = list(pool.map(lambda part: told_elsewhere(tell, part, 0), parts))
    for note in dict.fromkeys(note for told in found for note in told["notes"]):
        tally.note(note)
    tally.count(sum(told["exercised"] for told in found))
    wrong = [(told["seq"], told["wrong"]) for told in found if told["wrong"]]
    if wrong:
        tally.fail(min(wrong)[1])


def _lively(subject: OptimizerSubject, tally: Tally) -> OptimizerSubject:
    """Return the subject with trainings long enough that something is proposed in them."""
    for longer, last in lengths(subject):
        with elsewhen(1, 0), _place(longer) as (_, run):
            search, _ = _trained(longer, run)
        if search.new:
            return longer
        if last:
            tally.fail(nothing_tried(search, "there was nothing a resumed training could do otherwise"))
    raise AssertionError("there is a last length")


def tell(given: dict[str, Any]) -> None:
    """Do a part of it in this process and tell what was found; the other side of `resumes_at_every_event`."""
    tally, wrong = Cuts(), ""
    try:
        cut_everywhere(OptimizerSubject.found(given["subject"]), tally, given["part"], PARTS)
    except CheckFailed as error:
        wrong = str(error)
    tell_back({"exercised": tally.exercised, "notes": tally.notes, "wrong": wrong, "seq": tally.seq})


class Cuts(Tally):
    """A tally that knows where the log was cut last.

    Attributes:
        seq: The seq.
    """

    seq = 0


def cut_everywhere(subject: OptimizerSubject, tally: Tally, part: int = 0, parts: int = 1) -> None:
    """Train once, then cut the log at every seq and let the same code go on from there, at another time."""
    with elsewhen(1, 0), _place(subject) as (_, run):
        search, _ = _trained(subject, run)
        with elsewhen(2, 1):
            for seq in _cuts(search, tally)[part::parts]:
                if isinstance(tally, Cuts):
                    tally.seq = seq
                _resume_at(subject, search, seq, tally)


def _cuts(search: Search, tally: Tally) -> list[int]:
    """Seqs to cut at; of a longer training fewer, from the first proposal on."""
    head, times = search.run.head, search.subject.times
    most = max(MOST_CUTS // times, 8)
    if head <= most:
        return list(range(1, head + 1))
    first = 1 if times == 1 or not search.touched else search.touched[0][0]
    there = range(first, head)
    tally.note(f"the training has {head} events, {most} of which were tried, the last among them")
    return [*sorted(Random(search.subject.number).sample(there, min(most - 1, len(there)))), head]


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
    apart = first_difference(whole, search, ("when left alone", "when resumed"))
    tally.require(not apart, f"{left}, the training goes another way: {apart}")
    require_same(whole.values, search.values, left, tally)
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
