"""What the world seldom tells is no fault of calls made at once, and they are compared all the same."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import eventcore as ec
from eventcore.testing import check_module
from eventcore.testing.checks import ChecksFailed

CONCURRENCY = ["concurrency_safe"]
DICE = random.Random()
"""Of its own: the global one begins anew in each process."""


class Text(ec.DataModel):
    """What goes in and comes out."""

    text: str


class Hint(ec.Trainable):
    """What is trained."""

    hint: str = ""


@ec.effect
def weather(place: str) -> str:
    """Fine, but for one time in ten."""
    return "rain" if DICE.random() < 0.1 else "sun"


class Forecast(ec.Module):
    """Tells the weather and leaves a record."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.hint = self.add_variable(data_model=Hint, name="hint")

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return Text

    async def call(self, inputs: Text, training: bool = False) -> Any:
        if inputs is None:
            return None
        place = await self.place(inputs)
        answer = Text(text=f"{self.hint.get('hint')}{place}: {weather(place)}")
        if training:
            entry = {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None}
            self.hint.get("current_predictions").append(entry)
        return answer

    async def place(self, inputs: Any) -> str:
        """Where it is."""
        found: str = inputs.get("text")
        return found


class ForecastForOthers(Forecast):
    """Keeps the place on itself while it waits."""

    async def place(self, inputs: Any) -> str:
        self.last = inputs
        await asyncio.sleep(0)
        found: str = self.last.get("text")
        return found


PLACES = [Text(text=name) for name in ("Rome", "Oslo", "Lima", "Cork", "Bonn", "Nice")]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(n, marks=pytest.mark.campaign) for n in range(2, 8))])
def test_what_an_effect_seldom_tells_is_no_fault_of_calls_made_at_once(seed: int) -> None:
    DICE.seed(seed)
    assert check_module(Forecast, PLACES, only=CONCURRENCY).ok


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.campaign) for n in (2, 3))])
def test_an_answer_to_somebody_else_is_found_beside_what_an_effect_seldom_tells(seed: int) -> None:
    DICE.seed(seed)
    with pytest.raises(ChecksFailed, match="called at once with others"):
        check_module(ForecastForOthers, PLACES, only=CONCURRENCY)
