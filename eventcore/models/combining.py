"""Rules made of other rules: alternatives, conjunctions and references.

They hold no rule of their own about values; those are in `eventcore.models.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eventcore.history.values import Refused, describe
from eventcore.models.rules import Null, Rule, Step


class Either(Rule):
    """Any of several rules (`anyOf`), or exactly one (`oneOf`)."""

    __slots__ = ("exactly_one", "nullable", "rules")

    def __init__(self, rules: Sequence[Rule], exactly_one: bool = False) -> None:
        self.exactly_one = exactly_one
        self.nullable = any(isinstance(rule, Null) for rule in rules)
        self.rules = [rule for rule in rules if exactly_one or not isinstance(rule, Null)]

    def allowed(self) -> str:
        """List the alternatives."""
        texts = [rule.allowed() for rule in self.rules]
        if self.nullable and not self.exactly_one:
            texts.append("null")
        return " or ".join(dict.fromkeys(texts))

    def kind(self) -> str:
        """The one kind the alternatives other than null have, else `mixed`."""
        kinds = {rule.kind() for rule in self.rules if not isinstance(rule, Null)}
        return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "null"

    def check(self, value: Any, depth: int) -> Any:
        """Accept what an alternative accepts, first one that need not change the value's type."""
        if value is None and self.nullable and not self.exactly_one:
            return None
        if len(self.rules) == 1 and not self.exactly_one:
            return self._only(value, depth)
        accepted: list[Any] = []
        refusals: list[Refused] = []
        for rule in self.rules:
            try:
                result = rule.check(value, depth)
            except Refused as refused:
                refusals.append(refused)
                continue
            if type(result) is type(value) and not self.exactly_one:
                return result
            accepted.append(result)
        if accepted and (not self.exactly_one or len(accepted) == 1):
            return accepted[0]
        raise self._refusal(value, accepted, refusals)

    def _only(self, value: Any, depth: int) -> Any:
        try:
            return self.rules[0].check(value, depth)
        except Refused as refused:
            if not refused.steps and self.nullable:
                raise Refused(refused.received, f"{refused.allowed} or null") from None
            raise

    def _refusal(self, value: Any, accepted: list[Any], refusals: list[Refused]) -> Refused:
        if accepted:
            return Refused(
                f"{describe(value)}, which fits {len(accepted)} of them", f"exactly one of {self.allowed()}"
            )
        deepest = max(refusals, key=lambda refused: len(refused.steps), default=None)
        if (
            deepest is not None and deepest.steps
        ):  # it got further than the others: most likely what was meant
            return deepest
        return Refused(describe(value), self.allowed())

    def child(self, step: Step) -> Rule | None:
        """Give what any alternative allows there."""
        found: list[Rule] = []
        refusal: Refused | None = None
        for rule in self.rules:
            try:
                inner = rule.child(step)
            except Refused as refused:
                refusal = refused
                continue
            if inner is not None:
                found.append(inner)
        if not found and refusal is not None:
            raise refusal
        return None if not found else found[0] if len(found) == 1 else Either(found)

    def item_suffices(self, deleting: bool) -> bool:
        """Only when null is the sole other alternative."""
        return not self.exactly_one and len(self.rules) == 1 and self.rules[0].item_suffices(deleting)


class Every(Rule):
    """All of several rules (`allOf`, or keywords of different kinds side by side)."""

    __slots__ = ("rules",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    def allowed(self) -> str:
        """List what all of them say."""
        return " and ".join(dict.fromkeys(rule.allowed() for rule in self.rules))

    def kind(self) -> str:
        """The kind of the first rule that has one."""
        return next((kind for rule in self.rules if (kind := rule.kind()) != "any"), "any")

    def check(self, value: Any, depth: int) -> Any:
        """Pass the value through each rule in turn."""
        for rule in self.rules:
            value = rule.check(value, depth)
        return value

    def child(self, step: Step) -> Rule | None:
        """Give what all of them say about that place."""
        found = [inner for rule in self.rules if (inner := rule.child(step)) is not None]
        return None if not found else found[0] if len(found) == 1 else Every(found)

    def item_suffices(self, deleting: bool) -> bool:
        """When it does for each."""
        return all(rule.item_suffices(deleting) for rule in self.rules)


class Reference(Rule):
    """A rule defined elsewhere in the schema (`$ref`), looked up late because it may contain itself."""

    __slots__ = ("name", "table")

    def __init__(self, name: str, table: Mapping[str, Rule]) -> None:
        self.name = name
        self.table = table

    @property
    def target(self) -> Rule:
        """The rule referred to."""
        return self.table[self.name]

    def kind(self) -> str:
        """The target's kind."""
        return self.target.kind()

    def allowed(self) -> str:
        """The target's description."""
        return self.target.allowed()

    def check(self, value: Any, depth: int) -> Any:
        """Apply the target."""
        return self.target.check(value, depth)

    def child(self, step: Step) -> Rule | None:
        """Step into the target."""
        return self.target.child(step)

    def item_suffices(self, deleting: bool) -> bool:
        """As the target."""
        return self.target.item_suffices(deleting)
