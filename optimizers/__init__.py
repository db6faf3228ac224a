"""Optimizers: how trainable variables are improved.

`Optimizer` is the base to write one's own on; its module's text shows one in full.
"""

from typing import Any

from eventcore.optimizers.evolutionary import EvolutionaryOptimizer as EvolutionaryOptimizer
from eventcore.optimizers.greedy import GreedyOptimizer as GreedyOptimizer
from eventcore.optimizers.omega import OMEGA as OMEGA
from eventcore.optimizers.optimizer import Optimizer as Optimizer
from eventcore.optimizers.random_few_shot import RandomFewShot as RandomFewShot
from eventcore.training.identifiers import resolve

__all__ = [
    "OMEGA",
    "EvolutionaryOptimizer",
    "GreedyOptimizer",
    "Optimizer",
    "RandomFewShot",
    "deserialize",
    "get",
    "serialize",
]

_KNOWN: dict[str, type[Optimizer]] = {
    cls.__name__: cls for cls in (EvolutionaryOptimizer, GreedyOptimizer, OMEGA, RandomFewShot)
}


def get(identifier: Any) -> Optimizer:
    """Return the optimizer an object, class, name or config stands for.

    Raises:
        InvalidValue: Nothing of that name; the message lists the known ones.
    """
    found: Optimizer = resolve(identifier, _KNOWN, Optimizer, "optimizer", None)
    return found


def serialize(optimizer: Optimizer) -> Any:
    """Return the config that rebuilds an optimizer."""
    from eventcore.saving.serialization import serialize_object

    return serialize_object(optimizer)


def deserialize(config: Any) -> Optimizer:
    """Rebuild an optimizer from its config."""
    return get(config)
