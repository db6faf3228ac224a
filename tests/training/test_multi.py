"""Programs with several inputs and outputs, programs nobody has built, and data in every shape."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import eventcore as ec
from eventcore import optimizers
from eventcore.errors import InvalidValue
from tests.training.programs import Answer, Echo, Question, Speaker, program_of


@pytest.fixture(autouse=True)
def run() -> Iterator[Any]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("multi", seed=1) as run:
        yield run
        run.flush()
        assert run.at(run.head).digest == run.state.digest
        assert store.verify() == []


COUNT = 10
KEYS = [str(n) for n in range(COUNT)]


def questions(count: int = COUNT) -> tuple[list[Question], list[Answer]]:
    return [Question(key=str(n)) for n in range(count)], [Answer(key=str(n)) for n in range(count)]


class Passing(ec.Module):
    """Hands its input on."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Hand on."""
        return Answer(key=inputs.get("key"))


def two_in_two_out(outputs: Any = list) -> Any:
    """Outputs: the question's key, and the other input."""
    question, other = (
        ec.Input(data_model=Question, name="question"),
        ec.Input(data_model=Answer, name="other"),
    )
    first, second = ec.wait(Echo(name="echo")(question)), ec.wait(Passing(name="passing")(other))
    made = {"one": first, "two": second} if outputs is dict else [first, second]
    return ec.Program(inputs=[question, other], outputs=made, name="two")


LISTS = [[Question(key=key), Answer(key=f"z{key}")] for key in KEYS]
MAPS = [{"other": Answer(key=f"z{key}"), "question": Question(key=key)} for key in KEYS]
PLAIN = [
    {"question": {"key": key, "uses": 1, "turns": 0, "fails": False}, "other": {"key": f"z{key}"}}
    for key in KEYS
]
MIXED = [{"question": Question(key=key), "other": {"key": f"z{key}"}} for key in KEYS]
TARGETS = [[Answer(key=key), Answer(key=f"z{key}")] for key in KEYS]
BY_NAME = [{"passing": Answer(key=f"z{key}"), "echo": Answer(key=key)} for key in KEYS]


@pytest.mark.parametrize("x", [LISTS, MAPS, PLAIN, MIXED, np.array(LISTS, dtype=object)])
@pytest.mark.parametrize("y", [TARGETS, BY_NAME, np.array(TARGETS, dtype=object)])
def test_several_inputs_and_outputs_come_as_lists_maps_and_arrays(x: Any, y: Any) -> None:
    program = two_in_two_out()
    program.compile(
        reward={"passing": "exact_match", "echo": "exact_match"},
        reward_weights={"passing": 2.0},
        optimizer="random_few_shot",
        metrics=["accuracy"],
    )
    history = ec.wait(program.fit(x, y, batch_size=4, verbose=0)).history
    assert history == {"reward": [3.0], "val_reward": [3.0], "accuracy": [1.0], "val_accuracy": [1.0]}


@pytest.mark.parametrize("names", [("one", "two"), ("echo", "passing")])
def test_outputs_that_are_a_map_are_matched_with_targets_by_name(names: tuple[str, str]) -> None:
    program = two_in_two_out(dict)
    program.compile(reward=["exact_match", "exact_match"], metrics=["accuracy"])
    one, two = names
    targets = [{two: Answer(key=f"z{key}"), one: Answer(key=key)} for key in KEYS]
    assert ec.wait(program.evaluate(LISTS, targets, verbose=0)) == {"accuracy": 1.0, "reward": 2.0}
    wrong = [{one: Answer(key=key), two: Answer(key="other")} for key in KEYS]
    assert ec.wait(program.evaluate(LISTS, wrong, verbose=0)) == {"accuracy": 0.5, "reward": 1.0}


def test_an_output_without_a_reward_counts_for_nothing() -> None:
    program = two_in_two_out()
    program.compile(reward=["exact_match", None], reward_weights=[0.5, 100.0])
    assert ec.wait(program.evaluate(LISTS, TARGETS, verbose=0)) == {"reward": 0.5}


def test_a_target_for_an_output_that_is_not_there_fails_its_example_naming_the_outputs(run: Any) -> None:
    program = two_in_two_out()
    program.compile(reward=["exact_match", "exact_match"])
    targets: list[Any] = [*TARGETS[1:], {"ehco": Answer(key="1")}]
    with pytest.warns(UserWarning, match=r"examples? failed in evaluate"):
        ec.wait(program.evaluate(LISTS, targets, verbose=0))
    (failed,) = [record.event for record in run.events(kind="RolloutFailed")]
    assert failed.message == "no output is called 'ehco'; the outputs are echo, passing"


@pytest.mark.parametrize(
    ("rewards", "weights", "words"),
    [
        (["exact_match"], None, "1 rewards for 2 outputs"),
        ({"third": "exact_match"}, None, "cannot reward output 'third'"),
        (["exact_match"] * 2, [1.0], "1 reward_weights for 2 outputs"),
        (["exact_match"] * 2, {"third": 1.0}, "cannot use reward_weights for 'third'"),
    ],
)
def test_rewards_that_do_not_fit_the_outputs_are_refused(rewards: Any, weights: Any, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        two_in_two_out().compile(reward=rewards, reward_weights=weights)


class Subclassed(ec.Program):
    """Makes its module when the shape of the input is known."""

    async def build(self, input_schema: Any) -> None:
        """Make it."""
        self.echo = Echo(name="late")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Echo."""
        return await self.echo(inputs, training=training)


def in_batches(count: int) -> Iterator[Any]:
    for _ in range(count):
        yield questions(4)


@pytest.mark.parametrize("form", ["list", "generator", "function", "data set"])
def test_a_program_nobody_built_is_built_by_the_data_and_trained(form: str, run: Any) -> None:
    class DataSet:
        def __iter__(self) -> Iterator[Any]:
            return in_batches(3)

    given: Any = {
        "list": questions(12)[0], "generator": in_batches(3), "function": lambda: in_batches(3), "data set": DataSet()
    }[form]  # fmt: skip
    program = Subclassed(name="subclassed")
    program.compile(reward="exact_match", optimizer="random_few_shot")
    targets = questions(12)[1] if form == "list" else None
    options: dict[str, Any] = {"batch_size": 4, "validation_split": 0} if form == "list" else {}
    history = ec.wait(program.fit(given, targets, epochs=2, verbose=0, **options)).history
    assert history == {"reward": [1.0, 1.0]}
    assert [record.event.size for record in run.events(kind="BatchBegan")] == [4] * 6
    assert len(program.trainable_variables[0].get_json()["predictions"]) == 12


@pytest.mark.filterwarnings("ignore:1 examples failed")
def test_a_first_example_that_fits_nothing_fails_alone_and_the_next_builds_the_program() -> None:
    x, y = questions(12)
    program = Subclassed(name="subclassed")
    program.compile(reward="exact_match", optimizer="random_few_shot")
    given: list[Any] = [{"kee": 1}, *x[1:]]
    ec.wait(program.fit(given, y, batch_size=4, validation_split=0, shuffle=False, verbose=0))
    assert len(program.trainable_variables[0].get_json()["predictions"]) == 11


def test_sequential_programs_train() -> None:
    program = ec.Sequential([Echo(name="echo")], description="echoes")
    program.compile(reward="exact_match", optimizer="random_few_shot")
    assert ec.wait(program.fit(*questions(12), verbose=0)).history == {"reward": [1.0], "val_reward": [1.0]}


def test_an_endless_validation_generator_is_read_once_as_far_as_validation_steps() -> None:
    given = 0

    def endless() -> Iterator[Any]:
        nonlocal given
        while True:
            given += 1
            yield questions(3)

    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    ec.wait(program.fit(*questions(4), epochs=3, validation_data=endless(), validation_steps=2, verbose=0))
    assert given == 2
    events = program.variables[0].run.events(kind="RolloutsScored")
    assert [len(r.event.rewards) for r in events if r.event.phase == "validation"] == [6] * 3


def test_records_of_a_frozen_variable_are_closed_batch_by_batch_and_its_fields_stay() -> None:
    frozen, trained = Echo(name="frozen"), Echo(name="trained")
    x = ec.Input(data_model=Question)
    program = ec.Program(inputs=x, outputs=[ec.wait(frozen(x)), ec.wait(trained(x))], name="both")
    program.compile(reward=["exact_match", "exact_match"], optimizer="random_few_shot")
    frozen.trainable = False
    before = frozen.state.get_json()
    x_train, y_train = questions()
    ec.wait(program.fit(x_train, [[y, y] for y in y_train], batch_size=2, validation_split=0, verbose=0))
    assert frozen.state.get_json() == before
    closed: list[Any] = [
        r.event for r in frozen.state.run.events(kind="PredictionsClosed", variable=frozen.state)
    ]
    assert [(event.count, event.reason) for event in closed] == [(2, "the variable is frozen")] * 5
    assert len(trained.state.get_json()["predictions"]) == 10


class Cancelled(ec.Module):
    """Is cancelled from within, as by a library that cancels its own tasks."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Be cancelled if asked to fail."""
        await asyncio.sleep(0)
        if inputs.get("fails"):
            raise asyncio.CancelledError
        return Answer(key=inputs.get("key"))


@pytest.mark.parametrize("limit", [1, 4])
def test_an_example_cancelled_from_within_fails_alone(limit: int, run: Any) -> None:
    program = program_of(Cancelled(name="cancelled"))
    program.compile(reward="exact_match")
    x = [Question(key=key, fails=int(key) % 2 == 1) for key in KEYS]
    y = [Answer(key=key) for key in KEYS]
    with pytest.warns(UserWarning, match="5 examples failed in evaluate"):
        assert ec.wait(program.evaluate(x, y, verbose=0, max_concurrency=limit)) == {"reward": 1.0}
    assert len(list(run.events(kind="RolloutFailed"))) == 5


def test_two_programs_train_in_two_runs_of_one_loop_without_meeting() -> None:
    programs = {name: program_of(Echo(name=f"echo_{name}"), name) for name in ("a", "b")}
    with ec.open("memory:") as store:

        async def train(name: str) -> None:
            with store.run(name, seed=5):
                program = programs[name]
                program.compile(reward="exact_match", optimizer="random_few_shot", metrics=["accuracy"])
                await program.fit(*questions(), batch_size=4, epochs=2, verbose=0)

        async def both() -> None:
            await asyncio.gather(train("a"), train("b"))

        ec.wait(both())
        for name, program in programs.items():
            run = store[name]
            assert run.at(run.head).digest == run.state.digest
            assert {path.split("/")[0] for path in run.state.names() if "echo" in path} == {f"echo_{name}"}
            assert len(program.trainable_variables[0].get_json()["predictions"]) == 9
        assert store.verify() == []


def test_a_trained_program_goes_on_in_another_run() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer=optimizers.RandomFewShot(), metrics=["accuracy", "calls"])
    ec.wait(program.fit(*questions(), batch_size=4, verbose=0))
    first = program.trainable_variables[0].get_json()
    with ec.open("memory:") as store, store.run("another", seed=2) as run:
        history = ec.wait(program.fit(*questions(), batch_size=4, verbose=0)).history
        assert (history["accuracy"], history["calls"], program.optimizer.epochs) == ([1.0], [0], 2)
        second = program.trainable_variables[0].get_json()
        assert second["seed_candidates"] == first["seed_candidates"]
        assert second["history"][0] == first["history"][0]
        run.flush()
        assert run.at(run.head).digest == run.state.digest
        assert store.verify() == []


@pytest.mark.parametrize("name", ["initial_epoch", "epochs"])
def test_epochs_below_nothing_are_refused(name: str) -> None:
    program = program_of(Speaker(name="s"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    with pytest.raises(InvalidValue, match=f"{name}=-1: pass a whole number of at least 0"):
        ec.wait(program.fit(*questions(4), verbose=0, **{name: -1}))


@pytest.mark.parametrize(
    "options", [{"steps_per_epoch": 0}, {"validation_steps": 0}, {"validation_freq": "x"}]
)
def test_counts_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    program = program_of(Speaker(name="s"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    with pytest.raises(InvalidValue, match=f"{next(iter(options))}="):
        ec.wait(program.fit(*questions(4), verbose=0, **options))


def test_failures_among_held_out_examples_are_told_too() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward="exact_match", optimizer="random_few_shot")
    held_out = ([Question(key="1", fails=True), Question(key="2")], [Answer(key="1"), Answer(key="2")])
    with pytest.warns(
        UserWarning, match="2 examples failed in epoch 0, the first with ValueError: question 1 fails"
    ):
        # once in the sample of the only batch, once in the validation
        history = ec.wait(
            program.fit(*questions(4), batch_size=4, validation_data=held_out, verbose=0)
        ).history
    assert history == {"reward": [1.0], "val_reward": [1.0]}
