"""`Branch`: a language model decides which of several modules go on with the input."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.language_models.decision import Decision, checked_labels
from eventcore.models.operators import concat, logical_and
from eventcore.models.symbolic import SymbolicDataModel
from eventcore.modules.hooks import Hook
from eventcore.modules.module import Module

_OWN = frozenset({"question", "labels", "branches", "inject_decision", "return_decision", "decision_type"})


class Branch(Module):
    """Asks a question about its input and calls the branch of the label that answers it.

    Returns a tuple with one place per label: what its branch returned, or None when it was not chosen. All
    places are None when no decision could be made.

    Args:
        question: The question.
        labels: The possible answers.
        branches: One module per label, in the same order.
        inject_decision: Give the decision's fields to the chosen branch, beside the input's.
        return_decision: Return the decision's fields beside those of the branch.
        decision_type: `Decision`, `MultiDecision`, or a class derived from one.
        language_model: As in `Generator`; so are the further arguments, which go to the decision.
        name: Its name.
        description: What it is for.
        trainable: Whether optimizers may rewrite what is below it.
        hooks: Told when a call begins and ends.
        **arguments: Go to the decision.

    Raises:
        InvalidValue: Branches that are no modules, or not as many as labels; or as in `Decision`.
    """

    accepts_any_input = True

    def __init__(
        self,
        *,
        question: str | None = None,
        labels: Sequence[str] | None = None,
        branches: Sequence[Any] | None = None,
        inject_decision: bool = True,
        return_decision: bool = True,
        decision_type: type[Decision] = Decision,
        language_model: Any = None,
        name: str | None = None,
        description: str | None = None,
        trainable: bool = True,
        hooks: Iterable[Hook] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(name=name, description=description, trainable=trainable, hooks=hooks)
        known = checked_labels(labels, "Branch")
        modules = list(branches) if isinstance(branches, (list, tuple)) else []
        if not all(isinstance(branch, Module) for branch in modules) or len(modules) != len(known):
            raise InvalidValue(
                f"cannot make Branch: received branches={branches!r}; pass a list of {len(known)} modules, one for "
                f"each of {', '.join(known)}"
            )
        if not isinstance(decision_type, type) or not issubclass(decision_type, Decision):
            raise InvalidValue(
                f"cannot make Branch: received decision_type={decision_type!r}; pass Decision or MultiDecision"
            )
        self._labels = known
        self._inject = bool(inject_decision)
        self._return = bool(return_decision)
        self.branches = modules
        self.decision = decision_type(
            question=question,
            labels=known,
            language_model=language_model,
            name=f"decision_{self.name}",
            **arguments,
        )

    async def call(self, inputs: Any) -> Any:
        """Decide, and call what was chosen; several branches at once."""
        nothing: tuple[Any, ...] = (None,) * len(self._labels)
        decision = None if inputs is None else await self.decision(inputs)
        if decision is None:
            return nothing
        given = concat(inputs, decision) if self._inject else inputs
        chosen = set(self.decision.chosen(decision))
        places = [place for place, label in enumerate(self._labels) if label in chosen]
        answers = await _together([self.branches[place](given) for place in places])
        found = dict(zip(places, answers, strict=True))
        return tuple(self._returned(decision, found.get(place)) for place in range(len(self._labels)))

    def _returned(self, decision: Any, answer: Any) -> Any:
        return logical_and(decision, answer) if self._return else answer

    async def compute_output_spec(self, inputs: Any) -> Any:
        """Return what each branch returns, with the decision's fields if they are returned too."""
        if inputs is None:
            return (None,) * len(self._labels)
        loose = SymbolicDataModel(schema=inputs.get_schema(), name=inputs.name)
        decision = await self.decision(loose)
        given = concat(loose, decision) if self._inject else loose
        return tuple([self._returned(decision, await branch(given)) for branch in self.branches])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        decided = self.decision.get_config()
        own = {key: config[key] for key in config if key in _OWN}
        kept = {key: decided[key] for key in decided if key in config and key not in own}
        base = {"name": self.name, "description": self.description, "trainable": self.trainable}
        return {**kept, **own, "language_model": self.decision.language_model, **base}


async def _together(calls: list[Any]) -> list[Any]:
    """Await calls at once; a single one here, so that it is no task of its own."""
    if len(calls) == 1:
        return [await calls[0]]
    answers: list[Any] = await asyncio.gather(*calls)
    return answers
