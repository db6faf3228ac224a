"""The checks of a module in training: rewards reach their own records, and an optimizer changes what it may.

The module is trained for real, by `fit`, with rewards that say which example they belong to and tasks held up in
ways another number makes different.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from eventcore.errors import EventcoreError
from eventcore.history import events as e
from eventcore.history.population import BOOKKEEPING
from eventcore.models.data_model import DataModel
from eventcore.optimizers.optimizer import Optimizer
from eventcore.replay.rollouts import example_digest
from eventcore.testing.checks import Check, DoesNotApply, Tally
from eventcore.testing.module_inputs import example_json, shown
from eventcore.testing.module_records import contradictions, inputs_told
from eventcore.testing.module_subject import Bench, ModuleSubject, program_around, read_fields
from eventcore.testing.scheduling import run_coroutine

ORDERS = 3
"""Orders of completion that are tried."""


class Place(DataModel):
    """The target of an example: which one it is."""

    place: int


class Bystander(Optimizer):
    """Proposes nothing, and keeps what the variables held after each batch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.seen: list[dict[str, Any]] = []

    async def on_batch_end(self, step: int, epoch: int, trainable_variables: Sequence[Any]) -> None:
        """Look."""
        self.seen.append({variable.path: variable.get_json() for variable in trainable_variables})
        self.increment_iterations()


class Scrambler(Optimizer):
    """Proposes anything the schema of a variable allows."""

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Sequence[Any],
        x: Any,
        y: Any,
        y_pred: Any,
        training: bool = True,
    ) -> None:
        """Write drawn values into every own field of every variable."""
        for variable in trainable_variables:
            fields = drawn_fields(variable, step)
            if fields:
                self.propose(variable, fields, strategy="drawn")


def drawn_fields(variable: Any, number: int) -> dict[str, Any]:
    """Draw a value for each of a variable's own fields, the simplest for 0, and examples from its records."""
    schema = variable.get_schema()
    properties = {key: part for key, part in schema["properties"].items() if key not in BOOKKEEPING}
    from eventcore.testing.schema_strategies import draw, json_values  # not needed by every process

    own = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    if "$defs" in schema:
        own["$defs"] = schema["$defs"]
    fields: dict[str, Any] = dict(draw(json_values(own), 4, number)[-1 if number else 0])
    records = [dict(record) for record in variable.get_json()["predictions"][:2]]
    if records:
        fields["examples"] = records
    return fields


async def place_reward(y_true: Any, y_pred: Any) -> float:
    """A reward that says whose it is."""
    return reward_of(y_true.get("place"))


def reward_of(place: int) -> float:
    """The reward of the example at a place: nobody else's."""
    return (place + 1) / 1024


def trained(
    bench: Bench, examples: Sequence[Any], optimizer: Optimizer, order: int | None, **options: Any
) -> Any:
    """Train the module of a bench on examples, each rewarded by its place; returns the program."""

    async def work() -> Any:
        program = await program_around(bench.module, examples[0])
        program.compile(reward=place_reward, optimizer=optimizer)
        targets = [Place(place=place) for place in range(len(examples))]
        settings: dict[str, Any] = {
            "batch_size": 4,
            "validation_split": 0.0,
            "shuffle": True,
            "verbose": 0,
            **options,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            await program.fit(list(examples), targets, **settings)
        return program

    return run_coroutine(work, order)


def rewards_reach_their_records(subject: ModuleSubject, tally: Tally) -> None:
    """Train with rewards that name their example, in several orders of completion."""
    for order in range(ORDERS):
        with subject.bench(built=True) as bench:
            paths = [variable.path for variable in bench.trainable()]
            examples = subject.examples()
            bench.watch()
            watcher = Bystander(name="bystander")
            trained(bench, examples, watcher, subject.number + order, batch_size=len(examples))
            _judge_rewards(bench, paths, examples, watcher.seen[-1], tally)


def _judge_rewards(bench: Bench, paths: list[str], examples: list[Any], seen: Any, tally: Tally) -> None:
    places = {example_digest(example_json(example))[:16]: place for place, example in enumerate(examples)}
    variables = {variable.path: variable for variable in bench.module.trainable_variables}
    closed = [event.reason for event in bench.events("PredictionsClosed")]
    tally.require(
        not closed, f"records were closed without a reward ({closed[:1]}): append them before `call` returns"
    )
    for path in paths:
        records = seen[path]["predictions"]
        variable = variables[path]
        homeless = [event for event in _appends(bench, variable) if event.rollout is None]
        tally.require(
            not homeless, f"{path!r} got records outside any example: in a thread, use `ec.to_thread`"
        )
        uses = _uses(bench, variable)
        own = Counter(round(record["reward"] * 1024) - 1 for record in records)
        for rollout, count in uses.items():
            place = places[rollout.split("/")[1]]
            tally.require(
                0 < own[place] <= count if count > 1 else own[place] == count,
                f"example {place} {shown(example_json(examples[place]))} used {path!r} {count} times, and {own[place]} "
                "records have its reward",
            )
        tally.require(
            sum(own.values()) <= sum(uses.values()), f"{path!r} has more rewarded records than it had uses"
        )
        if bench.owner(variable) is bench.module:
            for record in records:
                place = round(record["reward"] * 1024) - 1
                _judge_record(bench.module, record, place, examples, tally)


def _appends(bench: Bench, variable: Any) -> list[Any]:
    """Return the events that put something into a variable's current predictions."""
    found: list[Any] = []
    for event in bench.events("PredictionAppended", "ValuePatched", "VariableUpdated"):
        if event.variable != variable.number:
            continue
        patched = isinstance(event, e.ValuePatched) and event.path[:1] == ["current_predictions"]
        updated = isinstance(event, e.VariableUpdated) and "current_predictions" in event.payload
        if isinstance(event, e.PredictionAppended) or patched or updated:
            found.append(event)
    return found


def _judge_record(module: Any, record: Any, place: int, examples: list[Any], tally: Tally) -> None:
    """Refuse a record that has the reward of one example and the inputs of another."""
    tally.count()
    if not contradictions(record["inputs"], inputs_told(module, examples[place])):
        return
    for other, example in enumerate(examples):
        tally.require(
            other == place or contradictions(record["inputs"], inputs_told(module, example)),
            f"the reward of example {place} reached the record of another, {shown(record)}",
        )


def _uses(bench: Bench, variable: Any) -> Counter[str]:
    """Count, by rollout of the training, the calls that read a field of a variable and gave an answer."""
    owner = bench.owner(variable)
    own = set(read_fields(variable))
    readers = {
        event.rollout
        for event in bench.events("FieldRead")
        if event.variable == variable.number and (event.field is None or event.field in own)
    }
    return Counter(
        call.rollout
        for call in bench.calls
        if call.module is owner and call.outputs is not None and call.rollout is not None
        if call.rollout in readers and call.rollout.startswith("training:")
    )


def optimizer_leaves_state_alone(subject: ModuleSubject, tally: Tally) -> None:
    """Train with an optimizer that writes whatever it may, and see who wrote what."""
    with subject.bench(built=True) as bench:
        bench.trainable()
        trained(bench, subject.examples(), Scrambler(name="scrambler"), subject.number, epochs=2)
        trainable = {variable.number: variable.path for variable in bench.module.trainable_variables}
        others = {
            variable.number: variable.path
            for variable in bench.module.variables
            if variable.number not in trainable
        }
        proposals = 0
        for event in bench.events():
            kind = type(event).__name__
            if isinstance(event, _BY_OPTIMIZERS):
                number = event.variable
                proposals += kind == "CandidateProposed"
                tally.require(
                    number not in others, f"{kind} concerns {others.get(number)!r}, which is not trained"
                )
            elif kind in ("VariableUpdated", "VariableAssigned", "ValuePatched"):
                number = event.variable
                inside = event.rollout is not None
                tally.require(
                    number not in others or inside,
                    f"{others.get(number)!r}, which is not trained, was written between the calls of the training",
                )
        if not proposals and any(drawn_fields(variable, 0) for variable in bench.module.trainable_variables):
            tally.fail("the optimizer never had evidence about a trainable variable, so it proposed nothing")


_BY_OPTIMIZERS = (
    e.CandidateProposed,
    e.CandidateAdded,
    e.CandidateChosen,
    e.PopulationSelected,
    e.BestRemembered,
)


def works_with_any_candidate(subject: ModuleSubject, tally: Tally) -> None:
    """Write what the schema allows into trainable variables, and go on calling."""
    with subject.bench(built=True) as bench:
        variables = bench.trainable()
        example = subject.examples(1)[0]
        bench.answer(example, training=True)
        if not any(drawn_fields(variable, 0) for variable in variables):
            raise DoesNotApply("the trainable variables have no fields of their own")
        for number in range(12):
            for variable in variables:
                variable.update(drawn_fields(variable, number))
            held = {
                v.path: {k: x for k, x in v.get_json().items() if k not in BOOKKEEPING} for v in variables
            }
            try:
                bench.answer(example, training=True)
            except EventcoreError:
                raise
            except Exception as error:
                tally.fail(
                    f"{subject.shown(0)} raised {type(error).__name__}: {error}, with values that the schema allows "
                    f"and an optimizer may write: {shown(held)}; narrow the schema or handle them"
                )
            tally.count()


CHECKS: tuple[Check[ModuleSubject], ...] = (
    Check(
        "rewards_reach_their_records",
        "Every record gets the reward of its own example, whatever finishes first.",
        rewards_reach_their_records,
    ),
    Check(
        "optimizer_leaves_state_alone",
        "An optimizer writes trainable variables and nothing else; counters and caches stay the module's own.",
        optimizer_leaves_state_alone,
    ),
    Check(
        "works_with_any_candidate",
        "Whatever an optimizer may write into a trainable variable, the module goes on answering.",
        works_with_any_candidate,
    ),
)
