"""Asking a language model to rewrite a variable: one candidate changed, or two made into one.

A `Rewriter` is a generator over a variable's own fields and the words it is given. It knows no populations and
no rewards; `OMEGA` decides what is rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eventcore.history.population import BOOKKEEPING
from eventcore.language_models import ChainOfThought, Generator
from eventcore.models.algebra import with_used_definitions
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.variables import Variable

JsonDict = dict[str, Any]

SHARED = (
    "You improve a program whose steps read variables: JSON objects of texts, numbers and lists. With a version of "
    "the variable like the current one, the program gave for the inputs below the predicted outputs below, in the "
    "same order; null stands for an example that failed. The ground truth, where there is any, is what the outputs "
    "should have been."
)

MUTATION = (
    "Write a better version of the current variable. Find what most often keeps the predicted outputs from the "
    "ground truth, and make one focused change that mends it. The change must help with inputs that are not shown: "
    "do not copy the examples into the variable. Keep every key, and leave what works as it is."
)

CROSSOVER = (
    "Two versions of the variable are given; both did well, each in its own way. Write one version that unites the "
    "strengths of both and the weaknesses of neither. It must help with inputs that are not shown: do not copy the "
    "examples into the variable. Keep every key."
)


class MutationInputs(DataModel):
    """A program, what it did with a batch, and the variable to improve."""

    program_description: str = Field(description="What the program is for.")
    program_inputs: list[Any] = Field(description="Inputs of the batch.")
    program_predicted_outputs: list[Any] = Field(description="Outputs of the program, in the same order.")
    program_ground_truth: list[Any] = Field(description="What they should have been; empty if unknown.")
    variable_description: str = Field(description="What the variable is for.")
    current_variable: dict[str, Any] = Field(description="The variable as it was in this batch.")


class CrossoverInputs(MutationInputs):
    """The same, with a second version of the variable."""

    other_variable: dict[str, Any] = Field(description="Another version of the variable that did well.")


INPUTS: dict[str, type[MutationInputs]] = {"mutation": MutationInputs, "crossover": CrossoverInputs}
TASKS = {"mutation": MUTATION, "crossover": CROSSOVER}


def own_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are the user's, not bookkeeping."""
    return {name: item for name, item in fields.items() if name not in BOOKKEEPING}


def own_schema(variable: Variable) -> JsonDict:
    """Return the schema of a variable's own fields, all of them required."""
    schema = variable.get_schema()
    properties = own_fields(schema["properties"])
    return with_used_definitions(
        {**schema, "properties": properties, "required": list(properties)}, schema.get("$defs", {})
    )


def plain_json(value: Any) -> Any:
    """Return an input, output or target as JSON: data models, and lists and dicts of them."""
    if hasattr(value, "get_json"):
        return value.get_json()
    if isinstance(value, dict):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    return value


class Rewriter:
    """Writes new values for one variable, in one way.

    Args:
        kind: "mutation" or "crossover".
        variable: The variable.
        name: Name of the generator that is asked.
        language_model: The model.
        instructions: Words of the user's that come first, or None.
        temperature: Temperature of the answers, None for the model's own.
        reasoning_effort: As in `Generator`.
        use_chain_of_thought: Whether the model thinks before it answers.
    """

    def __init__(
        self,
        kind: str,
        variable: Variable,
        name: str,
        language_model: Any,
        instructions: str | None,
        temperature: float | None,
        reasoning_effort: str | None,
        use_chain_of_thought: bool,
    ) -> None:
        schema = own_schema(variable)
        self._inputs = INPUTS[kind]
        generator = ChainOfThought if use_chain_of_thought else Generator
        effort: JsonDict = {} if reasoning_effort is None else {"reasoning_effort": reasoning_effort}
        self.generator: Generator = generator(
            schema=schema,
            language_model=language_model,
            instructions="\n\n".join(part for part in (instructions, SHARED, TASKS[kind]) if part),
            use_outputs_schema=True,
            temperature=temperature,
            name=name,
            trainable=False,
            **effort,
        )
        # The thinking stands first; a field of the variable that is called so too is given another name.
        fields, asked = list(schema["properties"]), list((self.generator.schema or {})["properties"])
        self._keys = dict(zip(fields, asked[-len(fields) :], strict=True))

    @property
    def variables(self) -> list[Variable]:
        """The generator's state."""
        return list(self.generator.variables)

    async def __call__(
        self,
        program_description: str,
        variable: Variable,
        batch: tuple[Sequence[Any], Sequence[Any] | None, Sequence[Any]],
        *versions: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Ask for a new version.

        Args:
            program_description: What the program is for.
            variable: The variable.
            batch: Inputs, targets (or None) and outputs.
            *versions: Fields of the current version, and of the other one for a crossover.

        Returns:
            Every own field of the variable, None if the model gave no usable answer.
        """
        x, y, y_pred = batch
        names = ("current_variable", "other_variable")
        asked = self._inputs(
            program_description=program_description,
            program_inputs=plain_json(x),
            program_predicted_outputs=plain_json(y_pred),
            program_ground_truth=[] if y is None else plain_json(y),
            variable_description=variable.description,
            **{name: own_fields(version) for name, version in zip(names, versions, strict=False)},
        )
        answer = await self.generator(asked)
        if answer is None:
            return None
        return {field: answer.get(key) for field, key in self._keys.items()}
