"""Credit: each record of a prediction gets the reward of its own rollout, and nobody else's.

Whatever finished first, however often a module ran for an example, records are paired with rewards by the
rollout they carry. Records nobody rewards (a failed example, an interrupted call before) are closed by an
event and can never get a later reward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventcore.history import events as e
from eventcore.variables import Variable


def attribute(variables: Sequence[Variable], rewards: Mapping[str, float]) -> list[Variable]:
    """Write rewards into the records of `current_predictions` and move them to `predictions`.

    Args:
        variables: Trainable variables.
        rewards: Reward by rollout; a rollout that is not there failed.

    Returns:
        Variables with records that carry no rollout: whoever appended them had lost it, in a thread of an executor.
    """
    lost: list[Variable] = []
    for variable in variables:
        records = variable.peek("current_predictions")
        if not records:
            _forget_visits(variable)
            continue
        own = dict.fromkeys(getattr(record, "rollout", None) or "" for record in records)
        if "" in own:
            lost.append(variable)
        pairs = [(rollout, rewards[rollout]) for rollout in own if rollout in rewards]
        variable.record_step(e.RewardsAttributed, pairs)
        variable.record_step(e.PredictionsArchived)
        close_leftovers(
            variable,
            "appended outside any rollout"
            if set(own) == {""}
            else "their rollouts failed or were not scored",
        )
    return lost


def close_leftovers(variable: Variable, reason: str) -> None:
    """Close the records that are still waiting for a reward."""
    left = len(variable.peek("current_predictions"))
    if left:
        variable.record_step(e.PredictionsClosed, left, reason)


def _forget_visits(variable: Variable) -> None:
    """A variable that was not used in this batch has no visits in it."""
    if variable.peek("nb_visit"):
        variable.record_step(e.RewardsAttributed, [])
