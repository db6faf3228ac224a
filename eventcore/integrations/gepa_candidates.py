"""GEPA's candidates as events of a trainable variable.

GEPA tells its callbacks what it does; this is one of them. A proposal is written when its evaluation begins,
rejected ones too; a candidate that enters the pool is added with its mean score on the validation set; between
iterations the variable holds the best candidate so far. So nothing is written at the end, and a run that was
stopped goes on as if it had not been. While a candidate is evaluated the variable holds it, so that each call is
made for the candidate it is about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from eventcore.history import events as e
from eventcore.history.population import candidate_fields
from eventcore.integrations.halting import halting
from eventcore.models.field import Field
from eventcore.models.trainable import Trainable
from eventcore.optimizers.candidates import Candidates, part_of, present_part
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
        self._reward = 0.0
        self._iteration = -1
        self._began = False

    def evaluating(self, candidate: dict[str, str]) -> None:
        """A candidate is about to be evaluated; if GEPA has just announced a child, it is that one."""
        if self._awaited:
            parents = self._awaited.popleft()
            self._propose(candidate, "merge" if len(parents) > 1 else "reflection", parents)
            return
        present = candidate_fields(self.variable.get_json())
        self._hold(part_of({**present, "texts": dict(candidate)}), "evaluated")

    def _hold(self, part: str, reason: str) -> None:
        found = self._candidates.find(part)
        if found is not None:
            _recorded(lambda: self._candidates.choose(*found, reason))

    def _propose(self, texts: dict[str, str], strategy: str, parents: list[int]) -> None:
        origins = [self._events[parent] for parent in parents if parent in self._events]
        _recorded(lambda: self.variable.record_proposal({"texts": dict(texts)}, strategy, origins, []))

    def _present(self, texts: dict[str, str], strategy: str, parents: Sequence[Any]) -> None:
        """Have the variable hold these texts, which are a proposal's."""
        if self.variable.get_json()["texts"] != texts:
            self._propose(texts, strategy, [int(parent) for parent in parents])

    # --- what GEPA tells ---------------------------------------------------------------------------

    def on_evaluation_start(self, event: Any) -> None:
        """A child is announced: its text comes with its evaluation."""
        if event["candidate_idx"] is None:
            self._awaited.append([int(parent) for parent in event["parent_ids"]])

    def on_evaluation_end(self, event: Any) -> None:
        """A child was scored on a minibatch: whether it is accepted depends on that."""
        if not event["has_trajectories"]:
            self._awaited.clear()  # a merged child whose scores were all known was not evaluated
        scores = [float(score) for score in event["scores"]]
        if event["candidate_idx"] is None and scores:
            mean = sum(scores) / len(scores)
            self._record(lambda: e.MetricLogged(*self.variable.run.stamp(), "minibatch", mean))

    def on_merge_attempted(self, event: Any) -> None:
        """Two candidates were merged into one, whose scores may have been known."""
        self._present(event["merged_candidate"], "merge", event["parent_ids"])

    def on_valset_evaluated(self, event: Any) -> None:
        """A candidate entered the pool, scored on the validation set."""
        self._present(event["candidate"], "one of several", event["parent_ids"])
        reward, count = float(event["average_score"]), int(event["num_examples_evaluated"])
        _recorded(lambda: self._candidates.add_present(reward, count))
        part = present_part(self.variable)
        self._events[int(event["candidate_idx"])] = self._candidates.origin(
            candidate_fields(self.variable.get_json())
        )
        if event["is_best_program"]:
            self._best, self._reward = part, reward

    def on_iteration_start(self, event: Any) -> None:
        """An iteration begins; the one before it is over."""
        self._end_iteration()
        self._iteration += 1
        self._record(lambda: e.EpochBegan(*self.variable.run.stamp(), self._iteration))
        self._began = True

    def on_optimization_end(self, event: Any) -> None:
        """The last iteration is over."""
        self._end_iteration()

    def _end_iteration(self) -> None:
        """Hold the best candidate so far. What is recorded here is the same whether another iteration follows."""
        if self._best is not None:
            self._hold(self._best, "best so far")
        if self._began:
            self._began = False
            logs = {"val_reward": self._reward}
            self._record(lambda: e.EpochEnded(*self.variable.run.stamp(), self._iteration, logs))

    def _record(self, event: Callable[[], e.Event]) -> None:
        _recorded(lambda: self.variable.run.record(event(), 64))
