"""DSPy as it is installed, in a run: recorded, run again, killed, resumed."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import BudgetExceeded, Diverged, InvalidValue
from eventcore.testing.model_server import ModelServer, refuse, say
from tests.integrations.place import Place
from tests.language_models.samples import QUIET

pytest.importorskip("dspy", reason="DSPy is not installed: pip install 'eventcore[dspy]'")

import dspy
from dspy.lm15 import Message, Request, Response, Usage
from dspy.utils.exceptions import ContextWindowExceededError, LMRateLimitError

from eventcore.integrations.dspy import LM, compile

pytestmark = QUIET
TOY = Path(__file__).with_name("toy_dspy.py")
TRAIN = [dspy.Example(question=f"question {n}", answer=str(n % 3)).with_inputs("question") for n in range(6)]


def metric(example: Any, prediction: Any, trace: Any = None) -> bool:
    return bool(example.answer == prediction.answer)


class Fake:
    """An engine that answers with how long the question is, and counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.requests: list[Any] = []
        self.error = error

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        asked = "".join(str(message.text) for message in request.messages)
        text = f"[[ ## answer ## ]]\n{len(asked) % 3}\n\n[[ ## completed ## ]]"
        usage = Usage(input_tokens=len(asked), output_tokens=len(text), total_tokens=len(asked) + len(text))
        message = Message.assistant(text)
        return Response(id=None, model="fake-1", message=message, finish_reason="stop", usage=usage)


class AsyncFake:
    """The same for `acall`."""

    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    async def complete(self, request: Request) -> Response:
        await asyncio.sleep(0)
        return self.fake.complete(request)


def model(fake: Fake) -> Any:
    made: Any = dspy.LM
    return LM(made("toy/fake", engine=fake, async_engine=AsyncFake(fake), temperature=0.5, num_retries=0))


class DspyPlace(Place):
    """Runs a script of DSPy there."""

    def go(self, script: Any, fake: Fake | None = None, **options: Any) -> tuple[Any, Fake]:
        fake = fake or Fake()
        lm = model(fake)
        with (
            ec.open(self.url) as store,
            store.run("prompts", seed=7, resume=True, **options),
            dspy.context(lm=lm),
        ):
            return script(lm), fake


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DspyPlace]:
    yield DspyPlace(tmp_path)
    ec.clear_session()


# --- a model --------------------------------------------------------------------------------------


def test_a_call_is_an_effect_and_answers_again_without_a_call(place: DspyPlace) -> None:
    def script(lm: Any) -> Any:
        return [dspy.Predict("question -> answer")(question="how?").answer, lm("hello"), lm("hello")]

    first, fake = place.go(script)
    again, idle = place.go(script)
    assert again == first
    assert (len(fake.requests), len(idle.requests)) == (3, 0)
    started, answered = place.events("EffectStarted"), place.events("EffectCompleted")
    assert [event.kind for event in started] == ["dspy.lm"] * 3
    assert [event.ordinal for event in started] == [0, 0, 1]  # dspy's cache is off: an equal call is made
    assert started[0].request["config"]["temperature"] == 0.5
    assert all(event.model == "fake-1" and event.input_tokens and event.output_tokens for event in answered)


def test_history_and_usage_know_each_call_once(place: DspyPlace) -> None:
    def script(lm: Any) -> Any:
        with dspy.track_usage() as tracker:
            lm("hello")
        return len(lm.history), tracker.get_total_tokens(), lm.history[-1]["outputs"]

    from dspy.clients.base_lm import GLOBAL_HISTORY

    before = len(GLOBAL_HISTORY)
    first, _ = place.go(script)
    assert first[0] == 1
    assert first[1]["toy/fake"]["total_tokens"] > 0
    assert len(GLOBAL_HISTORY) == before + 1
    again, _ = place.go(script)
    assert again == first


def test_copies_ask_the_same_recorded_model(place: DspyPlace) -> None:
    def script(lm: Any) -> Any:
        program = dspy.Predict("question -> answer")
        program.set_lm(lm.copy(temperature=0.9, rollout_id=3))
        return copy.deepcopy(program)(question="how?").answer, copy.deepcopy(lm)("hello"), lm("hello", n=2)

    first, fake = place.go(script)
    again, idle = place.go(script)
    assert (again, len(fake.requests), len(idle.requests)) == (first, 4, 0)
    assert len(place.events("EffectCompleted")) == 4
    assert place.events("EffectStarted")[0].request["config"]["temperature"] == 0.9


def test_calls_at_once_in_a_loop_come_back_in_the_same_order(place: DspyPlace) -> None:
    arrived: list[str] = []

    def script(lm: Any) -> Any:
        arrived.clear()

        async def one(n: int) -> Any:
            answers = [await lm.acall("x" * n), await lm.acall("y" * n, n=1 + n % 2)]
            arrived.append(f"{n}")
            return answers

        async def all_of_them() -> Any:
            return await asyncio.gather(*(one(n) for n in range(8)))

        return asyncio.run(all_of_them()), list(arrived)

    first, fake = place.go(script)
    again, idle = place.go(script)
    assert (again, len(fake.requests), len(idle.requests)) == (first, 20, 0)


@pytest.mark.parametrize(
    "error",
    [
        LMRateLimitError("too many", model="fake"),
        ContextWindowExceededError(model="fake"),
        ValueError("broken"),
    ],
)
def test_an_error_is_of_the_same_kind_when_it_is_recorded(place: DspyPlace, error: Exception) -> None:
    def script(lm: Any) -> Any:
        with pytest.raises(Exception) as caught:
            lm("hello")
        return type(caught.value), str(caught.value)

    first, fake = place.go(script, Fake(error))
    again, idle = place.go(script)
    assert again == first
    assert (len(fake.requests), len(idle.requests)) == (1, 0)
    assert len(place.events("EffectFailed")) == 1


@pytest.mark.slow
def test_a_model_given_by_its_name_is_called_over_http_and_its_cost_recorded(place: DspyPlace) -> None:
    with ModelServer() as server:
        server.script(refuse(429, retry_after=0), say("[[ ## answer ## ]]\n42"))

        def script(_: Any) -> Any:
            made: Any = LM
            lm = made(
                "openai/gpt-4o-mini", api_base=server.url, api_key="sk-secret-of-mine", temperature=0.25
            )
            with dspy.context(lm=lm):
                answer = dspy.Predict("question -> answer")(question="how?").answer
            return answer, lm.history[-1]["cost"], lm.dump_state()["model"], lm.supports_function_calling

        first, _ = place.go(script)
        again, _ = place.go(script)
        assert again == first
        assert first[0] == "42"
        assert first[1] == pytest.approx(11 * 0.15e-6 + 7 * 0.6e-6)
        assert first[2:] == ("openai/gpt-4o-mini", True)
        assert len(server.requests) == 2  # one was refused and sent again, below the log
        assert server.requests[-1].body["temperature"] == 0.25
    (answered,) = place.events("EffectCompleted")
    assert (answered.input_tokens, answered.output_tokens, answered.cost) == (11, 7, first[1])
    assert "sk-secret" not in str(place.events("EffectStarted", "EffectCompleted"))


# --- an optimizer ----------------------------------------------------------------------------------


def searched(**options: Any) -> Any:
    search: Any = dspy.BootstrapFewShotWithRandomSearch
    given = {"max_bootstrapped_demos": 1, "max_labeled_demos": 1, "num_candidate_programs": 2}
    return compile(
        search(metric=metric, **given), dspy.Predict("question -> answer"), trainset=TRAIN[:3],
        valset=TRAIN[3:], **options,
    ).dump_state()  # fmt: skip


def test_every_program_that_is_evaluated_is_a_candidate_and_the_compiled_one_is_held(
    place: DspyPlace,
) -> None:
    first, fake = place.go(lambda lm: searched())
    again, idle = place.go(lambda lm: searched())
    assert again == first
    assert fake.requests
    assert not idle.requests
    added = place.events("CandidateAdded")
    assert len(added) == 5  # the program itself, with examples, bootstrapped, and two by chance
    value = place.state().variables["program"]
    assert value["predictors"]["self"]["demos"] == first["demos"]
    best = max(value["candidates"], key=lambda entry: entry["reward"])
    assert best["reward"] == max(event.reward for event in added)
    (declared,) = place.events("VariableDeclared")
    assert declared.trainable


def test_global_generators_start_from_the_runs_seed_and_are_put_back(
    place: DspyPlace, tmp_path: Path
) -> None:
    import numpy

    def script(lm: Any) -> Any:
        class Drawn(dspy.Predict):  # type: ignore[misc]
            pass

        program = Drawn("question -> answer")

        class Optimizer:
            def compile(self, student: Any) -> Any:
                student.numbers = [random.random(), float(numpy.random.rand())]
                return student

        before = random.getstate()
        numbers = compile(Optimizer(), program).numbers
        assert random.getstate() == before
        return numbers

    random.seed(1)
    first, _ = place.go(script)
    random.seed(2)
    assert place.go(script)[0] == first
    with ec.open(tmp_path / "other.lmdb") as store, store.run("other", seed=8):
        assert script(None) != first


def test_a_call_in_a_thread_of_dspys_own_is_refused(place: DspyPlace) -> None:
    def script(lm: Any) -> Any:
        evaluate = dspy.Evaluate(devset=TRAIN, metric=metric, num_threads=2)

        class Optimizer:
            def compile(self, student: Any) -> Any:
                evaluate(student)
                return student

        return compile(Optimizer(), dspy.Predict("question -> answer"))

    with pytest.raises(InvalidValue, match="num_threads=1"):
        place.go(script)


def test_errors_of_the_run_pass_dspy_and_arrive_as_themselves(place: DspyPlace, tmp_path: Path) -> None:
    alone = DspyPlace(tmp_path / "alone")
    alone.url.parent.mkdir()
    whole, calls = alone.go(lambda lm: searched())
    made = 0
    for budget in (1, 4, 9):
        fake = Fake()
        with pytest.raises(BudgetExceeded, match=f"budget of {budget} calls"):
            place.go(lambda lm: searched(), fake, budget={"calls": budget})
        made += len(fake.requests)
    result, fake = place.go(lambda lm: searched())
    assert result == whole
    assert made + len(fake.requests) == len(calls.requests)
    assert place.state().digest == alone.state().digest
    with pytest.raises(Diverged, match="eventcore fork"):
        place.go(lambda lm: [lm("something else"), searched()])


# --- killed ------------------------------------------------------------------------------------------


def toy(
    folder: Path, name: str, optimizer: str, *how: str, hash_seed: int = 0
) -> tuple[dict[str, Any], list[str]]:
    calls = folder / f"{name}.calls"
    done = subprocess.run(
        [sys.executable, str(TOY), str(folder / f"{name}.lmdb"), str(calls), optimizer, *how],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "DSPY_CACHEDIR": str(folder / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (-9 if how else 0), done.stderr
    lines = calls.read_text().splitlines()
    return {} if how else json.loads(done.stdout.splitlines()[-1]), lines


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("optimizer", ["bootstrap", "search", "copro"])
def test_killed_it_ends_as_if_left_alone_whatever_the_hash_seed(tmp_path: Path, optimizer: str) -> None:
    alone, whole = toy(tmp_path, "alone", optimizer, hash_seed=1)
    middle = len(whole) // 2
    _, before = toy(tmp_path, "killed", optimizer, "--kill-before", f"{middle}", hash_seed=2)
    _, between = toy(tmp_path, "killed", optimizer, "--kill-after", "2", hash_seed=3)
    ended, made = toy(tmp_path, "killed", optimizer, hash_seed=4)
    assert {**ended, "head": 0} == {**alone, "head": 0}
    assert len(before) == middle - 1
    assert made[: len(between) - 1] + made[len(between) :] == whole  # one was in doubt, and was made twice
