"""Prompts: the system message made of a generator's state, the user message made of its input.

The form is fixed: tagged sections, each only when there is something in it. Who wants another one gives a
Jinja template, rendered in Jinja's sandbox because a template may come from a saved file; Jinja is imported
only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from eventcore.errors import InvalidValue, Unavailable
from eventcore.language_models.conversation import as_text
from eventcore.models.chat import is_chat_messages
from eventcore.models.json_data_model import JsonDataModel

JsonDict = dict[str, Any]


class Prompt(msgspec.Struct, frozen=True):
    """What a system message is made of; a template sees the same four names.

    Attributes:
        instructions: What to do, or None.
        examples: Dicts of `inputs` and `outputs`.
        input_schema: JSON schema of the input, or None when it is not to be shown.
        output_schema: JSON schema of the answer, or None when it is not to be shown.
    """

    instructions: str | None
    examples: list[JsonDict]
    input_schema: JsonDict | None = None
    output_schema: JsonDict | None = None

    def text(self, template: str | None = None) -> str:
        """Write the system message; "" when there is nothing to say.

        Raises:
            InvalidValue: The template cannot be rendered.
            Unavailable: A template is given, and Jinja is not installed.
        """
        return self._sections() if template is None else rendered(template, self._names())

    def _names(self) -> JsonDict:
        return {
            "instructions": self.instructions,
            "examples": self.examples,
            "input_schema": self.input_schema,
            "output_schema": self.output_schema,
        }

    def _sections(self) -> str:
        parts = [
            _section("instructions", self.instructions or ""),
            _section("input_schema", "" if self.input_schema is None else as_text(self.input_schema)),
            _section("output_schema", "" if self.output_schema is None else as_text(self.output_schema)),
            _section("examples", "\n".join(_example(example) for example in self.examples)),
        ]
        return "\n\n".join(part for part in parts if part)


def _section(tag: str, text: str) -> str:
    return f"<{tag}>\n{text}\n</{tag}>" if text.strip() else ""


def _example(example: Mapping[str, Any]) -> str:
    return f"{user_text(example.get('inputs', {}))}\n{as_text(example.get('outputs', {}))}\n</output>"


def user_text(value: Any) -> str:
    """Write an input as the user's message: the input in tags, and the tag of the answer opened."""
    return f"<input>\n{as_text(value)}\n</input>\n<output>"


def messages_for(inputs: JsonDataModel, system: str) -> list[JsonDict]:
    """Make the conversation for an input.

    A conversation goes on as it is; a system message of its own suppresses ours.
    """
    if is_chat_messages(inputs):
        said: list[JsonDict] = inputs.get("messages")
        asked = said
        if any(message.get("role") == "system" for message in said):
            system = ""
    else:
        asked = [{"role": "user", "content": user_text(inputs.get_json())}]
    return [{"role": "system", "content": system}, *asked] if system else asked


def rendered(template: str, names: JsonDict) -> str:
    """Render a Jinja template in its sandbox.

    Raises:
        InvalidValue: It is no template, names something unknown, or does what the sandbox forbids.
        Unavailable: Jinja is not installed.
    """
    try:
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise Unavailable(
            "cannot use a prompt template: Jinja is not installed. Run pip install 'eventcore[lm]', or leave out "
            "prompt_template."
        ) from error
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = as_text
    try:
        return environment.from_string(template).render(names).strip()
    except (TemplateError, TypeError) as error:
        raise InvalidValue(
            f"cannot render the prompt template: {error}. It is given {', '.join(names)}, and a filter `json`."
        ) from error


def default_instructions(schema: JsonDict | None) -> str | None:
    """The sentence a generator starts with: what the answer has to look like; None without a schema."""
    if schema is None:
        return None
    keys = listed(repr(key) for key in schema.get("properties", {}))
    return f"Answer with a JSON object that has exactly these keys: {keys}."


def listed(words: Iterable[str]) -> str:
    """Join words with commas."""
    return ", ".join(words)
