"""The loop of `fit`: what is called how often, what is reported, what it takes and what it refuses."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore import optimizers
from eventcore.errors import InvalidValue, TrainingFailed
from tests.training.programs import Answer, Echo, Question, Speaker, program_of


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("fit", seed=1):
        yield


class Counting(ec.Module):
    """Counts its calls and how many are under way at once."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.calls: list[bool] = []
        self.under_way = 0
        self.most = 0

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Count."""
        self.calls.append(training)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.under_way -= 1
        return Answer(key=inputs.get("key"))


def questions(count: int) -> tuple[list[Question], list[Answer]]:
    return [Question(key=str(n)) for n in range(count)], [Answer(key=str(n)) for n in range(count)]


def fitted(program: Any, count: int = 20, reward: Any = "exact_match", **options: Any) -> Any:
    x, y = questions(count)
    program.compile(reward=reward, optimizer=optimizers.RandomFewShot())
    return ec.wait(program.fit(x, y, **{"verbose": 0, "validation_split": 0, **options})).history


@pytest.mark.filterwarnings("ignore:program 'program' has no trainable")
def test_an_epoch_of_180_and_20_examples_calls_the_program_at_most_1_52_times_an_example() -> None:
    """L14: the batch, the validation minibatch at each step, the validation set once."""
    counting = Counting(name="counting")
    program = program_of(counting)
    before = len(counting.calls)
    fitted(program, 200, batch_size=10, minibatch_size=4, validation_split=0.1)
    calls = len(counting.calls) - before
    assert (calls, calls / 180 <= 1.52) == (180 + 18 * 4 + 20, True)


@pytest.mark.filterwarnings("ignore:program 'program' has no trainable")
@pytest.mark.parametrize("limit", [1, 3, 32])
def test_no_more_examples_are_under_way_than_max_concurrency(limit: int) -> None:
    """L17."""
    counting = Counting(name="counting")
    fitted(program_of(counting), 40, batch_size=40, max_concurrency=limit)
    assert counting.most == limit


def test_reward_is_the_training_reward_and_val_reward_the_validations() -> None:
    """L15: and both are Python floats."""

    async def by_side(y_true: Any, y_pred: Any) -> float:
        return 1.0 if int(y_true.get("key")) < 18 else 0.25

    history = fitted(program_of(Speaker(name="s")), 20, by_side, batch_size=6, validation_split=0.1)
    assert history == {"reward": [1.0], "val_reward": [0.25]}
    assert all(type(value) is float for values in history.values() for value in values)


def test_shuffling_is_seeded_per_epoch_and_can_be_turned_off() -> None:
    """L16."""

    def order(seed: int, shuffle: bool) -> list[list[str]]:
        ec.clear_session()
        with ec.open("memory:") as store, store.run("order", seed=seed):
            seen: list[str] = []

            async def watch(y_true: Any, y_pred: Any) -> float:
                seen.append(y_true.get("key"))
                return 1.0

            fitted(program_of(Speaker(name="s")), 12, watch, batch_size=1, epochs=2, shuffle=shuffle)
            return [seen[:12], seen[12:]]

    plain = [str(n) for n in range(12)]
    assert order(1, shuffle=False) == [plain, plain]
    first, second = order(1, shuffle=True)
    assert sorted(first) == sorted(second) == sorted(plain)
    assert first != second
    assert order(1, shuffle=True) == [first, second]
    assert order(2, shuffle=True) != [first, second]


def batches_of(count: int) -> Iterator[tuple[list[Question], list[Answer]]]:
    for number in range(count):
        x, y = questions(number + 1)
        yield x, y


def sizes_of(given: Any, epochs: int, **options: Any) -> list[int]:
    program = program_of(Speaker(name="s"))
    program.compile(reward="exact_match", optimizer=optimizers.RandomFewShot())
    ec.wait(program.fit(given, epochs=epochs, verbose=0, **options))
    return [record.event.size for record in program.variables[0].run.events(kind="BatchBegan")]


def test_a_generator_gives_all_its_batches_in_every_epoch() -> None:
    assert sizes_of(batches_of(3), 3) == [1, 2, 3] * 3


def test_a_function_is_asked_for_a_new_iterator_each_epoch() -> None:
    assert sizes_of(lambda: batches_of(2), 2) == [1, 2, 1, 2]


def test_an_endless_generator_goes_on_where_it_was_with_steps_per_epoch() -> None:
    def endless() -> Iterator[tuple[list[Question], list[Answer]]]:
        while True:
            yield from batches_of(3)

    assert sizes_of(endless(), 2, steps_per_epoch=2) == [1, 2, 3, 1]


def test_a_generator_that_ends_before_the_last_epoch_is_refused_saying_what_to_pass() -> None:
    with pytest.raises(InvalidValue) as caught:
        sizes_of(batches_of(4), 3, steps_per_epoch=2)
    words = str(caught.value)
    assert words.startswith(
        "cannot train epoch 2: the data gave no examples; the generator ended after 4 batches"
    )
    assert "steps_per_epoch=2" in words and "omit steps_per_epoch" in words


@pytest.mark.parametrize(
    ("given", "steps", "words"),
    [
        (
            iter(()),
            None,
            "a generator can be read once: pass a fresh one, a function that makes one, or a list",
        ),
        (iter(()), 2, "a generator can be read once"),
        (lambda: iter(()), None, "pass a function or a dataset that gives"),
    ],
)
def test_data_that_give_nothing_are_refused_saying_what_to_pass(given: Any, steps: Any, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        sizes_of(given, 1, steps_per_epoch=steps)


def test_no_epochs_is_an_empty_history() -> None:
    assert fitted(program_of(Speaker(name="s")), epochs=0) == {}


def test_targets_may_be_missing_where_the_reward_needs_none() -> None:
    async def any_answer(y_true: Any, y_pred: Any) -> float:
        assert y_true is None
        return 0.5

    program = program_of(Speaker(name="s"))
    program.compile(reward=any_answer, optimizer=optimizers.RandomFewShot())
    assert ec.wait(program.fit(questions(20)[0], verbose=0)).history == {"reward": [0.5], "val_reward": [0.5]}


def test_plain_dicts_train_like_data_models() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer=optimizers.RandomFewShot())
    x = [{"key": str(n), "uses": 1, "turns": 0, "fails": False} for n in range(10)]
    y = [{"key": str(n)} for n in range(10)]
    assert ec.wait(program.fit(x, y, verbose=0)).history == {"reward": [1.0], "val_reward": [1.0]}


def test_several_outputs_have_rewards_of_their_own_with_weights() -> None:
    """L18."""
    x = ec.Input(data_model=Question)
    echo, speaker = ec.wait(Echo(name="echo")(x)), ec.wait(Speaker(name="speaker")(x))
    program = ec.Program(inputs=x, outputs=[echo, speaker], name="two")
    program.compile(
        reward=["exact_match", "exact_match"], reward_weights=[3.0, 0.5], optimizer="random_few_shot"
    )
    inputs, keys = questions(10)
    targets = [[key, Answer(key="start")] for key in keys]
    history = ec.wait(program.fit(inputs, targets, verbose=0, validation_split=0)).history
    assert history["reward"] == [3.5]


def test_a_second_fit_goes_on_with_the_population_it_has_unless_reset() -> None:
    """L10 and L11."""
    program = program_of(Echo(name="echo"))
    fitted(program, 10)
    optimizer, variable = program.optimizer, program.trainable_variables[0]
    first = variable.get_json()["best_candidates"]
    assert first
    assert (optimizer.iterations, optimizer.epochs) == (10, 1)
    x, y = questions(10)
    ec.wait(program.fit(x, y, verbose=0, validation_split=0))
    assert (optimizer.iterations, optimizer.epochs) == (20, 2)
    assert variable.get_json()["history"]
    ec.wait(program.fit(x, y, verbose=0, validation_split=0, reset=True))
    assert len(variable.get_json()["history"]) == 1


def rewarding(value: Any) -> Any:
    """Good on even keys, `value` on odd ones."""

    async def reward(y_true: Any, y_pred: Any) -> Any:
        if int(y_true.get("key")) % 2:
            if isinstance(value, Exception):
                raise value
            return value
        return 1.0

    return reward


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None, "high", KeyError("lost")])
def test_a_reward_that_is_no_finite_number_fails_its_example_alone(bad: Any) -> None:
    """L9."""
    program = program_of(Speaker(name="s"))
    with pytest.warns(UserWarning, match="5 examples failed in epoch 0"):
        history = fitted(program, 10, rewarding(bad))
    assert history == {"reward": [1.0]}
    failures = [record.event for record in program.variables[0].run.events(kind="RolloutFailed")]
    assert {event.stage for event in failures} == {"reward"}
    rewards = [r["reward"] for r in program.variables[0].get_json()["predictions"]]
    assert rewards == [1.0] * 5


def test_a_training_in_which_everything_fails_stops_with_the_first_cause() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    x = [Question(key=str(n), fails=True) for n in range(200)]
    with pytest.raises(TrainingFailed, match=r"question .* fails") as caught:
        ec.wait(program.fit(x, [Answer(key="1")] * 200, verbose=0, validation_split=0))
    assert isinstance(caught.value.__cause__, ValueError)
    assert len(list(program.variables[0].run.events(kind="RolloutFailed"))) == 32


def failing(count: int) -> tuple[list[Question], list[Answer]]:
    x = [Question(key=str(n), fails=True) for n in range(count)]
    return x, [Answer(key=str(n)) for n in range(count)]


def test_an_epoch_in_which_everything_fails_is_no_score_of_nothing() -> None:
    """L2: what could not be scored has no score, neither a 0.0 nor any other."""
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    run = program.variables[0].run
    with pytest.raises(TrainingFailed):
        ec.wait(program.fit(*failing(4), verbose=0, validation_data=questions(2)))
    assert program.history.history == {}
    # Nothing is validated, selected or chosen on the strength of an epoch that scored nothing.
    assert not list(run.events(kind="EpochEnded"))
    assert {record.event.phase for record in run.events(kind="RolloutsScored")} <= {"training", "minibatch"}
    assert [record.event.logs for record in run.events(kind="BatchEnded")] == [{}] * 4


def test_a_later_epoch_in_which_everything_fails_logs_no_reward() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    epochs = [questions(2), failing(2)]
    stream = iter(epochs)
    with pytest.warns(UserWarning, match="2 examples failed in epoch 1"):
        history = ec.wait(program.fit(stream, epochs=2, steps_per_epoch=1, verbose=0)).history
    assert history["reward"][0] == 1.0
    assert math.isnan(history["reward"][1])
    ended = [record.event.logs for record in program.variables[0].run.events(kind="EpochEnded")]
    assert ended == [{"reward": 1.0}, {}]


def test_evaluate_warns_of_examples_that_fail_and_scores_the_others() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match")
    x, y = questions(3)
    with pytest.warns(UserWarning, match=r"2 examples failed in evaluate, the first .* fails"):
        assert ec.wait(program.evaluate(x + failing(2)[0], y + failing(2)[1])) == {"reward": 1.0}
    with pytest.warns(UserWarning, match="2 examples failed in evaluate"):
        assert math.isnan(ec.wait(program.evaluate(*failing(2)))["reward"])


def test_the_data_that_go_into_evaluate_and_predict_are_recorded() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match")
    x, y = questions(3)
    ec.wait(program.evaluate(x, y))
    ec.wait(program.predict(x))
    ec.wait(program.predict(batch for batch in [x[:1]]))
    seen = [record.event for record in program.variables[0].run.events(kind="DataSetSeen")]
    assert [(event.role, event.size) for event in seen] == [
        ("test", 3),
        ("prediction", 3),
        ("prediction", -1),
    ]
    assert seen[0].digest == seen[1].digest != ""
    assert seen[2].digest == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"x": [], "y": []}, "holds no examples"),
        ({"x": questions(4)[0], "y": questions(3)[1]}, "cannot pair 4 inputs with 3 targets"),
        ({"x": questions(1)[0], "y": questions(1)[1]}, "one side would be empty"),
        ({"x": iter(()), "y": None}, "gave no examples"),
        ({"x": batches_of(2), "y": questions(1)[1]}, "beside a generator"),
        ({"x": questions(4)[0], "y": None, "batch_size": 0}, "batch_size=0"),
        ({"x": questions(4)[0], "y": None, "max_concurrency": 0}, "max_concurrency=0"),
        ({"x": questions(4)[0], "y": None, "validation_split": 1.5}, "validation_split=1.5"),
    ],
)
def test_bad_data_is_refused_saying_what_would_work(options: dict[str, Any], words: str) -> None:
    program = program_of(Speaker(name="s"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    with pytest.raises(InvalidValue, match=words):
        ec.wait(program.fit(verbose=0, **options))


def test_inputs_of_another_schema_fail_naming_the_field() -> None:
    program = program_of(Speaker(name="s"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    with pytest.raises(TrainingFailed, match="key"):
        ec.wait(program.fit([{"kee": "1"}] * 10, [Answer(key="1")] * 10, verbose=0))


def test_a_generator_that_raises_ends_the_training_with_its_error() -> None:
    def breaking() -> Iterator[Any]:
        yield questions(2)
        raise OSError("the disk is gone")

    program = program_of(Speaker(name="s"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    with pytest.raises(OSError, match="the disk is gone"):
        ec.wait(program.fit(breaking(), verbose=0))
    ended = [record.event for record in program.variables[0].run.events(kind="TrainEnded")]
    assert [event.reason for event in ended] == ["failed in epoch 0, step 0: OSError"]


def test_fit_before_compile_says_what_to_do_first() -> None:
    with pytest.raises(InvalidValue, match=r"call program\.compile"):
        ec.wait(program_of(Speaker(name="s")).fit(*questions(4)))


@pytest.mark.parametrize(
    "what", [{"optimizer": "random_few_shto"}, {"reward": "exakt"}, {"metrics": ["acuracy"]}]
)
def test_an_unknown_name_lists_the_known_ones(what: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="the known names are"):
        program_of(Speaker(name="s")).compile(**what)


def test_evaluate_and_predict_on_batches_and_lists_agree() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", metrics=["accuracy"])
    x, y = questions(5)
    assert ec.wait(program.evaluate(x, y, verbose=0)) == {"accuracy": 1.0, "reward": 1.0}
    outputs = ec.wait(program.predict_on_batch(x))
    assert [output.get("key") for output in outputs] == [str(n) for n in range(5)]
    assert ec.wait(program.compute_reward(x, y, outputs)) == [1.0] * 5
    assert ec.wait(program.test_on_batch(x, y, return_dict=True)) == {"reward": 1.0, "accuracy": 1.0}


def test_one_step_trains_on_one_batch() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    x, y = questions(4)
    assert ec.wait(program.train_on_batch(0, x, y, val_x=x, val_y=y, return_dict=True)) == {"reward": 1.0}
    assert program.optimizer.iterations == 1
    assert program.trainable_variables[0].get_json()["predictions"]


def test_live_state_after_a_training_is_the_fold_of_its_log() -> None:
    """I1, with every event of training."""
    program = program_of(Echo(name="echo"))
    fitted(program, 30, batch_size=4, epochs=3, validation_split=0.2)
    run = program.variables[0].run
    run.flush()
    assert run.at(run.head).digest == run.state.digest
    assert run.store.verify() == []


SCRIPT = """
    import asyncio, sys
    import eventcore as ec
    from tests.training.programs import Answer, Echo, Question, program_of

    run = ec.open(sys.argv[1]).run("interrupted", seed=1)
    program = program_of(Echo(name="echo"))

    async def slow(y_true, y_pred):
        if len([None for _ in run.events(kind="BatchEnded")]) == 3:
            print("third", flush=True)
            await asyncio.sleep(60)
        return 1.0

    program.compile(reward=slow, optimizer="random_few_shot")
    x = [Question(key=str(n)) for n in range(50)]
    ec.wait(program.fit(x, [Answer(key=str(n)) for n in range(50)], validation_split=0, verbose=0))
"""


def test_ctrl_c_leaves_a_consistent_durable_log_that_says_where_it_stopped(tmp_path: Path) -> None:
    store = tmp_path / "runs.lmdb"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "third\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert "interrupted in epoch 0, step 3" in said
    with ec.open(store, read_only=True) as opened:
        run = opened["interrupted"]
        ended = [record.event for record in run.events(kind="TrainEnded")]
        assert [event.reason for event in ended] == ["interrupted in epoch 0, step 3"]  # type: ignore[attr-defined]
        assert opened.verify() == []
