"""Rewards given by a program, or by a language model asked for a critique."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from eventcore.models.operators import concat, prefix
from eventcore.training.rewards.base import Reward


class ProgramAsJudge(Reward):
    """The `reward` field of what a program returns for `[y_true, y_pred]`.

    Args:
        program: The judge. A missing answer scores 0.0, with a warning.
        name: Its name.
        in_mask: See `Reward`.
        out_mask: See `Reward`.
        in_mask_pattern: See `Reward`.
        out_mask_pattern: See `Reward`.
    """

    def __init__(
        self,
        program: Any,
        name: str | None = None,
        in_mask: Sequence[str] | None = None,
        out_mask: Sequence[str] | None = None,
        in_mask_pattern: str | None = None,
        out_mask_pattern: str | None = None,
    ) -> None:
        super().__init__(name, "mean", in_mask, out_mask, in_mask_pattern, out_mask_pattern)
        self.program = program

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Ask the judge."""
        verdict = await self.program([y_true, y_pred])
        if verdict is None:
            warnings.warn(f"{self.name}: the judge gave no answer; the prediction scores 0.0", stacklevel=2)
            return 0.0
        return verdict.get("reward")

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        config = {**super().get_config(), "program": self.program}
        config.pop("reduction")
        return config


class LMAsJudge(Reward):
    """A language model's critique of the prediction, as a number from 0 to 1.

    The target's fields are shown as `gold_…` beside the prediction. An empty prediction scores 0.0.

    Args:
        language_model: A `LanguageModel` or its name; None for the default one.
        prompt_template: Template of the critique's prompt.
        examples: Examples of critiques.
        instructions: What the judge is told.
        score_type: The scale of the score.
        name: Its name.
        in_mask: See `Reward`.
        out_mask: See `Reward`.
        in_mask_pattern: See `Reward`.
        out_mask_pattern: See `Reward`.
    """

    def __init__(
        self,
        language_model: Any = None,
        prompt_template: str | None = None,
        examples: Any = None,
        instructions: str | None = None,
        score_type: Any = None,
        name: str | None = "lm_as_judge",
        in_mask: Sequence[str] | None = None,
        out_mask: Sequence[str] | None = None,
        in_mask_pattern: str | None = None,
        out_mask_pattern: str | None = None,
    ) -> None:
        super().__init__(name, "mean", in_mask, out_mask, in_mask_pattern, out_mask_pattern)
        from eventcore.language_models import SelfCritique

        self._given = {
            "language_model": language_model,
            "prompt_template": prompt_template,
            "examples": examples,
            "instructions": instructions,
            "score_type": score_type,
        }
        given = {key: value for key, value in self._given.items() if value is not None}
        self.critique = SelfCritique(**given, return_reward=True, return_inputs=False)

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Ask the model."""
        if y_pred is None or not y_pred.get_json():
            return 0.0
        shown = y_pred if y_true is None else concat(prefix(y_true, "gold"), y_pred)
        verdict = await self.critique(shown)
        if verdict is None:
            return None
        from eventcore.language_models import on_unit_scale

        return on_unit_scale(verdict.get("reward"), self.critique.score_type)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        config = {**super().get_config(), **self._given}
        config.pop("reduction")
        return config
