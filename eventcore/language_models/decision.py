"""`Decision` and `MultiDecision`: a language model answers a question with one or several of given labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from eventcore.errors import InvalidValue
from eventcore.language_models.generator import Generator, JsonDict
from eventcore.models.chat import is_chat_messages
from eventcore.models.data_model import DataModel
from eventcore.models.field import Field
from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.operators import concat


class Question(DataModel):
    """The question to decide."""

    question: str = Field(description="The question to answer about the input.")


class Decision(Generator):
    """Answers a question about its input with one label: `{"thinking", "choice"}`.

    The question is part of what the model is shown with every input, whatever an optimizer makes of the
    instructions; the labels are the only answers there are.

    Args:
        question: The question.
        labels: The possible answers.
        **arguments: As in `Generator`, but for the schema.

    Raises:
        InvalidValue: No question, no labels, or labels that are no list of different texts.
    """

    def __init__(
        self, *, question: str | None = None, labels: Sequence[str] | None = None, **arguments: Any
    ) -> None:
        what = type(self).__name__
        if not isinstance(question, str) or not question.strip():
            raise InvalidValue(f"cannot make {what} without a question: received {question!r}; pass a text")
        self._question = question
        self._labels = checked_labels(labels, what)
        for refused in ("schema", "data_model"):
            if arguments.get(refused) is not None:
                raise InvalidValue(f"cannot make {what} with `{refused}`: its answer is one of the labels")
        super().__init__(**arguments)

    def answer_schema(self, schema: JsonDict | None) -> JsonDict | None:
        """Return the schema of the decision."""
        thinking = {"description": "Your step by step thinking.", "title": "Thinking", "type": "string"}
        name, choice = self.choice_field(list(self._labels))
        return {
            "additionalProperties": False,
            "description": f"The answer to the question: {self._question}",
            "properties": {"thinking": thinking, name: choice},
            "required": ["thinking", name],
            "title": type(self).__name__,
            "type": "object",
        }

    def choice_field(self, labels: list[str]) -> tuple[str, JsonDict]:
        """Return the name and schema of the field that holds the decision."""
        return "choice", {
            "description": "The label that answers the question.",
            "enum": labels,
            "title": "Choice",
            "type": "string",
        }

    def asked(self, inputs: Any) -> Any:
        """Put the question beside the input, at the end of a conversation."""
        if is_chat_messages(inputs):
            said = [*inputs.get("messages"), {"role": "user", "content": self._question}]
            json = {**inputs.get_json(), "messages": said}
            return JsonDataModel(schema=inputs.get_schema(), json=json, name=inputs.name)
        return concat(inputs, Question(question=self._question))

    def chosen(self, decision: Any) -> list[str]:
        """The labels a decision names."""
        return [cast("str", decision.get("choice"))]


class MultiDecision(Decision):
    """Answers a question about its input with any number of labels: `{"thinking", "choices"}`.

    Args:
        **arguments: As in `Decision`.
    """

    def choice_field(self, labels: list[str]) -> tuple[str, JsonDict]:
        """Return the name and schema of the field that holds the decision."""
        return "choices", {
            "description": "All labels that answer the question.",
            "items": {"enum": labels, "type": "string"},
            "title": "Choices",
            "type": "array",
        }

    def chosen(self, decision: Any) -> list[str]:
        """The labels a decision names, each once."""
        return list(dict.fromkeys(cast("list[str]", decision.get("choices"))))


def checked_labels(labels: Any, what: str) -> tuple[str, ...]:
    """Return labels.

    Raises:
        InvalidValue: They are no list of different, non-empty texts.
    """
    given = tuple(labels) if isinstance(labels, (list, tuple)) else ()
    good = all(isinstance(label, str) and label for label in given) and len(set(given)) == len(given)
    if not given or not good:
        raise InvalidValue(f"cannot make {what}: received labels={labels!r}; pass a list of different texts")
    return given
