"""Both kinds of model have a default, each its own, and say what may be passed where a model belongs."""

from __future__ import annotations

from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue, WrongType
from eventcore.language_models import (
    as_embedding_model,
    as_language_model,
    get_default_embedding_model,
    get_default_language_model,
    set_default_embedding_model,
    set_default_language_model,
)

KINDS: list[Any] = [
    pytest.param(
        ec.LanguageModel, as_language_model, get_default_language_model, set_default_language_model,
        "without a language model: pass judge='ollama/llama3.2' (or another name, a LanguageModel",
        "as judge: pass a LanguageModel, its name, or a function", id="language",
    ),
    pytest.param(
        ec.EmbeddingModel, as_embedding_model, get_default_embedding_model, set_default_embedding_model,
        "without an embedding model: pass judge='ollama/all-minilm' (or another name, an EmbeddingModel",
        "as judge: pass an EmbeddingModel, its name, or a function", id="embedding",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "as_model", "default", "set_default", "none", "other"), KINDS)
def test_a_model_its_name_a_function_or_the_default_are_what_may_be_passed(
    kind: Any, as_model: Any, default: Any, set_default: Any, none: str, other: str
) -> None:
    assert default() is None
    with pytest.raises(InvalidValue) as missing:
        as_model(None, "judge")
    with pytest.raises(WrongType) as wrong:
        as_model(3, "judge")
    assert none in str(missing.value)
    assert other in str(wrong.value)

    set_default("some/model")
    made = default()
    assert isinstance(made, kind)
    assert as_model(None) is made
    assert as_model(made) is made
    assert as_model("some/model") is not made
    assert as_model(lambda asked: {}).model == "<lambda>"
    set_default(None)
    assert default() is None


def test_the_default_of_one_kind_is_not_the_default_of_the_other() -> None:
    set_default_language_model("some/model")
    assert get_default_embedding_model() is None
