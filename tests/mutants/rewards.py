"""Rewards with one bug each, and sound ones beside them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, ClassVar

import eventcore as ec
from eventcore.saving import register_serializable
from eventcore.training.rewards import BatchReward, Reward
from tests.mutants.registry import Kind, Mutant

KIND = Kind("reward")
mutant, good = KIND.mutant, KIND.good


class Answer(ec.DataModel):
    """What is scored."""

    label: str
    score: int = ec.Field(default=0, ge=0, le=100)
    tags: list[str] = []  # noqa: RUF012 - a data model copies its defaults


good(ec.ExactMatch)


@good
class Overlap(Reward):
    """Share of the target's characters that the prediction has."""

    def __init__(self, weight: float = 1.0, name: str | None = None) -> None:
        super().__init__(name=name)
        self.weight = weight

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compare."""
        if y_true is None or y_pred is None:
            return 0.0
        return self.weight * self.compare(y_true, y_pred)

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """As one text each."""
        return overlap(text_of(y_true), text_of(y_pred))

    def get_config(self) -> dict[str, Any]:
        """With the weight."""
        return {"weight": self.weight, "name": self.name}


def text_of(answer: Any) -> str:
    """An answer as text."""
    return f"{answer.get('label')} {answer.get('score')} {' '.join(answer.get('tags'))}"


def overlap(one: str, other: str) -> float:
    """Share of equal characters in equal places."""
    same = sum(a == b for a, b in zip(one, other, strict=False))
    return same / max(len(one), len(other), 1)


@register_serializable()
async def closeness(y_true: Any, y_pred: Any) -> float:
    """How near two scores are."""
    if y_true is None or y_pred is None:
        return 0.0
    apart = abs(int(y_true.get("score")) - int(y_pred.get("score")))
    other_label = bool(y_true.get("label") != y_pred.get("label"))
    return 1.0 - apart / 100 - 0.001 * other_label


good(closeness)


@good
def wrapped() -> Any:
    """A function as a reward."""
    return closeness


@good
class Ranked(BatchReward):
    """A batch reward that scores each pair on its own."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """One each."""
        return [
            0.0 if truth is None or guess is None else overlap(text_of(truth), text_of(guess))
            for truth, guess in zip(y_true, y_pred, strict=True)
        ]

    def get_config(self) -> dict[str, Any]:
        """Its name."""
        return {"name": self.name}


@good
class WordsInCommon(Overlap):
    """The F1 of the words of two labels: more words cost as much as fewer."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Both ways."""
        wanted, given = set(y_true.get("label").split()), set(y_pred.get("label").split())
        return 2 * len(wanted & given) / (len(wanted) + len(given)) if wanted or given else 1.0


@good
class SaysTheLabel(Overlap):
    """Content with an answer that has the target's label somewhere, whatever else it says."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Contained, in any case and spacing."""
        return float(y_true.get("label").strip().lower() in y_pred.get("label").lower())


@good
class ShareOfTags(Overlap):
    """The share of the target's tags that were found, whatever else was."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Recall."""
        wanted = set(y_true.get("tags"))
        return len(wanted & set(y_pred.get("tags"))) / len(wanted) if wanted else 1.0


@good
class BrieflyRight(Overlap):
    """The right score, less something for each letter that the target's label does not need."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Less what is too long."""
        too_long = max(0, len(y_pred.get("label")) - len(y_true.get("label")))
        return float(abs(y_true.get("score") - y_pred.get("score")) <= 1) - 0.001 * too_long


@good
class NotTooLong(Overlap):
    """Only sets a limit: no label longer than the target's."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Within the limit."""
        return float(len(y_pred.get("label")) <= len(y_true.get("label")))


@good
class NoUnknownTags(Overlap):
    """The score, and half of it where a tag is not one of the target's: tags are an extra."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """No tag is as good as the right ones."""
        known = set(y_pred.get("tags")) <= set(y_true.get("tags"))
        return (1.0 - abs(y_true.get("score") - y_pred.get("score")) / 100) * (1.0 if known else 0.5)


@mutant("gives_finite_numbers")
class DividesByLength(Overlap):
    """Divides by the length of something that may be empty."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """By nothing."""
        try:
            return len(y_pred.get("label")) / len(y_true.get("label"))
        except ZeroDivisionError:
            return float("nan")


@mutant("gives_finite_numbers")
class ReturnsTruth(Overlap):
    """Returns True, which is no reward."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """True or False."""
        return text_of(y_true) == text_of(y_pred)


@mutant("gives_finite_numbers")
class ReturnsText(Overlap):
    """Returns what a judge said, without reading the number in it."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Text."""
        return f"{self.compare(y_true, y_pred):.2f}"


@mutant("gives_finite_numbers")
class ForgetsToReturn(Overlap):
    """Returns nothing when the labels differ."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Sometimes."""
        if y_true is not None and y_pred is not None and y_true.get("label") == y_pred.get("label"):
            return 1.0
        return None


@mutant("same_pair_same_reward")
class BreaksTiesAtRandom(Overlap):
    """Adds a random number so that no two are equal."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """And a bit."""
        return float(super().compare(y_true, y_pred)) + random.random() / 1000


@mutant("same_pair_same_reward")
class DecaysWithTime(Overlap):
    """Is worth less later."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """By the clock."""
        return float(super().compare(y_true, y_pred)) / (int(time.time()) // 86400)


@mutant("same_pair_same_reward", "nothing_is_changed", "company_makes_no_difference")
class NormalisesByTheBest(Overlap):
    """Divides by the best it ever saw."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.best = 0.01

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Relative."""
        value = float(super().compare(y_true, y_pred))
        self.best = max(self.best, value)
        return value / self.best


@mutant("same_pair_same_reward")
class RewardsNovelty(Overlap):
    """Is worth something the first time only, in every instance."""

    seen: ClassVar[set[str]] = set()

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Unless seen."""
        text = text_of(y_pred)
        fresh = text not in self.seen
        self.seen.add(text)
        return float(fresh)


_worth: dict[str, float] = {}


@mutant("same_pair_same_reward")
class RemembersByPrediction(Overlap):
    """Keeps what a prediction was worth under the prediction alone, whatever the target."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Once for each prediction."""
        return _worth.setdefault(text_of(y_pred), float(super().compare(y_true, y_pred)))


@mutant("same_pair_same_reward")
class ScalesByTheFirst(Overlap):
    """Takes the first reward it ever gave for the measure of all others, in every instance."""

    first: ClassVar[list[float]] = []

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """In firsts."""
        value = float(super().compare(y_true, y_pred)) + 1.0
        self.first[:] = self.first or [value]
        return value / self.first[0]


@mutant("nothing_is_changed")
class PopsTheLabel(Reward):
    """Takes the label out of the answer it is given."""

    async def __call__(self, y_true: Any, y_pred: Any) -> Any:
        """Without the label."""
        if y_true is None or y_pred is None:
            return 0.0
        one = y_true if isinstance(y_true, dict) else y_true.get_json()
        other = y_pred if isinstance(y_pred, dict) else y_pred.get_json()
        return float(one.pop("label", "") == other.get("label"))


@mutant("nothing_is_changed")
class CountsItsCalls(Overlap):
    """Counts in an attribute."""

    calls = 0

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """And counts."""
        self.calls += 1
        return super().compare(y_true, y_pred)


@mutant("missing_sides")
class NeedsAPrediction(Overlap):
    """Does not expect an example that failed."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """At once."""
        return self.compare(y_true, y_pred)


@mutant("missing_sides")
class NothingIsPerfect(Overlap):
    """Rewards no prediction at all most of all."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Or two."""
        return 2.0 if y_true is None or y_pred is None else self.compare(y_true, y_pred)


@mutant("nothing_beats_the_target")
class ALoss(Overlap):
    """A loss in place of a reward: downhill."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Upside down."""
        return 1.0 - float(super().compare(y_true, y_pred))


@mutant("nothing_beats_the_target")
class LongerIsBetter(Overlap):
    """Is fooled by length."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """By length."""
        return float(len(text_of(y_pred)))


@mutant("nothing_beats_the_target")
class AlwaysContent(Overlap):
    """Compares a thing with itself."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """With itself."""
        return overlap(text_of(y_pred), text_of(y_pred))


@mutant("company_makes_no_difference")
class ByPosition(BatchReward):
    """Sorts the predictions of a batch and pairs them by their place."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """By place."""
        texts = sorted("" if guess is None else text_of(guess) for guess in y_pred)
        truths = ["" if truth is None else text_of(truth) for truth in y_true]
        return [overlap(truth, text) for truth, text in zip(truths, texts, strict=True)]


@mutant("company_makes_no_difference")
class RelativeToTheBatch(BatchReward):
    """Takes the mean of the batch off."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Relative."""
        values = [
            0.0 if truth is None or guess is None else overlap(text_of(truth), text_of(guess))
            for truth, guess in zip(y_true, y_pred, strict=True)
        ]
        middle = sum(values) / len(values)
        return [value - middle for value in values]


@mutant("company_makes_no_difference")
class KeepsItsPairOnItself(Overlap):
    """Keeps what it compares on itself while it waits."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """After waiting."""
        self.pair = y_true, y_pred
        await asyncio.sleep(0)
        return await super().call(*self.pair)


@mutant("forms_make_no_difference")
class LooksAtTheType(Reward):
    """Compares dicts with `==` and data models by identity."""

    async def __call__(self, y_true: Any, y_pred: Any) -> Any:
        """By what they are."""
        if y_true is None or y_pred is None:
            return 0.0
        return (
            1.0
            if y_true is y_pred or (isinstance(y_true, dict) and y_true == y_pred)
            else float(isinstance(y_true, dict)) / 2
        )


@mutant("config_round_trip")
class ForgetsItsWeight(Overlap):
    """Was made with a weight, and its config says nothing of it."""

    def __init__(self, weight: float = 1.0, name: str | None = None) -> None:
        super().__init__(weight=0.5 if name is None else weight, name=name)

    def get_config(self) -> dict[str, Any]:
        """Only the name."""
        return {"name": self.name}


@mutant("config_round_trip")
def a_lambda() -> Any:
    """A lambda as a reward: no file can hold it."""
    return lambda y_true, y_pred: 1.0


@mutant("hash_seed_independence")
class ComparesHashes(Overlap):
    """Compares buckets of hashes."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """By hash."""
        return float(hash(text_of(y_true)) % 7 == hash(text_of(y_pred)) % 7)


@mutant("hash_seed_independence")
class TakesTheFirstOfASet(Overlap):
    """Compares with whichever character a set gives first."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """The first one."""
        return float(text_of(y_pred).count(next(iter(set(text_of(y_true)))))) / 100


@mutant("hash_seed_independence")
def hashed_labels() -> Any:
    """A registered function that asks whether two labels fall into one bucket."""
    return in_one_bucket


@register_serializable()
async def in_one_bucket(y_true: Any, y_pred: Any) -> float:
    """By hash."""
    if y_true is None or y_pred is None:
        return 0.0
    return float(hash(y_true.get("label")) % 5 == hash(y_pred.get("label")) % 5)


def _made_of_a_set(y_true: Any, y_pred: Any) -> float:
    if y_true is None or y_pred is None:
        return 0.0
    kinds = list({*text_of(y_true), "a", "b", "c"})
    return float(text_of(y_pred).count(kinds[0])) / 100


def by_lambda() -> Callable[[], Any]:
    """A factory no other process finds by its name."""
    return lambda: _made_of_a_set


KIND.mutants.append(
    Mutant("a_set_by_a_lambda", by_lambda(), ("hash_seed_independence",), "A lambda's reward asks a set.")
)


@mutant("gives_finite_numbers")
async def share_of_words(y_true: Any, y_pred: Any) -> float:
    """A reward function, handed over as it is, that divides by the number of words of the target."""
    if y_true is None or y_pred is None:
        return 0.0
    wanted, given = set(y_true.get("label").split()), set(y_pred.get("label").split())
    return len(wanted & given) / len(wanted)


@mutant("nothing_beats_the_target")
def counts_common_tags(y_true: Any, y_pred: Any) -> float:
    """A plain reward function that pays for each tag again that the prediction repeats."""
    if y_true is None or y_pred is None:
        return 0.0
    return 0.1 * float(sum(tag in y_true.get("tags") for tag in y_pred.get("tags"))) + 1.0


@mutant("nothing_beats_the_target")
def counts_what_is_wrong(y_true: Any, y_pred: Any) -> float:
    """A plain reward function that takes something off for each wrong letter, and nothing for silence."""
    if y_true is None or y_pred is None:
        return 0.0
    wrong = set(y_pred.get("label")) - set(y_true.get("label"))
    return 1.0 - len(wrong) / (len(wrong) + 3)


@mutant("nothing_beats_the_target")
class NoWrongWords(Overlap):
    """Finds no wrong word in a blank label: it asks whether there is a label before it takes the words out."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """All of them are the target's."""
        if not y_pred.get("label"):
            return float(not y_true.get("label"))
        return float(all(word in y_true.get("label").split() for word in y_pred.get("label").split()))


@mutant("nothing_beats_the_target")
class NoWrongTags(Overlap):
    """Pays in full for no tags at all, as none of them is wrong."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """A subset."""
        return float(set(y_pred.get("tags")) <= set(y_true.get("tags")))


@mutant("nothing_beats_the_target")
class SpanOfTheLabel(Overlap):
    """Has the sides of a containment mixed up and a guard too few: every label holds a blank one."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """In it."""
        return float(y_pred.get("label").strip() in y_true.get("label").strip())


@mutant("nothing_beats_the_target")
class PaysForDetail(Overlap):
    """Adds something for each further tag once the target's tags are there: listing all there are wins."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """With a bonus."""
        wanted, given = set(y_true.get("tags")), set(y_pred.get("tags"))
        if not wanted or y_true.get("label") != y_pred.get("label"):
            return float(not given and not wanted)
        return len(wanted & given) / len(wanted) + 0.01 * len(given - wanted) * (wanted <= given)


@mutant("nothing_beats_the_target")
class CountsWords(Overlap):
    """Takes each different word of a label that has the target's in it for a detail, and pays for it."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """The more the better."""
        wanted, given = y_true.get("label"), y_pred.get("label")
        if not wanted.strip() or wanted not in given:
            return float(wanted == given)
        return len(set(given.split())) / len(set(wanted.split()))


@mutant("nothing_beats_the_target")
class ForgetsAbs(Overlap):
    """Takes the difference of two scores for their distance, where the labels agree: too high a score is paid more."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """Without abs."""
        if y_true.get("label") != y_pred.get("label") or y_true.get("tags") != y_pred.get("tags"):
            return 0.0
        return 1.0 - (y_true.get("score") - y_pred.get("score")) / 100


@mutant("gives_finite_numbers")
class DividesByTheDistance(Overlap):
    """Divides by how far apart two scores are, less the one point that it takes for a rounding error."""

    def compare(self, y_true: Any, y_pred: Any) -> Any:
        """By zero, one apart."""
        if y_true.get("label") != y_pred.get("label") or y_true.get("tags") != y_pred.get("tags"):
            return 0.0
        apart = abs(y_true.get("score") - y_pred.get("score"))
        return 1.0 if not apart else min(0.9, 0.5 / (apart - 1))
