"""Metrics against values worked out by a model of their own, and what they cost in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.replay.effects import Outcome, perform
from eventcore.training import metrics
from tests.training.programs import Answer, Echo, Question, program_of


@pytest.fixture(autouse=True)
def run() -> Iterator[Any]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("metrics", seed=1) as run:
        yield run
        run.flush()
        assert run.at(run.head).digest == run.state.digest


def told(metric: Any, pairs: list[tuple[Any, Any]]) -> Any:
    """The value after some predictions."""

    async def all_of_them() -> None:
        for y_true, y_pred in pairs:
            await metric.update_state(y_true, y_pred)

    ec.wait(all_of_them())
    return metric.result()


labels = st.sampled_from(["a", "b", "c"])
pairs = st.lists(st.tuples(labels, st.one_of(labels, st.none())), min_size=1, max_size=30)


def by_hand(told: list[tuple[str, str | None]], beta: float) -> dict[str, tuple[float, float, float, int]]:
    """Precision, recall, F and support by label: from the definitions, label by label."""
    found = {}
    for label in sorted({t for t, _ in told} | {p for _, p in told if p is not None}):
        predicted = [t for t, p in told if p == label]
        true = [p for t, p in told if t == label]
        precision = sum(t == label for t in predicted) / len(predicted) if predicted else 0.0
        recall = sum(p == label for p in true) / len(true) if true else 0.0
        below = beta**2 * precision + recall
        found[label] = (
            precision,
            recall,
            (1 + beta**2) * precision * recall / below if below else 0.0,
            len(true),
        )
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(predictions=pairs, beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_precision_recall_and_f_are_those_of_their_definitions(
    predictions: list[tuple[str, str | None]], beta: float
) -> None:
    ec.clear_session()
    expected = by_hand(predictions, beta)
    given = [({"label": t}, None if p is None else {"label": p}) for t, p in predictions]
    total = sum(support for *_, support in expected.values())
    made: list[Any] = [metrics.Precision, metrics.Recall, lambda average: metrics.FBetaScore(average, beta)]
    for place, make in enumerate(made):
        each = {label: values[place] for label, values in expected.items()}
        assert told(make(average=None), given) == pytest.approx(each)
        assert told(make(average="macro"), given) == pytest.approx(sum(each.values()) / len(each))
        weighted = sum(each[label] * expected[label][3] for label in each) / total
        assert told(make(average="weighted"), given) == pytest.approx(weighted)
    right = sum(t == p for t, p in predictions)
    missing = sum(p is None for _, p in predictions)
    micro = {"precision": right / max(1, len(predictions) - missing), "recall": right / len(predictions)}
    assert told(metrics.Precision("micro"), given) == pytest.approx(micro["precision"])
    assert told(metrics.Recall("micro"), given) == pytest.approx(micro["recall"])
    assert told(metrics.Accuracy(), given) == pytest.approx(right / len(predictions))


@pytest.mark.parametrize(
    ("y_true", "y_pred", "expected"),
    [
        ({"a": "x", "b": "y"}, {"a": "x", "b": "z"}, 0.5),
        ({"a": "x", "b": "y"}, None, 0.0),
        ({"a": None}, None, 0.0),
        ({"a": None}, {"a": None}, 1.0),
        ({"tags": ["x", "y"]}, {"tags": ["y", "x"]}, 1.0),
        ({"tags": ["x", "y"]}, {"tags": ["x"]}, 0.0),
        (None, {"a": "x"}, 0.0),
        ([{"a": "x"}, {"b": "y"}], [{"a": "x"}, None], 0.5),
    ],
)
def test_accuracy_counts_the_fields_of_the_target(y_true: Any, y_pred: Any, expected: float) -> None:
    assert told(metrics.Accuracy(), [(y_true, y_pred)]) == expected


def test_masks_choose_the_fields() -> None:
    pair = ({"a": "x", "b": "y"}, {"a": "x", "b": "z"})
    assert told(metrics.Accuracy(in_mask=["a"]), [pair]) == 1.0
    assert told(metrics.Accuracy(out_mask_pattern="a"), [pair]) == 0.0


def test_sets_of_labels_are_counted_label_by_label() -> None:
    given = [({"tags": ["x", "y"]}, {"tags": ["y", "z"]}), ({"tags": ["x"]}, {"tags": ["x"]})]
    assert told(metrics.Precision(average=None), given) == {"x": 1.0, "y": 1.0, "z": 0.0}
    assert told(metrics.Recall(average=None), given) == {"x": 0.5, "y": 1.0, "z": 0.0}
    assert told(metrics.F1Score("micro"), given) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.F1Score("mean"), "cannot average by 'mean'"),
        (lambda: metrics.FBetaScore(beta=0), "cannot use beta=0"),
        (lambda: metrics.FBetaScore(beta=float("nan")), "cannot use beta=nan"),
        (lambda: metrics.get("acuracy"), "did you mean 'accuracy'"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        make()


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=10))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sum_and_mean_are_those_and_begin_anew_after_a_reset(values: list[float]) -> None:
    ec.clear_session()
    for metric, expected in (
        (metrics.Sum(), sum(values)),
        (metrics.Mean(), sum(values) / len(values) if values else 0.0),
    ):
        assert told(metric, [(values, None)]) == pytest.approx(expected)
        metric.reset_state()
        assert metric.result() == 0.0


def test_a_number_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(InvalidValue, match="cannot add nan to metric 'mean'"):
        told(metrics.Mean(), [(float("nan"), None)])


def test_functions_are_metrics() -> None:
    async def length(y_true: Any, y_pred: Any, factor: int = 1) -> float:
        return factor * len(y_pred.get("key"))

    wrapped = metrics.MeanMetricWrapper(length, factor=2)
    assert told(wrapped, [(None, {"key": "ab"}), (None, {"key": "abcd"})]) == 6.0
    assert wrapped.name == "length"


@pytest.mark.parametrize(
    "make",
    [
        lambda: metrics.Accuracy(name="mine", in_mask=["a"]),
        lambda: metrics.FBetaScore("micro", 2.0, out_mask=["b"]),
        lambda: metrics.F1Score(None),
        lambda: metrics.Precision("weighted"),
        metrics.Recall,
        metrics.Mean,
        metrics.Sum,
        metrics.Cost,
        metrics.AvgLatency,
    ],
)
def test_configs_rebuild_equal_metrics_whose_state_has_the_same_place(make: Any) -> None:
    metric = make()
    config = metrics.serialize(metric)
    paths = [variable.path for variable in metric.variables]
    ec.clear_session()
    again = metrics.deserialize(config)
    assert type(again) is type(metric)
    assert metrics.serialize(again) == config
    assert [variable.path for variable in again.variables] == paths


def test_a_metric_called_reward_or_like_another_gets_a_number_and_can_be_monitored() -> None:
    program = program_of(Echo(name="echo"))

    def half(y_true: Any, y_pred: Any) -> float:
        return 0.5

    program.compile(
        reward="exact_match",
        optimizer="random_few_shot",
        metrics=["accuracy", "accuracy", metrics.MeanMetricWrapper(half, name="reward")],
    )
    x, y = [Question(key=str(n)) for n in range(10)], [Answer(key=str(n)) for n in range(10)]
    stopping = ec.callbacks.EarlyStopping(monitor="val_accuracy_1", mode="max")
    history = ec.wait(program.fit(x, y, verbose=0, callbacks=[stopping])).history
    assert {name: values[0] for name, values in history.items()} == {
        "reward": 1.0, "accuracy": 1.0, "accuracy_1": 1.0, "reward_1": 0.5,
        "val_reward": 1.0, "val_accuracy": 1.0, "val_accuracy_1": 1.0, "val_reward_1": 0.5,
    }  # fmt: skip


class Paying(ec.Module):
    """Makes one call of a fixed price; fails where it is told to."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Pay."""
        if not inputs.get("key"):
            return Answer(key="")

        async def answer(ticket: Any) -> Outcome:
            await asyncio.sleep(0)
            if inputs.get("fails"):
                raise ValueError("the other side says no")
            return Outcome("yes", "model", input_tokens=10, output_tokens=3, cost=0.5)

        await perform("language_model", {"ask": inputs.get("key")}, answer)
        return Answer(key=inputs.get("key"))

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """An answer."""
        return Answer


OPERATIONAL = ["input_tokens", "output_tokens", "total_tokens", "cost", "calls", "errors", "error_rate"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_operational_metrics_are_the_sums_over_the_effects_of_the_epoch() -> None:
    program = program_of(Paying(name="paying"))
    program.compile(reward="exact_match", optimizer="random_few_shot", metrics=[*OPERATIONAL, "avg_latency"])
    x = [Question(key=f"q{n}", fails=n == 3) for n in range(10)]
    y = [Answer(key=f"q{n}") for n in range(10)]
    history = ec.wait(
        program.fit(x, y, epochs=2, batch_size=4, validation_split=0.2, minibatch_size=1, verbose=0)
    ).history
    # 8 examples, 2 batches with a sample of 1 each: 10 calls of which one fails; then 2 of validation.
    expected = {
        "input_tokens": 90, "output_tokens": 27, "total_tokens": 117, "cost": 4.5, "calls": 10, "errors": 1,
        "error_rate": 0.1,
    }  # fmt: skip
    assert {name: history[name] for name in OPERATIONAL} == {name: [v, v] for name, v in expected.items()}
    assert (history["val_calls"], history["val_cost"], history["val_errors"]) == ([2, 2], [1.0, 1.0], [0, 0])
    assert all(0 < seconds < 10 for seconds in history["avg_latency"])
    found = ec.wait(program.evaluate(x[:2], y[:2], verbose=0))
    assert (found["calls"], found["total_tokens"]) == (2, 26)


def test_what_a_metric_writes_per_prediction_does_not_grow_with_the_labels_it_has_seen(run: Any) -> None:
    """Each prediction has labels of its own: the log may not hold all of them again and again."""
    metric = metrics.F1Score()
    sizes = []
    for begin in (0, 400):
        before = sum(len(repr(record.event)) for record in run.events())
        told(metric, [({"label": f"true {n}"}, {"label": f"said {n}"}) for n in range(begin, begin + 100)])
        sizes.append(sum(len(repr(record.event)) for record in run.events()) - before)
    assert sizes[1] <= 1.1 * sizes[0]
