"""Cassettes: a call is made once, recorded in a file, and answered from it; what is missing is said."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import CallNotRecorded, ModelFailed
from eventcore.history.events import EffectFailed, EffectReused, EffectStarted
from eventcore.replay.effects import Outcome, perform
from eventcore.testing import FakeLanguageModel, cassette
from eventcore.testing.model_server import ModelServer, Request, refuse, say
from tests.language_models.samples import QUIET
from tests.testing.calls import Asked, over_http

pytestmark = [*QUIET, pytest.mark.usefixtures("eventcore_run")]


class Text(ec.DataModel):
    text: str


class Label(ec.DataModel):
    label: str


# --- once and again -------------------------------------------------------------------------------


def test_a_recorded_call_is_answered_without_being_made(place: Path, asked: Asked) -> None:
    with cassette(place) as first:
        said = [asked.ask("a"), asked.ask("b")]
    with cassette(place) as second:
        again = [asked.ask("a"), asked.ask("b")]
    assert said == again == ["a 1", "b 2"] and asked.calls == ["a", "b"]
    assert (first.recorded, first.played) == (2, 0) and (second.recorded, second.played, second.left) == (
        0,
        2,
        0,
    )


def test_models_over_http_are_asked_once_and_answered_with_the_server_down(place: Path) -> None:
    """Litellm's own client reaches a real server; the second time nothing listens any more."""

    async def program_of(url: str) -> list[Any]:
        x = ec.Input(data_model=Text)
        model = over_http(url)
        program = ec.Program(inputs=x, outputs=await ec.Generator(data_model=Label, language_model=model)(x))
        texts = [Text(text=f"number {number}") for number in range(5)]
        answers = await asyncio.gather(*(program(text) for text in texts))
        embedded = await ec.EmbeddingModel(
            model="openai/text-embedding-3-small", api_base=url, api_key="a-key-of-this-test"
        )(["one", "two"])
        return [answer.get_json() for answer in answers] + [embedded.get_json()]

    with ModelServer(lambda request: None) as server:
        url = server.url
        server.answer = _a_label
        with cassette(place):
            first = asyncio.run(program_of(url))
        assert len(server.requests) == 6
    with ec.open("memory:") as store, store.run("again") as run, cassette(place) as playing:
        ec.clear_session()
        second = asyncio.run(program_of(url))
    assert second == first and playing.played == 6 and playing.left == 0
    assert first[0]["label"].startswith("label of")
    spent = run.cost()
    assert spent.calls == 0 and spent.reused == 6 and len(server.requests) == 6


def _a_label(request: Request) -> Any:
    if request.path.endswith("/embeddings"):
        return None
    return say({"label": f"label of {len(str(request.body))}"})


def test_a_training_is_recorded_and_trains_to_the_same_state_from_its_cassette(place: Path) -> None:
    def trained() -> tuple[str, int]:
        ec.clear_session()
        model = FakeLanguageModel({"0": {"label": "even"}, "": {"label": "odd"}}, name="scripted")
        with ec.open("memory:") as store, store.run("training", seed=3) as run:
            x = ec.Input(data_model=Text)
            y = ec.wait(ec.Generator(data_model=Label, language_model=model, name="labels")(x))
            program = ec.Program(inputs=x, outputs=y, name="labeller")
            program.compile(reward=ec.ExactMatch(), optimizer=ec.optimizers.RandomFewShot())
            texts = [Text(text=f"number {number}") for number in range(12)]
            labels = [Label(label="odd" if number % 2 else "even") for number in range(12)]
            ec.wait(program.fit(texts, labels, epochs=2, batch_size=4, verbose=0))
            return run.state.digest, len(model.calls)

    with cassette(place):
        first, calls = trained()
    with cassette(place, mode="none") as playing:
        second, again = trained()
    assert first == second and calls > 20 and again == 0 and playing.left == 0


def test_the_answer_of_the_cassette_is_an_event_of_the_run_that_names_it(
    place: Path, asked: Asked, eventcore_run: ec.Run
) -> None:
    for _ in range(2):
        with cassette(place):
            asked.ask("a")
    reused = [record.event for record in eventcore_run.events(kind=EffectReused)]
    assert [
        (event.origin, event.origin_seq, event.answer) for event in reused if isinstance(event, EffectReused)
    ] == [(str(place), 3, "a 1")]


def test_equal_requests_get_their_answers_in_the_order_in_which_they_came(place: Path, asked: Asked) -> None:
    with cassette(place):
        said = [asked.ask("a") for _ in range(3)]
    with cassette(place):
        assert [asked.ask("a") for _ in range(3)] == said == ["a 1", "a 2", "a 3"]


def test_runs_of_a_test_that_ask_the_same_each_have_their_answer(place: Path, asked: Asked) -> None:
    def both() -> list[str]:
        said: list[str] = []
        for name in ("one", "two"):
            with ec.open("memory:") as store, store.run(name):
                said.append(asked.ask("a"))
        return said

    with cassette(place):
        first = both()
    with cassette(place):
        assert both() == first == ["a 1", "a 2"]


def test_the_order_of_different_requests_makes_no_difference(place: Path, asked: Asked) -> None:
    with cassette(place):
        said = {question: asked.ask(question) for question in "abc"}
    with cassette(place):
        assert {question: asked.ask(question) for question in "cab"} == said


def test_a_failure_is_recorded_and_fails_again_as_it_did(
    place: Path, asked: Asked, eventcore_run: ec.Run
) -> None:
    for _ in range(2):
        with cassette(place), pytest.raises(LookupError, match=r"^nothing about bad one$"):
            asked.ask("bad one")
    assert asked.calls == ["bad one"]
    failed = [record.event for record in eventcore_run.events(kind=EffectFailed)]
    assert [event.attempts for event in failed if isinstance(event, EffectFailed)] == [1, 0]
    assert eventcore_run.cost().calls == 1


def test_a_model_that_failed_fails_again_with_the_same_words(place: Path, server: ModelServer) -> None:
    server.script(refuse(400, message="no such prompt"))

    def said() -> str:
        with pytest.warns(UserWarning) as caught:
            assert ec.wait(over_http(server.url)("question")) is None
        return next(str(one.message) for one in caught if "gave no answer" in str(one.message))

    with cassette(place):
        first = said()
    with cassette(place):
        assert said() == first
    assert "no such prompt" in first and len(server.requests) == 1


def test_a_call_that_was_cancelled_is_not_in_the_cassette(place: Path) -> None:
    async def asked_and_left() -> None:
        async def call(ticket: object) -> Outcome:
            await asyncio.Event().wait()
            return Outcome("never")

        waiting = asyncio.create_task(perform("slow", {"q": 1}, call))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with cassette(place) as made:
        asyncio.run(asked_and_left())
    assert made.recorded == 0 and not place.exists()
    assert list(place.parent.iterdir()) == []


def test_a_run_resumed_inside_a_cassette_takes_first_from_its_log(
    tmp_path: Path, place: Path, asked: Asked
) -> None:
    def script(upto: int) -> list[str]:
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True):
            return [asked.ask(question) for question in "abc"[:upto]]

    with cassette(place):
        script(2)
    with cassette(place, mode="new_episodes") as playing:
        assert script(3) == ["a 1", "b 2", "c 3"]
    assert (playing.played, playing.recorded) == (0, 1)


def test_a_resumed_run_whose_next_call_is_missing_can_be_resumed_again(
    tmp_path: Path, place: Path, asked: Asked
) -> None:
    def script(upto: int) -> list[str]:
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True):
            return [asked.ask(question) for question in "abc"[:upto]]

    async def asked_later() -> str:
        async def call(ticket: object) -> Outcome:
            return Outcome("late")

        outcome: str = (await perform("late", {}, call)).answer
        return outcome

    def later() -> list[str]:
        with ec.open(tmp_path / "runs.lmdb") as store, store.run("r", resume=True):
            return [*(asked.ask(question) for question in "abc"), ec.wait(asked_later())]

    with cassette(place):
        script(2)
    for _ in range(2):
        with cassette(place, mode="none"), pytest.raises(CallNotRecorded):
            script(3)
    assert script(3) == ["a 1", "b 2", "c 3"]
    for _ in range(2):
        with cassette(place, mode="none"), pytest.raises(CallNotRecorded):
            later()
    assert later() == ["a 1", "b 2", "c 3", "late"]


@settings(max_examples=30)
@given(
    recorded=st.lists(st.sampled_from("abc"), max_size=8),
    again=st.lists(st.sampled_from("abcd"), max_size=10),
    mode=st.sampled_from(["none", "once", "new_episodes", "all"]),
)
def test_every_answer_is_given_once_in_its_order_and_the_rest_is_made_or_refused(
    recorded: list[str], again: list[str], mode: str
) -> None:
    """Against a model of its own: a queue of answers for each question."""
    asked = Asked()
    with tempfile.TemporaryDirectory() as folder, ec.open("memory:") as store, store.run("test"):
        place = Path(folder) / "it.sqlite"
        queues: dict[str, list[str]] = {}
        with cassette(place, mode="once"):
            for question in recorded:
                queues.setdefault(question, []).append(asked.ask(question))
        if mode == "all":
            queues.clear()
        made: list[str] = []
        writes = mode in ("new_episodes", "all") or (mode == "once" and not recorded)
        with cassette(place, mode=mode) as playing:
            for question in again:
                if queues.get(question):
                    assert asked.ask(question) == queues[question].pop(0)
                elif writes:
                    made.append(asked.ask(question))
                else:
                    with pytest.raises(CallNotRecorded):
                        asked.ask(question)
        assert asked.calls == recorded + [text.split()[0] for text in made]
        assert playing.recorded == len(made)
        assert playing.left == (0 if mode == "all" else sum(map(len, queues.values())))


# --- modes ----------------------------------------------------------------------------------------


def test_none_never_makes_a_call_and_names_the_nearest_and_how_to_record(place: Path, asked: Asked) -> None:
    with cassette(place):
        asked.ask("what is the capital of France")
    with cassette(place, mode="none"), pytest.raises(CallNotRecorded) as caught:
        asked.ask("what is the capital of Spain")
    text = str(caught.value)
    assert "cannot answer a call of ask" in text and str(place) in text
    assert "nearest recorded request: seq 2" in text and "France" in text and "Spain" in text
    assert "--eventcore-record=new_episodes" in text and "test_cassettes.py" in text
    assert asked.calls == ["what is the capital of France"]


def test_what_is_refused_leaves_nothing_in_the_run(place: Path, asked: Asked, eventcore_run: ec.Run) -> None:
    with cassette(place, mode="none"), pytest.raises(CallNotRecorded, match="there is no such file"):
        asked.ask("a")
    assert not list(eventcore_run.events(kind=EffectStarted)) and not place.parent.exists()


def test_an_answer_that_is_used_up_is_not_given_again(place: Path, asked: Asked) -> None:
    with cassette(place):
        asked.ask("a")
    with cassette(place), pytest.raises(CallNotRecorded, match="recorded 1 time, and is asked once more"):
        asked.ask("a")
        asked.ask("a")


def test_once_makes_no_new_call_when_there_is_a_file(place: Path, asked: Asked) -> None:
    with cassette(place):
        asked.ask("a")
    before = place.read_bytes()
    with cassette(place, mode="once"), pytest.raises(CallNotRecorded):
        asked.ask("b")
    assert place.read_bytes() == before and asked.calls == ["a"]


def test_new_episodes_adds_what_is_missing_and_keeps_the_rest(place: Path, asked: Asked) -> None:
    with cassette(place):
        asked.ask("a")
        asked.ask("a")
    with cassette(place, mode="new_episodes") as playing:
        assert [asked.ask(q) for q in "aaab"] == ["a 1", "a 2", "a 3", "b 4"]
    assert (playing.played, playing.recorded) == (2, 2)
    with cassette(place, mode="none") as playing:
        assert [asked.ask(q) for q in "baaa"] == ["b 4", "a 1", "a 2", "a 3"]
    assert playing.left == 0


def test_all_makes_every_call_and_records_the_file_anew(place: Path, asked: Asked) -> None:
    with cassette(place):
        asked.ask("a")
        asked.ask("b")
    with cassette(place, mode="all"):
        assert asked.ask("a") == "a 3"
    with cassette(place) as playing:
        assert asked.ask("a") == "a 3" and playing.left == 0


def test_a_cassette_without_calls_makes_no_file(place: Path) -> None:
    for mode in ("none", "once", "new_episodes", "all"):
        with cassette(place, mode=mode):
            pass
    assert not place.parent.exists()


def test_in_ci_nothing_is_recorded_unless_asked_for(
    place: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    with cassette(place) as playing, pytest.raises(CallNotRecorded):
        asked.ask("a")
    assert playing.mode == "none"
    monkeypatch.setenv("EVENTCORE_RECORD", "once")
    with cassette(place) as playing:
        assert asked.ask("a") == "a 1" and playing.mode == "once"


def test_the_clock_is_played_back_and_never_missing(place: Path) -> None:
    with cassette(place):
        first = ec.now(), ec.uuid()
    with cassette(place, mode="none"):
        assert (ec.now(), ec.uuid()) == first
        assert ec.now() > first[0] and ec.uuid() != first[1]


def test_a_missing_call_ends_a_training_and_is_not_scored_as_a_failure(place: Path) -> None:
    model = FakeLanguageModel(name="scripted")
    x = ec.Input(data_model=Text)
    y = ec.wait(ec.Generator(data_model=Label, language_model=model, name="labels")(x))
    program = ec.Program(inputs=x, outputs=y, name="labeller")
    program.compile(reward=ec.ExactMatch(), optimizer=ec.optimizers.RandomFewShot())
    with cassette(place):
        ec.wait(program(Text(text="number 0")))
    texts, labels = [Text(text=f"number {n}") for n in range(4)], [Label(label="even")] * 4
    with cassette(place), pytest.raises(CallNotRecorded):
        ec.wait(program.fit(texts, labels, verbose=0))
    assert len(model.calls) == 1


def test_a_model_failure_of_ones_own_effect_is_the_same_class(place: Path) -> None:
    @ec.effect(name="fragile")
    async def fragile() -> str:
        raise ModelFailed("not today", "Tired")

    for _ in range(2):
        with cassette(place), pytest.raises(ModelFailed, match="not today") as caught:
            ec.wait(fragile())
        assert caught.value.kind == "Tired"
