"""GEPA's candidates as events of a trainable variable.

GEPA tells its callbacks what it does; this is one of them. A proposal is written when its evaluation begins,
rejected ones too; a candidate that enters the pool is added with its mean score on the validation set; between
iterations the variable holds the best candidate so far. So nothing is written at the end, and a run that was
stopped goes on as if it had not been.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from eventcore.history import events as e
from eventcore.history.population import candidate_fields
from eventcore.integrations.halting import halting
from eventcore.models.field import Field
from eventcore.models.trainable import Trainable
from eventcore.optimizers.candidates import Candidates, present_part
from eventcore.variables import Variable

T = TypeVar("T")


@halting
def _recorded(step: Callable[[], T]) -> T:
    """Carry out a step of recording: GEPA passes over errors of callbacks, and not over its errors."""
    return step()


class GepaCandidate(Trainable):
    """A candidate of GEPA: the texts of a system's components."""

    texts: dict[str, str] = Field(default={}, description="The text of each component, by its name.")


class Recorder:
    """Writes what GEPA does to its candidates into the run.

    Args:
        seed: The candidate GEPA starts from.
        name: Name of the variable.

    Attributes:
        variable: The variable.
    """

    def __init__(self, seed: dict[str, str], name: str) -> None:
        self.variable = Variable(
            {"texts": seed}, GepaCandidate, name=name, description="A candidate of GEPA."
        )
        self._candidates = Candidates(self.variable)
        self._events: dict[int, int] = {}  # candidate of GEPA's pool -> seq of the event it was added by
        self._awaited: deque[list[int]] = deque()
        self._best: str | None = None

    def evaluating(self, candidate: dict[str, str]) -> None:
        """A candidate is about to be evaluated: if GEPA has just announced a child, it is that one."""
        if self._awaited:
            self._propose(candidate, "reflection", self._awaited.popleft())

    def _propose(self, texts: dict[str, str], strategy: str, parents: list[int]) -> None:
        origins = [self._events[parent] for parent in parents if parent in self._events]
        _recorded(lambda: self.variable.record_proposal({"texts": dict(texts)}, strategy, origins, []))

    # --- what GEPA tells ---------------------------------------------------------------------------

    def on_evaluation_start(self, event: Any) -> None:
        """A child is announced; a merged one is told of later, with its text."""
        if event["candidate_idx"] is None and event["capture_traces"]:
            self._awaited.append([int(parent) for parent in event["parent_ids"]])

    def on_evaluation_end(self, event: Any) -> None:
        """A child was scored on a minibatch: whether it is accepted depends on that."""
        scores = [float(score) for score in event["scores"]]
        if event["candidate_idx"] is None and scores:
            run = self.variable.run
            logged = e.MetricLogged(*run.stamp(), "minibatch", sum(scores) / len(scores))
            _recorded(lambda: run.record(logged, 32))

    def on_merge_attempted(self, event: Any) -> None:
        """Two candidates were merged into one, which was scored on a part of the validation set."""
        self._propose(event["merged_candidate"], "merge", [int(parent) for parent in event["parent_ids"]])

    def on_valset_evaluated(self, event: Any) -> None:
        """A candidate entered the pool, scored on the validation set."""
        texts = dict(event["candidate"])
        if self.variable.get_json()["texts"] != texts:
            self._propose(texts, "one of several", [int(parent) for parent in event["parent_ids"]])
        reward, count = float(event["average_score"]), int(event["num_examples_evaluated"])
        _recorded(lambda: self._candidates.add_present(reward, count))
        part = present_part(self.variable)
        self._events[int(event["candidate_idx"])] = self._candidates.origin(
            candidate_fields(self.variable.get_json())
        )
        if event["is_best_program"]:
            self._best = part

    def on_iteration_start(self, event: Any) -> None:
        """The variable holds the best candidate so far between iterations."""
        self._hold_best()

    def on_optimization_end(self, event: Any) -> None:
        """And at the end."""
        self._hold_best()

    def _hold_best(self) -> None:
        found = None if self._best is None else self._candidates.find(self._best)
        if found is not None:
            _recorded(lambda: self._candidates.choose(*found, "best so far"))
