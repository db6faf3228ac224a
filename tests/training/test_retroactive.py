"""New rewards and metrics over recorded predictions: every prediction of every candidate, and no model call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, NotFound
from eventcore.language_models import Generator, LanguageModel
from eventcore.training.retroactive import Rescoring, predictions, rescore
from eventcore.training.rewards import Reward
from tests.training.programs import Answer, Echo, Question


class Text(ec.DataModel):
    text: str


class Label(ec.DataModel):
    label: str
    sure: bool = True


class Said:
    """A model that writes down what it was asked and what its module held then: the tests' own book-keeping."""

    def __init__(self) -> None:
        self.generator: Any = None
        self.calls: list[tuple[str, str]] = []

    def __call__(self, messages: list[dict[str, Any]]) -> dict[str, str]:
        state = self.generator.state.get_json()
        held = json.dumps([state["instructions"], state["examples"]], sort_keys=True)
        # More examples, better answers.
        question = json.loads(messages[-1]["content"].split("\n")[1])["text"]
        right = len(self.calls) % 3 < 1 + len(state["examples"])
        label = question[:1] if right else "wrong"
        self.calls.append((held, label))
        return {"label": label}


@pytest.fixture
def trained(tmp_path: Path) -> tuple[ec.Run, Said, list[Text], list[Label]]:
    said = Said()
    x = [Text(text=f"{letter}{number}") for number in range(4) for letter in "ab"]
    y = [Label(label=value.text[0]) for value in x]
    run = ec.open(tmp_path / "runs.lmdb").run("r", seed=1)
    inputs = ec.Input(data_model=Text)
    said.generator = Generator(data_model=Label, language_model=LanguageModel(function=said))
    program = ec.Program(inputs=inputs, outputs=ec.wait(said.generator(inputs)), name="p")
    program.compile(reward=ec.ExactMatch(), optimizer=ec.optimizers.RandomFewShot(nb_min_examples=1))
    said.calls.clear()
    ec.wait(program.fit(x=x, y=y, validation_data=(x, y), epochs=3, batch_size=4, verbose=0))
    run.flush()
    return run, said, x, y


def means(said: Said) -> list[float]:
    """Share of calls with a right answer, by what the module held, in order of appearance."""
    groups: dict[str, list[float]] = {}
    for held, label in said.calls:
        groups.setdefault(held, []).append(float(label != "wrong"))
    return [sum(values) / len(values) for values in groups.values()]


def test_every_call_of_every_candidate_is_found(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, said, _, _ = trained
    found = predictions(run)
    assert sorted(item.outputs["label"] for item in found) == sorted(label for _, label in said.calls)
    assert len({item.candidate for item in found}) == len({held for held, _ in said.calls}) > 2
    assert {item.phase for item in found} == {"training", "minibatch", "validation"}
    assert all(item.reward is not None and item.outputs["sure"] is True for item in found)
    assert all((item.inputs is not None) == (item.phase == "training") for item in found)


def test_a_new_reward_scores_each_candidate_over_its_recorded_answers(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, said, x, y = trained
    calls, head = len(said.calls), run.head

    async def not_wrong(y_true: Any, y_pred: Any) -> float:
        assert y_true.label == y_pred.get("label") or y_pred.get("label") == "wrong"
        return float(y_pred.get("label") != "wrong")

    found = ec.wait(rescore(run, not_wrong, x, y))
    assert [item.score for item in found] == pytest.approx(means(said))
    assert [item.recorded for item in found] == pytest.approx(means(said))
    assert sum(item.count for item in found) == calls and not any(item.failed for item in found)
    assert (len(said.calls), run.head) == (calls, head)
    assert found[0].fields.keys() >= {"instructions", "examples"}
    assert "not_wrong" in repr(found) and "<table" in found._repr_html_()


def test_a_run_read_by_another_process_is_scored_too(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, said, x, y = trained
    url = run.store.url
    run.store.close()
    with ec.open(url, read_only=True) as store:
        found = ec.wait(rescore(store["r"], "exact_match", x, y))
    assert [item.score for item in found] == pytest.approx(means(said))


def test_phases_and_targets_of_ones_own(trained: tuple[ec.Run, Said, list[Text], list[Label]]) -> None:
    run, _, _, _ = trained
    wanted = predictions(run, phases=["training"])

    def target(item: Any) -> Label:
        return Label(label=item.inputs["text"][0])

    found = ec.wait(rescore(run, ec.ExactMatch(), target=target, phases=["training"]))
    assert sum(item.count for item in found) == len(wanted) == 3 * 8


def test_a_metric_is_measured_for_each_candidate_apart(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, said, x, y = trained
    metric = ec.metrics.MeanMetricWrapper(
        lambda y_true, y_pred: float(y_pred.get("label") != "wrong"), name="ok"
    )
    head = run.head
    found: Rescoring = ec.wait(rescore(run, metric, x, y))
    assert [item.score for item in found] == pytest.approx(means(said))
    assert run.head == head and metric.result() == 0.0


def test_a_reward_that_raises_fails_its_example_alone(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, said, x, y = trained

    def fragile(y_true: Any, y_pred: Any) -> float:
        if y_pred.get("label") == "wrong":
            raise ValueError("no")
        return 1.0

    found = ec.wait(rescore(run, fragile, x, y))
    assert sum(item.failed for item in found) == sum(label == "wrong" for _, label in said.calls)
    assert all(item.score == (1.0 if item.count else None) for item in found)
    first = next(item for item in found if item.failed)
    wrong = [item.seq for item in predictions(run) if item.outputs["label"] == "wrong"]
    assert first.error == f"seq {wrong[0]}: ValueError: no"
    assert f"first failure of {first.candidate}: {first.error}" in repr(found)
    assert str(first.error) in found._repr_html_()


@pytest.mark.parametrize(("answer", "why"), [("x", "x"), (float("nan"), "nan")])
def test_what_is_no_finite_number_is_said_with_its_seq(
    trained: tuple[ec.Run, Said, list[Text], list[Label]], answer: Any, why: str
) -> None:
    run, said, x, y = trained
    found = ec.wait(rescore(run, lambda y_true, y_pred: answer, x, y))
    assert sum(item.failed for item in found) == len(said.calls) and not any(item.count for item in found)
    assert str(found[0].error).startswith(f"seq {found[0].first_seen}: ") and why in str(found[0].error)


def test_a_batch_reward_that_raises_fails_its_batch_and_says_why(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, _, x, y = trained

    class Whole(Reward):
        scores_batches = True

        async def call(self, y_true: Any, y_pred: Any) -> Any:
            raise ValueError("not today")

    found = ec.wait(rescore(run, Whole(), x, y))
    assert all(str(item.error).endswith("ValueError: not today") and not item.count for item in found)


def test_forgotten_targets_are_asked_for(trained: tuple[ec.Run, Said, list[Text], list[Label]]) -> None:
    run, _, x, _ = trained

    def equal(y_true: Any, y_pred: Any) -> float:
        return float(y_true.label == y_pred.get("label"))

    metric = ec.metrics.MeanMetricWrapper(equal, name="equal")
    for given in (None, x):
        for reward in (equal, "exact_match"):
            with pytest.raises(
                InvalidValue, match=r"no targets were given: pass x= and y=, or target=.*at seq"
            ):
                ec.wait(rescore(run, reward, given))
        with pytest.raises(InvalidValue, match=r"at seq .*no target was given: pass x= and y=, or target="):
            ec.wait(rescore(run, metric, given))
    scored = ec.wait(
        rescore(run, lambda y_true, y_pred: float(len(y_pred.get("label"))), target=lambda item: None)
    )
    assert all(item.count and not item.failed for item in scored)


def test_a_phase_that_does_not_exist_is_refused_by_name(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, _, x, y = trained
    names = "'valdation': the phases are training, minibatch, validation, test, prediction"
    with pytest.raises(InvalidValue, match=names):
        ec.wait(rescore(run, ec.ExactMatch(), x, y, phases=["valdation"]))
    with pytest.raises(InvalidValue, match=names):
        predictions(run, phases=["valdation"])
    assert predictions(run, phases="training") == predictions(run, phases=["training"])


def test_a_reward_that_asks_a_model_is_refused_and_nobody_is_asked(
    trained: tuple[ec.Run, Said, list[Text], list[Label]],
) -> None:
    run, _, x, y = trained
    asked: list[Any] = []

    def answer(messages: Any) -> str:
        asked.append(messages)
        return "yes"

    judge = LanguageModel(function=answer)

    async def judged(y_true: Any, y_pred: Any) -> float:
        await judge("is it good?")
        return 1.0

    head = run.head
    with pytest.raises(InvalidValue, match=r"it calls a model.*program\.evaluate"):
        ec.wait(rescore(run, judged, x, y))
    assert asked == [] and run.head == head


def test_data_the_run_did_not_see_is_refused(trained: tuple[ec.Run, Said, list[Text], list[Label]]) -> None:
    run, _, x, y = trained
    with pytest.raises(NotFound, match="its example is not in x"):
        ec.wait(rescore(run, ec.ExactMatch(), x[:1], y[:1]))


def test_a_run_without_predictions_says_so(tmp_path: Path) -> None:
    run = ec.open(tmp_path / "r.lmdb").run("r")
    ec.Variable({"n": 1}, {"type": "object", "properties": {"n": {"type": "integer"}}}, name="v")
    with pytest.raises(NotFound, match="no recorded prediction"):
        ec.wait(rescore(run, ec.ExactMatch()))
    with pytest.raises(NotFound, match="did you mean v"):
        ec.wait(rescore(run, ec.ExactMatch(), variable="vv"))


def test_of_several_variables_one_is_chosen(tmp_path: Path) -> None:
    run = ec.open(tmp_path / "r.lmdb").run("r")
    inputs = ec.Input(data_model=Question)
    outputs = [ec.wait(Echo(name=name)(inputs)) for name in ("one", "two")]
    program = ec.Program(inputs=inputs, outputs=outputs, name="p")
    reward: Any = [ec.ExactMatch(), ec.ExactMatch()]
    program.compile(reward=reward, optimizer=ec.optimizers.RandomFewShot())
    x = [Question(key=key) for key in "abc"]
    y = [[Answer(key=key), Answer(key=key)] for key in "abc"]
    ec.wait(program.fit(x=x, y=y, epochs=1, verbose=0))
    with pytest.raises(InvalidValue, match="pass variable="):
        ec.wait(rescore(run, ec.ExactMatch()))
    path = next(path for path in run.state.names() if path.endswith("skill_two"))

    def target(item: Any) -> Answer:
        return Answer(key=item.inputs["key"])

    found = ec.wait(rescore(run, ec.ExactMatch(), variable=path, target=target))
    assert found.variable == path and {item.score for item in found} == {1.0}
    appended = list(run.events(variable=path, kind="PredictionAppended"))
    assert sum(item.count for item in found) == len(appended) > 1
