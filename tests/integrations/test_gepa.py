"""GEPA as it is installed, in a run: recorded, run again, stopped, killed, resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import BudgetExceeded, Diverged, InvalidValue, SchemaMismatch
from eventcore.history import events as e

pytest.importorskip("gepa", reason="GEPA is not installed: pip install 'eventcore[gepa]'")

from gepa.core.adapter import EvaluationBatch

from eventcore.integrations.gepa import optimize
from eventcore.testing.model_server import ModelServer, Request
from tests.integrations import campaign
from tests.integrations.place import Place
from tests.language_models.samples import QUIET

pytestmark = QUIET

SEED = {"instructions": "Say 0."}
EXAMPLES = [{"input": f"question {n}", "answer": f"{n % 4}", "additional_context": {}} for n in range(8)]


def digit(text: str, below: int = 10) -> int:
    return hashlib.blake2b(text.encode(), digest_size=4).digest()[0] % below


class Models:
    """Deterministic fakes that count their calls."""

    def __init__(self) -> None:
        self.asked = self.reflected = self.judged = 0

    def task(self, messages: Any) -> str:
        self.asked += 1
        return str(digit(str(messages), 4))

    def reflect(self, prompt: Any) -> str:
        self.reflected += 1
        return f"```\nSay {digit(str(prompt), 1000)}.\n```"

    def judge(self, data: Any, response: str) -> Any:
        from gepa.adapters.default_adapter.default_adapter import EvaluationResult

        self.judged += 1
        return EvaluationResult(score=float(data["answer"] == response), feedback="so so")

    @property
    def made(self) -> int:
        return self.asked + self.reflected + self.judged


class Quiet:
    def log(self, message: str) -> None: ...


def settings(models: Models, **more: Any) -> dict[str, Any]:
    return {
        "seed_candidate": SEED, "trainset": EXAMPLES, "valset": EXAMPLES[:5], "task_lm": models.task,
        "reflection_lm": models.reflect, "evaluator": models.judge, "max_metric_calls": 60, "logger": Quiet(),
        "skip_perfect_score": False, **more,
    }  # fmt: skip


class GepaPlace(Place):
    """Runs GEPA there."""

    def go(
        self, more: dict[str, Any] | None = None, budget: Any = None, **options: Any
    ) -> tuple[Any, Models]:
        models = Models()
        given = {**settings(models), **(more or {})}
        with ec.open(self.url) as store, store.run("prompts", seed=7, resume=True, budget=budget):
            return optimize(**given, **options), models


@pytest.fixture
def place(tmp_path: Path) -> Iterator[GepaPlace]:
    yield GepaPlace(tmp_path)
    ec.clear_session()


def outcome(result: Any) -> Any:
    return result.best_candidate, result.candidates, result.val_aggregate_scores, result.parents


# --- the same again -----------------------------------------------------------------------------


def test_run_again_it_ends_alike_and_no_model_is_called(place: GepaPlace) -> None:
    first, models = place.go()
    assert models.asked and models.reflected and models.judged
    digest = place.state().digest
    again, idle = place.go()
    assert outcome(again) == outcome(first)
    assert idle.made == 0
    assert place.state().digest == digest
    started, answered = place.events("EffectStarted"), place.events("EffectCompleted")
    assert len(started) == len(answered) == models.made
    assert {event.kind for event in started} == {"gepa.task_lm", "gepa.reflection_lm", "gepa.evaluator"}


def test_gepas_seed_comes_from_the_runs(place: GepaPlace, tmp_path: Path) -> None:
    seeds: list[int] = []

    class Told:
        def on_optimization_start(self, event: Any) -> None:
            seeds.append(event["config"]["seed"])

    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        with ec.open(tmp_path / "seeds.lmdb") as store, store.run(name, seed=seed):
            optimize(**settings(Models(), max_metric_calls=5, callbacks=[Told()]))
            optimize(**settings(Models(), max_metric_calls=5, callbacks=[Told()], name="second"))
    assert seeds[:2] == seeds[2:4]
    assert len(set(seeds)) == 4


def test_a_larger_number_of_metric_calls_goes_on_where_the_run_was_stopped(
    place: GepaPlace, tmp_path: Path
) -> None:
    stopped, before = place.go({"max_metric_calls": 20})
    longer, after = place.go()
    other = GepaPlace(tmp_path / "other")
    other.url.parent.mkdir()
    alone, all_calls = other.go()
    assert outcome(longer) == outcome(alone) != outcome(stopped)
    assert before.made + after.made == all_calls.made
    assert place.state().digest == other.state().digest


def test_a_spent_budget_arrives_as_itself_though_gepa_catches_errors(
    place: GepaPlace, tmp_path: Path
) -> None:
    alone = GepaPlace(tmp_path / "alone")
    alone.url.parent.mkdir()
    whole, calls = alone.go()
    made = 0
    for budget in (3, 17, 18, 40):  # the answer of a reflection is refused by one of these
        models = Models()
        with (
            ec.open(place.url) as store,
            store.run("prompts", seed=7, resume=True, budget={"calls": budget}),
            pytest.raises(BudgetExceeded, match=f"budget of {budget} calls"),
        ):
            optimize(**settings(models), raise_on_exception=False)
        made += models.made
    result, models = place.go()
    assert outcome(result) == outcome(whole)
    assert made + models.made == calls.made


def test_another_script_stops_at_its_first_divergence_as_such(place: GepaPlace) -> None:
    place.go()
    with pytest.raises(Diverged, match="eventcore fork"):
        place.go({"trainset": EXAMPLES[1:]}, raise_on_exception=False)


def test_a_reflection_that_fails_fails_again_without_a_call(place: GepaPlace) -> None:
    def failing(prompt: Any) -> str:
        raise ConnectionError("nobody there")

    first, _ = place.go({"reflection_lm": failing})
    assert {event.error for event in place.events("EffectFailed")} == {"ConnectionError"}
    again, idle = place.go({"reflection_lm": failing})
    assert outcome(again) == outcome(first)
    assert idle.made == 0


# --- candidates ---------------------------------------------------------------------------------


def test_every_candidate_is_an_event_and_the_best_is_what_the_variable_holds(place: GepaPlace) -> None:
    result, models = place.go()
    proposed, added = place.events("CandidateProposed"), place.events("CandidateAdded")
    assert len(proposed) == models.reflected  # rejected ones too
    assert len(added) == len(result.candidates) < len(proposed)
    assert [event.reward for event in added] == result.val_aggregate_scores
    value = place.state().variables["candidate"]
    assert value["texts"] == result.best_candidate
    assert [entry["texts"] for entry in value["candidates"]] == result.candidates
    (declared,) = place.events("VariableDeclared")
    assert declared.trainable
    assert declared.value["texts"] == SEED


def test_an_iteration_is_an_epoch_and_cost_is_told_by_it_and_by_candidate(place: GepaPlace) -> None:
    result, models = place.go()
    began, ended = place.events("EpochBegan"), place.events("EpochEnded")
    assert [event.epoch for event in began] == [event.epoch for event in ended] == list(range(len(began)))
    assert ended[-1].logs == {"val_reward": max(result.val_aggregate_scores)}
    with ec.open(place.url, read_only=True) as store:
        run = store["prompts"]
        by_epoch, by_candidate = run.cost(by="epoch"), run.cost(by="candidate")
    assert sum(cost.calls for cost in by_epoch.values()) == models.made
    assert sum(cost.calls for cost in by_candidate.values()) == models.made
    assert len(by_candidate) > len(place.events("CandidateProposed"))


def test_a_proposal_names_the_events_its_parents_were_added_by(place: GepaPlace) -> None:
    place.go()
    with ec.open(place.url, read_only=True) as store:
        texts: dict[str, Any] = {}
        candidates: dict[int, Any] = {}
        present: Any = SEED
        for record in store["prompts"].events():
            event = record.event
            if isinstance(event, e.CandidateProposed):
                present = event.fields["texts"]
                (parent,) = event.parents
                assert parent in candidates
                texts[present["instructions"]] = candidates[parent]
            elif isinstance(event, e.CandidateAdded):
                candidates[record.seq] = present
    assert texts


# --- what an effect is ----------------------------------------------------------------------------


class Adapter:
    """An adapter that calls a model of its own."""

    propose_new_texts: Any = None

    def __init__(self, model: Any, trace: Any = str) -> None:
        self.model = model
        self.trace = trace
        self.evaluated = 0

    def evaluate(self, batch: list[Any], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        self.evaluated += 1
        answers = [self.model(f"{candidate['instructions']} {example['input']}") for example in batch]
        scores = [float(answer == example["answer"]) for answer, example in zip(answers, batch, strict=True)]
        return EvaluationBatch(
            answers, scores, [self.trace(answer) for answer in answers] if capture_traces else None
        )

    def make_reflective_dataset(
        self, candidate: Any, eval_batch: Any, components_to_update: list[str]
    ) -> Any:
        return {
            name: [{"Feedback": trace} for trace in eval_batch.trajectories] for name in components_to_update
        }


class Batching(Adapter):
    """An adapter that evaluates many candidates at once."""

    def batch_evaluate(self, items: list[Any]) -> list[Any]:
        return [self.evaluate(batch, candidate, True) for candidate, batch in items]


def with_adapter(adapter: Any, **more: Any) -> dict[str, Any]:
    return {"adapter": adapter, "task_lm": None, "evaluator": None, **more}


@pytest.mark.parametrize("kind", [Adapter, Batching])
@pytest.mark.parametrize("record", ["batches", "examples"])
def test_evaluations_of_an_adapter_are_effects(place: GepaPlace, kind: type[Adapter], record: str) -> None:
    models = Models()
    adapter = kind(models.task)
    first, _ = place.go(with_adapter(adapter), record=record)
    started = [event for event in place.events("EffectStarted") if event.kind == "gepa.evaluate"]
    assert len(started) == (models.asked if record == "examples" else adapter.evaluated)
    idle = Models()
    again, _ = place.go(with_adapter(kind(idle.task)), record=record)
    assert outcome(again) == outcome(first)
    assert idle.made == 0


@pytest.mark.parametrize("kind", [Adapter, Batching])
def test_an_adapter_may_make_its_calls_effects_itself(place: GepaPlace, kind: type[Adapter]) -> None:
    def recorded(models: Models) -> dict[str, Any]:
        task = ec.effect(name="my model")(models.task)
        reflect = ec.effect(name="my reflection")(models.reflect)
        return with_adapter(
            kind(task, trace=lambda answer: {answer}), reflection_lm=reflect
        )  # a set: no JSON

    models, idle = Models(), Models()
    first, _ = place.go(recorded(models), record="calls")
    assert {event.kind for event in place.events("EffectStarted")} == {"my model", "my reflection"}
    again, _ = place.go(recorded(idle), record="calls")
    assert outcome(again) == outcome(first)
    assert models.made > 0
    assert idle.made == 0


def test_a_trajectory_that_is_no_json_is_refused_with_what_would_work(place: GepaPlace) -> None:
    with pytest.raises(SchemaMismatch, match='record="calls"'):
        place.go(with_adapter(Adapter(Models().task, trace=lambda answer: {answer})))


@pytest.mark.parametrize("owner", ["adapter", "argument"])
def test_a_proposer_of_ones_own_is_an_effect(place: GepaPlace, owner: str) -> None:
    proposed: list[Any] = []

    def propose(candidate: Any, reflective_dataset: Any, components_to_update: list[str]) -> dict[str, str]:
        proposed.append(components_to_update)
        return {name: f"Say {len(proposed)}." for name in components_to_update}

    adapter = Adapter(Models().task)
    more = with_adapter(adapter, reflection_lm=None)
    if owner == "adapter":
        adapter.propose_new_texts = propose
    else:
        more["custom_candidate_proposer"] = propose
    first, _ = place.go(more)
    calls = len(proposed)
    assert calls > 1
    again, _ = place.go(more)
    assert len(proposed) == calls
    assert outcome(again) == outcome(first)


@pytest.mark.slow
@pytest.mark.campaign
def test_models_given_by_their_names_are_called_at_once_with_tokens_and_cost(
    place: GepaPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request) -> str:
        asked = str(request.body["messages"])
        return f"```\nSay {digit(asked, 1000)}.\n```" if "```" in asked else str(digit(asked, 4))

    def script(server: ModelServer) -> dict[str, Any]:
        return {
            "task_lm": "openai/gpt-4o-mini", "reflection_lm": "openai/gpt-4o", "evaluator": None,
            "reflection_lm_kwargs": {"api_base": server.url, "api_key": "sk-secret-of-mine"},
        }  # fmt: skip

    with ModelServer(answer) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-anything")
        first, _ = place.go(script(server))
        called = len(server.requests)
        again, _ = place.go(script(server))
        assert len(server.requests) == called
    assert outcome(again) == outcome(first)
    answered = place.events("EffectCompleted")
    assert len(answered) == called
    assert {event.model for event in answered} == {"openai/gpt-4o-mini", "openai/gpt-4o"}
    assert all((event.input_tokens, event.output_tokens) == (11, 7) and event.cost > 0 for event in answered)
    assert "sk-" not in str(place.events("EffectStarted", "RunStarted"))


def test_what_reflection_has_cost_counts_when_it_is_run_again(place: GepaPlace) -> None:
    class Paid:
        total_cost = 0.0
        called = 0

        def __call__(self, prompt: Any) -> str:
            self.called += 1
            self.total_cost += 0.25
            return Models().reflect(prompt)

    first, again = Paid(), Paid()
    place.go({"reflection_lm": first, "max_reflection_cost": 0.8, "max_metric_calls": 1000})
    place.go({"reflection_lm": again, "max_reflection_cost": 0.8, "max_metric_calls": 1000})
    assert (first.called, again.called) == (4, 0)


# --- bad input, and what is left alone -----------------------------------------------------------


def test_gepas_own_checkpoint_and_unknown_choices_are_refused(place: GepaPlace, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="leave run_dir out"):
        place.go(run_dir=str(tmp_path))
    with pytest.raises(InvalidValue, match="'batches', 'examples', 'calls'"):
        place.go(record="everything")


def test_gepa_as_it_is_installed_is_not_touched(place: GepaPlace) -> None:
    import gepa.api
    import gepa.proposer.merge

    place.go({"use_merge": True})
    assert "set" not in vars(gepa.proposer.merge)
    assert vars(gepa.api)["MergeProposer"] is gepa.proposer.merge.MergeProposer


# --- stopped and killed ---------------------------------------------------------------------------


CASES: tuple[tuple[str, ...], ...] = (
    ("--metric-calls 40",),
    ("--budget 50",),
    ("--kill-after 57", "--kill-before 9"),
)


@pytest.mark.slow
@pytest.mark.campaign
def test_stopped_or_killed_it_ends_as_if_left_alone_whatever_the_hash_seed() -> None:
    said: list[str] = []
    figures = campaign.campaign(said.append, CASES, 90)
    assert (figures["alike"], figures["repeated"], figures["in_doubt"]) == (3, 0, 1), said


@pytest.mark.slow
def test_the_campaign_notices_that_gepa_alone_ends_elsewhere() -> None:
    said: list[str] = []
    figures = campaign.campaign(said.append, CASES, 90, unaided=True)
    assert figures["alike"] == 0
    assert figures["repeated"] > 0
    assert said
