"""What training events do to a variable's bookkeeping fields: credit, candidates, population.

These are parts of `apply`, kept apart because they know the nine fields of a trainable variable. They work
on a variable's slot alone and carry no copies in their events: a candidate is what the variable holds at that
moment, a population is a choice of indexes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from eventcore.history import events as e
from eventcore.history.codec import encoder
from eventcore.history.patches import plain

if TYPE_CHECKING:
    from eventcore.history.slots import VariableState

BOOKKEEPING = (
    "examples",
    "current_predictions",
    "predictions",
    "seed_candidates",
    "candidates",
    "best_candidates",
    "history",
    "nb_visit",
    "cumulative_reward",
)
"""The nine fields every trainable variable has; `examples` is the one of them that candidates carry."""

_KEPT_APART = frozenset(BOOKKEEPING) - {"examples"}


def candidate_fields(value: dict[str, Any]) -> dict[str, Any]:
    """Return a plain copy of what makes a candidate of a variable's value: its own fields and `examples`."""
    return {field: plain(item) for field, item in value.items() if field not in _KEPT_APART}


def score_names(value: dict[str, Any]) -> tuple[str, str]:
    """Names under which an entry keeps its mean reward and the number of rollouts it is the mean of.

    `reward` and `evaluations`, numbered like any clashing key when the variable has own fields of these names.
    """
    return _free("reward", value), _free("evaluations", value)


def _free(name: str, value: dict[str, Any]) -> str:
    chosen, number = name, 0
    while chosen in value:
        number += 1
        chosen = f"{name}_{number}"
    return chosen


def entry_fields(entry: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return a plain copy of an entry of a candidate list without its score: fields of the variable only."""
    return {
        field: plain(item) for field, item in entry.items() if field in value and field not in _KEPT_APART
    }


def entries(value: dict[str, Any]) -> list[Any]:
    """The entries that `PopulationSelected` and `CandidateAdded` count: best candidates, then candidates."""
    return [*list.__iter__(value["best_candidates"]), *list.__iter__(value["candidates"])]


def candidate_key(fields: dict[str, Any]) -> bytes:
    """Identity of a candidate: equal fields and examples, equal keys, whatever their order."""
    return encoder.encode(sorted(fields.items(), key=lambda item: item[0]))


def attributed(slot: VariableState, event: e.RewardsAttributed) -> None:
    """Write each rollout's reward into its own records that have none."""
    rewards = dict(event.rewards)
    given: list[float] = []
    for record in list.__iter__(slot.value["current_predictions"]):
        reward = rewards.get(getattr(record, "rollout", None) or "")
        if reward is not None and record.get("reward") is None:
            dict.__setitem__(record, "reward", reward)
            given.append(reward)
    dict.__setitem__(slot.value, "nb_visit", len(given))
    # Records stand in the order in which examples finished; a plain sum would depend on that in its last bit.
    dict.__setitem__(slot.value, "cumulative_reward", math.fsum(given))


def archived(slot: VariableState, event: e.PredictionsArchived) -> None:
    """Move rewarded records to `predictions` in canonical order: by rollout, then in order of appearance."""
    current, target = slot.value["current_predictions"], slot.value["predictions"]
    done = [record for record in list.__iter__(current) if record.get("reward") is not None]
    left = [record for record in list.__iter__(current) if record.get("reward") is None]
    done.sort(key=lambda record: getattr(record, "rollout", None) or "")
    list.__setitem__(current, slice(None), left)
    list.extend(target, [slot.enter(record, target) for record in done])


def closed(slot: VariableState, event: e.PredictionsClosed) -> None:
    """Drop the records that are left over."""
    list.clear(slot.value["current_predictions"])


def cleared(slot: VariableState, event: e.PredictionsCleared) -> None:
    """Begin an epoch."""
    slot.put("predictions", [])
    slot.put("candidates", [])


def proposed(slot: VariableState, event: e.CandidateProposed) -> None:
    """Merge the proposed fields."""
    for field, value in event.fields.items():
        slot.put(field, value)


def added(slot: VariableState, event: e.CandidateAdded) -> None:
    """Add the present fields as a candidate, or fold the reward into an equal one's mean."""
    reward_name, count_name = score_names(slot.value)
    if event.equal_to < 0:
        held = slot.value["candidates"]
        entry = {**candidate_fields(slot.value), reward_name: event.reward, count_name: event.count}
        list.append(held, slot.enter(entry, held))
        return
    entry = entries(slot.value)[event.equal_to]
    before = entry.get(count_name, 0)
    count = before + event.count
    mean = (entry.get(reward_name, 0.0) * before + event.reward * event.count) / max(1, count)
    dict.__setitem__(entry, reward_name, mean)
    dict.__setitem__(entry, count_name, count)


def selected(slot: VariableState, event: e.PopulationSelected) -> None:
    """Keep some entries as the best candidates."""
    pool = [plain(entry) for entry in entries(slot.value)]
    slot.put("best_candidates", [pool[index] for index in event.kept])
    slot.put("candidates", [])


def chosen(slot: VariableState, event: e.CandidateChosen) -> None:
    """Write an entry's fields into the variable."""
    entry = list.__getitem__(slot.value[event.place], event.index)
    for field, value in entry_fields(entry, slot.value).items():
        slot.put(field, value)


def remembered(slot: VariableState, event: e.BestRemembered) -> None:
    """Append a best candidate to the history unless it is the last entry already."""
    entry = plain(list.__getitem__(slot.value["best_candidates"], event.index))
    held = slot.value["history"]
    last = list.__getitem__(held, -1) if held else {}
    if candidate_key(entry_fields(entry, slot.value)) != candidate_key(entry_fields(last, slot.value)):
        list.append(held, slot.enter(entry, held))
