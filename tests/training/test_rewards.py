"""Rewards: what they say of a prediction, masks, reductions, batches, judges, names and configs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.saving import register_serializable
from eventcore.training import rewards
from tests.training.programs import Answer, Echo, Question, program_of


@pytest.fixture(autouse=True)
def run() -> Iterator[Any]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("rewards", seed=1) as run:
        yield run


class Reply(ec.DataModel):
    """Two fields and a note."""

    label: str
    note: str = ""
    note_2: str = ""


def score(reward: Any, y_true: Any, y_pred: Any) -> Any:
    return ec.wait(reward(y_true, y_pred))


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({}, 0.0),
        ({"in_mask": ["label"]}, 1.0),
        ({"out_mask": ["note"]}, 1.0),
        ({"in_mask_pattern": "^lab"}, 1.0),
        ({"out_mask_pattern": "^note"}, 1.0),
        ({"in_mask": ["note"]}, 0.0),
    ],
)
@pytest.mark.parametrize("form", ["model", "dict"])
def test_masks_cut_both_sides(masks: dict[str, Any], expected: float, form: str) -> None:
    sides: list[Any] = [Reply(label="x", note="one", note_2="a"), Reply(label="x", note="two", note_2="b")]
    if form == "dict":
        sides = [side.get_json() for side in sides]
    assert score(rewards.ExactMatch(**masks), *sides) == expected


@pytest.mark.parametrize(
    ("y_true", "y_pred", "expected"),
    [
        (Reply(label="x"), Reply(label="x"), 1.0),
        (Reply(label="x"), {"label": "x", "note": "", "note_2": ""}, 1.0),
        ({"a": None}, {"a": None}, 1.0),
        ({"a": None}, {}, 0.0),
        (None, Reply(label="x"), 0.0),
        (Reply(label="x"), None, 0.0),
        (None, None, 0.0),
    ],
)
def test_exact_match_needs_both_sides_and_equal_json(y_true: Any, y_pred: Any, expected: float) -> None:
    assert score(rewards.ExactMatch(), y_true, y_pred) == expected


numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8)
BY_HAND: dict[str, Any] = {"mean": statistics.fmean, "sum": sum, "min": min, "max": max}


@given(values=numbers, reduction=st.sampled_from(sorted(BY_HAND)))
def test_reductions_are_what_they_are_called(values: list[float], reduction: str) -> None:
    found = rewards.reduce_rewards(values, reduction)
    assert type(found) is float
    assert found == pytest.approx(BY_HAND[reduction](values), abs=1e-6)
    assert rewards.reduce_rewards(values, "none") == values
    assert rewards.reduce_rewards([], reduction) == 0.0


def test_a_reward_that_returns_several_values_is_reduced() -> None:
    assert score(rewards.RewardFunctionWrapper(lambda t, p: [1.0, 0.0], reduction="max"), None, None) == 1.0
    assert score(rewards.RewardFunctionWrapper(lambda t, p: [1.0, 0.0]), None, None) == 0.5


def test_an_unknown_reduction_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidValue, match="'mean', 'sum', 'min', 'max'"):
        rewards.RewardFunctionWrapper(lambda t, p: 1.0, reduction="median")


@register_serializable()
async def weighed(y_true: Any, y_pred: Any, weight: float = 1.0) -> float:
    """A reward with an argument."""
    return weight if y_true.get_json() == y_pred.get_json() else 0.0


def plain_reward(y_true: Any, y_pred: Any) -> float:
    """A reward that is no coroutine."""
    return 0.25


def test_functions_plain_or_async_are_rewards_and_keep_their_arguments_and_masks() -> None:
    wrapped = rewards.RewardFunctionWrapper(weighed, weight=0.5, in_mask=["label"])
    assert score(wrapped, Reply(label="x", note="1"), Reply(label="x", note="2")) == 0.5
    assert score(rewards.get(plain_reward), None, None) == 0.25
    assert (wrapped.name, rewards.get(plain_reward).name) == ("weighed", "plain_reward")


class Ranked(rewards.BatchReward):
    """The share of the batch that is no longer."""

    async def call(self, y_true: Any, y_pred: Any) -> Any:
        """Rank."""
        lengths = [len(p.get("key")) for p in y_pred]
        return [sum(other <= mine for other in lengths) / len(lengths) for mine in lengths]


def test_a_batch_reward_sees_the_batch_and_each_record_gets_its_own_score() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward=Ranked(), optimizer="random_few_shot")
    x = [Question(key="k" * size, turns=5 - size) for size in (1, 2, 3, 4)]
    y = [Answer(key=q.key) for q in x]
    ec.wait(program.fit(x, y, batch_size=4, validation_split=0, verbose=0))
    records = program.trainable_variables[0].get_json()["predictions"]
    assert {r["inputs"]["key"]: r["reward"] for r in records} == {
        "k" * size: size / 4 for size in (1, 2, 3, 4)
    }


@pytest.mark.filterwarnings("ignore:1 examples failed")
@pytest.mark.parametrize("bad", [float("nan"), None, "high", float("inf"), 10**400])
def test_one_bad_score_of_a_batch_fails_its_example_alone(bad: Any) -> None:
    def batch(y_true: Any, y_pred: Any) -> list[Any]:
        return [bad if p.get("key") == "2" else 1.0 for p in y_pred]

    program = program_of(Echo(name="echo"))
    program.compile(reward=rewards.BatchRewardFunctionWrapper(batch), optimizer="random_few_shot")
    x = [Question(key=str(n)) for n in range(5)]
    history = ec.wait(program.fit(x, None, batch_size=5, validation_split=0, verbose=0)).history
    assert history == {"reward": [1.0]}
    records = program.trainable_variables[0].get_json()["predictions"]
    assert sorted(r["inputs"]["key"] for r in records) == ["0", "1", "3", "4"]


@pytest.mark.parametrize(
    ("given", "words"), [([1.0], "1 rewards of .* for a batch of 2"), (1.0, "a batch reward returns a list")]
)
def test_a_batch_reward_of_the_wrong_form_fails_the_batch_saying_so(given: Any, words: str) -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward=rewards.BatchRewardFunctionWrapper(lambda t, p: given))
    x = [Question(key="1"), Question(key="2")]
    assert ec.wait(program.compute_reward(x, None, [Answer(key="1"), Answer(key="2")])) == [None, None]
    with pytest.raises((InvalidValue, ec.errors.WrongType), match=words):
        score(rewards.BatchRewardFunctionWrapper(lambda t, p: given), [None] * 2, x)


class Verdict(ec.DataModel):
    """What a judge says."""

    reward: float


class Judge(ec.Module):
    """Likes equal keys; has no answer to "none"."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Judge."""
        truth, prediction = inputs
        if prediction.get("key") == "none":
            return None
        return Verdict(reward=1.0 if truth.get("key") == prediction.get("key") else 0.5)

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """A verdict."""
        return Verdict


def judge() -> Any:
    truth, prediction = (
        ec.Input(data_model=Answer, name="truth"),
        ec.Input(data_model=Answer, name="prediction"),
    )
    return ec.Program(
        inputs=[truth, prediction], outputs=ec.wait(Judge(name="judge")([truth, prediction])), name="court"
    )


def test_a_program_judges() -> None:
    reward = rewards.ProgramAsJudge(judge())
    assert score(reward, Answer(key="1"), Answer(key="1")) == 1.0
    assert score(reward, Answer(key="1"), Answer(key="2")) == 0.5
    with pytest.warns(UserWarning, match=r"gave no answer; the prediction scores 0\.0"):
        assert score(reward, Answer(key="1"), Answer(key="none")) == 0.0


def test_training_under_a_judge_attributes_its_verdicts() -> None:
    program = program_of(Echo(name="echo"))
    program.compile(reward=rewards.ProgramAsJudge(judge()), optimizer="random_few_shot")
    x = [Question(key=str(n), turns=n % 3) for n in range(6)]
    y = [Answer(key=str(n - n % 2)) for n in range(6)]
    ec.wait(program.fit(x, y, batch_size=3, validation_split=0, verbose=0))
    records = program.trainable_variables[0].get_json()["predictions"]
    assert {r["inputs"]["key"]: r["reward"] for r in records} == {
        str(n): 0.5 if n % 2 else 1.0 for n in range(6)
    }


@pytest.mark.parametrize(
    "made",
    [
        lambda: rewards.ExactMatch(
            name="em", in_mask=["a"], out_mask=["b"], in_mask_pattern="c", out_mask_pattern="d"
        ),
        lambda: rewards.RewardFunctionWrapper(weighed, reduction="sum", weight=0.5, out_mask=["note"]),
        lambda: rewards.BatchRewardFunctionWrapper(weighed, weight=2.0),
        lambda: rewards.ProgramAsJudge(judge(), in_mask=["key"]),
        lambda: rewards.CosineSimilarity(embedding_model="openai/text-embedding-3-small", in_mask=["a"]),
        lambda: rewards.LMAsJudge(
            language_model="openai/gpt-4o-mini", instructions="be fair", out_mask=["a"]
        ),
    ],
)
def test_configs_rebuild_equal_rewards(made: Any) -> None:
    reward = made()
    config = rewards.serialize(reward)
    ec.clear_session()
    again = rewards.deserialize(config)
    assert type(again) is type(reward)
    assert rewards.serialize(again) == config


@pytest.mark.parametrize(
    "name", ["exact_match", "ExactMatch", "EXACT_MATCH", "exactmatch", rewards.ExactMatch]
)
def test_rewards_are_found_by_name_in_any_case(name: Any) -> None:
    assert type(rewards.get(name)) is rewards.ExactMatch


def test_an_unknown_name_says_what_was_meant_and_what_there_is() -> None:
    with pytest.raises(
        InvalidValue, match=r"did you mean 'exact_match'\?.*cosine_similarity, exact_match, lm_as_judge"
    ):
        rewards.get("exact_mach")


def test_cosine_similarity_compares_leaf_by_leaf() -> None:
    vectors = {"north": [0.0, 1.0], "east": [1.0, 0.0], "south": [0.0, -2.0]}

    class Compass:
        async def embed(self, texts: list[str]) -> list[list[float]]:
            return [vectors[text] for text in texts]

    reward = rewards.CosineSimilarity(embedding_model="openai/text-embedding-3-small")
    compass: Any = Compass()
    reward.embedding_model = compass
    assert score(reward, {"a": "north"}, {"a": "north"}) == 1.0
    assert score(reward, {"a": "north"}, {"a": "east"}) == 0.5
    assert score(reward, {"a": "north"}, {"a": "south"}) == 0.0
    assert score(reward, {"a": "north", "b": ["east"]}, {"a": "south", "b": ["east"]}) == 0.5
    assert score(reward, None, {"a": "east"}) == 0.0
    with pytest.raises(InvalidValue, match="cannot compare 1 texts of the prediction with 2 of the target"):
        score(reward, {"a": "north", "b": "east"}, {"a": "north"})
