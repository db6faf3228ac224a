"""`check_optimizer`: what users of an optimizer rely on, checked in one line.

    ec.testing.check_optimizer(MyOptimizer)

Trainings are real and small; a check compares the log of one with what the law says, or two trainings with each
other. That a training may be killed anywhere is checked in `optimizer_resuming` beside this module.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from eventcore.saving.serialization import deserialize_object, serialize_object
from eventcore.testing.checks import (
    BoundCheck,
    Check,
    DoesNotApply,
    Expected,
    Report,
    Tally,
    bound,
    run_checks,
)
from eventcore.testing.elsewhere import by_name, elsewhen, importable, tell_back, told_elsewhere
from eventcore.testing.module_subject import workbench
from eventcore.testing.optimizer_resuming import resumes_at_every_event
from eventcore.testing.optimizer_subject import Factory, OptimizerSubject, Question, Search, chance, graded
from eventcore.testing.scheduling import run_coroutine

Subject = OptimizerSubject
SLACK = 1e-9


def noisy(number: int, says: Mapping[str, Any]) -> float:
    """A reward of which one question says little."""
    return round(0.35 * chance(says) + 0.65 * chance(number, says), 6)


def _seeds(subject: Subject, count: int) -> Iterator[Subject]:
    """Yield subjects that differ in their seed."""
    for further in range(count):
        yield OptimizerSubject(subject.factory, subject.variables, subject.number + 1000 * further)


def never_worse_than_the_best(subject: Subject, tally: Tally) -> None:
    """Compare what trainings ended with and what they validated."""
    for again in _seeds(subject, 6):
        search = again.search(score=noisy, held_out=8, minibatch_size=1, epochs=5)
        validated = [combination for phase, combination, _ in search.evaluated if phase == "validation"]
        if not validated:
            tally.fail("nothing was validated in three epochs")
        best = max(search.worth(combination, 8) for combination in validated)
        ended = search.worth(search.ended, 8)
        tally.require(
            ended >= best - SLACK,
            f"the training ended with values that score {ended:.4f} on the held-out data; it had validated {best:.4f}",
        )


def joint_choice(subject: Subject, tally: Tally) -> None:
    """See whether what trainings ended with was ever evaluated as it stands."""
    for again in _seeds(subject, 4):
        for held_out in (6, 0):
            search = again.search(held_out=held_out)
            known = {combination.key for _, combination, _ in search.evaluated}
            tally.require(
                search.ended.key in known,
                "the training ended with a combination of values that was never evaluated together",
            )


def population_is_capped(subject: Subject, tally: Tally) -> None:
    """Look at the population at the end of every epoch."""
    search = subject.search(seen=48)
    size = search.optimizer.population_size
    for epoch, values in enumerate(search.epoch_ends):
        for path, value in values.items():
            kept, left = value["best_candidates"], value["candidates"]
            tally.require(
                len(kept) <= size, f"after epoch {epoch} {path!r} keeps {len(kept)} candidates of {size}"
            )
            tally.require(kept, f"after epoch {epoch} {path!r} keeps no candidate at all")
            tally.require(
                not left, f"after epoch {epoch} {path!r} has {len(left)} candidates that nobody chose from"
            )
            several = {json.dumps(_fields(entry), sort_keys=True) for entry in kept}
            tally.require(
                len(several) == len(kept), f"after epoch {epoch} {path!r} keeps equal candidates apart"
            )
            bad = [entry for entry in kept if not math.isfinite(_score(entry))]
            tally.require(
                not bad, f"after epoch {epoch} {path!r} keeps a candidate without a score: {bad[:1]!r}"
            )


def _score(entry: Mapping[str, Any]) -> float:
    found = entry.get("reward_1", entry.get("reward"))
    return float(found) if isinstance(found, (int, float)) else math.nan


def history_only_grows(subject: Subject, tally: Tally) -> None:
    """Compare the history of each epoch's end with the one before."""
    for again in _seeds(subject, 3):
        _judge_history(again.search(epochs=6), tally)


def _judge_history(search: Search, tally: Tally) -> None:
    for path in search.paths:
        histories = [values[path]["history"] for values in search.epoch_ends]
        tally.require(all(histories), f"{path!r} has no history after an epoch")
        for earlier, later in pairwise(histories):
            tally.require(
                [_fields(entry) for entry in later[: len(earlier)]] == [_fields(entry) for entry in earlier],
                f"the history of {path!r} changed what it had said before",
            )
        for one, other in pairwise(histories[-1]):
            tally.require(_fields(one) != _fields(other), f"the history of {path!r} repeats an entry")
        for values in search.epoch_ends:
            last, value = values[path]["history"][-1], values[path]
            same = {key: value[key] for key in _fields(last)}
            tally.require(
                same == _fields(last), f"the last entry of {path!r}'s history is not what was chosen"
            )


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    scores = {"reward", "evaluations", "reward_1", "evaluations_1"}
    return {key: value for key, value in entry.items() if key not in scores}


def counts_its_steps(subject: Subject, tally: Tally) -> None:
    """Count batches and epochs beside it."""
    search = subject.search(seen=20, epochs=2)
    counted = (search.optimizer.iterations, search.optimizer.epochs)
    tally.require(counted == (10, 2), f"after 10 batches in 2 epochs it counts {counted}")


def bad_rewards_never_win(subject: Subject, tally: Tally) -> None:
    """Give some values no finite reward, and make some questions unanswerable."""
    for bad in (math.nan, math.inf, None):
        begun: list[Any] = []

        def score(number: int, says: Any, bad: Any = bad, begun: list[Any] = begun) -> Any:
            if not begun:
                begun.append(json.dumps(says, sort_keys=True))
            fine = json.dumps(says, sort_keys=True) == begun[0] or chance("fine", says) > 0.4
            return graded(number, says) if fine else bad

        search = subject.search(score=score, broken=5, seen=30)
        ended = search.score(1000, _says(search))
        tally.require(
            ended is not None and math.isfinite(ended), f"values whose reward is {bad!r} won the training"
        )
        for path in search.paths:
            for entry in search.values[path]["best_candidates"]:
                tally.require(
                    math.isfinite(_score(entry)), f"a candidate of {path!r} was kept with a score of {bad!r}"
                )


def _says(search: Search) -> dict[str, Any]:
    says: dict[str, Any] = {}
    for path, text in search.ended.items():
        own = json.loads(text)
        says[path.removeprefix("teller/")] = {
            **own,
            "examples": [record["inputs"] for record in own["examples"]],
        }
    return says


def only_trainable_variables_touched(subject: Subject, tally: Tally) -> None:
    """Freeze one variable, train, and see who wrote what."""
    with workbench(subject.number) as (_, run):
        search = Search(subject, run)
        frozen = search.program.get_variable(name=search.paths[0])
        if len(search.paths) > 1:
            frozen.trainable = False
        before = frozen.get_json()
        search.fit(epochs=2)
        search.look()
        own = {variable.path for variable in search.optimizer.variables}
        allowed = {v.path for v in search.program.trainable_variables} | {
            v.path for v in search.optimizer.trainable_variables
        }
        for kind, path in search.touched:
            tally.require(path in allowed, f"{kind} concerns {path!r}, which is not trained")
        if len(search.paths) > 1:
            tally.require(frozen.get_json() == before, f"{frozen.path!r} is frozen, and was changed")
        asked = search.values["teller/asked"]["count"]
        calls = sum(1 for _ in run.events(kind="VariableUpdated", variable="teller/asked"))
        tally.require(asked == calls, f"the program's own counter says {asked} after {calls} calls")
        tally.require(own <= set(search.values), "a variable of the optimizer is not in the log")


def second_fit_continues(subject: Subject, tally: Tally) -> None:
    """Train, train again, and train anew."""
    with workbench(subject.number) as (_, run):
        search = Search(subject, run)
        search.fit(epochs=2)
        search.look()
        first, worth = search.epoch_ends[-1], search.worth(search.ended)
        counted = search.optimizer.epochs
        search.fit(epochs=2)
        search.look()
        tally.require(
            search.optimizer.epochs == counted + 2,
            f"it counted {counted} epochs, and after two more {search.optimizer.epochs}",
        )
        for path in search.paths:
            kept, history = first[path]["best_candidates"], first[path]["history"]
            later = search.values[path]["history"]
            tally.require(
                [_fields(entry) for entry in later[: len(history)]] == [_fields(entry) for entry in history],
                f"a second fit forgot the history of {path!r}",
            )
            begun = _population_at_the_second_begin(search, path)
            tally.require(
                [_fields(entry) for entry in begun] == [_fields(entry) for entry in kept],
                f"a second fit began without the population of {path!r}",
            )
        ended = search.worth(search.ended)
        tally.require(
            ended >= worth - SLACK, f"after a second fit the values score {ended:.4f}, before {worth:.4f}"
        )


def _population_at_the_second_begin(search: Search, path: str) -> list[Any]:
    began = [record.seq for record in search.run.events(kind="TrainBegan")][1]
    first = next(record.seq for record in search.run.events(began, kind="BatchBegan"))
    found: list[Any] = search.run.at(first).variables[path]["best_candidates"]
    return found


def same_seed_same_run(subject: Subject, tally: Tally) -> None:
    """Train twice: the second time later, with other global random numbers."""
    with elsewhen(1, 0):
        first = subject.search()
    with elsewhen(2, 1):
        second = subject.search()
    _compare(
        first.values, second.values, "trained again with other global random numbers at another time", tally
    )
    tally.require(first.ended == second.ended, "the same seed ended with other values")


def _compare(one: Mapping[str, Any], other: Mapping[str, Any], when: str, tally: Tally) -> None:
    for path in {**one, **other}:
        tally.require(one.get(path) == other.get(path), f"{path!r} ends with another value when {when}")


def latency_independence(subject: Subject, tally: Tally) -> None:
    """Train with examples that finish in other orders."""
    first = subject.search()
    for order in (1, 2, 3):
        _compare(first.values, subject.search(order=order).values, "examples finish in another order", tally)


def hash_seed_independence(subject: Subject, tally: Tally) -> None:
    """Train in processes with other hash seeds."""
    where = importable(subject.factory)
    if where is None:
        raise DoesNotApply(
            "the factory cannot be imported by name, so no fresh process can make the optimizer"
        )
    if not subject.usual:
        raise DoesNotApply("variables were passed, which a fresh process does not know")
    first = subject.search()
    for seed in (1, 2, 3):
        told = told_elsewhere(tell, {"factory": where, "number": subject.number}, seed)
        tally.require(told == first.digest, f"the training ends in another state with hash seed {seed}")


def tell(given: dict[str, Any]) -> None:
    """Train in this process and tell the digest; the other side of `hash_seed_independence`."""
    tell_back(OptimizerSubject(by_name(*given["factory"]), None, given["number"]).search().digest)


def cost_is_linear(subject: Subject, tally: Tally) -> None:
    """Train on three times as many examples, and three times again, and see what more it writes."""
    sizes = [subject.search(seen=seen, epochs=1) for seen in (40, 120, 360)]
    for what in ("events", "bytes"):
        small, middle, large = (getattr(search, what) for search in sizes)
        grew, grew_more = middle - small, large - middle
        tally.require(
            grew_more <= 3.4 * max(grew, 1),
            f"40, 120 and 360 examples wrote {small}, {middle} and {large} {what}: more than in proportion",
        )


def config_round_trip(subject: Subject, tally: Tally) -> None:
    """Make it again from its config."""
    with workbench(subject.number):
        made = subject.make()
        config = json.loads(json.dumps(serialize_object(made)))
    with workbench(subject.number):
        again: Any = deserialize_object(config)
        tally.require(type(again) is type(made), f"from_config made a {type(again).__name__}")
        same = json.loads(json.dumps(serialize_object(again)))
        tally.require(same == config, f"the config changed on the way: {config} to {same}")
        for name in ("population_size", "sampling_temperature", "name", "description"):
            mine, theirs = getattr(made, name), getattr(again, name)
            tally.require(mine == theirs, f"{name} was {mine!r} and is {theirs!r} after its config")


def state_survives_saving(subject: Subject, tally: Tally) -> None:
    """Train, save, load, and train on; beside it train on without."""
    with workbench(subject.number) as (_, run):
        search = Search(subject, run)
        search.fit(epochs=2)
        counted = (search.optimizer.iterations, search.optimizer.epochs)
        before = {path: search.program.get_variable(name=path).get_json() for path in search.paths}
        kept = {variable.path: variable.get_json() for variable in search.optimizer.variables}
        with tempfile.TemporaryDirectory(prefix="eventcore-check-") as folder:
            for form in ("program.json", "program.lmdb"):
                path = Path(folder) / form
                search.program.save(str(path))
                with workbench(subject.number):
                    loaded = type(search.program).load(str(path))
                    after = {name: loaded.get_variable(name=name).get_json() for name in before}
                    _compare(before, after, f"loaded from {form}", tally)
                    optimizer: Any = loaded.optimizer
                    tally.require(
                        type(optimizer) is type(search.optimizer), f"{form} holds another optimizer"
                    )
                    run_coroutine(lambda loaded=loaded: _ready(loaded))  # type: ignore[misc]
                    found = (optimizer.iterations, optimizer.epochs)
                    tally.require(
                        found == counted, f"it counted {counted}, and {found} when loaded from {form}"
                    )
                    own = {variable.path: variable.get_json() for variable in optimizer.variables}
                    _compare(kept, own, f"the optimizer is loaded from {form}", tally)


async def _ready(program: Any) -> None:
    with contextlib.suppress(Exception):
        await program(Question(number=0))


OPTIMIZER_CHECKS: tuple[Check[OptimizerSubject], ...] = (
    Check(
        "never_worse_than_the_best",
        "A training ends with values at least as good on the held-out data as any it validated.",
        never_worse_than_the_best,
    ),
    Check(
        "joint_choice",
        "What a training ends with was evaluated as it stands, never put together from parts that did well apart.",
        joint_choice,
    ),
    Check(
        "population_is_capped",
        "After every epoch each variable keeps one to `population_size` candidates, all different, each with a score.",
        population_is_capped,
    ),
    Check(
        "history_only_grows",
        "The history is the sequence of what was chosen, and never takes a word back.",
        history_only_grows,
    ),
    Check(
        "counts_its_steps",
        "It counts its batches and epochs, which seeds and names are made of.",
        counts_its_steps,
    ),
    Check(
        "bad_rewards_never_win",
        "NaN, infinite and missing rewards, and examples that fail, are nobody's zero and nobody's victory.",
        bad_rewards_never_win,
    ),
    Check(
        "only_trainable_variables_touched",
        "It writes the variables it is asked to train; frozen ones and the program's own state stay as they are.",
        only_trainable_variables_touched,
    ),
    Check(
        "second_fit_continues",
        "A second `fit` goes on with the population and the history there are, and loses nothing of what was won.",
        second_fit_continues,
    ),
    Check(
        "same_seed_same_run",
        "The run's seed decides everything: neither the clock nor global random numbers do.",
        same_seed_same_run,
    ),
    Check(
        "latency_independence",
        "Who finishes first decides nothing, so a slow model trains to the same values as a quick one.",
        latency_independence,
    ),
    Check(
        "hash_seed_independence",
        "Nothing depends on `hash()` or the order of a set, so a training can be repeated in another process.",
        hash_seed_independence,
    ),
    Check(
        "resumes_at_every_event",
        "Killed after any event and started again, a training ends as if left alone, and asks nothing twice.",
        resumes_at_every_event,
    ),
    Check(
        "cost_is_linear",
        "What a training writes grows with the number of examples, not with its square.",
        cost_is_linear,
    ),
    Check("config_round_trip", "`get_config` and `from_config` make the same optimizer.", config_round_trip),
    Check(
        "state_survives_saving",
        "What it learned is in variables: a saved program goes on counting and choosing where it stopped.",
        state_survives_saving,
    ),
)
"""Every check of optimizers, in order."""


def check_optimizer(
    factory: Factory,
    expected_failed_checks: Expected = None,
    *,
    variables: Mapping[str, Any] | None = None,
    only: Collection[str] | None = None,
    seed: int = 0,
) -> Report:
    """Check an optimizer.

    Args:
        factory: Makes a fresh one: the class, or a function without arguments.
        expected_failed_checks: Names of checks that are known to fail, best with the reason: `{name: reason}`.
        variables: Trainable data models it can work on, by name; None for two, of texts, a number and a choice.
        only: Run only these checks.
        seed: Seed of the trainings.

    Returns:
        What every check found; printing it gives a table.

    Raises:
        ChecksFailed: Something is wrong (an AssertionError whose message is the report).
        InvalidValue: A check of that name does not exist.
    """
    subject = OptimizerSubject(factory, variables, seed)
    return run_checks(f"optimizer {subject.name}", OPTIMIZER_CHECKS, subject, expected_failed_checks, only)


def optimizer_checks_of(
    factory: Factory,
    expected_failed_checks: Expected = None,
    *,
    variables: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[BoundCheck[OptimizerSubject]]:
    """Return the checks one by one, for `parametrize_with_checks`; arguments as in `check_optimizer`."""
    return bound(OPTIMIZER_CHECKS, OptimizerSubject(factory, variables, seed), expected_failed_checks)
