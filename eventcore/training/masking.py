"""What rewards and metrics look at: both sides as data models, cut down by masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventcore.models.json_data_model import JsonDataModel
from eventcore.models.operators import in_mask, out_mask


class Masks:
    """The four mask arguments of a reward or metric.

    Args:
        in_mask: Keep only these fields.
        out_mask: Leave these fields out.
        in_mask_pattern: Keep only fields whose name matches this regular expression.
        out_mask_pattern: Leave fields out whose name matches it.
    """

    def __init__(
        self,
        in_mask: Sequence[str] | None = None,
        out_mask: Sequence[str] | None = None,
        in_mask_pattern: str | None = None,
        out_mask_pattern: str | None = None,
    ) -> None:
        self.in_mask = list(in_mask) if in_mask is not None else None
        self.out_mask = list(out_mask) if out_mask is not None else None
        self.in_mask_pattern = in_mask_pattern
        self.out_mask_pattern = out_mask_pattern

    def apply(self, value: Any) -> Any:
        """Return a value as a data model with the masks applied; None stays None."""
        model = as_model(value)
        if model is None:
            return None
        if self.in_mask is not None or self.in_mask_pattern is not None:
            model = in_mask(model, mask=self.in_mask, pattern=self.in_mask_pattern)
        if self.out_mask is not None or self.out_mask_pattern is not None:
            model = out_mask(model, mask=self.out_mask, pattern=self.out_mask_pattern)
        return model

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            "in_mask": self.in_mask,
            "out_mask": self.out_mask,
            "in_mask_pattern": self.in_mask_pattern,
            "out_mask_pattern": self.out_mask_pattern,
        }


def as_model(value: Any) -> Any:
    """Return a target or prediction as a data model: plain dicts become one, lists and tuples item by item."""
    if isinstance(value, dict):
        properties = {str(key): {"title": str(key).replace("_", " ").title()} for key in value}
        return JsonDataModel(
            schema={"type": "object", "properties": properties, "title": "Value"}, json=value
        )
    if isinstance(value, (list, tuple)):
        return [as_model(item) for item in value]
    return value


def json_of(value: Any) -> Any:
    """Return the JSON of a data model or of a list of them."""
    if isinstance(value, list):
        return [json_of(item) for item in value]
    return value.get_json() if hasattr(value, "get_json") else value


def leaves(value: Any) -> list[str]:
    """Return every leaf of a JSON value as text, in order."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [str(value)]
