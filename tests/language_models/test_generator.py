"""`Generator` and `ChainOfThought`: prompts, state, records, graphs, saving."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.history.scope import in_rollout
from eventcore.language_models import ChainOfThought, Generator, LanguageModel
from eventcore.models.chat import ChatMessages
from tests.language_models.samples import Label, Text, effects, kinds, one_warning

wait = ec.wait


@ec.saving.register_serializable()
def says_question(messages: list[Any], schema: Any = None) -> Any:
    properties = (schema or {}).get("properties", {})
    thinking = {"thinking": "it ends in a question mark"} if "thinking" in properties else {}
    return {**thinking, "label": "question"} if schema else "a question"


class Heard:
    """A model that notes what it is told."""

    def __init__(self, answer: Any = None) -> None:
        self.messages: list[list[Any]] = []
        self.kwargs: list[dict[str, Any]] = []
        self._answer = answer if answer is not None else {"label": "question"}

    def __call__(self, messages: list[Any], **kwargs: Any) -> Any:
        self.messages.append(messages)
        self.kwargs.append(kwargs)
        return self._answer

    @property
    def system(self) -> str:
        (message,) = [message for message in self.messages[-1] if message["role"] == "system"]
        return str(message["content"])


def test_the_prompt_has_a_section_for_each_thing_there_is_and_no_other() -> None:
    heard = Heard()
    wait(Generator(data_model=Label, language_model=heard, instructions="Label the text.")(Text(text="why?")))
    assert heard.messages == [
        [
            {"role": "system", "content": "<instructions>\nLabel the text.\n</instructions>"},
            {"role": "user", "content": '<input>\n{"text":"why?"}\n</input>\n<output>'},
        ]
    ]


def test_without_instructions_the_model_is_told_the_keys() -> None:
    heard = Heard()
    generator = Generator(data_model=Label, language_model=heard)
    wait(generator(Text(text="why?")))
    assert generator.state.get("instructions") in heard.system
    assert all(f"'{key}'" in heard.system for key in ("label", "sure", "note"))
    assert Generator(language_model=heard).state.get("instructions") is None


def test_examples_and_schemas_are_shown_when_asked_for() -> None:
    heard = Heard()
    generator = Generator(
        data_model=Label,
        language_model=heard,
        examples=[(Text(text="go"), Label(label="order")), ({"text": "hm"}, {"label": "doubt"})],
        use_inputs_schema=True,
        use_outputs_schema=True,
    )
    wait(generator(Text(text="why?")))
    example = (
        '<input>\n{"text":"go"}\n</input>\n<output>\n{"label":"order","sure":true,"note":null}\n</output>'
    )
    assert example in heard.system
    assert '{"label":"doubt"}\n</output>\n</examples>' in heard.system
    assert "What somebody wrote." in heard.system.partition("<input_schema>")[2]
    assert "What kind of text it is." in heard.system.partition("<output_schema>")[2]
    assert "reward" not in heard.system


def test_what_an_optimizer_writes_is_what_the_model_is_told_next() -> None:
    heard = Heard()
    generator = Generator(data_model=Label, language_model=heard)
    generator.state.update(
        {
            "instructions": "Be bold.",
            "examples": [{"inputs": {"text": "a"}, "outputs": {"label": "b"}, "reward": 1.0}],
        }
    )
    wait(generator(Text(text="why?")))
    assert "Be bold." in heard.system
    assert '{"text":"a"}' in heard.system


def test_a_template_of_ones_own_makes_the_system_message() -> None:
    heard = Heard()
    shown = "{{ e.inputs | json }} -> {{ e.outputs.label }}"
    template = "Do: {{ instructions }}\n{% for e in examples %}" + shown + "\n{% endfor %}"
    generator = Generator(
        data_model=Label,
        language_model=heard,
        instructions="label",
        prompt_template=template,
        examples=[({"text": "go"}, {"label": "order"})],
    )
    wait(generator(Text(text="x")))
    assert heard.system == 'Do: label\n{"text":"go"} -> order'


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% if %}", "cannot render"),
        ("{{ examples.append(3) }}", "unsafe"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_that_cannot_be_rendered_says_why(template: str, said: str) -> None:
    generator = Generator(data_model=Label, language_model=Heard(), prompt_template=template)
    with pytest.raises(ec.errors.InvalidValue, match=said):
        wait(generator(Text(text="x")))


def test_a_template_without_jinja_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("jinja2"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    generator = Generator(data_model=Label, language_model=Heard(), prompt_template="{{ instructions }}")
    with pytest.raises(ec.errors.Unavailable, match=r"eventcore\[lm\]"):
        wait(generator(Text(text="x")))


def test_a_conversation_goes_on_as_it_is_behind_our_instructions() -> None:
    heard = Heard("fine")
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    wait(
        Generator(language_model=heard, instructions="Be kind.")(ChatMessages.from_config({"messages": said}))
    )
    assert [message["role"] for message in heard.messages[0]] == ["system", "user", "assistant"]
    with_system = [{"role": "system", "content": "Be rude."}, *said]
    wait(
        Generator(language_model=heard, instructions="Be kind.")(
            ChatMessages.from_config({"messages": with_system})
        )
    )
    assert heard.system == "Be rude."
    wait(Generator(language_model=heard)(ChatMessages.from_config({"messages": said})))
    assert [message["role"] for message in heard.messages[-1]] == ["user", "assistant"]


def test_the_answer_is_named_after_the_generator_and_may_bring_its_input() -> None:
    alone = wait(Generator(data_model=Label, language_model=Heard(), name="kind")(Text(text="x")))
    assert (alone.name, alone.keys()) == ("prediction_kind", ["label", "sure", "note"])
    both = wait(
        Generator(data_model=Label, language_model=Heard(), name="kind2", return_inputs=True)(Text(text="x"))
    )
    assert (both.name, both.keys()) == ("with_inputs_kind2", ["text", "label", "sure", "note"])


def test_only_what_was_given_is_sent() -> None:
    heard = Heard()
    wait(
        Generator(
            data_model=Label,
            language_model=heard,
            temperature=0.0,
            max_tokens=9,
            top_p=0.5,
            top_k=3,
            reasoning_effort="high",
        )(Text(text="x"))
    )
    wait(Generator(data_model=Label, language_model=heard)(Text(text="x")))
    sent = [{key: value for key, value in kwargs.items() if key != "schema"} for kwargs in heard.kwargs]
    assert sent == [
        {"temperature": 0.0, "max_tokens": 9, "top_p": 0.5, "top_k": 3, "reasoning_effort": "high"},
        {},
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"reasoning_effort": "enormous"},
        {"schema": Label.get_schema(), "data_model": Label},
        {"data_model": Label, "tools": [{"type": "function"}]},
        {"data_model": Label, "examples": ["no pair"]},
        {"data_model": Label, "examples": [(1, 2)]},
        {"schema": {"type": "string"}},
        {"data_model": Label, "language_model": 3},
    ],
    ids=lambda arguments: ", ".join(arguments),
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises((ec.errors.InvalidValue, ec.errors.WrongType)):
        given: dict[str, Any] = {"language_model": Heard(), **arguments}
        Generator(**given)


# --- state and records -------------------------------------------------------------------------


def test_its_state_is_one_trainable_variable_of_instructions() -> None:
    generator = Generator(
        data_model=Label, language_model=Heard(), name="kind", instructions="a", seed_instructions=["b", "c"]
    )
    (variable,) = generator.trainable_variables
    assert variable.name == "state_kind"
    assert ec.is_trainable(variable)
    assert variable.get_json()["instructions"] == "a"
    assert variable.get_json()["seed_candidates"] == [{"instructions": "b"}, {"instructions": "c"}]


def test_under_training_each_answer_is_a_record_of_its_own_rollout(run: ec.Run) -> None:
    generator = Generator(data_model=Label, language_model=Heard())

    async def main() -> None:
        async def one(place: int) -> None:
            with in_rollout(f"training:0/{place}/0"):
                await generator(Text(text=str(place)), training=True)

        await asyncio.gather(*(one(place) for place in range(5)))

    wait(main())
    records = generator.state.get_json()["current_predictions"]
    assert sorted(record["inputs"]["text"] for record in records) == list("01234")
    expected = {"label": "question", "sure": True, "note": None}
    assert all(record["outputs"] == expected and record["reward"] is None for record in records)
    appended: list[Any] = [event for _, event in run.events(kind="PredictionAppended")]
    assert {event.rollout for event in appended} == {f"training:0/{place}/0" for place in range(5)}
    assert all(event.rollout.split("/")[1] == event.record["inputs"]["text"] for event in appended)


def test_nothing_is_recorded_without_training_or_when_frozen() -> None:
    generator = Generator(data_model=Label, language_model=Heard())
    wait(generator(Text(text="x")))
    generator.trainable = False
    wait(generator(Text(text="x"), training=True))
    assert generator.state.get_json()["current_predictions"] == []


def test_a_failed_call_gives_none_and_no_record() -> None:
    generator = Generator(
        data_model=Label, language_model=LanguageModel(function=lambda messages: "no", retry=0)
    )
    with one_warning("the result is None"):
        assert wait(generator(Text(text="x"), training=True)) is None
    assert generator.state.get_json()["current_predictions"] == []


def test_an_inactive_branch_is_answered_by_none(run: ec.Run) -> None:
    assert wait(Generator(data_model=Label, language_model=Heard())(None)) is None
    assert effects(run) == []


def test_reads_of_instructions_and_examples_are_in_the_log_before_the_question(run: ec.Run) -> None:
    generator = Generator(data_model=Label, language_model=Heard())
    wait(generator(Text(text="x")))
    names = [
        getattr(event, "field", None) or type(event).__name__
        for _, event in run.events()
        if type(event).__name__ in ("FieldRead", "EffectStarted", "EffectCompleted")
    ]
    assert names == ["instructions", "examples", "EffectStarted", "EffectCompleted"]
    assert effects(run)[0].variable == generator.state.number


# --- graphs, locks, saving ---------------------------------------------------------------------


def test_tracing_asks_nobody(run: ec.Run) -> None:
    heard = Heard()
    for generator, keys in (
        (Generator(data_model=Label, language_model=heard), ["label", "sure", "note"]),
        (Generator(language_model=heard), ["role", "content", "tool_call_id", "tool_calls"]),
        (
            Generator(data_model=Label, language_model=heard, return_inputs=True),
            ["text", "label", "sure", "note"],
        ),
        (ChainOfThought(data_model=Label, language_model=heard), ["thinking", "label", "sure", "note"]),
    ):
        y = wait(generator(ec.Input(data_model=Text)))
        assert y.keys() == keys
    assert heard.messages == []
    assert effects(run) == []


class Hinting(ec.Module):
    """Owns hints beside a generator, and says nothing about its output."""

    def __init__(self, language_model: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self.generator = Generator(data_model=Label, language_model=language_model)

    async def call(self, inputs: Any, training: bool = False) -> Any:
        answer = await self.generator(inputs, training=training)
        return None if answer is None else Label(label=answer.get("label") + "!")


def test_a_module_around_a_generator_is_traced_without_asking_anybody(run: ec.Run) -> None:
    heard = Heard()
    x = ec.Input(data_model=Text)
    y = wait(Hinting(heard)(x))
    assert y.keys() == ["label", "sure", "note"]
    assert heard.messages == []
    assert effects(run) == []
    program = ec.Program(inputs=x, outputs=y)
    assert wait(program(Text(text="x"))).get("label") == "question!"
    assert kinds(run) == ["Started", "Completed"]


def test_after_the_first_call_its_variables_are_final() -> None:
    generator = Generator(data_model=Label, language_model=Heard())
    wait(generator(Text(text="x")))
    with pytest.raises(ec.errors.TrackerLocked):
        generator.add_variable(data_model=Label)


@pytest.mark.parametrize("suffix", ["", ".json"])
@pytest.mark.parametrize("cls", [Generator, ChainOfThought])
def test_a_program_with_a_generator_is_saved_and_loaded_whole(
    cls: Callable[..., Any], suffix: str, tmp_path: Path
) -> None:
    model = LanguageModel(function=says_question, temperature=0.2, retry=1)
    generator = cls(
        data_model=Label,
        language_model=model,
        name="kind",
        temperature=0.7,
        examples=[(Text(text="go"), Label(label="order"))],
        seed_instructions=["b"],
        use_outputs_schema=True,
    )
    x = ec.Input(data_model=Text)
    program = ec.Program(inputs=x, outputs=wait(generator(x)), name="labelling")
    generator.state.update({"instructions": "Learnt."})
    before = wait(program(Text(text="why?")))
    program.save(tmp_path / f"saved{suffix}")
    loaded = ec.Program.load(tmp_path / f"saved{suffix}")
    again: Any = loaded.get_module("kind")
    assert type(again) is cls
    assert again.state.get_json() == generator.state.get_json()
    assert again.schema == generator.schema
    same = again.get_config() | {"language_model": None}
    assert same == generator.get_config() | {"language_model": None}
    assert again.language_model.get_config() == model.get_config()
    assert wait(loaded(Text(text="why?"))) == before


def test_a_model_shared_by_two_generators_is_shared_after_loading(tmp_path: Path) -> None:
    model = LanguageModel(function=says_question)
    x = ec.Input(data_model=Text)
    first, second = (Generator(data_model=Label, language_model=model, name=name) for name in "ab")
    program = ec.Program(inputs=x, outputs=[wait(first(x)), wait(second(x))])
    program.save(tmp_path / "two.json")
    loaded = ec.Program.load(tmp_path / "two.json")
    models: list[Any] = [loaded.get_module(name) for name in "ab"]
    assert models[0].language_model is models[1].language_model


# --- thinking ----------------------------------------------------------------------------------


def test_thoughts_come_before_the_answer(run: ec.Run) -> None:
    thinker = ChainOfThought(data_model=Label, language_model=says_question)
    answer = wait(thinker(Text(text="why?"), training=True))
    assert answer.get_json() == {
        "thinking": "it ends in a question mark",
        "label": "question",
        "sure": True,
        "note": None,
    }
    assert thinker.state.get("current_predictions")[0]["outputs"]["thinking"]
    assert effects(run)[0].request["reasoning_effort"] == "low"
    assert list(effects(run)[0].request["schema"]["properties"]) == ["thinking", "label", "sure", "note"]


def test_thinking_needs_an_answer_to_think_about() -> None:
    with pytest.raises(ec.errors.InvalidValue, match="without a schema"):
        ChainOfThought(language_model=Heard())
