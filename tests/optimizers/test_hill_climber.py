"""The optimizer that the base class's text shows in full is taken from there, and trains."""

from __future__ import annotations

import textwrap
from typing import Any

from eventcore.optimizers import Optimizer, optimizer
from tests.optimizers.samples import Words, fresh_run, train

GOAL = "say hello very politely"
WORDS = ["a", "say", "hello", "very", "politely", "loudly"]


def written_in_the_docstring() -> tuple[type[Any], int]:
    """Return the class of the example and its number of lines."""
    text = (optimizer.__doc__ or "").partition("class HillClimber")
    code = textwrap.dedent("    " + text[1] + text[2])
    names: dict[str, Any] = {"Optimizer": Optimizer, "__name__": __name__}
    exec(compile(code, "docstring", "exec"), names)
    return names["HillClimber"], len(code.strip().splitlines())


HillClimber, LENGTH = written_in_the_docstring()


def right_words(number: int, says: dict[str, Any]) -> float:
    said: list[str] = says["words"]["text"].split()
    return sum(a == b for a, b in zip(said, GOAL.split(), strict=True)) / 4


def test_it_is_written_in_less_than_thirty_lines() -> None:
    assert LENGTH <= 30


def test_it_finds_the_words() -> None:
    for seed in range(3):
        with fresh_run(seed) as run:
            climber = HillClimber("text", WORDS, name="climber")
            train(right_words, climber, {"words": Words}, seen=50, batch_size=1, epochs=4)
            value = run.state.variables["teller/words"]
            assert value["text"] == GOAL
            assert climber.iterations == 200 and climber.epochs == 4
            assert value["best_candidates"][0]["text"] == GOAL
            assert [entry["text"] for entry in value["history"]][-1] == GOAL


def test_what_it_tried_is_in_the_log_with_the_batch_as_its_cause() -> None:
    with fresh_run(1) as run:
        train(right_words, HillClimber("text", WORDS), {"words": Words}, seen=4, epochs=1)
        proposals = [event for _, event in run.events(kind="CandidateProposed")]
        causes = [next(iter(run.events(event.cause, event.cause)))[1] for event in proposals]
    assert [event.strategy for event in proposals] == ["hill-climbing"] * 4  # type: ignore[attr-defined]
    assert [type(cause).__name__ for cause in causes] == ["BatchBegan"] * 4


def test_its_config_makes_it_again() -> None:
    config = HillClimber("text", WORDS, name="climber", population_size=3).get_config()
    again = HillClimber.from_config(config)
    assert again.get_config() == config
    assert (again.field, again.words, again.population_size) == ("text", WORDS, 3)
