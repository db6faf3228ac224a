"""What GEPA calls, as effects: models, evaluators, adapters and proposers.

Each wrapper is what it wraps, to GEPA, and each of its calls goes through the one door for effects. What they
hand back is the recorded JSON, in a run that is written and in one that is run again alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from eventcore.errors import SchemaMismatch
from eventcore.integrations.attribution import attributed_to
from eventcore.integrations.halting import Halted, halting
from eventcore.replay.effects import Outcome, Ticket, perform, perform_now

RECORDS = ("batches", "examples", "calls")
"""What an effect is, of an adapter: an evaluation, an example of it, or what the adapter itself calls."""


@halting
def perform_one(
    kind: str, request: dict[str, Any], call: Callable[[], Outcome], paid: bool = False
) -> Outcome:
    """Carry out one effect; errors of the run pass GEPA."""
    return perform_now(kind, request, lambda ticket: call(), variable=attributed_to(), paid=paid)


@halting
def perform_all(
    kind: str,
    requests: Sequence[dict[str, Any]],
    calls: Sequence[Callable[[], Outcome]],
    workers: int,
    paid: bool,
) -> list[Outcome]:
    """Carry out effects in threads, at most `workers` at once, and return their outcomes in order.

    Inside a running event loop, a notebook's, they are carried out one after the other.
    """
    if workers < 2 or len(calls) < 2 or _in_loop():
        return [perform_one(kind, request, call, paid) for request, call in zip(requests, calls, strict=True)]

    async def together() -> list[Outcome | BaseException]:
        free = asyncio.Semaphore(workers)

        async def one(request: dict[str, Any], call: Callable[[], Outcome]) -> Outcome:
            async def carried_out(ticket: Ticket) -> Outcome:
                return await asyncio.to_thread(call)

            async with free:
                return await perform(kind, request, carried_out, variable=attributed_to(), paid=paid)

        pairs = zip(requests, calls, strict=True)
        return await asyncio.gather(*(one(*pair) for pair in pairs), return_exceptions=True)

    outcomes: list[Outcome] = []
    for found in asyncio.run(together()):
        if isinstance(found, BaseException):
            raise found
        outcomes.append(found)
    return outcomes


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class RecordedModel:
    """A language model as GEPA calls it, every call an effect.

    Args:
        kind: What the log calls its calls.
        model: A model's name, or a function of a prompt or of messages.
        workers: How many calls are under way at once, of a model given by its name.
        settings: What a model given by its name is called with.

    Attributes:
        total_cost: US dollars so far, those of recorded answers included.
        total_tokens_in: Tokens of prompts so far.
        total_tokens_out: Tokens of answers so far.
    """

    def __init__(self, kind: str, model: Any, workers: int = 1, **settings: Any) -> None:
        self.total_cost = 0.0
        self.total_tokens_in = self.total_tokens_out = 0
        self._kind = kind
        self._model = model
        self._workers = workers
        self._settings = settings

    def __call__(self, prompt: Any) -> Any:
        """Answer one prompt: a text, or messages."""
        outcome = perform_one(self._kind, self._request(prompt), lambda: self._ask(prompt), self._paid)
        return self._counted(outcome)

    def __getattr__(self, name: str) -> Any:
        if name == "batch_complete" and self._paid:
            return self._batch_complete
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _batch_complete(self, messages_list: list[Any], max_workers: int = 0, **settings: Any) -> list[str]:
        requests = [self._request(messages, settings) for messages in messages_list]
        calls = [lambda messages=messages: self._ask(messages, settings) for messages in messages_list]
        outcomes = perform_all(self._kind, requests, calls, self._workers, self._paid)
        return [self._counted(outcome).strip() for outcome in outcomes]

    @property
    def _paid(self) -> bool:
        return isinstance(self._model, str)

    def _request(self, prompt: Any, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        if not self._paid:
            return {"prompt": prompt}
        return {"model": self._model, "prompt": prompt, **self._settings, **(settings or {})}

    def _ask(self, prompt: Any, settings: dict[str, Any] | None = None) -> Outcome:
        if self._paid:
            from gepa.lm import LM

            model: Any = LM(
                self._model, **{**self._settings, **(settings or {})}
            )  # its totals are this call's
            name = self._model
        else:
            model, name = self._model, ""
        before = _totals(model)
        answer = model(prompt)
        cost, tokens_in, tokens_out = (
            after - earlier for after, earlier in zip(_totals(model), before, strict=True)
        )
        return Outcome(answer, name, int(tokens_in), int(tokens_out), cost)

    def _counted(self, outcome: Outcome) -> Any:
        self.total_cost += outcome.cost
        self.total_tokens_in += outcome.input_tokens
        self.total_tokens_out += outcome.output_tokens
        return outcome.answer


def _totals(model: Any) -> tuple[float, float, float]:
    """What a model says it has spent so far, if it says anything."""
    cost, tokens_in, tokens_out = (
        float(getattr(model, name, 0) or 0) for name in ("total_cost", "total_tokens_in", "total_tokens_out")
    )
    return cost, tokens_in, tokens_out


def recorded_evaluator(evaluator: Callable[..., Any]) -> Callable[..., Any]:
    """Return an evaluator of GEPA's default adapter, every call an effect."""

    def evaluate(data: Any, response: str) -> Any:
        from gepa.adapters.default_adapter.default_adapter import EvaluationResult

        def call() -> Outcome:
            found = evaluator(data, response)
            return Outcome([float(found.score), found.feedback, found.objective_scores])

        answer = perform_one("gepa.evaluator", {"data": data, "response": response}, call).answer
        return EvaluationResult(*answer)

    return evaluate


def recorded_proposer(propose: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    """Return a proposer of new texts, every call an effect."""

    def proposed(candidate: dict[str, str], reflective_dataset: Any, components_to_update: list[str]) -> Any:
        request = {
            "candidate": candidate,
            "reflective_dataset": {name: list(items) for name, items in reflective_dataset.items()},
            "components_to_update": components_to_update,
        }
        call = lambda: Outcome(dict(propose(candidate, reflective_dataset, components_to_update)))  # noqa: E731
        return perform_one("gepa.proposer", request, call).answer

    return proposed


class RecordedAdapter:
    """An adapter of GEPA's, its evaluations effects; the rest of it is the adapter's own.

    Args:
        adapter: The adapter.
        record: One of `RECORDS`.
        evaluating: Told each candidate that is about to be evaluated.

    Attributes:
        propose_new_texts: The adapter's own proposer, recorded; None if it has none.
    """

    def __init__(self, adapter: Any, record: str, evaluating: Callable[[dict[str, str]], None]) -> None:
        self._adapter = adapter
        self._record = record
        self._evaluating = evaluating
        propose = getattr(adapter, "propose_new_texts", None)
        if propose is not None:
            propose = halting(propose) if record == "calls" else recorded_proposer(propose)
        self.propose_new_texts = propose

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._adapter, name)
        if name == "batch_evaluate" and self._record != "examples":
            return self._batch_evaluate
        if name == "batch_evaluate":
            raise AttributeError("examples are evaluated one by one")
        return found

    def evaluate(self, batch: list[Any], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """Evaluate a candidate on examples."""
        self._evaluating(candidate)
        if self._record == "calls":
            return halting(self._adapter.evaluate)(batch, candidate, capture_traces=capture_traces)
        if self._record == "batches":
            return _batch(self._evaluated(batch, candidate, capture_traces))
        return _joined([self._evaluated([example], candidate, capture_traces) for example in batch])

    def _evaluated(self, batch: list[Any], candidate: dict[str, str], capture_traces: bool) -> dict[str, Any]:
        request = {"candidate": candidate, "batch": batch, "capture_traces": capture_traces}

        def call() -> Outcome:
            return Outcome(_as_json(self._adapter.evaluate(batch, candidate, capture_traces=capture_traces)))

        answer: dict[str, Any] = _explained(request, call).answer
        return answer

    def _batch_evaluate(self, items: list[tuple[dict[str, str], list[Any]]]) -> list[Any]:
        for candidate, _ in items:
            self._evaluating(candidate)
        if self._record == "calls":
            found: list[Any] = halting(self._adapter.batch_evaluate)(items)
            return found
        request = {"items": [[candidate, batch] for candidate, batch in items]}

        def call() -> Outcome:
            return Outcome([_as_json(found) for found in self._adapter.batch_evaluate(items)])

        return [_batch(answer) for answer in _explained(request, call).answer]


def _explained(request: dict[str, Any], call: Callable[[], Outcome]) -> Outcome:
    """Evaluate as an effect, and say what would work where a value is not JSON."""
    try:
        outcome: Outcome = perform_one("gepa.evaluate", request, call)
        return outcome
    except Halted as halted:
        if isinstance(halted.error, SchemaMismatch):
            error = SchemaMismatch(
                f"{halted.error}; or make the calls inside the adapter effects (@eventcore.effect) and pass "
                'record="calls"',
                halted.error.pointer,
            )
            raise Halted(error) from halted.error
        raise


FIELDS = ("outputs", "scores", "trajectories", "objective_scores", "num_metric_calls")


def _as_json(batch: Any) -> dict[str, Any]:
    fields = {name: getattr(batch, name, None) for name in FIELDS}
    fields["scores"] = [float(score) for score in batch.scores]
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if value is not None
    }


def _batch(answer: dict[str, Any]) -> Any:
    from gepa.core.adapter import EvaluationBatch

    return EvaluationBatch(**answer)


def _joined(answers: list[dict[str, Any]]) -> Any:
    joined: dict[str, Any] = {"outputs": [], "scores": []}
    for answer in answers:
        for name, value in answer.items():
            joined[name] = joined[name] + value if name in joined else value
    return _batch(joined)


def default_adapter(task_lm: Any, evaluator: Callable[..., Any] | None, record: bool, workers: int) -> Any:
    """Return GEPA's own adapter, over a model and an evaluator whose calls are effects.

    Args:
        task_lm: A model's name or a function.
        evaluator: The evaluator, None for GEPA's own, which computes and calls nothing.
        record: Whether to make them effects here.
        workers: How many calls are under way at once.
    """
    from gepa.adapters.default_adapter.default_adapter import DefaultAdapter

    if not record:
        return DefaultAdapter(model=task_lm, evaluator=evaluator)
    model: Any = RecordedModel("gepa.task_lm", task_lm, workers)
    adapter: Any = DefaultAdapter(
        model=model, evaluator=None if evaluator is None else recorded_evaluator(evaluator)
    )
    if isinstance(task_lm, str) and hasattr(adapter, "_lm"):
        adapter._lm = model  # where GEPA has the models that answer many prompts at once
    return adapter
