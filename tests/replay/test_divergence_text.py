"""What a person reads about a divergence is short, and two things that differ never look the same."""

from __future__ import annotations

import pytest

from eventcore.history import events as e
from eventcore.history.timetravel import value_differences
from eventcore.replay.divergence import divergence, shown


def asked(content: str) -> e.EffectStarted:
    return e.EffectStarted(0, None, 0, "ask", "d" * 32, 0, {"messages": [{"content": content}]}, None, 0)


def test_an_event_that_is_missing_is_told_in_one_short_line() -> None:
    text = str(divergence(7, asked("x" * 5000 + " and words"), None, ()))
    (line,) = [line for line in text.splitlines() if line.startswith("  recorded:")]
    assert line.startswith('  recorded: EffectStarted, kind "ask", request {"messages":[{"content":"xxx')
    assert " … " in line and "and words" in line
    assert len(line) < 200
    assert "dddd" not in line
    assert "  replayed: nothing" in text


@pytest.mark.parametrize("place", [0, 40, 2500, 4999])
@pytest.mark.parametrize("joined", ["", " "])
def test_two_long_texts_that_differ_in_one_letter_are_shown_short_and_different(
    place: int, joined: str
) -> None:
    letters = ["a"] * 5000
    before = joined.join(letters)
    letters[place] = "b"
    (difference,) = value_differences({"text": before}, {"text": joined.join(letters)})
    lines = shown(difference)
    assert sum(map(len, lines)) < 1000
    if len(lines) == 3:
        assert lines[1].split(":", 1)[1] != lines[2].split(":", 1)[1]
    assert "b" in lines[-1]
