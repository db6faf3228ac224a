"""Names made up for things without one, and the words masks compare."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventcore.models import auto_name, clear_names, get_uid, snake_case
from eventcore.models.words import base_name, plural, plural_name, singular


@pytest.fixture(autouse=True)
def fresh_names() -> Iterator[None]:
    clear_names()
    yield
    clear_names()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Generator", "generator"),
        ("ChainOfThought", "chain_of_thought"),
        ("HTTPResponse", "http_response"),
        ("OMEGA", "omega"),
        ("LMAsJudge", "lm_as_judge"),
        ("PassAtK", "pass_at_k"),
        ("F1Score", "f1_score"),
        ("Binary F1-Score", "binary_f1_score"),
        ("already_snake_1", "already_snake_1"),
        ("my.Module/Name", "my_module_name"),
        ("", ""),
    ],
)
def test_snake_case_splits_words_and_keeps_acronyms_together(name: str, expected: str) -> None:
    assert snake_case(name) == expected


@given(st.text())
def test_snake_case_is_idempotent_and_lower(name: str) -> None:
    once = snake_case(name)
    assert snake_case(once) == once
    assert once == once.lower()


def test_automatic_names_are_bare_first_and_count_up_per_name() -> None:
    assert [auto_name("Generator") for _ in range(3)] == ["generator", "generator_1", "generator_2"]
    assert [auto_name("generator"), auto_name("Decision")] == ["generator_3", "decision"]


def test_uids_count_from_one_per_prefix() -> None:
    assert [get_uid("a"), get_uid("a"), get_uid("b"), get_uid()] == [1, 2, 1, 1]


def test_clearing_starts_anew() -> None:
    auto_name("x")
    get_uid("x")
    clear_names()
    assert (auto_name("x"), get_uid("x")) == ("x", 1)


def test_threads_never_get_the_same_name() -> None:
    names: list[str] = []

    def take() -> None:
        names.extend(auto_name("shared") for _ in range(200))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == len(names) == 800


PAIRS = [
    *[("answer", "answers"), ("query", "queries"), ("key", "keys"), ("class", "classes"), ("box", "boxes")],
    *[
        ("status", "statuses"),
        ("bus", "buses"),
        ("house", "houses"),
        ("cause", "causes"),
        ("response", "responses"),
    ],
    *[("person", "people"), ("child", "children"), ("index", "indices"), ("analysis", "analyses")],
    *[
        ("matrix", "matrices"),
        ("hero", "heroes"),
        ("wish", "wishes"),
        ("match", "matches"),
        ("cache", "caches"),
    ],
    *[("size", "sizes"), ("quiz", "quizzes"), ("movie", "movies"), ("cookie", "cookies"), ("day", "days")],
    *[("use", "uses"), ("process", "processes"), ("address", "addresses"), ("criterion", "criteria")],
]


@pytest.mark.parametrize(("one", "many"), PAIRS)
def test_singular_and_plural_are_inverse_on_the_words_fields_are_made_of(one: str, many: str) -> None:
    assert singular(many) == singular(one) == one
    assert plural(one) == many


@pytest.mark.parametrize("word", ["data", "news", "series", "information", "metadata"])
def test_words_without_a_plural_stay(word: str) -> None:
    assert singular(word) == plural(word) == word


@pytest.mark.parametrize(
    ("key", "base"),
    [
        ("answer", "answer"),
        ("answers", "answer"),
        ("answer_2", "answer"),
        ("answers_12", "answer"),
        ("user_names_1", "user_name"),
        ("names_user", "names_user"),
        ("n_1", "n"),
        ("s", "s"),
        ("_1", ""),
        ("", ""),
    ],
)
def test_the_base_name_has_no_number_and_ends_in_the_singular(key: str, base: str) -> None:
    assert base_name(key) == base


def test_plural_names_change_the_last_word() -> None:
    assert plural_name("user_query") == "user_queries"


@given(st.text("abcdesxyz_", max_size=8), st.integers(1, 99))
def test_a_number_never_changes_the_base(key: str, number: int) -> None:
    assert base_name(f"{key}_{number}") == base_name(f"{key}_{number + 1}")
