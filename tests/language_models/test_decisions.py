"""`Decision`, `MultiDecision`, `Branch` and `SelfCritique`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.language_models import (
    Branch,
    Decision,
    FineScore,
    Generator,
    MultiDecision,
    Rating,
    Rating10,
    Rating20,
    Score,
    SelfCritique,
    on_unit_scale,
)
from eventcore.models.chat import ChatMessages
from tests.language_models.samples import Text, effects, one_warning

wait = ec.wait
LABELS = ["order", "question"]


class Reply(ec.DataModel):
    reply: str


class Echo(ec.Module):
    """Says what it was given."""

    def __init__(self, word: str, name: str | None = None) -> None:
        super().__init__(name=name)
        self.word = word

    def call(self, inputs: Any) -> Any:
        return None if inputs is None else Reply(reply=f"{self.word}: {', '.join(inputs.keys())}")


@ec.saving.register_serializable()
def decides_question(messages: list[Any], schema: Any = None) -> Any:
    if "choices" in schema["properties"]:
        return {"thinking": "both", "choices": ["question", "order", "question"]}
    if "choice" in schema["properties"]:
        return {"thinking": "a mark", "choice": "question"}
    if "critique" in schema["properties"]:
        reward = schema["properties"].get("reward")
        return {"critique": "good", **({"reward": reward["enum"][-1]} if reward else {})}
    return {"reply": "generated"}


def test_a_decision_is_one_of_the_labels_and_the_model_is_shown_the_question(run: ec.Run) -> None:
    decision = Decision(question="What is it?", labels=LABELS, language_model=decides_question)
    answer = wait(decision(Text(text="why?"), training=True))
    assert answer.get_json() == {"thinking": "a mark", "choice": "question"}
    request = effects(run)[0].request
    assert request["schema"]["properties"]["choice"]["enum"] == LABELS
    assert '{"text":"why?","question":"What is it?"}' in request["messages"][-1]["content"]
    (record,) = decision.state.get_json()["current_predictions"]
    assert record["inputs"] == {"text": "why?", "question": "What is it?"}


def test_a_label_that_is_none_of_them_is_no_answer() -> None:
    decision = Decision(
        question="?", labels=LABELS, language_model=lambda messages: {"thinking": "", "choice": "else"}
    )
    with one_warning("SchemaMismatch"):
        assert wait(decision(Text(text="x"))) is None


def test_about_a_conversation_the_question_is_asked_at_its_end(run: ec.Run) -> None:
    decision = Decision(question="What is it?", labels=LABELS, language_model=decides_question)
    wait(decision(ChatMessages.from_config({"messages": [{"role": "user", "content": "hi"}]})))
    said = [message["content"] for message in effects(run)[0].request["messages"]]
    assert said[-2:] == ["hi", "What is it?"]


def test_several_labels_are_decided_on_at_once_each_once() -> None:
    decision = MultiDecision(question="?", labels=LABELS, language_model=decides_question)
    answer = wait(decision(Text(text="x")))
    assert decision.chosen(answer) == ["question", "order"]


@pytest.mark.parametrize("cls", [Decision, MultiDecision])
@pytest.mark.parametrize(
    "arguments",
    [
        {"labels": LABELS},
        {"question": "", "labels": LABELS},
        {"question": "?"},
        {"question": "?", "labels": []},
        {"question": "?", "labels": "ab"},
        {"question": "?", "labels": ["a", "a"]},
        {"question": "?", "labels": ["a", 1]},
        {"question": "?", "labels": LABELS, "data_model": Text},
    ],
    ids=str,
)
def test_a_decision_without_question_or_labels_is_refused(cls: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ec.errors.InvalidValue):
        cls(language_model=decides_question, **arguments)


def branch(**arguments: Any) -> Branch:
    given: dict[str, Any] = {
        "question": "What is it?",
        "labels": LABELS,
        "branches": [Echo("ordered", name="ordered"), Echo("asked", name="asked")],
        "language_model": decides_question,
    }
    return Branch(**(given | arguments))


def test_the_branch_of_the_chosen_label_goes_on_and_the_others_are_none() -> None:
    not_taken, taken = wait(branch()(Text(text="why?")))
    assert not_taken is None
    assert taken.get_json() == {
        "thinking": "a mark",
        "choice": "question",
        "reply": "asked: text, thinking, choice",
    }


def test_the_decision_can_be_kept_from_the_branch_and_from_the_result() -> None:
    _, taken = wait(branch(inject_decision=False, return_decision=False)(Text(text="x")))
    assert taken.get_json() == {"reply": "asked: text"}


def test_several_branches_are_taken_when_several_labels_are_chosen() -> None:
    first, second = wait(branch(decision_type=MultiDecision, return_decision=False)(Text(text="x")))
    assert first.get("reply").startswith("ordered")
    assert second.get("reply").startswith("asked")


def test_without_a_decision_or_an_input_no_branch_is_taken() -> None:
    assert wait(branch()(None)) == (None, None)
    with one_warning("the result is None"):
        undecided = branch(language_model=lambda messages: {"choice": "neither"})
        assert wait(undecided(Text(text="x"))) == (None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"branches": None},
        {"branches": []},
        {"branches": Echo("x")},
        {"branches": [Echo("x")]},
        {"branches": [Echo("x"), 3]},
        {"labels": None},
        {"decision_type": Generator},
    ],
    ids=str,
)
def test_a_branch_needs_one_module_per_label(arguments: dict[str, Any]) -> None:
    with pytest.raises(ec.errors.InvalidValue):
        branch(**arguments)


def test_branches_work_in_graphs_and_join_again(run: ec.Run) -> None:
    x = ec.Input(data_model=Text)
    first, second = wait(branch()(x))
    assert first.keys() == ["thinking", "choice", "reply"]
    assert effects(run) == []
    program = ec.Program(inputs=x, outputs=first | second)
    assert wait(program(Text(text="x"))).get("reply").startswith("asked")


def test_training_reaches_the_decision_and_the_branch_taken_only() -> None:
    answering = [
        Generator(data_model=Reply, language_model=decides_question, name=f"answer_{label}")
        for label in LABELS
    ]
    module = branch(branches=answering)
    wait(module(Text(text="x"), training=True))
    counts = {
        variable.name: len(variable.get_json()["current_predictions"])
        for variable in module.trainable_variables
    }
    assert counts == {"state_decision_branch": 1, "state_answer_order": 0, "state_answer_question": 1}


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_a_program_with_decisions_is_saved_and_loaded_whole(tmp_path: Path, suffix: str) -> None:
    x = ec.Input(data_model=Text)
    module = branch(decision_type=MultiDecision, temperature=0.4, name="kinds")
    program = ec.Program(inputs=x, outputs=wait(module(x)))
    module.decision.state.update({"instructions": "Learnt."})
    before = wait(program(Text(text="x")))
    program.save(tmp_path / f"saved{suffix}")
    loaded = ec.Program.load(tmp_path / f"saved{suffix}")
    again: Any = loaded.get_module("kinds")
    assert isinstance(again.decision, MultiDecision)
    assert again.decision.state.get("instructions") == "Learnt."
    assert again.decision.get_config()["temperature"] == 0.4
    assert list(wait(loaded(Text(text="x")))) == list(before)


@pytest.mark.parametrize("scale", [Score, FineScore, Rating, Rating10, Rating20])
def test_a_critique_is_words_and_a_mark_of_the_scale(scale: Any, run: ec.Run) -> None:
    critic = SelfCritique(language_model=decides_question, score_type=scale)
    answer = wait(critic(Text(text="x")))
    assert answer.keys() == ["text", "critique", "reward"]
    assert on_unit_scale(answer.get("reward"), scale) == 1.0
    assert effects(run)[0].request["schema"]["properties"]["reward"]["enum"] == [
        member.value for member in scale
    ]


def test_a_critique_may_leave_out_the_mark_and_the_input() -> None:
    critic = SelfCritique(language_model=decides_question, return_reward=False, return_inputs=False)
    assert wait(critic(Text(text="x"))).get_json() == {"critique": "good"}
    assert wait(critic(ec.Input(data_model=Text))).keys() == ["critique"]


def test_the_scales_have_the_marks_they_promise() -> None:
    assert [member.value for member in Score] == [mark / 10 for mark in range(11)]
    assert [member.value for member in FineScore] == [mark / 20 for mark in range(21)]
    assert [len(list(scale)) for scale in (Rating, Rating10, Rating20)] == [5, 10, 20]
    assert [on_unit_scale(mark, Rating) for mark in (1, 3, 5)] == [0.0, 0.5, 1.0]
    with pytest.raises(ec.errors.InvalidValue, match="pass an enum of numbers"):
        SelfCritique(language_model=decides_question, score_type=float)


def test_a_critic_is_saved_with_its_scale() -> None:
    critic = SelfCritique(language_model=decides_question, score_type=Rating10, return_inputs=False)
    again = ec.saving.deserialize_object(ec.saving.serialize_object(critic))
    assert again.schema == critic.schema
