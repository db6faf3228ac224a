"""A new reward or metric over predictions that were made long ago, with no model call.

The log holds what every module answered, which candidate it had in its variable then, and for which example.
So a reward nobody thought of during the training can still be measured, candidate by candidate. Nothing is written
into the run that is read, and a reward that asks a model itself is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from eventcore.errors import BudgetExceeded, EventcoreError, InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history.findings import brief
from eventcore.history.patches import plain
from eventcore.history.population import BOOKKEEPING, candidate_fields, candidate_key
from eventcore.history.run_reader import RunReader, variable_path
from eventcore.history.scope import in_run
from eventcore.history.state import State, apply
from eventcore.models.json_data_model import JsonDataModel
from eventcore.training.scoring import RewardFailure, finite

_ROLLOUT = re.compile(r"([^:/]+):(\d+)(?:\.\d+)?/([0-9a-f]{16})/(\d+)")

_KEPT_APART = frozenset(BOOKKEEPING) - {"examples"}
"""Fields that are no part of a candidate: changing them makes no other one."""


PHASES = ("training", "minibatch", "validation", "test", "prediction")
"""What rollouts of a program are for."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded answer of a module.

    Attributes:
        seq: Seq of the event that recorded it.
        variable: Path of the module's variable.
        rollout: The rollout it was made in, or None.
        phase: One of `PHASES`, or None outside any rollout of a program.
        epoch: Number of the epoch, or None.
        candidate: Identity of the candidate the variable held: equal fields, equal identities.
        inputs: What the module was given, None where only the model's answer was recorded.
        outputs: What it answered.
        reward: The reward the rollout got, or None.
    """

    seq: int
    variable: str
    rollout: str | None
    phase: str | None
    epoch: int | None
    candidate: str
    inputs: dict[str, Any] | None
    outputs: dict[str, Any]
    reward: float | None


class CandidateScore(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate's recorded predictions are worth by another measure.

    Attributes:
        candidate: Its identity, as in `Prediction`.
        fields: What it is: its own fields and `examples`.
        first_seen: Seq of its first prediction.
        count: How many predictions were scored.
        failed: How many could not be.
        error: Why the first of them could not be, with its seq; None if all were scored.
        recorded: Mean of the rewards they got when they were made, None if they got none.
        score: The mean of the new reward, or the metric's result; None if none could be scored.
    """

    candidate: str
    fields: dict[str, Any]
    first_seen: int
    count: int
    failed: int
    recorded: float | None
    score: Any
    error: str | None = None


class Rescoring(list[CandidateScore]):
    """Scores of all candidates, in the order in which they first answered.

    Attributes:
        name: Name of the reward or metric.
        variable: Path of the variable whose candidates these are.
    """

    def __init__(self, found: Sequence[CandidateScore], name: str, variable: str) -> None:
        super().__init__(found)
        self.name = name
        self.variable = variable

    def __repr__(self) -> str:
        lines = [f"{self.name} of {len(self)} candidates of {self.variable}"]
        lines += ["  candidate     first  count  failed  recorded  new"]
        for item in self:
            lines.append(
                f"  {item.candidate}  {item.first_seen:>5}  {item.count:>5}  {item.failed:>6}  "
                f"{_number(item.recorded):>8}  {_number(item.score)}"
            )
        lines += [
            f"  first failure of {item.candidate}: {item.error}" for item in self if item.error is not None
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from eventcore.history.html import table_html

        heads = [
            "candidate",
            "first",
            "count",
            "failed",
            "recorded",
            self.name,
            "first failure",
            "what it is",
        ]
        rows = [
            [
                item.candidate, str(item.first_seen), str(item.count), str(item.failed),
                _number(item.recorded), _number(item.score), item.error or "", brief(item.fields, 120),
            ]
            for item in self
        ]  # fmt: skip
        return table_html(f"{self.name} of {self.variable}", heads, rows)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-" if value is None else brief(value, 40)


# --- what was recorded --------------------------------------------------------------------------


def predictions(
    run: RunReader, variable: Any = None, phases: Sequence[str] | None = None
) -> list[Prediction]:
    """Return every recorded prediction, oldest first. One pass over the log, O(n).

    A module's own records count, and where it kept none, as outside training, the answers of the language model it
    asked.

    Args:
        run: Any run, also one opened for reading.
        variable: Only of this variable's module: a Variable, its path, or its name where unique.
        phases: Only of these phases.

    Raises:
        NotFound: No such variable.
        InvalidValue: A phase that does not exist.
    """
    return _Recorded(run, variable).found(_known_phases(phases))


def _known_phases(phases: Sequence[str] | None) -> Sequence[str] | None:
    given = [phases] if isinstance(phases, str) else phases
    unknown = [phase for phase in given or () if phase not in PHASES]
    if unknown:
        raise InvalidValue(
            f"cannot choose predictions of phase {', '.join(map(repr, unknown))}: the phases are {', '.join(PHASES)}"
        )
    return given


class _Recorded:
    """Goes through a log once and keeps what was answered, and by which candidate.

    Attributes:
        candidates: Fields of candidates by variable and identity.
    """

    def __init__(self, run: RunReader, variable: Any = None) -> None:
        self._reader = run.reader()
        self._path = None if variable is None else run.state.slot(variable_path(variable)).path
        self._state = State()
        self._present: dict[int, str] = {}
        self._asked: dict[int, tuple[int, Any]] = {}
        self._records: list[tuple[bool, Prediction]] = []
        self._rewards: dict[str, float | None] = {}
        self._own: set[tuple[str, str | None]] = set()
        self.candidates: dict[str, dict[str, Any]] = {}

    def found(self, phases: Sequence[str] | None) -> list[Prediction]:
        """Read the log and return what was recorded."""
        first, head = self._reader.first_stored(), self._reader.head()
        self._state = self._reader.state_at(first - 1)
        for seq, event in self._reader.events(first, head):
            self._look(seq, event)
        return [
            msgspec.structs.replace(found, reward=self._rewards.get(found.rollout or ""))
            for own, found in self._records
            if (own or (found.variable, found.rollout) not in self._own)
            and (phases is None or found.phase in phases)
        ]

    def _look(self, seq: int, event: e.Event) -> None:
        if isinstance(event, e.PredictionAppended):
            self._append(seq, event.variable, event.rollout, event.record)
        elif isinstance(event, e.EffectStarted):
            if event.kind == "language_model" and event.variable is not None:
                self._asked[seq] = event.variable, event.request.get("schema")
        elif isinstance(event, e.EffectCompleted):
            number, schema = self._asked.pop(event.cause, (None, None))
            outputs = None if number is None else _answered(event.answer, schema)
            if number is not None and outputs is not None:
                self._keep(seq, number, event.rollout, None, outputs, own=False)
        elif isinstance(event, e.RolloutsScored):
            self._rewards.update(event.rewards)
        elif isinstance(event, e.StateRestored):
            self._present.clear()
            self._records = [(own, found) for own, found in self._records if found.seq <= event.back_to]
        elif _makes_another(event):
            self._present.pop(event.variable, None)  # type: ignore[attr-defined]
        apply(self._state, event)

    def _append(self, seq: int, number: int, rollout: str | None, record: dict[str, Any]) -> None:
        outputs = record.get("outputs")
        if isinstance(outputs, dict):
            inputs = record.get("inputs")
            self._keep(seq, number, rollout, inputs if isinstance(inputs, dict) else None, outputs, own=True)

    def _keep(
        self, seq: int, number: int, rollout: str | None, inputs: dict[str, Any] | None, outputs: dict[str, Any],
        own: bool,
    ) -> None:  # fmt: skip
        slot = self._state.slot(number)
        if self._path not in (None, slot.path):
            return
        candidate = self._present.get(number)
        if candidate is None:
            fields = candidate_fields(slot.value)
            candidate = hashlib.blake2b(candidate_key(fields), digest_size=6).hexdigest()
            self._present[number] = candidate
            self.candidates.setdefault(candidate, fields)
        match = _ROLLOUT.fullmatch(rollout or "")
        if own:
            self._own.add((slot.path, rollout))
        found = Prediction(
            seq=seq, variable=slot.path, rollout=rollout, phase=match[1] if match else None,
            epoch=int(match[2]) if match else None, candidate=candidate, inputs=inputs, outputs=outputs, reward=None,
        )  # fmt: skip
        self._records.append((own, found))


def _makes_another(event: e.Event) -> bool:
    """Whether a variable may hold another candidate after an event."""
    if isinstance(event, e.VariableUpdated):
        return not event.payload.keys() <= _KEPT_APART
    if isinstance(event, (e.ValuePatched, e.EditedFromOutside)):
        return not event.path or event.path[0] not in _KEPT_APART
    return isinstance(event, (e.VariableDeclared, e.VariableAssigned, e.CandidateProposed, e.CandidateChosen))


def _answered(answer: Any, schema: Any) -> dict[str, Any] | None:
    """Return a language model's recorded answer as the JSON a module makes of it; None if it could not be used."""
    if not isinstance(answer, dict):
        return None
    value: Any = answer.get("json", answer.get("content"))
    if isinstance(schema, dict):
        try:
            value = msgspec.json.decode(value) if isinstance(value, str) else value
            found: dict[str, Any] = JsonDataModel(schema=schema, json=value, name="recorded").get_json()
        except (msgspec.DecodeError, EventcoreError):
            return None
        return found
    return plain(value) if isinstance(value, dict) else {"role": "assistant", "content": value}


# --- scoring again ------------------------------------------------------------------------------


async def rescore(
    run: RunReader,
    score: Any,
    x: Any = None,
    y: Any = None,
    *,
    variable: Any = None,
    phases: Sequence[str] | None = None,
    target: Callable[[Prediction], Any] | None = None,
) -> Rescoring:
    """Score every recorded prediction of every candidate anew, with no model call.

    Args:
        run: Any run, also one opened for reading; nothing is written into it.
        score: A reward or a metric: an object, a class, a name, or a function of (target, prediction).
        x: Inputs of the examples, to find their targets by; a generator of batches will do.
        y: Their targets.
        variable: Whose module's predictions; may be left out when only one variable has any.
        phases: Only predictions made in these phases, of `PHASES`.
        target: Instead of `x` and `y`: returns the target of a prediction.

    Returns:
        One score for each candidate, in the order of their first prediction.

    Raises:
        NotFound: Nothing was recorded, or an example has no target in `x` and `y`.
        InvalidValue: Several variables have predictions; a phase that does not exist; the reward calls a model; a
            metric raised; or nothing could be scored and there are no targets.
    """
    recorded = _Recorded(run, variable)
    found = recorded.found(_known_phases(phases))
    path = _one_variable(run, found)
    targets = _Targets(x, y) if target is None else target
    pairs = [(item, targets(item)) for item in found]
    name, scorer = _scorer(score)
    by_candidate: dict[str, list[tuple[Prediction, Any]]] = {}
    for item, truth in pairs:
        by_candidate.setdefault(item.candidate, []).append((item, truth))
    scores: list[CandidateScore] = []
    with _no_calls(name):
        for candidate, items in by_candidate.items():
            given = [(item.seq, truth, _value(item.outputs)) for item, truth in items]
            value, count, errors = await scorer(given)
            rewards = [item.reward for item, _ in items if item.reward is not None]
            scores.append(
                CandidateScore(
                    candidate=candidate, fields=recorded.candidates[candidate], first_seen=items[0][0].seq,
                    count=count, failed=len(errors), recorded=sum(rewards) / len(rewards) if rewards else None,
                    score=value, error=errors[0] if errors else None,
                )
            )  # fmt: skip
    if all(truth is None for _, truth in pairs) and not any(item.count for item in scores):
        raise InvalidValue(
            f"cannot score with {name}: no targets were given: pass x= and y=, or target=; the first failure was at "
            f"{scores[0].error}"
        )
    return Rescoring(scores, name, path)


def _one_variable(run: RunReader, found: Sequence[Prediction]) -> str:
    paths = list(dict.fromkeys(item.variable for item in found))
    if not paths:
        raise NotFound(
            f"cannot score run {run.name!r} again: it has no recorded prediction that was asked for; modules record "
            "what they answer while they train"
        )
    if len(paths) > 1:
        raise InvalidValue(
            f"cannot choose whose predictions to score: {', '.join(paths)} have some; pass variable="
        )
    return paths[0]


class _Targets:
    """Targets of examples, by the digest in the identity of a rollout."""

    def __init__(self, x: Any, y: Any) -> None:
        from eventcore.training.examples import source_of

        self._known: dict[str, list[Any]] | None = None
        if x is not None:
            self._known = {}
            for batch in source_of(x, y, None).batches(0, 1024, None):
                for example in batch:
                    self._known.setdefault(example.digest[:16], []).append(example.y)

    def __call__(self, prediction: Prediction) -> Any:
        if self._known is None:
            return None
        match = _ROLLOUT.fullmatch(prediction.rollout or "")
        targets = self._known.get(match[3]) if match else None
        if match is None or targets is None:
            raise NotFound(
                f"cannot find the target of the prediction at seq {prediction.seq} (rollout "
                f"{prediction.rollout!r}): its example is not in x; pass all data the run saw, or choose phases"
            )
        return targets[int(match[4]) % len(targets)]


Given = Sequence[tuple[int, Any, Any]]
"""Seqs, targets and predictions."""

Scorer = Callable[[Given], Awaitable[tuple[Any, int, list[str]]]]


def _scorer(score: Any) -> tuple[str, Scorer]:
    """Return a name, and what scores the predictions of one candidate: (value, count, why the others could not be)."""
    from eventcore.training import metrics, rewards

    try:
        reward = None if _is(score, metrics.Metric) else rewards.get(score)
    except InvalidValue:
        reward = None
    if reward is not None:
        return reward.name, lambda pairs: _rewarded(reward, pairs)
    metric = metrics.get(score)
    return metric.name, lambda pairs: _measured(metric, pairs)


def _is(value: Any, base: type[Any]) -> bool:
    return isinstance(value, base) or (isinstance(value, type) and issubclass(value, base))


async def _rewarded(reward: Any, given: Given) -> tuple[float | None, int, list[str]]:
    if getattr(reward, "scores_batches", False):
        outcomes = await _batch_rewards(reward, given)
    else:
        outcomes = [await _one_reward(reward, truth, predicted) for _, truth, predicted in given]
    good = [value for value in outcomes if isinstance(value, float)]
    errors = [
        f"seq {seq}: {value}"
        for (seq, _, _), value in zip(given, outcomes, strict=True)
        if isinstance(value, str)
    ]
    return (sum(good) / len(good) if good else None), len(good), errors


async def _batch_rewards(reward: Any, given: Given) -> list[float | str]:
    try:
        values = list(
            await reward([truth for _, truth, _ in given], [predicted for _, _, predicted in given])
        )
        if len(values) != len(given):
            raise RewardFailure(f"{len(values)} rewards came back for {len(given)} predictions")
    except BudgetExceeded:
        raise
    except Exception as error:  # there is nothing to tell its examples apart by
        return [_said(error)] * len(given)
    return [_finite(value) for value in values]


async def _one_reward(reward: Any, truth: Any, predicted: Any) -> float | str:
    from eventcore.training.rewards import ExactMatch

    if truth is None and isinstance(reward, ExactMatch):  # to it nothing equals nothing
        return "there is no target to compare with"
    try:
        return _finite(await reward(truth, predicted))
    except BudgetExceeded:
        raise
    except (
        Exception
    ) as error:  # as in training: an example that cannot be scored has failed, its siblings count
        return _said(error)


def _finite(value: Any) -> float | str:
    try:
        return float(finite(value))
    except (RewardFailure, TypeError, ValueError, OverflowError) as error:
        return _said(error)


def _said(error: Exception) -> str:
    """Return an error on one line; a failure to score says already what it is."""
    text = brief(str(error), 200)[1:-1] if str(error) else ""
    return text if isinstance(error, RewardFailure) else f"{type(error).__name__}: {text}"


async def _measured(metric: Any, given: Given) -> tuple[Any, int, list[str]]:
    # A copy with state of its own: the metric that was handed in may live in another run.
    own = type(metric).from_config({**metric.get_config(), "scope": f"{metric.scope}_again"})
    own.reset_state()
    for seq, truth, predicted in given:
        try:
            await own.update_state(truth, predicted)
        except BudgetExceeded:
            raise
        except Exception as error:
            why = "" if truth is not None else "; no target was given: pass x= and y=, or target="
            raise InvalidValue(
                f"cannot measure {metric.name} on the prediction at seq {seq}: {_said(error)}{why}"
            ) from error
    return own.result(), len(given), []


def _value(outputs: dict[str, Any]) -> JsonDataModel:
    schema = {"type": "object", "properties": {field: {} for field in outputs}}
    return JsonDataModel(schema=schema, json=outputs, name="recorded")


@contextmanager
def _no_calls(name: str) -> Generator[None]:
    """Inside, events go to a run in memory in which no call may be paid for."""
    from eventcore.saving.memory_runs import run_in_memory

    scratch = run_in_memory("rescoring", 0)
    scratch.budget = {"calls": 0}
    try:
        with in_run(scratch):
            yield
    except BudgetExceeded as error:
        raise InvalidValue(
            f"cannot score with {name}: it calls a model, and the past is scored without calls; "
            "use `program.evaluate` to pay for them"
        ) from error
    finally:
        scratch.store.close()
