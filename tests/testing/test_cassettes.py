"""Cassettes: a call is made once, recorded in a file, and answered from it; what is missing is said."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import CallNotRecorded, CorruptLog, InvalidValue, ModelFailed, NotFound, StorageError
from eventcore.history.events import EffectFailed, EffectReused, EffectStarted
from eventcore.replay.effects import Outcome, perform
from eventcore.testing import FakeLanguageModel, cassette
from eventcore.testing.model_server import ModelServer, Request, refuse, say
from tests.language_models.samples import QUIET

pytestmark = [*QUIET, pytest.mark.usefixtures("eventcore_run")]


class Text(ec.DataModel):
    text: str


class Label(ec.DataModel):
    label: str


class Asked:
    """An effect that counts how often it was really carried out."""

    def __init__(self) -> None:
        self.calls: list[str] = []

        @ec.effect(name="ask")
        def ask(question: str) -> str:
            self.calls.append(question)
            if question.startswith("bad"):
                raise LookupError(f"nothing about {question}")
            return f"{question} {len(self.calls)}"

        self.ask = ask


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("EVENTCORE_RECORD", raising=False)
    return tmp_path / "cassettes" / "it.sqlite"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def over_http(url: str, **arguments: Any) -> ec.LanguageModel:
    settings: dict[str, Any] = {"api_key": "a-key-of-this-test", "retry": 0, **arguments}
    return ec.LanguageModel(model="openai/gpt-4o-mini", api_base=url, **settings)


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


# --- the file -------------------------------------------------------------------------------------


def test_a_cassette_is_a_run_that_the_command_line_reads_and_that_has_no_side_files(
    place: Path, asked: Asked
) -> None:
    with cassette(place):
        asked.ask("a")
    for command in (["log"], ["show"], ["verify"]):
        done = subprocess.run(
            [sys.executable, "-m", "eventcore", *command, f"sqlite:{place}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if command == ["log"]:
            assert 'ask  {"question":"a"}' in done.stdout and '"a 1"' in done.stdout
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert place.stat().st_size < 20_000


def test_any_run_of_any_store_can_be_played(tmp_path: Path, place: Path, asked: Asked) -> None:
    for url in (f"lmdb:{tmp_path / 'runs.lmdb'}", f"sqlite:{tmp_path / 'runs.sqlite'}"):
        with ec.open(url) as store:
            for name in ("one", "two"):
                with store.run(name):
                    asked.ask(name)
        count = len(asked.calls)
        with cassette(url, mode="none", run="two"):
            assert asked.ask("two").startswith("two")
        assert len(asked.calls) == count
        with pytest.raises(NotFound, match="one, two; pass run="), cassette(url, mode="none"):
            pass


def test_nothing_of_the_machine_is_in_the_file(place: Path, asked: Asked, tmp_path: Path) -> None:
    with cassette(place):
        asked.ask("a")
    kept = place.read_bytes()
    for text in (str(tmp_path), __file__, os.getcwd(), sys.argv[0], "test_cassettes"):
        assert text.encode() not in kept


def test_no_key_is_in_any_byte_of_the_file(
    place: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("a-key-that-looks-like-nothing", "one-kept-in-the-environment", "a-token-in-a-header")
    monkeypatch.setenv("SOME_GATEWAY_API_KEY", keys[1])

    def answer(request: Request) -> Any:
        if "refuse" in str(request.body):
            return refuse(401, message=f"wrong key: {request.headers['authorization']} {keys[1]}")
        return say(f"you sent {request.headers['authorization']} and {request.headers['x-auth-token']}")

    server.answer = answer
    model = over_http(server.url, api_key=keys[0], extra_headers={"X-Auth-Token": keys[2]})
    with cassette(place) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ec.wait(model(f"hello {keys[1]}"))
        ec.wait(model("refuse me"))
    assert made.recorded == 2
    seen = str([(request.headers, request.body) for request in server.requests])
    assert keys[0] in seen and keys[2] in seen
    with ec.open(f"sqlite:{place}", read_only=True) as store:
        events = repr([record.event for record in store["cassette"].events()])
    assert "[redacted]" in events
    for key in keys:
        assert key not in events and key.encode() not in place.read_bytes()


def test_a_block_left_by_an_error_keeps_what_was_paid_for(place: Path, asked: Asked) -> None:
    with pytest.raises(AssertionError, match="my test"), cassette(place):
        asked.ask("a")
        raise AssertionError("my test")
    with cassette(place, mode="none"):
        assert asked.ask("a") == "a 1"


def test_a_disk_that_refuses_leaves_the_file_as_it_was_and_shows_the_first_error(
    place: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cassette(place):
        asked.ask("a")
    before = place.read_bytes()

    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", refused)
    with pytest.raises(StorageError, match="cannot record in"), cassette(place, mode="new_episodes"):
        asked.ask("b")
    with pytest.raises(ValueError, match="mine") as caught, cassette(place, mode="new_episodes"):
        asked.ask("b")
        raise ValueError("mine")
    assert "cannot record in" in caught.value.__notes__[0]
    assert place.read_bytes() == before and [path.name for path in place.parent.iterdir()] == [place.name]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nonce", "", "ONCE", 1, True])
def test_a_mode_that_is_none_is_refused_with_those_there_are(place: Path, mode: Any) -> None:
    with pytest.raises(InvalidValue, match="none, once, new_episodes, all"):
        cassette(place, mode=mode)


def test_a_mode_misspelled_in_the_environment_says_where(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCORE_RECORD", "rewrite")
    with pytest.raises(InvalidValue, match=r"'rewrite' in \$EVENTCORE_RECORD"):
        cassette(place)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"interactions:\n- request: {}\n", CorruptLog),
        (b"", CorruptLog),
        (b"SQLite format 3\0cut", StorageError),
    ],
)
def test_a_file_that_is_no_cassette_is_refused_and_left_alone(
    place: Path, content: bytes, error: type[Exception]
) -> None:
    place.parent.mkdir()
    place.write_bytes(content)
    for mode in ("none", "once", "new_episodes"):
        with pytest.raises(error, match=r"it\.sqlite"), cassette(place, mode=mode):
            pass
    assert place.read_bytes() == content


def test_a_database_of_another_program_is_refused(place: Path) -> None:
    place.parent.mkdir()
    connection = sqlite3.connect(place)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(StorageError, match="another program"), cassette(place):
        pass


def test_a_cassette_of_another_test_says_that_none_of_its_calls_is_asked(place: Path, asked: Asked) -> None:
    @ec.effect(name="another")
    def another(x: int) -> int:
        return x

    with cassette(place):
        another(1)
    with (
        cassette(place),
        pytest.raises(CallNotRecorded, match="none of its 1 calls has this request") as caught,
    ):
        asked.ask("a")
    assert "nearest" not in str(caught.value)


def test_two_cassettes_at_once_are_refused_and_the_first_goes_on(
    place: Path, tmp_path: Path, asked: Asked
) -> None:
    with cassette(place) as outer:
        with pytest.raises(InvalidValue, match="inside another"), cassette(tmp_path / "other.sqlite"):
            pass
        asked.ask("a")
    assert outer.recorded == 1
    with cassette(tmp_path / "other.sqlite"):
        asked.ask("a")
    assert len(asked.calls) == 2


def test_a_cassette_that_could_not_be_opened_leaves_none_in_use(place: Path, asked: Asked) -> None:
    place.parent.mkdir()
    place.write_bytes(b"no store")
    with pytest.raises(StorageError), cassette(place):
        pass
    assert asked.ask("a") == "a 1"


@pytest.mark.parametrize("name", ["it.yaml", "folder/it", "memory:"])
def test_a_place_that_cannot_be_recorded_in_is_refused(tmp_path: Path, name: str) -> None:
    wanted = name if name == "memory:" else str(tmp_path / name)
    with pytest.raises(InvalidValue, match=r"\.sqlite or \.db"):
        cassette(wanted, mode="all")


def test_a_folder_that_cannot_be_written_is_said_before_the_call_is_made(
    tmp_path: Path, asked: Asked
) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        cassette(tmp_path / "file" / "it.sqlite", mode="once"),
        pytest.raises(StorageError, match="cannot record in"),
    ):
        asked.ask("a")
    assert asked.calls == []


def test_a_cassette_in_a_folder_nobody_may_write_to_is_played(asked: Asked) -> None:
    code = (
        "import os, sys\n"
        "import eventcore as ec, eventcore.backends.sqlite\n"
        "from eventcore.testing import cassette\n"
        "@ec.effect(name='ask')\n"
        "def ask(question: str) -> str:\n"
        "    raise SystemExit('asked')\n"
        "playing = cassette(sys.argv[1], mode='none')\n"
        "if os.getuid() == 0:\n"
        "    os.setgid(65534); os.setuid(65534)\n"
        "assert not os.access(os.path.dirname(sys.argv[1]), os.W_OK)\n"
        "with playing:\n"
        "    print(ask('a'))\n"
    )
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))  # pytest's own are closed to other users
    try:
        with cassette(folder / "it.sqlite", mode="all"):
            asked.ask("a")
        folder.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder / "it.sqlite")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "a 1\n", done.stderr
        assert [path.name for path in folder.iterdir()] == ["it.sqlite"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_model_failure_of_ones_own_effect_is_the_same_class(place: Path) -> None:
    @ec.effect(name="fragile")
    async def fragile() -> str:
        raise ModelFailed("not today", "Tired")

    for _ in range(2):
        with cassette(place), pytest.raises(ModelFailed, match="not today") as caught:
            ec.wait(fragile())
        assert caught.value.kind == "Tired"
