"""Modules in the many styles people write them: sound ones pass, and a bug in an unusual style is found as well."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import pytest

import eventcore as ec
from eventcore.testing import FakeLanguageModel, check_module
from eventcore.testing.checks import ChecksFailed


class Text(ec.DataModel):
    """What goes in and comes out."""

    text: str


class Reasoned(Text):
    """An answer with more in it than was promised."""

    why: str = ""


class Hint(ec.Trainable):
    """What is trained."""

    hint: str = ""


class Nothing(ec.Trainable):
    """Trained by examples alone."""


def record(inputs: Any, answer: Any) -> dict[str, Any]:
    """What a use leaves."""
    return {"inputs": inputs, "outputs": answer.get_json(), "reward": None}


class Built(ec.Module):
    """Makes its variable in `build`."""

    async def build(self, input_schema: Any) -> None:
        self.hint = self.add_variable(data_model=Hint, name="hint")

    async def call(self, inputs: Text, training: bool = False) -> Any:
        if inputs is None:
            return None
        answer = Text(text=self.read() + inputs.get("text"))
        if training:
            self.leave(record(inputs.get_json(), answer))
        return answer

    def read(self) -> str:
        found: str = self.hint.get("hint")
        return found

    def leave(self, entry: dict[str, Any]) -> None:
        self.hint.get("current_predictions").append(entry)


class ReadsUnseen(Built):
    """Reads past the log."""

    def read(self) -> str:
        found: str = self.hint.get_json()["hint"]
        return found


class RecordsTwice(Built):
    """Leaves two records."""

    def leave(self, entry: dict[str, Any]) -> None:
        super().leave(entry)
        super().leave(entry)


class FewShot(ec.Module):
    """Reads nothing but the examples."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(data_model=Nothing, name="state")

    async def call(self, inputs: Text, training: bool = False) -> Any:
        if inputs is None:
            return None
        known = {str(each.get("inputs")): str(each.get("outputs")) for each in self.state.get("examples")}
        answer = Text(text=known.get(str(inputs.get_json()), "nobody said"))
        if training:
            self.state.get("current_predictions").append(record(inputs.get_json(), answer))
        return answer


class Compare(ec.Module):
    """Takes two inputs and keeps them by name."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(data_model=Hint, name="state")

    async def call(self, one: Text, other: Text, training: bool = False) -> Any:
        answer = Text(text=f"{self.state.get('hint')} {one.get('text') == other.get('text')}")
        if training:
            self.state.get("current_predictions").append(record(self.kept(one, other), answer))
        return answer

    def kept(self, one: Any, other: Any) -> Any:
        return {"one": one.get_json(), "other": other.get_json()}


class KeepsTheSame(Compare):
    """Keeps the same inputs whatever it was given."""

    def kept(self, one: Any, other: Any) -> Any:
        return {"one": {"text": "always"}, "other": {"text": "the same"}}


class Superset(ec.Module):
    """Promises a model and answers with one derived from it."""

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return Text

    def call(self, inputs: Text) -> Any:
        return None if inputs is None else Reasoned(text=inputs.get("text"), why="because")


class Normalized(ec.Generator):
    """Asks the model about something else than it was given, and records that."""

    def asked(self, inputs: Any) -> Any:
        return Text(text=inputs.get("text").strip().lower() + "!") if hasattr(inputs, "get_json") else inputs


def normalized() -> Any:
    """A generator that changes what it is given."""
    return Normalized(data_model=Text, language_model=FakeLanguageModel(name="fake"), name="normalized")


def with_inputs() -> Any:
    """The field of the answer has the name of one that was given."""
    return ec.Generator(
        data_model=Text, language_model=FakeLanguageModel(name="fake"), return_inputs=True, name="joined"
    )


class Pipeline(ec.Program):
    """Builds its graph itself."""

    async def build(self, input_schema: Any = None) -> None:
        inputs = ec.Input(data_model=Text)
        outputs = await ec.Generator(
            data_model=Reasoned, language_model=FakeLanguageModel(name="fake"), name="first"
        )(inputs)
        super().__init__(inputs=inputs, outputs=outputs, name=self.name)


RECORDS = ["one_record_per_use", "rewards_reach_their_records"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("factory", [Built, FewShot, normalized, with_inputs])
def test_records_in_every_style_are_accepted(factory: Any) -> None:
    report = check_module(factory, Text, only=RECORDS)
    assert all(outcome.status == "passed" for outcome in report.outcomes)


@pytest.mark.filterwarnings("ignore")
def test_records_of_several_inputs_are_held_against_them() -> None:
    assert check_module(Compare, (Text, Text), only=RECORDS).ok
    with pytest.raises(ChecksFailed, match="the record's inputs are not this call's"):
        check_module(KeepsTheSame, (Text, Text), only=RECORDS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("factory", "check"), [(ReadsUnseen, "reads_are_events"), (RecordsTwice, "one_record_per_use")]
)
def test_variables_made_in_build_are_checked_too(factory: Any, check: str) -> None:
    assert check_module(Built, only=[check])[check].status == "passed"
    with pytest.raises(ChecksFailed, match=check):
        check_module(factory, only=[check])


def test_an_answer_may_have_more_than_was_promised_as_in_a_graph() -> None:
    assert check_module(Superset, only=["answers_fit_their_schema"]).ok


@pytest.mark.filterwarnings("ignore")
def test_a_program_that_builds_itself_is_asked_afresh_without_a_call() -> None:
    assert check_module(Pipeline, Text, only=["answers_follow_variables"]).ok


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("factory", [Built, FewShot, Compare, Superset, Pipeline, normalized, with_inputs])
def test_a_sound_module_of_any_style_passes_every_check(factory: Any, seed: int) -> None:
    assert check_module(factory, (Text, Text) if factory is Compare else Text, seed=seed).ok


class Tally(ec.DataModel):
    """A name that training uses beside one of its own."""

    history: list[str] = []  # noqa: RUF012
    nb_visit: int = 0


class Counted(Built):
    """Keeps a variable that looks nearly as if it were trained."""

    def __init__(self, trainable_tally: bool) -> None:
        super().__init__(name="counted")
        self.tally = self.add_variable(data_model=Tally, trainable=trainable_tally, name="tally")


def test_what_looks_nearly_trainable_is_refused_unless_it_is_not_asked_for() -> None:
    only = ["trainable_iff_trainable"]
    assert check_module(lambda: Counted(False), Text, only=only).ok
    with pytest.raises(ChecksFailed, match=r"bookkeeping fields \['history', 'nb_visit'\] but not all nine"):
        check_module(lambda: Counted(True), Text, only=only)


@pytest.mark.filterwarnings("ignore:language model")
def test_a_module_that_never_answers_has_shown_nothing() -> None:
    def unanswered() -> Any:
        model = FakeLanguageModel(lambda said: {"another": "field"}, name="fake")
        return ec.Generator(data_model=Text, language_model=model, name="generator")

    with pytest.raises(ChecksFailed, match="exercised nothing") as failed:
        check_module(unanswered, Text, only=["answers_fit_their_schema"])
    assert "answered None to all" in str(failed.value)


@ec.effect
def drawn(of: int) -> int:
    """What changes by itself, and often does not."""
    return random.randrange(of)


class Lottery(Built):
    """Sound: what it draws is recorded."""

    def read(self) -> str:
        return f"{super().read()} {drawn(3)}"

    async def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return Text


@pytest.mark.parametrize("seed", range(3))
def test_what_the_world_seldom_tells_otherwise_is_held_against_nobody(seed: int) -> None:
    only = ["save_and_load", "answers_follow_variables", "concurrency_safe", "no_unrecorded_nondeterminism"]
    assert check_module(Lottery, Text, only=only, seed=seed).ok


class Dice(Built):
    """Sound: its random numbers are those of the run."""

    def read(self) -> str:
        return f"{super().read()} {ec.random('dice').random()}"


@pytest.mark.parametrize("seed", range(2))
def test_random_numbers_of_the_run_are_no_loss_of_a_file(seed: int) -> None:
    assert check_module(Dice, Text, seed=seed).ok


class Forgetting(Built):
    """Answers by what it was told last, and does not save that."""

    told = "nothing"

    def read(self) -> str:
        before, self.told = self.told, "something"
        return f"{super().read()} {before}"


def test_what_a_file_has_lost_is_found_all_the_same() -> None:
    with pytest.raises(ChecksFailed, match="and before it was saved"):
        check_module(Forgetting, Text, only=["save_and_load"])


class UnrecordedLottery(Built):
    """Draws past the log."""

    def read(self) -> str:
        return f"{super().read()} {random.randrange(2)}"


def test_a_lottery_is_not_taken_for_a_memory() -> None:
    report = check_module(
        UnrecordedLottery,
        Text,
        only=["answers_follow_variables", "no_unrecorded_nondeterminism"],
        expected_failed_checks={"no_unrecorded_nondeterminism": "it draws past the log"},
    )
    memory = report.outcomes[0]
    assert memory.status == "not applicable" and "answer differently by themselves" in memory.message


class CachedOnTheClass(Built):
    """Answers what was asked before from a dict, and leaves no record of it."""

    answers: ClassVar[dict[str, Any]] = {}

    async def call(self, inputs: Text, training: bool = False) -> Any:
        if inputs is None:
            return None
        if inputs.get("text") not in self.answers:
            self.answers[inputs.get("text")] = await super().call(inputs, training)
        return self.answers[inputs.get("text")]


def test_a_divergence_inside_a_check_names_no_line_of_a_library() -> None:
    with pytest.raises(ChecksFailed) as failed:
        check_module(CachedOnTheClass, Text, only=["no_unrecorded_nondeterminism"])
    assert "diverged at seq" in str(failed.value)
    assert "  line" not in str(failed.value)
