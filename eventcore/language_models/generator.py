"""`Generator`: a module that asks a language model, with trainable instructions and examples.

Its state is a variable of `Instructions`, so optimizers rewrite what the model is told and which examples it
is shown. Its answers have a schema; without one they are chat messages. How models are called, and what
becomes of failures, is `LanguageModel`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from eventcore.errors import InvalidValue
from eventcore.language_models.language_model import as_language_model
from eventcore.language_models.prompt import Prompt, default_instructions, messages_for
from eventcore.models.chat import ChatMessage
from eventcore.models.conversion import json_of, schema_of
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.operators import concat
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.models.trainable import Instructions
from eventcore.models.validation import validator_for
from eventcore.modules.hooks import Hook
from eventcore.modules.module import Module

JsonDict = dict[str, Any]

EFFORTS = ("none", "disable", "minimal", "low", "medium", "high", "xhigh", "max", "default")
"""What `reasoning_effort` may be; models that do not reason are not told."""


class Plan(msgspec.Struct, frozen=True):
    """What a generator was told once and for all.

    Attributes:
        schema: JSON schema of the answer, None for a chat message.
        template: Jinja template of the system message, or None for the built-in form.
        instructions: What the instructions were at the start.
        examples: What the examples were at the start: dicts of inputs and outputs.
        seeds: Further instructions to begin the search from.
        show_input_schema: Whether the prompt has it.
        show_output_schema: Whether the prompt has it.
        return_inputs: Whether the result has the fields of the input too.
        streaming: Whether the answer is received piece by piece.
        sampling: Arguments of every call.
        tools: Functions the model may wish to have called.
    """

    schema: JsonDict | None
    template: str | None
    instructions: str | None
    examples: list[JsonDict]
    seeds: list[str]
    show_input_schema: bool
    show_output_schema: bool
    return_inputs: bool
    streaming: bool
    sampling: JsonDict
    tools: list[JsonDict]


class Generator(Module):
    """Answers an input by asking a language model.

    Owns the variable `state_<name>` of `Instructions`. Called with `training=True` it appends what it was given
    and what it answered to `current_predictions`. When the model gives no usable answer the result is None and
    nothing is appended.

    Args:
        schema: JSON schema of the answer.
        data_model: Data model of the answer, in place of `schema`. Without either it is a `ChatMessage`.
        language_model: The model, its name, or a function of the messages; None for the default model.
        prompt_template: Jinja template of the system message, given `instructions`, `examples`, `input_schema`,
            `output_schema` and a filter `json`. None for tagged sections.
        examples: Pairs of input and answer to show from the start, as data models or dicts.
        instructions: What the model is told; a sentence naming the answer's keys when absent.
        seed_instructions: Instructions the search of an optimizer begins from.
        use_inputs_schema: Show the schema of the input in the prompt.
        use_outputs_schema: Show the schema of the answer in the prompt.
        return_inputs: Return the fields of the input beside those of the answer.
        temperature: Sent with every call if given; the next three too.
        max_tokens: As above.
        top_p: As above.
        top_k: As above.
        reasoning_effort: How much a reasoning model should think; not sent to models that do not reason.
        streaming: Receive the answer piece by piece; the result is the same.
        tools: Functions the model may wish to have called, in OpenAI's form; only without a schema.
        tool_schemas: More of them.
        name: Its name.
        description: What it is for.
        trainable: Whether optimizers may rewrite its state.
        hooks: Told when a call begins and ends.

    Raises:
        InvalidValue: Two schemas, an unknown reasoning effort, tools beside a schema, or no model at all.
    """

    accepts_any_input = True

    def __init__(
        self,
        *,
        schema: Any = None,
        data_model: Any = None,
        language_model: Any = None,
        prompt_template: str | None = None,
        examples: Iterable[Sequence[Any]] | None = None,
        instructions: str | None = None,
        seed_instructions: Iterable[str] | None = None,
        use_inputs_schema: bool = False,
        use_outputs_schema: bool = False,
        return_inputs: bool = False,
        temperature: float | None = None,
        max_tokens: int | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        reasoning_effort: str | None = None,
        streaming: bool = False,
        tools: list[JsonDict] | None = None,
        tool_schemas: list[JsonDict] | None = None,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
        hooks: Iterable[Hook] | None = None,
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable, hooks=hooks)
        wanted = self.answer_schema(chosen_schema(schema, data_model, type(self).__name__))
        sampling = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "top_p": top_p,
            "top_k": top_k,
            "reasoning_effort": checked_effort(reasoning_effort),
        }
        offered = [*(tools or ()), *(tool_schemas or ())]
        if wanted is not None and offered:
            raise InvalidValue(
                f"cannot make '{self.name}': a generator with a schema offers no tools; leave one out"
            )
        self._plan = Plan(
            wanted,
            prompt_template,
            instructions if instructions is not None else self.first_instructions(wanted),
            [checked_example(example, self.name) for example in examples or ()],
            list(seed_instructions or ()),
            bool(use_inputs_schema),
            bool(use_outputs_schema),
            bool(return_inputs),
            bool(streaming),
            {key: value for key, value in sampling.items() if value is not None},
            offered,
        )
        self.language_model = as_language_model(language_model)
        self.state = self.add_variable(
            initializer=_first_state(self._plan), data_model=Instructions, name=f"state_{self.name}"
        )

    # --- what a subclass changes ---------------------------------------------------------------

    def answer_schema(self, schema: JsonDict | None) -> JsonDict | None:
        """Return the schema the model is asked for, given the one the constructor got."""
        return schema

    def first_instructions(self, schema: JsonDict | None) -> str | None:
        """Return what the model is told when the constructor was given no instructions."""
        return default_instructions(schema)

    def asked(self, inputs: Any) -> Any:
        """Return what the model is asked about, given the input: data or symbolic."""
        return inputs

    # --- calling -------------------------------------------------------------------------------

    @property
    def schema(self) -> JsonDict | None:
        """JSON schema of the answer, None for a chat message."""
        return None if self._plan.schema is None else schema_of(self._plan.schema)

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Ask the model about `inputs`."""
        if inputs is None:
            return None
        plan, asked = self._plan, self.asked(inputs)
        answer = await self.language_model(
            self.messages(asked),
            schema=plan.schema,
            tools=plan.tools or None,
            streaming=plan.streaming,
            variable=self.state,
            **plan.sampling,
        )
        if answer is None:
            return None
        result = cast("JsonDataModel", answer).clone(name=f"prediction_{self.name}")
        if training and self.state.trainable:  # of a frozen one nobody would ever collect the records
            record = {"inputs": asked.get_json(), "outputs": result.get_json(), "reward": None}
            self.state.get("current_predictions").append(record)
        return self._returned(inputs, result)

    def messages(self, inputs: JsonDataModel) -> list[JsonDict]:
        """Make the conversation that is sent for an input, of the present instructions and examples."""
        plan = self._plan
        prompt = Prompt(
            self.state.get("instructions"),
            [
                {"inputs": dict(example["inputs"]), "outputs": dict(example["outputs"])}
                for example in self.state.get("examples")
            ],
            inputs.get_schema() if plan.show_input_schema else None,
            plan.schema if plan.show_output_schema else None,
        )
        return messages_for(inputs, prompt.text(plan.template))

    def _returned(self, inputs: Any, result: Any) -> Any:
        if not self._plan.return_inputs:
            return result
        return concat(inputs, result, name=f"with_inputs_{self.name}")

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """Return the schema of the answer, with the input's fields if they are returned too."""
        if inputs is None:
            return None
        spec = SymbolicDataModel(
            data_model=ChatMessage if self._plan.schema is None else None,
            schema=self._plan.schema,
            name=f"prediction_{self.name}",
        )
        return self._returned(_loose(inputs), spec)

    # --- making it again -----------------------------------------------------------------------

    def get_config(self) -> JsonDict:
        """Return the constructor's arguments; the answer's schema stands for its class, pairs are plain."""
        config = super().get_config()
        given = chosen_schema(config.pop("schema", None), config.pop("data_model", None), type(self).__name__)
        if given is not None:
            config["schema"] = given
        if config.get("examples"):
            config["examples"] = [[pair["inputs"], pair["outputs"]] for pair in self._plan.examples]
        if config.get("seed_instructions"):
            config["seed_instructions"] = list(self._plan.seeds)
        config["language_model"] = self.language_model
        return config


def _loose(value: Any) -> Any:
    """A symbolic data model without what produced it, so that merging it adds nothing to a graph."""
    return SymbolicDataModel(schema=value.get_schema(), name=value.name)


def _first_state(plan: Plan) -> JsonDict:
    return {
        "instructions": plan.instructions,
        "examples": [{**example, "reward": None} for example in plan.examples],
        "seed_candidates": [{"instructions": text} for text in plan.seeds],
    }


def chosen_schema(schema: Any, data_model: Any, what: str) -> JsonDict | None:
    """Return the schema of whichever was given, None for neither.

    Raises:
        InvalidValue: Both were given, or it cannot be used.
    """
    if schema is not None and data_model is not None:
        raise InvalidValue(f"cannot make {what}: received `schema` and `data_model`; pass one of them")
    source = data_model if schema is None else schema
    if source is None:
        return None
    found = schema_of(source)
    validator_for(found)  # refuses here what could not be checked later
    return found


def checked_effort(effort: Any) -> str | None:
    """Return a reasoning effort.

    Raises:
        InvalidValue: It is unknown.
    """
    if effort is None or effort in EFFORTS:
        return cast("str | None", effort)
    raise InvalidValue(f"cannot use reasoning_effort={effort!r}: pass None or one of {', '.join(EFFORTS)}")


def checked_example(example: Any, name: str) -> JsonDict:
    """Read a pair of input and answer.

    Raises:
        InvalidValue: It is no pair.
    """
    if isinstance(example, dict) and {"inputs", "outputs"} <= set(cast("JsonDict", example)):
        pair = cast("JsonDict", example)
        return {"inputs": json_of(pair["inputs"]), "outputs": json_of(pair["outputs"])}
    if not isinstance(example, (list, tuple)) or len(cast("list[Any]", example)) != 2:
        raise InvalidValue(f"cannot use {example!r} as an example of '{name}': pass pairs (input, answer)")
    given, answered = cast("list[Any]", example)
    return {
        "inputs": json_of(given, "an example's input"),
        "outputs": json_of(answered, "an example's answer"),
    }
