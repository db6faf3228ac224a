"""Rewards: how good a prediction is, as one finite number."""

from typing import Any

from eventcore.training.identifiers import resolve
from eventcore.training.rewards.base import BatchReward as BatchReward
from eventcore.training.rewards.base import BatchRewardFunctionWrapper as BatchRewardFunctionWrapper
from eventcore.training.rewards.base import Reward as Reward
from eventcore.training.rewards.base import RewardFunctionWrapper as RewardFunctionWrapper
from eventcore.training.rewards.base import reduce_rewards as reduce_rewards
from eventcore.training.rewards.comparing import CosineSimilarity as CosineSimilarity
from eventcore.training.rewards.comparing import ExactMatch as ExactMatch
from eventcore.training.rewards.comparing import exact_match as exact_match
from eventcore.training.rewards.judges import LMAsJudge as LMAsJudge
from eventcore.training.rewards.judges import ProgramAsJudge as ProgramAsJudge

__all__ = [
    "BatchReward",
    "BatchRewardFunctionWrapper",
    "CosineSimilarity",
    "ExactMatch",
    "LMAsJudge",
    "ProgramAsJudge",
    "Reward",
    "RewardFunctionWrapper",
    "deserialize",
    "exact_match",
    "get",
    "reduce_rewards",
    "serialize",
]

_KNOWN: dict[str, type[Reward]] = {
    cls.__name__: cls for cls in (CosineSimilarity, ExactMatch, LMAsJudge, ProgramAsJudge)
}


def get(identifier: Any) -> Reward:
    """Return the reward an object, class, name, config or function stands for.

    Raises:
        InvalidValue: Nothing of that name; the message lists the known ones.
    """
    found: Reward = resolve(identifier, _KNOWN, Reward, "reward", RewardFunctionWrapper)
    return found


def serialize(reward: Reward) -> Any:
    """Return the config that rebuilds a reward."""
    from eventcore.saving.serialization import serialize_object

    return serialize_object(reward)


def deserialize(config: Any) -> Reward:
    """Rebuild a reward from its config."""
    return get(config)
