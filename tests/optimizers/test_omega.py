"""`OMEGA`: what its model is asked, what becomes of the answers, and which candidates survive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.history.population import candidate_fields
from eventcore.language_models import (
    EmbeddingModel,
    LanguageModel,
    set_default_embedding_model,
    set_default_language_model,
)
from eventcore.optimizers import OMEGA
from eventcore.saving import deserialize_object, register_serializable, serialize_object
from tests.optimizers.samples import Knob, chance, fresh_run, program_of, questions, train


@pytest.fixture(autouse=True)
def no_default_models() -> Iterator[None]:
    set_default_language_model(None)
    set_default_embedding_model(None)
    yield
    set_default_language_model(None)
    set_default_embedding_model(None)


class Asked:
    """Stands for both models, and keeps what it was asked."""

    def __init__(self, size: int = 1000) -> None:
        self.size = size
        self.questions: list[dict[str, Any]] = []
        self.systems: list[str] = []
        self.arguments: list[dict[str, Any]] = []
        self.texts: list[list[str]] = []

    def answer(self, messages: Any, schema: Any = None, **arguments: Any) -> dict[str, Any]:
        said = messages[-1]["content"]
        self.systems.append(messages[0]["content"])
        self.questions.append(json.loads(said.removeprefix("<input>\n").removesuffix("\n</input>\n<output>")))
        self.arguments.append({"schema": schema, **arguments})
        value = {"value": int(chance(said) * self.size)}
        return {"thinking": "…", **value} if "thinking" in schema["properties"] else value

    def vectors(self, texts: list[str]) -> list[list[float]]:
        self.texts.append(list(texts))
        return [[chance(text, axis) - 0.5 for axis in range(3)] for text in texts]


def by_value(number: int, says: dict[str, Any]) -> float:
    return round(chance(says["knob"]["value"]), 3)


def omega(asked: Asked, **arguments: Any) -> OMEGA:
    return OMEGA(language_model=asked.answer, embedding_model=asked.vectors, **arguments)


# --- what survives -------------------------------------------------------------------------------


def test_nothing_is_embedded_while_all_candidates_survive() -> None:
    asked = Asked()
    with fresh_run(1):
        train(by_value, omega(asked, population_size=10), {"knob": Knob}, seen=3, epochs=2)
    assert asked.texts == []


ENTRIES = [
    {"value": 1, "examples": [], "reward": 0.9, "evaluations": 4},
    {"value": 2, "examples": [], "reward": 0.8, "evaluations": 4},
    {"value": 3, "examples": [], "reward": 0.7, "evaluations": 4},
    {"value": 90, "examples": [], "reward": 0.1, "evaluations": 4},
]
"""Three good ones close to each other, and a poor one far away."""


async def by_number(one: dict[str, Any], other: dict[str, Any], embedding_model: Any) -> float:
    assert embedding_model is None and set(one) == set(other) == {"value", "examples"}
    return float(abs(one["value"] - other["value"]))


@register_serializable()
def plainly(one: dict[str, Any], other: dict[str, Any], embedding_model: Any) -> float:
    return float(abs(one["value"] - other["value"]))


def on_a_line(texts: list[str]) -> list[list[float]]:
    return [[1.0, float(text.rpartition(" ")[2])] for text in texts]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({"algorithm": "ga"}, [0, 1]),
        ({"distance_function": by_number}, [0, 3]),
        ({"distance_function": plainly}, [0, 3]),
        ({"embedding_model": on_a_line}, [0, 3]),
        ({"distance_function": plainly, "k_nearest_fitter": 1}, [0, 3]),
    ],
)
def test_the_far_one_survives_by_novelty_and_not_by_reward(
    arguments: dict[str, Any], kept: list[int]
) -> None:
    with fresh_run(0):
        variable = ec.Variable(data_model=Knob, name="knob")
        optimizer = OMEGA(language_model=Asked().answer, population_size=2, **arguments)
        order = ec.wait(optimizer.compete(variable, list(ENTRIES)))
    assert order[:2] == kept


def test_when_embeddings_fail_the_best_by_reward_survive_and_a_warning_says_so() -> None:
    def broken(texts: list[str]) -> Any:
        raise ConnectionError("no route")

    model = EmbeddingModel(function=broken, retry=0)
    with fresh_run(0):
        variable = ec.Variable(data_model=Knob, name="knob")
        optimizer = OMEGA(language_model=Asked().answer, embedding_model=model, population_size=2)
        with pytest.warns(UserWarning, match="no route"):
            order = ec.wait(optimizer.compete(variable, list(ENTRIES)))
    assert order[:2] == [0, 1]


# --- what the model is asked ---------------------------------------------------------------------


def test_the_model_sees_the_program_the_batch_and_the_variable_and_crosses_after_the_first_epoch() -> None:
    asked = Asked()
    with fresh_run(3) as run:
        optimizer = omega(asked, instructions="Be brief.", merging_rate=1.0, crossover_temperature=0.9)
        train(by_value, optimizer, {"knob": Knob}, seen=6, batch_size=3, epochs=2)
        proposals: list[Any] = [event for _, event in run.events(kind="CandidateProposed")]
    assert [event.strategy for event in proposals] == ["mutation"] * 2 + ["crossover"] * 2
    assert [argument["temperature"] for argument in asked.arguments] == [0.3, 0.3, 0.9, 0.9]
    first, last = asked.questions[0], asked.questions[-1]
    assert first["program_description"] == "Says what it holds."
    assert sorted(item["number"] for item in first["program_inputs"])[0] in range(6)
    numbers = [item["number"] for item in first["program_inputs"]]
    assert [item["number"] for item in first["program_predicted_outputs"]] == numbers
    assert first["program_ground_truth"] == []
    assert first["variable_description"] == "A number to be found."
    assert first["current_variable"] == {"value": 0}
    assert "other_variable" not in first
    assert set(last["current_variable"]) == set(last["other_variable"]) == {"value"}
    assert last["current_variable"] != last["other_variable"]
    assert asked.systems[0].startswith("<instructions>\nBe brief.\n\n")


def test_what_the_batch_ran_with_is_what_the_model_is_asked_to_improve() -> None:
    asked = Asked()
    with fresh_run(3):
        train(by_value, omega(asked), {"knob": Knob}, seen=8, batch_size=2, epochs=3)
    assert len(asked.questions) == 12
    for question in asked.questions:
        said = {output["says"]["knob"]["value"] for output in question["program_predicted_outputs"]}
        assert said == {question["current_variable"]["value"]}


def test_a_failed_example_is_null_and_targets_are_shown() -> None:
    asked = Asked()

    def sometimes(number: int, says: dict[str, Any]) -> float:
        return 0.5

    async def work() -> None:
        program = await program_of(sometimes, omega(asked), {"knob": Knob})
        await program.fit(
            [{"number": 1}, {"number": "two"}], [{"right": 1}, {"right": 2}], verbose=0, batch_size=2,
            validation_split=0.0, shuffle=False,
        )  # fmt: skip

    with fresh_run(0), pytest.warns(UserWarning, match="1 examples failed in epoch 0"):
        ec.wait(work())
    (question,) = asked.questions
    assert question["program_ground_truth"] == [{"right": 1}, {"right": 2}]
    assert question["program_predicted_outputs"][1] is None
    assert question["program_inputs"][1] == {"number": "two"}


class Tool(ec.DataModel):
    """Part of a plan."""

    use: str


class Plan(ec.Trainable):
    """A field of a nested kind, and one that is called like the model's own."""

    tools: list[Tool] = ec.Field(default=[])
    thinking: str = ec.Field(default="hardly")


@pytest.mark.parametrize("chain", [True, False])
def test_nested_fields_and_a_field_called_thinking_come_back_as_they_are(chain: bool) -> None:
    schemas: list[dict[str, Any]] = []

    def answer(messages: Any, schema: Any, **arguments: Any) -> dict[str, Any]:
        schemas.append(schema)
        made = {"tools": [{"use": "hammer"}], "thinking": "a lot"}
        return {"thinking": "aloud", "tools": made["tools"], "thinking_1": "a lot"} if chain else made

    def planned(number: int, says: dict[str, Any]) -> float:
        return float(len(says["plan"]["tools"]))

    with fresh_run(0) as run:
        optimizer = OMEGA(language_model=answer, algorithm="ga", use_chain_of_thought=chain)
        train(planned, optimizer, {"plan": Plan}, seen=2, epochs=1)
        value = run.state.variables["teller/plan"]
    assert (value["tools"], value["thinking"]) == ([{"use": "hammer"}], "a lot")
    assert "Tool" in schemas[0]["$defs"]
    assert list(schemas[0]["properties"]) == ["thinking"] * chain + [
        "tools",
        "thinking_1" if chain else "thinking",
    ]


# --- failures ------------------------------------------------------------------------------------


def test_without_a_language_model_compile_says_what_to_pass() -> None:
    with fresh_run(0), pytest.raises(InvalidValue, match=r"without a language model: pass language_model="):
        ec.wait(program_of(by_value, OMEGA(embedding_model=Asked().vectors), {"knob": Knob}))


def test_without_an_embedding_model_compile_says_what_to_pass_unless_none_is_needed() -> None:
    model = Asked().answer
    with (
        fresh_run(0),
        pytest.raises(InvalidValue, match=r"without an embedding model: pass embedding_model="),
    ):
        ec.wait(program_of(by_value, OMEGA(language_model=model), {"knob": Knob}))
    for optimizer in (
        OMEGA(language_model=model, algorithm="ga"),
        OMEGA(language_model=model, distance_function=plainly),
    ):
        with fresh_run(0):
            ec.wait(program_of(by_value, optimizer, {"knob": Knob}))


def test_the_default_models_are_used_where_none_is_given() -> None:
    asked = Asked()
    set_default_language_model(asked.answer)
    set_default_embedding_model(asked.vectors)
    with fresh_run(0):
        train(by_value, OMEGA(population_size=2), {"knob": Knob}, seen=4, epochs=1)
    assert asked.questions and asked.texts


def refuses(messages: Any, **arguments: Any) -> Any:
    raise ConnectionError("nobody there")


def raves(messages: Any, **arguments: Any) -> Any:
    return {"thinking": "…", "value": "a lot"}


@pytest.mark.parametrize(("model", "words"), [(refuses, "nobody there"), (raves, "value")])
def test_an_answer_that_cannot_be_used_is_a_warning_and_changes_nothing(model: Any, words: str) -> None:
    with fresh_run(0) as run:
        optimizer = OMEGA(language_model=LanguageModel(function=model, retry=0), algorithm="ga")
        with pytest.warns(UserWarning, match=words):
            train(by_value, optimizer, {"knob": Knob}, seen=2, epochs=1)
        assert list(run.events(kind="CandidateProposed")) == []
        value = run.state.variables["teller/knob"]
    assert value["value"] == 0 and len(value["best_candidates"]) == 1
    assert (optimizer.iterations, optimizer.epochs) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"algorithm": "dnf"}, "cannot compete by 'dnf': pass one of dns, ga"),
        ({"k_nearest_fitter": 0}, "k_nearest_fitter=0"),
        ({"selection": "worst"}, "cannot select by 'worst'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        OMEGA(**arguments)
    assert words in str(caught.value)


# --- state and config ----------------------------------------------------------------------------


@register_serializable()
def constant(messages: Any, schema: Any = None, **arguments: Any) -> dict[str, Any]:
    assert "thinking" not in schema["properties"]
    return {"value": 7}


@register_serializable()
def flat(texts: list[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


def whole(**arguments: Any) -> OMEGA:
    return OMEGA(
        instructions="Be brief.", language_model=constant, embedding_model=flat, k_nearest_fitter=3,
        distance_function=plainly, mutation_temperature=0.1, crossover_temperature=None, reasoning_effort="high",
        use_chain_of_thought=False, merging_rate=0.5, algorithm="dns", selection="best",
        selection_temperature=0.7, population_size=4, sampling_temperature=0.9, name="omega", **arguments,
    )  # fmt: skip


def test_its_config_makes_it_again_with_its_models_and_its_distance() -> None:
    optimizer = whole(description="All of it.")
    again = deserialize_object(serialize_object(optimizer))
    assert isinstance(again, OMEGA)
    assert serialize_object(again) == serialize_object(optimizer)
    assert again.distance_function is plainly and again.description == "All of it."
    assert again.language_model is not None and again.language_model.function is constant


def test_what_it_tells_its_model_is_state_of_the_run_under_names_that_stay() -> None:
    with fresh_run(0) as run:
        program = train(by_value, whole(), {"knob": Knob}, seen=2, epochs=1)
        names = [variable.path for variable in program.optimizer.variables]
        state = run.state
    assert names == [
        "omega/iterations_omega",
        "omega/mutation_knob/state_mutation_knob",
        "omega/crossover_knob/state_crossover_knob",
    ]
    assert all(name in state.variables and not state.trainable(name) for name in names)
    assert state.variables[names[1]]["instructions"].startswith("Be brief.\n\n")


@pytest.mark.parametrize("suffix", [".json", ".lmdb"])
def test_a_saved_program_comes_back_with_all_of_its_optimizers_state(suffix: str, tmp_path: Path) -> None:
    def tree(program: ec.Program) -> dict[str, Any]:
        return {variable.path: variable.get_json() for variable in program.optimizer.variables}

    with fresh_run(0):
        program = train("exact_match", whole(), {"knob": Knob}, seen=3, epochs=2)
        told = program.optimizer.variables[1]
        told.update({"instructions": "Do it my way."})
        before = tree(program)
        program.save(tmp_path / f"program{suffix}")
    with fresh_run(1):
        again = ec.Program.load(tmp_path / f"program{suffix}")
        assert tree(again) == before
        assert again.optimizer.epochs == 2
        ec.wait(again.fit(questions(range(3)), verbose=0, epochs=1, validation_split=0.0))
        assert again.optimizer.epochs == 3
        assert again.optimizer.variables[1].get("instructions") == "Do it my way."


def test_it_trains_without_held_out_data_too() -> None:
    asked = Asked()
    with fresh_run(2) as run:
        train(by_value, omega(asked, merging_rate=0.5), {"knob": Knob}, seen=20, held_out=0, epochs=2)
        value = run.state.variables["teller/knob"]
    best = max(value["best_candidates"], key=lambda entry: float(entry["reward"]))
    assert len(asked.questions) == 40
    assert best["reward"] > chance(0) and value["value"] == best["value"]


def test_candidates_carry_the_examples_of_their_parent() -> None:
    record = ec.Prediction(inputs={"number": 5}, outputs={}, reward=1.0)
    with fresh_run(0) as run:
        train(by_value, whole(), {"knob": Knob(examples=[record])}, seen=2, epochs=1)
        best = run.state.variables["teller/knob"]["best_candidates"]
    assert {entry["value"] for entry in best} == {0, 7}
    assert all(candidate_fields(entry)["examples"] == [record.get_json()] for entry in best)
