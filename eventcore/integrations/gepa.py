"""GEPA, unmodified, in a run: kill it, start the same script again, and it ends as if nothing had happened.

    import eventcore as ec
    from eventcore.integrations.gepa import optimize          # instead of: from gepa import optimize

    with ec.open("runs.lmdb") as store, store.run("prompts", seed=7, resume=True):
        result = optimize(
            seed_candidate={"instructions": "Answer the question."},
            trainset=train, valset=validation,
            task_lm="openai/gpt-5-mini", reflection_lm="openai/gpt-5", max_metric_calls=150,
        )
    print(result.best_candidate)

`optimize` takes what `gepa.optimize` takes and returns what it returns. What it does besides:

- Calls of the task model, the reflection model, the evaluator and the adapter are effects: durable before they
  leave, their answers durable before GEPA goes on. When the script is run again, GEPA itself is run again, and
  these answers are given to it in the place of calls; it goes on for real where the log ends.
- The candidates are events of a trainable variable: each one that is proposed, rejected ones too, with its
  parents; each one that is accepted, with its score; the best so far is what the variable holds.
- An iteration is an epoch of the run, and a call is made for the candidate it is about:
  `run.cost(by="epoch")` and `run.cost(by="candidate")` tell what each has cost.
- What would come out differently in another process is pinned down: GEPA's seed comes from the run's, and
  its sets of names, whose order depends on PYTHONHASHSEED, are gone through in sorted order (when candidates are
  merged, GEPA draws a random number per component in that order). GEPA as it is installed is not touched.
- `run_dir`, GEPA's own checkpoint, is refused: it holds no random state, and what is resumed from it ends
  elsewhere.

A larger `max_metric_calls`, or another stop condition, is no other script: the run goes on where it was stopped.
A stop condition that looks at a clock should look at `ec.now()`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from eventcore.errors import InvalidValue, Unavailable
from eventcore.integrations.attribution import attributed
from eventcore.integrations.gepa_calls import (
    RECORDS,
    RecordedAdapter,
    RecordedModel,
    default_adapter,
    recorded_proposer,
)
from eventcore.integrations.gepa_candidates import Recorder
from eventcore.integrations.halting import arriving
from eventcore.integrations.sorted_sets import SortedSet
from eventcore.replay.user_effects import random

if TYPE_CHECKING:
    from gepa.core.result import GEPAResult

__all__ = ["optimize"]


def optimize(
    seed_candidate: dict[str, str],
    trainset: Any,
    valset: Any = None,
    adapter: Any = None,
    task_lm: Any = None,
    evaluator: Callable[..., Any] | None = None,
    reflection_lm: Any = None,
    reflection_lm_kwargs: dict[str, Any] | None = None,
    *,
    seed: int | None = None,
    callbacks: Sequence[Any] | None = None,
    custom_candidate_proposer: Callable[..., Any] | None = None,
    record: str = "batches",
    workers: int = 10,
    name: str = "candidate",
    **options: Any,
) -> GEPAResult[Any, Any]:
    """Carry out `gepa.optimize` in the current run.

    Args:
        seed_candidate: As in GEPA, like every argument not named here.
        trainset: See GEPA.
        valset: See GEPA.
        adapter: See GEPA. Each of its evaluations is one effect: its outputs and trajectories are JSON values.
        task_lm: See GEPA: a model's name, or a function of the messages. Each call is one effect.
        evaluator: See GEPA. Each call is one effect.
        reflection_lm: See GEPA. Each call is one effect.
        reflection_lm_kwargs: See GEPA.
        seed: Seed of GEPA's random numbers; None to derive it from the run's seed.
        callbacks: See GEPA. They are called when the script is run again, too.
        custom_candidate_proposer: See GEPA. Each call is one effect.
        record: "batches": an evaluation by `adapter` is one effect. "examples": one per example, one after
            the other, so that a killed process loses less. "calls": neither evaluations nor models are
            effects, because the calls in them are made through effects already.
        workers: How many calls of a model that is given by its name are under way at once.
        name: Name of the variable whose values the candidates are.
        options: What else `gepa.optimize` takes.

    Returns:
        GEPA's own result.

    Raises:
        Unavailable: GEPA is not installed.
        InvalidValue: `run_dir` was given, or `record` is none of the three.
        SchemaMismatch: An example, an output or a trajectory is no JSON value.
        BudgetExceeded: The run's budget is spent; resume it with a larger one.
        Diverged: The script is run again and does something else than before.
    """
    _check(record, options)
    api = _gepa()
    recorder = Recorder(dict(seed_candidate), name)
    models = record != "calls"
    if adapter is None and task_lm is not None:
        adapter, evaluator, task_lm = default_adapter(task_lm, evaluator, models, workers), None, None
        record = "calls"
    wrapped = None if adapter is None else RecordedAdapter(adapter, record, recorder.evaluating)
    if reflection_lm is not None and models:
        reflection_lm = RecordedModel(
            "gepa.reflection_lm", reflection_lm, workers=workers, **(reflection_lm_kwargs or {})
        )
        reflection_lm_kwargs = None
    if custom_candidate_proposer is not None and models:
        custom_candidate_proposer = recorded_proposer(custom_candidate_proposer)
    with arriving(), attributed(recorder.variable):
        result: GEPAResult[Any, Any] = api.optimize(
            seed_candidate, trainset, valset, wrapped, task_lm, evaluator, reflection_lm, reflection_lm_kwargs,
            seed=random("gepa").getrandbits(32) if seed is None else seed,
            callbacks=[recorder, *(callbacks or ())],
            custom_candidate_proposer=custom_candidate_proposer,
            **options,
        )  # fmt: skip
    return result


def _check(record: str, options: dict[str, Any]) -> None:
    if record not in RECORDS:
        raise InvalidValue(f"cannot record {record!r} of GEPA: pass one of {', '.join(map(repr, RECORDS))}")
    if options.get("run_dir") is not None:
        raise InvalidValue(
            f"cannot let GEPA keep its own checkpoint in {options['run_dir']!r}: it would go on from there, and not "
            "from the log; leave run_dir out: the run is the checkpoint"
        )


@cache
def _gepa() -> ModuleType:
    """Load GEPA's front door once more, over a merge step whose sets are gone through in sorted order.

    Both are instances of GEPA's modules as they are installed; the ones everybody else imports stay as they are.
    """
    try:
        merge = _instance("gepa.proposer.merge", set=SortedSet)
        api = _instance("gepa.api")
    except ImportError as error:
        raise Unavailable(
            f"cannot use GEPA: {error}; install it with: pip install 'eventcore[gepa]'"
        ) from error
    vars(api)["MergeProposer"] = merge.MergeProposer
    return api


def _instance(module: str, **names: Any) -> ModuleType:
    """Load a module again, for us alone, with some of the names it finds."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no module {module!r}")
    loaded = importlib.util.module_from_spec(spec)
    vars(loaded).update(names)
    spec.loader.exec_module(loaded)
    return loaded
