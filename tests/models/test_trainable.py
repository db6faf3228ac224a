"""`Trainable`, its nine fields, and the predicates about what a data model contains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eventcore.errors import SchemaMismatch
from eventcore.models import (
    BOOKKEEPING,
    DataModel,
    Field,
    Instructions,
    JsonDataModel,
    Prediction,
    SymbolicDataModel,
    Trainable,
    chat,
    generic,
    is_instructions,
    is_prediction,
    is_trainable,
    missing_defaults,
    validator_of,
)

NINE = [
    "examples",
    "current_predictions",
    "predictions",
    "seed_candidates",
    "candidates",
    "best_candidates",
    "history",
    "nb_visit",
    "cumulative_reward",
]


class Persona(Trainable):
    """How the assistant should speak."""

    persona: str = Field(description="Tone and style.", default="A friendly, concise assistant.")


class Styled(DataModel):
    style: str = "plain"


class Both(Styled, Trainable):
    plan: str = ""


class Redefined(Trainable):
    nb_visit: int = 5


RECORD = {"inputs": {"name": "Ada"}, "outputs": {"greeting": "hello"}, "reward": None}


def test_the_nine_fields_come_first_and_in_order() -> None:
    assert list(BOOKKEEPING) == NINE
    assert list(Persona().get_json()) == [*NINE, "persona"]
    assert list(Persona.get_schema()["properties"]) == [*NINE, "persona"]
    assert list(Both().get_json()) == [*NINE, "style", "plan"]


def test_everything_starts_empty() -> None:
    started = Trainable().get_json()
    assert [started[name] for name in NINE[:7]] == [[]] * 7
    assert (started["nb_visit"], started["cumulative_reward"]) == (0, 0.0)
    assert type(started["cumulative_reward"]) is float


@pytest.mark.parametrize("field", NINE[:3])
def test_predictions_are_records_with_inputs_outputs_and_reward(field: str) -> None:
    validator = validator_of(Persona)
    assert validator.check_item(field, RECORD) == RECORD
    assert validator.check_item(field, Prediction(inputs={}, outputs={}, reward=1)) == {
        "inputs": {},
        "outputs": {},
        "reward": 1.0,
    }
    without = validator.check_item(field, {"inputs": {}, "outputs": {}})
    assert without["reward"] is None
    refused: list[Any] = [
        {"inputs": {}},
        {**RECORD, "score": 1},
        {**RECORD, "reward": "1"},
        {**RECORD, "inputs": []},
        "x",
        None,
    ]
    for bad in refused:
        with pytest.raises(SchemaMismatch):
            validator.check_item(field, bad)


@pytest.mark.parametrize("field", NINE[3:7])
def test_candidates_may_be_anything(field: str) -> None:
    validator = validator_of(Persona)
    for value in (1, "x", None, {"persona": "x", "reward": 1}, [1]):
        assert validator.check_item(field, value) == value
    with pytest.raises(SchemaMismatch):
        validator.check_item(field, float("nan"))


class Variable:
    def get_schema(self) -> dict[str, Any]:
        return Persona.get_schema()


@pytest.mark.parametrize(
    "value",
    [
        Trainable,
        Persona,
        Persona(),
        Both,
        Instructions,
        Persona().to_json_data_model(),
        SymbolicDataModel(Persona),
        Persona.get_schema(),
        Variable(),
        Styled + Persona,
        Persona.out_mask(["persona"], recursive=False),
    ],
)
def test_what_has_all_nine_fields_is_trainable(value: Any) -> None:
    assert is_trainable(value)


@pytest.mark.parametrize(
    "value",
    [
        DataModel,
        Styled,
        Styled(),
        Prediction,
        Redefined,
        SymbolicDataModel(Styled),
        JsonDataModel(data_model=Styled()),
        Persona.prefix("p"),
        Persona.out_mask(["history"]),
        Persona.out_mask(["reward"]),
        {"type": "object"},
    ],
)
def test_what_lacks_or_alters_one_is_not(value: Any) -> None:
    assert not is_trainable(value)


def test_our_own_trainables_have_defaults_for_everything() -> None:
    for model in (Trainable, Instructions, Persona):
        assert missing_defaults(model) == []
    assert Instructions().get_json()["instructions"] is None


def test_predicates_tell_models_apart() -> None:
    checks: dict[Callable[[Any], bool], Any] = {
        is_prediction: Prediction,
        is_instructions: Instructions,
        generic.is_generic_inputs: generic.GenericInputs,
        generic.is_generic_outputs: generic.GenericOutputs,
        generic.is_generic_io: generic.GenericIO,
        generic.is_generic_result: generic.GenericResult,
        generic.is_stamp: generic.Stamp,
        generic.is_embedding_request: generic.EmbeddingRequest,
        generic.is_embedding: generic.Embedding,
        generic.is_embeddings: generic.Embeddings,
        chat.is_chat_message: chat.ChatMessage,
        chat.is_chat_messages: chat.ChatMessages,
        chat.is_tool_call: chat.ToolCall,
    }
    also: dict[Callable[[Any], bool], Any] = {
        generic.is_generic_inputs: generic.GenericIO,
        generic.is_generic_outputs: generic.GenericIO,
    }
    for check, own in checks.items():
        for model in checks.values():
            assert check(model) == (model in (own, also.get(check))), (check, model)
            assert check(SymbolicDataModel(model)) == check(model)


def test_conversations_hold_messages_of_every_role() -> None:
    call = chat.ToolCall(id="1", name="search", arguments={"q": "x"})
    conversation = chat.ChatMessages(
        messages=[
            chat.ChatMessage(role=chat.ChatRole.SYSTEM, content="Be brief."),
            chat.ChatMessage(role=chat.ChatRole.ASSISTANT, tool_calls=[call]),
            chat.ChatMessage(role=chat.ChatRole.TOOL, content={"hits": 3}, tool_call_id="1"),
        ]
    )
    read = conversation.get_json()
    assert [message["role"] for message in read["messages"]] == ["system", "assistant", "tool"]
    assert chat.ChatMessages(**read) == conversation
    assert conversation.messages[0].role is chat.ChatRole.SYSTEM
    with pytest.raises(SchemaMismatch, match="one of 'system', 'user', 'assistant', 'tool'"):
        validator_of(chat.ChatMessages).check({"messages": [{"role": "nobody"}]})


def test_embeddings_are_lists_of_floats() -> None:
    assert generic.Embeddings(embeddings=[[1, 2.5]]).get_json() == {"embeddings": [[1.0, 2.5]]}
    assert generic.EmbeddingRequest(texts="one").texts == "one"
    assert generic.EmbeddingRequest(texts=["one", "two"]).texts == ["one", "two"]
    with pytest.raises(SchemaMismatch):
        generic.Embedding(embedding=[float("inf")])
