"""The checks of how an optimizer goes about a training: what it counts, what it writes, and how it goes on."""

from __future__ import annotations

from typing import Any

from eventcore.testing.checks import Tally
from eventcore.testing.module_subject import workbench
from eventcore.testing.optimizer_populations import fields_of
from eventcore.testing.optimizer_search import Search, lengths, lively, nothing_tried, search, shown
from eventcore.testing.optimizer_subject import ASKED, OptimizerSubject

SLACK = 1e-9


def counts_its_steps(subject: OptimizerSubject, tally: Tally) -> None:
    """Count batches and epochs beside it."""
    found = search(subject, seen=20, epochs=2)
    counted, there = (
        (found.optimizer.iterations, found.optimizer.epochs),
        (
            found.batches,
            len(found.epoch_ends),
        ),
    )
    if counted != there:
        tally.fail(
            f"after {there[0]} batches in {there[1]} epochs it counts {counted[0]} iterations and {counted[1]} epochs"
        )
    tally.count(sum(there))


def only_trainable_variables_touched(subject: OptimizerSubject, tally: Tally) -> None:
    """Freeze one variable, train, and see who wrote what."""
    for longer, last in lengths(subject):
        with workbench(longer.number) as (_, run):
            found = Search(longer, run)
            frozen = found.program.get_variable(name=found.paths[0])
            if len(found.paths) > 1:
                frozen.trainable = False
            before = frozen.get_json()
            found.fit(epochs=2)
            found.look()
            _judge_writes(found, tally)
            if len(found.paths) > 1:
                after = frozen.get_json()
                changed = [key for key in before if before[key] != after[key]]
                tally.require(not changed, f"{frozen.path!r} is frozen, and its {changed[:3]} were changed")
        if found.new:
            break
        if last:
            tally.fail(nothing_tried(found, "it could not touch what it should not"))
    if len(subject.variables) == 1:
        tally.note("no variable was frozen, as there is one only")


def _judge_writes(found: Search, tally: Tally) -> None:
    own = {variable.path for variable in found.optimizer.variables}
    allowed = {variable.path for variable in found.program.trainable_variables}
    allowed |= {variable.path for variable in found.optimizer.trainable_variables}
    for seq, kind, path in found.touched:
        tally.require(path in allowed, f"{kind} at seq {seq} concerns {path!r}, which is not trained")
    asked = found.values[f"teller/{ASKED}"]["count"]
    calls = sum(1 for _ in found.run.events(kind="VariableUpdated", variable=f"teller/{ASKED}"))
    tally.require(asked == calls, f"the program's own counter says {asked} after {calls} calls")
    lost = sorted(own - set(found.values))
    tally.require(not lost, f"the optimizer's variables {lost} are not in the log")


def second_fit_continues(subject: OptimizerSubject, tally: Tally) -> None:
    """Train, train again, and train anew."""
    for longer, last in lengths(subject):
        with workbench(longer.number) as (_, run):
            found = Search(longer, run)
            found.fit(epochs=2)
            found.look()
            if found.new:
                _judge_second_fit(found, tally)
                return
            if last:
                tally.fail(nothing_tried(found, "there was nothing a second fit could lose"))


def _judge_second_fit(found: Search, tally: Tally) -> None:
    first, worth = found.epoch_ends[-1], found.worth(found.ended)
    counted, epochs = found.optimizer.epochs, len(found.epoch_ends)
    found.fit(epochs=2)
    found.look()
    tally.require(
        found.optimizer.epochs == counted + epochs,
        f"it counted {counted} epochs, and after {epochs} more {found.optimizer.epochs}",
    )
    for path in found.paths:
        kept, history = first[path]["best_candidates"], first[path]["history"]
        later = found.values[path]["history"]
        tally.require(
            [fields_of(entry) for entry in later[: len(history)]] == [fields_of(entry) for entry in history],
            f"a second fit forgot the history of {path!r}: {shown(later[: len(history)])}, not {shown(history)}",
        )
        begun = _population_at_the_second_begin(found, path)
        tally.require(
            [fields_of(entry) for entry in begun] == [fields_of(entry) for entry in kept],
            f"a second fit began without the population of {path!r}: {len(begun)} candidates, not {len(kept)}",
        )
    ended = found.worth(found.ended)
    tally.require(
        ended >= worth - SLACK,
        f"after a second fit the values score {ended:.4f}, before {worth:.4f}: {found.ended}",
    )


def _population_at_the_second_begin(found: Search, path: str) -> list[Any]:
    began = [record.seq for record in found.run.events(kind="TrainBegan")][1]
    first = next(record.seq for record in found.run.events(began, kind="BatchBegan"))
    population: list[Any] = found.run.at(first).variables[path]["best_candidates"]
    return population


def cost_is_linear(subject: OptimizerSubject, tally: Tally) -> None:
    """Train on three times as many examples, and three times again, and see what more it writes."""
    large = lively(subject, tally, "it had nothing to write", seen=360, epochs=1)
    sizes = [*(search(large.subject, seen=seen, epochs=1) for seen in (40, 120)), large]
    for what in ("events", "bytes"):
        wrote = [getattr(found, what) for found in sizes]
        grew, grew_more = wrote[1] - wrote[0], wrote[2] - wrote[1]
        tally.require(
            grew_more <= 3.4 * max(grew, 1),
            f"40, 120 and 360 examples wrote {wrote[0]}, {wrote[1]} and {wrote[2]} {what}: more than in proportion",
        )
