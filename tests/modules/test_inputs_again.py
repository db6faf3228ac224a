"""Inputs of a schema that was accepted before: the comparison is remembered, the outcome stays the same."""

from __future__ import annotations

from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import SchemaMismatch


class Number(ec.DataModel):
    """A number."""

    number: int


class Word(ec.DataModel):
    """A word."""

    word: str


class Tags(ec.DataModel):
    """A list."""

    tags: list[str]


class Same(ec.Module):
    """Gives back what it got."""

    async def call(self, inputs: Any) -> Any:
        """Echo."""
        return inputs


def test_another_schema_is_refused_however_often_the_right_one_was_accepted() -> None:
    module = Same()
    for _ in range(3):
        ec.wait(module(Number(number=1)))
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match="without the field 'number'"):
            ec.wait(module(Word(word="one")))
    assert ec.wait(module(Number(number=2))).get_json() == {"number": 2}


def test_what_one_module_accepts_says_nothing_about_another() -> None:
    numbers, words = Same(), Same()
    ec.wait(numbers(Number(number=1)))
    ec.wait(words(Word(word="one")))
    with pytest.raises(SchemaMismatch):
        ec.wait(words(Number(number=1)))
    with pytest.raises(SchemaMismatch):
        ec.wait(numbers(Word(word="one")))


def test_many_schemas_one_after_the_other_are_still_told_apart() -> None:
    module = Same()
    ec.wait(module(Number(number=1)))
    for index in range(1_100):
        schema = {"type": "object", "properties": {"number": {"type": "integer"}, f"more_{index}": {}}}
        ec.wait(module(ec.JsonDataModel(schema=schema, json={"number": index}, name="wider")))
    with pytest.raises(SchemaMismatch):
        ec.wait(module(Word(word="one")))


def test_an_instance_changed_in_place_is_checked_at_every_call() -> None:
    module = Same()
    given = Tags(tags=["a"])
    ec.wait(module(given))
    changed: Any = given.tags
    changed.append(3)
    with pytest.raises(SchemaMismatch, match="/tags/1"):
        ec.wait(module(given))


def test_a_call_shares_nothing_with_the_instance_it_was_given() -> None:
    given = Tags(tags=["a"])
    answer = ec.wait(Same()(given))
    given.tags.append("b")
    assert answer.get_json() == {"tags": ["a"]}


def test_a_program_gives_its_input_schema_as_a_copy() -> None:
    start = ec.Input(data_model=Number)
    program = ec.Program(inputs=start, outputs=ec.wait(Same()(start)))
    program.input_schema["properties"].clear()
    with pytest.raises(SchemaMismatch):
        ec.wait(program(Word(word="one")))
