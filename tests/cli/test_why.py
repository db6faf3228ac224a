"""`eventcore why`: text, JSON and one page for what a training ended with."""

from __future__ import annotations

from pathlib import Path

import pytest

import eventcore as ec
from tests.cli.stores import call, call_json, make_store


def test_the_story_is_printed(trained: Path) -> None:
    result = call("why", trained)
    assert result.exit_code == 0, result.stderr
    for words in (
        "epoch 2 (ended at", "lineage", "over 12 rollouts, reward ", "from model call", "shown 8 rollouts",
        "Read with care.+}", "tried and rejected: ", "cost of each step", "epoch 2 step 2",
    ):  # fmt: skip
        assert words in result.stdout
    alone = call("why", trained, "hints", "hints_hinted").stdout
    assert alone == call("why", trained, "hints_hinted").stdout
    assert "state_generator" not in alone


def test_it_is_told_as_of_any_place(trained: Path) -> None:
    early = call_json("why", trained, "hints", "--at", "epoch:0/step:0")
    assert early["epochs"] == [] and len(early["variables"]) == 2
    whole = call_json("why", trained)
    assert [epoch["epoch"] for epoch in whole["epochs"]] == [0, 1, 2]
    assert whole["spent"]["calls"] > early["spent"]["calls"]
    story = next(
        story for story in whole["variables"] if story["variable"].endswith("state_generator_hinted")
    )
    assert story["validated"] > 0 and story["evaluations"] > 0
    kinds = [step["kind"] for step in story["lineage"]]
    assert kinds[0] == "VariableDeclared" and set(kinds[1:]) == {"CandidateProposed"}


def test_one_page_stands_alone(trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "why.html"
    result = call("why", trained, "--html", page)
    assert result.stdout == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "<script" not in text and "src=" not in text
    for words in ("Lineage", "Tried and rejected", "Cost of each step", "Read with care.</ins>"):
        assert words in text


def test_a_run_without_trained_variables_is_refused_with_what_there_is(tmp_path: Path) -> None:
    store = make_store(tmp_path / "runs.lmdb")
    result = call("why", store, "main")
    assert result.exit_code == 2 and "name one of: voice" in result.stderr
    assert call("why", store, "main", "voice").exit_code == 0
    assert call("why", store, "main", "vioce").exit_code == 2
    assert call("why", store, "main", "voice", "more").exit_code == 2
    assert call("why", store, "main", "voice", "--at", "99").exit_code == 2


def test_the_story_of_one_variable_shows_itself_on_one_line(trained: Path) -> None:
    with ec.open(trained, read_only=True) as store:
        shown = repr(store["hints"].why().variables[0])
    assert shown.startswith("VariableStory('") and "\n" not in shown and len(shown) < 300
    assert "reward " in shown and "in its lineage" in shown


@pytest.mark.parametrize("words", [["why"], ["blame", "hints_hinted"]], ids=lambda words: words[0])
def test_a_page_is_written_besides_what_is_printed_as_json(
    trained: Path, tmp_path: Path, words: list[str]
) -> None:
    page = tmp_path / "page.html"
    found = call_json(words[0], trained, *words[1:], "--html", page)
    assert found.pop("page") == str(page) and page.read_text().startswith("<!doctype html>")
    assert found == call_json(words[0], trained, *words[1:])
    nowhere = tmp_path / "nowhere" / "page.html"
    refused = call(words[0], trained, *words[1:], "--html", nowhere)
    assert refused.exit_code == 2 and f"cannot write '{nowhere}': No such file" in refused.stderr


class Hint(ec.Trainable):
    text: str = "none"


def test_where_a_forks_values_came_from_is_told_in_json_too(tmp_path: Path) -> None:
    path = tmp_path / "runs.lmdb"
    with ec.open(path) as store, store.run("first") as run:
        hint = ec.Variable(data_model=Hint, name="hint")
        hint.update({"text": "Mind the time."})
        with run.fork("on", at=run.head):
            hint.update({"text": "Mind the time and the place."})
    (told,) = call_json("why", path, "on")["variables"]
    assert told["before"]["run"] == "first"
    assert told["before"]["fields"]["text"] == "Mind the time."
    assert call_json("why", path, "first")["variables"][0]["before"] is None
