"""Schemas as providers take them: strict copies, and the nulls they bring back.

The rules of strict mode are checked here by a reading of their own, not by the code that makes the copies.
"""

from __future__ import annotations

from typing import Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.language_models.providers import (
    FORMS,
    provider_of,
    resolved_model,
    strict_schema,
    structured_arguments,
    without_refused_nulls,
)
from eventcore.models.validation import Validator

JsonDict = dict[str, Any]


class Inner(ec.DataModel):
    """Something inside."""

    word: str
    weight: float = 0.5
    kind: Literal["a", "b"] = "a"


class Outer(ec.DataModel):
    """Something outside."""

    name: str = ec.Field(description="What it is called.")
    count: int = 3
    maybe: Optional[int] = None  # noqa: UP045 - both spellings are used
    inner: Inner = ec.Field(description="What is in it.")
    optional_inner: Optional[Inner] = None  # noqa: UP045
    many: list[Inner] = ec.Field(default=[])
    either: Union[Inner, str] = "x"  # noqa: UP007


class Tree(ec.DataModel):
    label: str
    children: list[Tree] = ec.Field(default=[])


def strictly_wrong(schema: Any, where: str = "") -> list[str]:
    """What OpenAI's strict mode refuses in a schema."""
    if isinstance(schema, list):
        return [
            line for place, item in enumerate(schema) for line in strictly_wrong(item, f"{where}/{place}")
        ]
    if not isinstance(schema, dict):
        return []
    wrong: list[str] = []
    if "$ref" in schema and len(schema) > 1:
        wrong.append(f"{where}: something beside $ref")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            wrong.append(f"{where}: open object")
        if sorted(schema.get("required", [])) != sorted(schema.get("properties", {})):
            wrong.append(f"{where}: not all required")
    refused = {"default", "oneOf", "allOf", "uniqueItems", "prefixItems", "minLength", "maxLength", "const"}
    wrong += [f"{where}: {key}" for key in refused & set(schema)]
    for key, inner in schema.items():
        if key in ("properties", "$defs"):
            for name, part in inner.items():
                wrong += strictly_wrong(part, f"{where}/{key}/{name}")
                if part in ({}, True):
                    wrong.append(f"{where}/{key}/{name}: any value")
        elif key not in ("enum", "required"):
            wrong += strictly_wrong(inner, f"{where}/{key}")
    return wrong


@pytest.mark.parametrize("model", [Inner, Outer, Tree], ids=lambda model: model.__name__)
def test_a_strict_copy_obeys_every_rule_and_the_original_is_untouched(model: Any) -> None:
    before = model.get_schema()
    strict = strict_schema(before)
    assert strict is not None
    assert strictly_wrong(strict) == []
    assert before == model.get_schema()


def test_titles_and_descriptions_go_to_the_provider() -> None:
    strict = strict_schema(Outer.get_schema())
    assert strict is not None
    assert strict["description"] == "Something outside."
    assert strict["properties"]["name"]["description"] == "What it is called."
    assert strict["properties"]["inner"] == {
        "anyOf": [{"$ref": "#/$defs/Inner"}],
        "description": "What is in it.",
        "title": "Inner",
    }
    assert strict["$defs"]["Inner"]["description"] == "Something inside."


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": "object"}}},
        {
            "type": "object",
            "properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}},
        },
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        ec.Trainable.get_schema(),
    ],
    ids=range(6),
)
def test_what_cannot_be_promised_goes_out_as_it_is_and_not_strictly(schema: JsonDict) -> None:
    assert strict_schema(schema) is None
    sent = structured_arguments("openai/gpt-4o", schema)["response_format"]["json_schema"]
    assert sent["strict"] is False
    assert sent["schema"] == schema


@given(st.data())
def test_an_answer_in_strict_form_fits_the_original_once_its_nulls_are_gone(data: st.DataObject) -> None:
    strict = strict_schema(Outer.get_schema())
    assert strict is not None
    answer = data.draw(answers(strict, strict))
    kept = without_refused_nulls(answer, Outer.get_schema())
    checked = Validator(Outer.get_schema()).check(kept)
    for key, value in answer.items():
        if value is not None and not isinstance(value, (dict, list)):
            assert checked[key] == value
    assert checked["maybe"] == answer["maybe"]
    if answer["count"] is None:
        assert checked["count"] == 3


def answers(schema: JsonDict, root: JsonDict) -> st.SearchStrategy[Any]:
    """Values a model in strict mode may give: every property is there."""
    if "$ref" in schema:
        return answers(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return st.one_of([answers(option, root) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        return st.fixed_dictionaries(
            {name: answers(part, root) for name, part in schema["properties"].items()}
        )
    if kind == "array":
        return st.lists(answers(schema["items"], root), max_size=3)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        "integer": st.integers(-(2**53), 2**53),
        "number": st.floats(-1e9, 1e9),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return simple[kind]


def test_nulls_that_mean_null_stay() -> None:
    answer = {"name": "x", "inner": {"word": "y", "weight": None, "kind": None}, "maybe": None, "count": None}
    assert without_refused_nulls(answer, Outer.get_schema()) == {
        "name": "x",
        "inner": {"word": "y"},
        "maybe": None,
    }
    nested = {"label": "a", "children": [{"label": "b", "children": None}]}
    assert without_refused_nulls(nested, Tree.get_schema()) == {"label": "a", "children": [{"label": "b"}]}
    assert without_refused_nulls({"name": None}, Outer.get_schema()) == {"name": None}, (
        "a required one is wrong"
    )


@pytest.mark.parametrize(
    ("model", "called"),
    [
        ("ollama/llama3.2", "ollama_chat/llama3.2"),
        ("vllm/qwen", "hosted_vllm/qwen"),
        ("doubleword/qwen", "openai/qwen"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("gpt-4o", "gpt-4o"),
        ("openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o"),
    ],
)
def test_models_are_called_by_the_name_litellm_knows(model: str, called: str) -> None:
    assert resolved_model(model) == called


def test_a_provider_can_be_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMS, "mine", "tool")
    assert provider_of("mine/x") == "mine"
    assert set(structured_arguments("mine/x", Inner.get_schema())) == {"tools", "tool_choice"}
