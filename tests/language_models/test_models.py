"""What language and embedding models are made of, take, refuse, and save."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import eventcore as ec
from eventcore.language_models import (
    EmbeddingModel,
    Generator,
    LanguageModel,
    get_default_embedding_model,
    get_default_language_model,
    set_default_embedding_model,
    set_default_language_model,
)
from eventcore.language_models.conversation import as_conversation, for_provider
from eventcore.models.chat import ChatMessage, ChatMessages
from eventcore.models.generic import EmbeddingRequest
from tests.language_models.samples import Label, Text, effects

wait = ec.wait


def echo(messages: list[Any]) -> str:
    return " / ".join(f"{message['role']}: {message['content']}" for message in messages)


def model() -> LanguageModel:
    return LanguageModel(function=echo)


@pytest.mark.parametrize(
    "conversation",
    [
        "hi",
        {"role": "user", "content": "hi"},
        [{"role": "user", "content": "hi"}],
        {"messages": [{"role": "user", "content": "hi"}]},
        ChatMessage.from_config({"role": "user", "content": "hi"}),
        [ChatMessage.from_config({"role": "user", "content": "hi"})],
        ChatMessages.from_config({"messages": [{"role": "user", "content": "hi"}]}),
        ChatMessages.from_config({"messages": [{"role": "user", "content": "hi"}]}).to_json_data_model(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_conversation_may_be_written_in_many_ways(conversation: Any) -> None:
    assert wait(model()(conversation)).get("content") == "user: hi"


@pytest.mark.parametrize("nonsense", [3, Label(label="x"), [{"role": "nobody", "content": "x"}], [{}]])
def test_what_is_no_conversation_is_refused(nonsense: Any, run: ec.Run) -> None:
    with pytest.raises(ec.errors.InvalidValue):
        wait(model()(nonsense))
    assert effects(run) == []


def test_nothing_said_is_answered_by_none(run: ec.Run) -> None:
    assert wait(model()(None)) is None
    assert wait(model()([])) is None
    assert wait(EmbeddingModel(function=lambda texts: [])(None)) is None
    assert wait(EmbeddingModel(function=lambda texts: [])([])) is None
    assert effects(run) == []


def test_tool_calls_are_read_and_written_in_the_providers_form() -> None:
    theirs = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    said = as_conversation([{"role": "assistant", "content": None, "tool_calls": [theirs]}]).get_json()
    assert said["messages"][0]["tool_calls"] == [{"id": "1", "name": "add", "arguments": {"a": 1}}]
    assert for_provider(said["messages"]) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{**theirs, "function": {"name": "add", "arguments": '{"a":1}'}}],
        }
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"model": ""},
        {"model": 3},
        {"model": "x", "retry": -1},
        {"model": "x", "retry": 1.5},
        {"model": "x", "timeout": 0},
        {"model": "x", "retry_max_wait": -1},
        {"function": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", [LanguageModel, EmbeddingModel])
def test_arguments_that_cannot_be_are_refused(cls: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises((ec.errors.InvalidValue, ec.errors.WrongType)):
        cls(**arguments)


def test_json_and_tools_cannot_be_asked_for_at_once() -> None:
    with pytest.raises(ec.errors.InvalidValue, match="pass `schema` or `tools`"):
        wait(model()("x", schema=Label, tools=[{"type": "function"}]))


def test_without_litellm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, run: ec.Run) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with (
        pytest.warns(UserWarning, match="in memory only"),
        pytest.raises(ec.errors.Unavailable, match=r"pip install 'eventcore\[lm\]'"),
    ):
        wait(LanguageModel("openai/gpt-4o-mini")("x"))
    with pytest.raises(ec.errors.Unavailable, match=r"pip install 'eventcore\[lm\]'"):
        wait(EmbeddingModel(model="openai/text-embedding-3-small")("x"))


def test_a_default_model_is_used_where_none_is_given() -> None:
    with pytest.raises(ec.errors.InvalidValue, match="set_default_language_model"):
        Generator(data_model=Label)
    set_default_language_model(lambda messages: {"label": "default"})
    assert wait(Generator(data_model=Label)(Text(text="x"))).get("label") == "default"
    set_default_language_model("ollama/llama3.2")
    default = get_default_language_model()
    assert default is not None
    assert default.model == "ollama/llama3.2"
    assert Generator(data_model=Label).language_model is default
    set_default_embedding_model("ollama/all-minilm")
    embedding = get_default_embedding_model()
    assert embedding is not None
    assert embedding.model == "ollama/all-minilm"
    set_default_language_model(None)
    assert get_default_language_model() is None


def test_models_come_back_from_their_config_without_keys() -> None:
    made = LanguageModel(
        "openai/gpt-4o-mini",
        api_base="http://somebody:very-secret@127.0.0.1:9/v1",
        timeout=7,
        retry=2,
        retry_max_wait=3,
        fallback="openai/gpt-4o",
        caching=True,
        name="mine",
        temperature=0.3,
        api_key="sk-0123456789abcdef",
        extra_headers={"Authorization": "Bearer abc", "X-Team": "blue"},
    )
    saved = ec.saving.serialize_object(made)
    assert "secret" not in str(saved)
    assert "sk-0123" not in str(saved)
    assert "Bearer" not in str(saved)
    again = ec.saving.deserialize_object(saved)
    assert isinstance(again, LanguageModel)
    assert again.get_config() | {"fallback": None} == made.get_config() | {"fallback": None}
    assert again.get_config()["temperature"] == 0.3
    assert again.get_config()["api_base"] == "http://127.0.0.1:9/v1"
    assert again.get_config()["extra_headers"] == {"X-Team": "blue"}
    assert again.fallback is not None
    assert again.fallback.model == "openai/gpt-4o"
    embedding = EmbeddingModel(model="openai/text-embedding-3-small", dimensions=64, caching=False)
    restored = ec.saving.deserialize_object(ec.saving.serialize_object(embedding))
    assert restored.get_config() == embedding.get_config()


def test_a_model_has_no_variables_and_its_lock_is_no_event(run: ec.Run) -> None:
    asked = model()
    wait(asked("x"))
    assert asked.variables == []
    assert not asked.trainable
    assert [type(event).__name__ for _, event in run.events()][1:] == [
        "SourceSeen",
        "EffectStarted",
        "EffectCompleted",
    ]


def test_hooks_hear_of_calls() -> None:
    heard: list[Any] = []

    class Listening(ec.Hook):
        def on_call_end(
            self, call_id: str, parent_call_id: str | None, outputs: Any, exception: BaseException | None
        ) -> None:
            heard.append(outputs.get("content"))

    wait(LanguageModel(function=echo, hooks=[Listening()])("x"))
    assert heard == ["user: x"]


def test_models_stand_in_graphs_like_any_module() -> None:
    x = ec.Input(data_model=ChatMessages)
    y = wait(model()(x))
    program = ec.Program(inputs=x, outputs=y)
    answer = wait(program(ChatMessages.from_config({"messages": [{"role": "user", "content": "hi"}]})))
    assert answer.get("content") == "user: hi"
    x = ec.Input(data_model=EmbeddingRequest)
    y = wait(EmbeddingModel(function=lambda texts: [[1.0] for _ in texts])(x))
    assert y.keys() == ["embeddings"]
    answer = wait(ec.Program(inputs=x, outputs=y)(EmbeddingRequest(texts=["a", "b"])))
    assert answer.get("embeddings") == [[1.0], [1.0]]


def test_asking_for_the_whole_response_gives_text_usage_and_cost() -> None:
    from eventcore.language_models import Response

    asked = LanguageModel(function=lambda messages: Response(content="x", cost=0.25, output_tokens=4))
    response: Any = wait(asked.ask([{"role": "user", "content": "q"}]))
    assert (response.content, response.cost, response.output_tokens) == ("x", 0.25, 4)
