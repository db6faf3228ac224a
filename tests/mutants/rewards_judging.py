"""Rewards that ask a model how good an answer is."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import eventcore as ec
from eventcore.testing.fake_model import FakeLanguageModel
from eventcore.training.rewards import Reward
from tests.mutants.rewards import good, mutant


class Compared(ec.DataModel):
    """What the model is asked about."""

    wanted: str
    given: str


class Grade(ec.DataModel):
    """What it says."""

    grade: float = ec.Field(default=0.0, ge=0, le=1)


def compared(said: list[dict[str, Any]]) -> dict[str, float]:
    """What a good judge answers."""
    text = said[-1]["content"]
    asked = json.loads(text[text.index("{") : text.rindex("}") + 1])
    wanted, given = asked["wanted"], asked["given"]
    same = sum(one == other for one, other in zip(wanted, given, strict=False))
    return {"grade": same / max(len(wanted), len(given), 1)}


@good
class Graded(Reward):
    """Has a generator of a name of its own for a judge."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        model = FakeLanguageModel(compared, name="judge")
        self.grader = ec.Generator(data_model=Grade, language_model=model, name="grader")

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Ask."""
        if y_true is None or y_pred is None:
            return 0.0
        grade = await self.grader(self.question(y_true, y_pred))
        return None if grade is None else grade.get("grade")

    def question(self, y_true: Any, y_pred: Any) -> Compared:
        """Both, as texts."""
        return Compared(wanted=json.dumps(y_true.get_json()), given=json.dumps(y_pred.get_json()))

    def get_config(self) -> dict[str, Any]:
        """Its name."""
        return {"name": self.name}


@mutant("same_pair_same_reward")
class GradesOnce(Graded):
    """Asks the judge once for each answer, whatever it is held against."""

    grades: ClassVar[dict[str, Any]] = {}

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Ask, unless that was done."""
        if y_true is None or y_pred is None:
            return 0.0
        said = json.dumps(y_pred.get_json())
        if said not in self.grades:
            self.grades[said] = await super().call(y_true, y_pred)
        return self.grades[said]


@mutant("nothing_beats_the_target")
class ShowsHalf(Graded):
    """Shows the judge the answer twice, and the target not at all."""

    def question(self, y_true: Any, y_pred: Any) -> Compared:
        """The wrong one."""
        return super().question(y_pred, y_pred)
