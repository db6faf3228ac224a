"""What checks of modules share is prepared in another process, once, and is the same as if each had made it."""

from __future__ import annotations

import os
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.testing.checks import Way, prepare
from eventcore.testing.fake_model import FakeLanguageModel
from eventcore.testing.module_inputs import example_json
from eventcore.testing.module_subject import ModuleSubject
from eventcore.testing.modules import check_module

MADE: list[int] = []


class Question(ec.DataModel):
    text: str


class Answer(ec.DataModel):
    text: str


class Echo(ec.Module):
    def __init__(self, name: str | None = None) -> None:
        MADE.append(os.getpid())
        super().__init__(name=name)

    async def call(self, inputs: Question, training: bool = False) -> Any:
        return inputs


def test_examples_are_drawn_in_another_process_and_are_those_that_would_be_drawn_here() -> None:
    subject, here = ModuleSubject(Echo, None, 3), ModuleSubject(Echo, None, 3)
    MADE.clear()
    prepare(subject, Way())
    adopted = subject.examples()
    assert MADE == []
    assert all(isinstance(example, Question) for example in adopted)
    assert [example_json(each) for each in adopted] == [example_json(each) for each in here.examples()]
    assert MADE


def test_examples_of_a_class_no_process_finds_keep_their_schema() -> None:
    class Local(ec.DataModel):
        number: int

    subject = ModuleSubject(Echo, [Local(number=1)])
    subject.adopt([{"model": None, "schema": Local.get_schema(), "json": {"number": 1}}])
    assert subject.examples()[0].get_json() == {"number": 1}
    assert subject.examples()[0].get_schema() == Local.get_schema()


@pytest.mark.parametrize("script", [{"answers": [{"text": "once"}]}, {"failures": [2]}], ids=str)
def test_a_model_that_counts_its_calls_is_refused(script: dict[str, Any]) -> None:
    def asks() -> Any:
        return ec.Generator(data_model=Answer, language_model=FakeLanguageModel(**script))

    with pytest.raises(
        InvalidValue, match="is used up, or fails at numbered calls; pass it a dict or a function"
    ):
        check_module(asks, Question, only=["save_and_load"])


@pytest.mark.parametrize("isolated", [True, False])
def test_a_factory_that_raises_is_a_finding_of_the_checks(isolated: bool) -> None:
    def raises() -> Any:
        raise RuntimeError("no module today")

    with pytest.raises(AssertionError, match=r"RuntimeError: no module today(?s:.*)test_module_subject"):
        check_module(raises, Question, only=["defaults_complete"], isolated=isolated)
