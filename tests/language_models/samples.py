"""Data models and small questions to the log that the tests of language models share."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

import eventcore as ec
from eventcore.language_models import LanguageModel
from eventcore.testing.model_server import ModelServer

# litellm and what it imports warn of their own affairs; ours go on being errors unless a test asks for them.
QUIET = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error:.*gave no answer")]


class Text(ec.DataModel):
    text: str = ec.Field(description="What somebody wrote.")


class Label(ec.DataModel):
    """What kind of text it is."""

    label: str = ec.Field(description="The kind.")
    sure: bool = True
    note: str | None = None


def over_http(server: ModelServer, **arguments: Any) -> LanguageModel:
    """A model that is really called, with waits short enough for tests."""
    given: dict[str, Any] = {"api_base": server.url, "api_key": "none", "retry_max_wait": 0.02}
    return LanguageModel("openai/gpt-4o-mini", **(given | arguments))


def effects(run: ec.Run) -> list[Any]:
    """The effect events of a run, oldest first."""
    return [event for _, event in run.events() if type(event).__name__.startswith("Effect")]


def kinds(run: ec.Run) -> list[str]:
    return [type(event).__name__.removeprefix("Effect") for event in effects(run)]


@contextmanager
def one_warning(match: str) -> Generator[None]:
    """Exactly one warning of ours, and it says `match`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    ours = [str(warning.message) for warning in caught if "gave no answer" in str(warning.message)]
    assert len(ours) == 1, ours
    assert match in ours[0], ours[0]
