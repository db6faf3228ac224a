"""The programs a DSPy optimizer tries, as events of a trainable variable.

DSPy tells its callbacks of each evaluation. A program is written when it is evaluated and added with its score
then; equal ones share an entry. What the optimizer returns is what the variable holds at the end.
"""

from __future__ import annotations

from typing import Any

from dspy.utils.callback import BaseCallback  # pyright: ignore[reportMissingTypeStubs]

from eventcore.history.population import candidate_fields
from eventcore.history.values import canonical
from eventcore.integrations.halting import halting
from eventcore.models.field import Field
from eventcore.models.trainable import Trainable
from eventcore.optimizers.candidates import Candidates, part_of
from eventcore.variables import Variable

_NOT_LEARNT = frozenset({"lm", "traces", "train"})
"""What a predictor's state has besides its instructions and examples."""


class DspyProgram(Trainable):
    """A program of DSPy: what each of its predictors has learnt."""

    predictors: dict[str, Any] = Field(
        default={}, description="Instructions, fields and examples, by predictor."
    )


class Programs(BaseCallback):  # type: ignore[misc]
    """Writes the programs an optimizer tries into the run.

    Args:
        student: The program it starts from.
        name: Name of the variable.
    """

    def __init__(self, student: Any, name: str) -> None:
        self.variable = Variable(
            {"predictors": learnt(student)}, DspyProgram, name=name, description="A program of DSPy."
        )
        self._candidates = Candidates(self.variable)
        self._evaluated: dict[str, Any] = {}

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An evaluation begins: its program is the present one."""
        self._evaluated[call_id] = inputs.get("program")
        if self._evaluated[call_id] is not None:
            self._hold(self._evaluated[call_id], "evaluated")

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """An evaluation ended: its program is a candidate."""
        program = self._evaluated.pop(call_id, None)
        if program is None or exception is not None:
            return
        scores = [float(score) for *_, score in outputs.results]
        self._hold(program, "evaluated")
        halting(self._candidates.add_present)(sum(scores) / len(scores), len(scores))

    def compiled(self, program: Any) -> None:
        """The optimizer chose: hold what it returned."""
        self._hold(program, "compiled")

    @halting
    def _hold(self, program: Any, strategy: str) -> None:
        present = candidate_fields(self.variable.get_json())
        wanted = {**present, "predictors": learnt(program)}
        if part_of(wanted) == part_of(present):
            return
        found = self._candidates.find(part_of(wanted))
        if found is None:
            self.variable.record_proposal({"predictors": wanted["predictors"]}, strategy, [], [])
        else:
            self._candidates.choose(*found, strategy)


def learnt(program: Any) -> dict[str, Any]:
    """Return what a program's predictors have learnt, as JSON."""
    state = {
        name: {key: value for key, value in predictor.dump_state().items() if key not in _NOT_LEARNT}
        for name, predictor in program.named_predictors()
    }
    found: Any = canonical(state, "a program of DSPy")
    return dict[str, Any](found)
