"""A language model through litellm's real client and real HTTP, with everything a server can do wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.history import events as e
from eventcore.language_models import EmbeddingModel, Generator, LanguageModel
from eventcore.testing.model_server import (
    ModelServer,
    Reply,
    Request,
    garble,
    hang_up,
    refuse,
    say,
    stall,
    vector_of,
)
from tests.language_models.samples import QUIET, Label, Text, effects, kinds, one_warning, over_http

pytestmark = QUIET

Wait = Callable[[Any], Any]


# --- answers ------------------------------------------------------------------------------------


def test_a_text_is_answered_by_a_chat_message(server: ModelServer, wait: Wait, run: ec.Run) -> None:
    server.script("hello yourself")
    answer = wait(over_http(server)("hello"))
    assert (answer.get("role"), answer.get("content")) == ("assistant", "hello yourself")
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body["messages"] == [{"role": "user", "content": "hello"}]
    started, completed = effects(run)
    assert started.kind == "language_model"
    assert started.request == {
        "model": "openai/gpt-4o-mini",
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert (completed.input_tokens, completed.output_tokens, completed.attempts) == (11, 7, 1)
    assert completed.cost == pytest.approx(11 * 0.15e-6 + 7 * 0.6e-6)
    assert completed.latency > 0


def test_a_schema_goes_out_in_strict_form_and_the_answer_is_held_against_the_original(
    server: ModelServer, wait: Wait
) -> None:
    server.script({"label": "question", "sure": None, "note": None})
    answer = wait(over_http(server)("is it?", schema=Label))
    assert answer.get_json() == {"label": "question", "sure": True, "note": None}
    sent = server.requests[0].body["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["name"] == "Label"
    assert sent["description"] == "What kind of text it is."
    schema = sent["schema"]
    assert schema["required"] == ["label", "sure", "note"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["label"] == {"description": "The kind.", "title": "Label", "type": "string"}
    assert schema["properties"]["sure"] == {
        "anyOf": [{"type": "boolean"}, {"type": "null"}],
        "title": "Sure",
    }


def test_a_provider_without_json_schemas_is_asked_for_a_tool_call(server: ModelServer, wait: Wait) -> None:
    server.script({"label": "question"})
    model = LanguageModel("groq/llama-3.3-70b-versatile", api_base=server.url, api_key="none")
    answer = wait(model("is it?", schema=Label))
    assert answer.get("label") == "question"
    body = server.requests[0].body
    assert body["tool_choice"] == {"type": "function", "function": {"name": "Label"}}
    assert body["tools"][0]["function"]["parameters"] == Label.get_schema()


def test_an_unknown_provider_is_refused_when_json_is_wanted(wait: Wait, server: ModelServer) -> None:
    model = LanguageModel("nobody/knows", api_base=server.url)
    with pytest.raises(ec.errors.InvalidValue, match=r"provider 'nobody' is not known.*FORMS"):
        wait(model("x", schema=Label))
    assert server.requests == []


def test_tools_are_offered_and_their_calls_come_back(server: ModelServer, wait: Wait) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    server.script(Reply(tool_calls=(("add", {"a": 1}),)))
    answer = wait(over_http(server)("1+?", tools=[tool]))
    assert answer.get("tool_calls") == [{"id": "call_0", "name": "add", "arguments": {"a": 1}}]
    assert server.requests[0].body["tools"] == [tool]
    server.script("2")
    conversation = [
        {"role": "user", "content": "1+?"},
        answer.get_json(),
        {"role": "tool", "tool_call_id": "call_0", "content": "2"},
    ]
    assert wait(over_http(server)(conversation)).get("content") == "2"
    sent = server.requests[1].body["messages"][1]["tool_calls"][0]
    assert sent == {"id": "call_0", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}


def test_a_streamed_answer_is_the_same_answer(server: ModelServer, wait: Wait, run: ec.Run) -> None:
    server.script("a rather long answer in pieces")
    answer = wait(over_http(server)("go on", streaming=True))
    assert answer.get("content") == "a rather long answer in pieces"
    assert server.requests[0].body["stream"] is True
    assert effects(run)[1].output_tokens == 7


def test_arguments_of_the_model_and_of_the_call_are_sent(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    wait(over_http(server, temperature=0.5, top_p=0.9)("x", temperature=0.1, max_tokens=5))
    body = server.requests[0].body
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.1, 0.9, 5)
    assert {"temperature": 0.1, "top_p": 0.9, "max_tokens": 5}.items() <= effects(run)[0].request.items()


def test_a_reasoning_effort_is_sent_only_to_models_that_reason(server: ModelServer, wait: Wait) -> None:
    wait(over_http(server)("x", reasoning_effort="low"))
    wait(LanguageModel("openai/gpt-5-mini", api_base=server.url, api_key="none")("x", reasoning_effort="low"))
    assert [request.body.get("reasoning_effort") for request in server.requests] == [None, "low"]


def test_litellm_can_be_replaced_by_whoever_patches_it(
    monkeypatch: pytest.MonkeyPatch, server: ModelServer, wait: Wait
) -> None:
    import litellm

    seen: list[dict[str, Any]] = []

    async def acompletion(model: str, messages: list[Any], **kwargs: Any) -> Any:
        seen.append({"model": model, "messages": messages, **kwargs})
        return {"choices": [{"message": {"content": "patched"}}], "usage": {"prompt_tokens": 3}}

    monkeypatch.setattr(litellm, "acompletion", acompletion)
    assert wait(over_http(server)("x")).get("content") == "patched"
    assert seen[0]["model"] == "openai/gpt-4o-mini"
    assert seen[0]["timeout"] == 600
    assert server.requests == []


# --- trouble ------------------------------------------------------------------------------------


def test_a_server_that_asks_for_patience_in_seconds_is_given_it(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    server.script(refuse(429, retry_after=0.4), "at last")
    assert wait(over_http(server, retry_max_wait=5)("x")).get("content") == "at last"
    (waited,) = server.waits()
    assert 0.4 <= waited < 1.5
    assert effects(run)[1].attempts == 2
    assert kinds(run) == ["Started", "Completed"]


@pytest.mark.slow
def test_a_server_that_asks_for_patience_until_a_date_is_given_it(server: ModelServer, wait: Wait) -> None:
    def answer(request: Request) -> Reply | str:
        if len(server.requests) > 1:
            return "at last"
        until = datetime.now(UTC) + timedelta(seconds=2)  # whole seconds are kept: 1 to 2 from now
        return refuse(429, retry_after=format_datetime(until, usegmt=True))

    server.answer = answer
    assert wait(over_http(server, retry_max_wait=5)("x")).get("content") == "at last"
    (waited,) = server.waits()
    assert 0.5 <= waited < 4


def test_no_wait_is_longer_than_the_longest_allowed(server: ModelServer, wait: Wait) -> None:
    server.script(refuse(429, retry_after=3600), "at last")
    assert wait(over_http(server, retry_max_wait=0.1)("x")).get("content") == "at last"
    assert 0.1 <= server.waits()[0] < 1


@pytest.mark.parametrize(
    "trouble",
    [refuse(500), refuse(503), refuse(408), hang_up(), garble(), garble(b"[]"), garble(b"{}")],
    ids=["500", "503", "408", "dropped", "malformed", "a list", "no choices"],
)
def test_trouble_on_the_way_is_tried_again(
    trouble: Reply, server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    server.script(trouble, "at last")
    assert wait(over_http(server)("x")).get("content") == "at last"
    assert len(server.requests) == 2
    assert effects(run)[1].attempts == 2


@pytest.mark.parametrize(
    "unusable", ["no JSON at all", '{"label": 3}', '{"label": "x", "more": 1}', '{"label": ', "[1]"]
)
def test_an_answer_that_breaks_the_schema_is_asked_for_again(
    unusable: str, server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    server.script(unusable, {"label": "question"})
    assert wait(over_http(server, retry_max_wait=60)("x", schema=Label)).get("label") == "question"
    completed = effects(run)[1]
    assert completed.attempts == 2
    assert (completed.input_tokens, completed.output_tokens) == (22, 14), "both answers were paid"
    assert server.waits()[0] < 0.45, "nothing to wait for"


@pytest.mark.parametrize(
    "text",
    ['```json\n{"label": "x"}\n```', 'Sure! {"label": "x"} is it.', '<think>{</think>\n\n{"label": "x"}'],
)
def test_json_in_other_words_is_found_or_asked_for_again(text: str, server: ModelServer, wait: Wait) -> None:
    server.script(text, {"label": "x"})
    assert wait(over_http(server)("x", schema=Label)).get("label") == "x"


def test_an_answer_cut_off_is_not_asked_for_again(server: ModelServer, wait: Wait, run: ec.Run) -> None:
    server.script(say('{"label": "a very lo', finish="length"))
    with one_warning("raise max_tokens"):
        assert wait(over_http(server)("x", schema=Label)) is None
    assert len(server.requests) == 1
    assert effects(run)[1].error == "CutOff"


def test_a_server_that_never_answers_is_given_up(server: ModelServer, wait: Wait, run: ec.Run) -> None:
    server.script(stall(), stall())
    began = time.monotonic()
    with one_warning("after 2 attempts"):
        assert wait(over_http(server, timeout=0.3, retry=1)("x")) is None
    assert time.monotonic() - began < 4
    assert len(server.requests) == 2
    failed = effects(run)[1]
    assert (failed.error, failed.attempts) == ("Timeout", 2)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "BadRequestError"), (401, "AuthenticationError"), (404, "NotFoundError")],
)
def test_what_no_attempt_can_mend_is_tried_once(
    status: int, error: str, server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    server.answer = lambda request: refuse(status)
    with one_warning(error):
        assert wait(over_http(server)("x")) is None
    assert len(server.requests) == 1
    assert (effects(run)[1].error, effects(run)[1].attempts) == (error, 1)


def test_when_every_attempt_fails_the_result_is_none_and_the_failure_is_in_the_log(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    server.answer = lambda request: refuse(500, message="on fire")
    with one_warning("the result is None"):
        assert wait(over_http(server, retry=2)("x")) is None
    assert len(server.requests) == 3
    started, failed = effects(run)
    assert type(failed).__name__ == "EffectFailed"
    assert failed.attempts == 3
    assert "on fire" in failed.message
    ((seq, intent),) = run.events(kind="EffectStarted")
    assert (seq, intent) == (failed.cause, started)


def test_the_fallback_is_asked_the_same_when_the_model_fails(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    server.answer = lambda request: (
        refuse(500) if request.body["model"] == "gpt-4o-mini" else say({"label": request.body["model"]})
    )
    fallback = LanguageModel("openai/gpt-4o", api_base=server.url, api_key="none")
    model = over_http(server, retry=1, fallback=fallback)
    with one_warning("asking 'openai/gpt-4o'"):
        assert wait(model("x", schema=Label, temperature=0.3)).get("label") == "gpt-4o"
    assert kinds(run) == ["Started", "Failed", "Started", "Completed"]
    assert [request.body["temperature"] for request in server.requests] == [0.3] * 3
    assert effects(run)[3].model == "gpt-4o"


def test_waits_do_not_depend_on_the_process_but_on_the_run(wait: Wait, server: ModelServer) -> None:
    import random

    random.seed(1)
    before = random.getstate()
    server.script(refuse(500), "x")
    wait(over_http(server)("x"))
    assert random.getstate() == before


# --- the log ------------------------------------------------------------------------------------


def test_the_intent_is_durable_when_the_request_arrives_and_the_outcome_when_the_program_goes_on(
    tmp_path: Path, server: ModelServer, wait: Wait
) -> None:
    store = ec.open(str(tmp_path / "runs.lmdb"))
    seen: list[tuple[int, list[str]]] = []
    with store.run("durable") as run:

        def answer(request: Request) -> str:
            seen.append((run.durable, [type(event).__name__ for _, event in run.events(stop=run.durable)]))
            return "yes"

        server.answer = answer
        wait(over_http(server)("x"))
        ((durable, names),) = seen
        assert names[durable - 1] == "EffectStarted"
        assert "EffectCompleted" not in names
        assert run.durable == run.head
        assert type(list(run.events())[-1][1]).__name__ == "EffectCompleted"
    store.close()


def test_concurrent_calls_are_concurrent(server: ModelServer, wait: Wait, run: ec.Run) -> None:
    wait(over_http(server)("warm up"))
    server.answer = lambda request: say("x", delay=0.2)
    model = over_http(server)

    async def many() -> list[Any]:
        return list(await asyncio.gather(*(model(f"question {place}") for place in range(16))))

    began = time.monotonic()
    assert [answer.get("content") for answer in wait(many())] == ["x"] * 16
    assert time.monotonic() - began < 16 * 0.2
    assert kinds(run).count("Completed") == 17


def test_a_request_sent_twice_carries_one_key_and_a_question_asked_again_another(
    tmp_path: Path, server: ModelServer, wait: Wait
) -> None:
    store = ec.open(str(tmp_path / "runs.lmdb"))
    with store.run("keys"):
        server.script(refuse(500), "no JSON", {"label": "x"})
        wait(over_http(server)("x", schema=Label))
        first, again, asked_again = (request.headers["idempotency-key"] for request in server.requests)
        assert first == again != asked_again
        server.script({"label": "x"})
        wait(over_http(server)("x", schema=Label))
        assert server.requests[-1].headers["idempotency-key"] not in (first, asked_again)
    store.close()


def test_the_cost_of_a_generator_is_counted_to_its_variable(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    generator = Generator(data_model=Label, language_model=over_http(server))
    server.script({"label": "question"})
    wait(generator(Text(text="is it?")))
    assert effects(run)[0].variable == generator.state.number


def test_equal_requests_are_answered_from_memory_when_asked_to(
    server: ModelServer, wait: Wait, run: ec.Run, tmp_path: Path
) -> None:
    model = over_http(server, caching=True, cache_dir=tmp_path / "answers")
    server.script({"label": "once"})
    answers = [wait(model("x", schema=Label)).get("label") for _ in range(2)]
    another = over_http(server, cache_dir=tmp_path / "answers")
    answers.append(wait(another("x", schema=Label)).get("label"))
    assert answers == ["once"] * 3
    assert len(server.requests) == 1
    outcomes = [event for event in effects(run) if type(event).__name__ == "EffectCompleted"]
    assert [event.attempts for event in outcomes] == [1, 0, 0]
    assert [event.cost > 0 for event in outcomes] == [True, False, False]


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_event_loops_that_come_and_go_leave_no_connection_open(server: ModelServer) -> None:
    model, embedding = over_http(server), embedding_model(server)

    async def once() -> None:
        assert None not in await asyncio.gather(model("a"), model("b"), embedding("c"))

    ec.wait(once())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        ec.wait(once())
    assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.slow
def test_importing_litellm_asks_nobody_and_tells_nobody() -> None:
    code = (
        "import socket, os\n"
        "def refuse(*_): raise AssertionError('a connection while importing')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from eventcore.language_models.litellm_library import litellm_module\n"
        "library = litellm_module()\n"
        "assert library is litellm_module()\n"
        "print(library.telemetry, os.environ['LITELLM_LOCAL_MODEL_COST_MAP'], len(library.model_cost) > 100)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_a_cancelled_call_is_recorded_as_ended_by_the_program_and_not_answered(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    arrived = threading.Event()

    def answer(request: Request) -> Reply:
        arrived.set()
        return stall()

    server.answer = answer

    async def main() -> None:
        task = asyncio.ensure_future(over_http(server)("x"))
        assert await asyncio.to_thread(arrived.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wait(main())
    assert kinds(run) == ["Started", "Failed"]
    (failed,) = run.events(kind=e.EffectFailed)
    assert isinstance(failed.event, e.EffectFailed)
    assert (failed.event.error, failed.event.cost) == ("CancelledError", 0.0)


# --- embeddings ---------------------------------------------------------------------------------


def embedding_model(server: ModelServer, **arguments: Any) -> EmbeddingModel:
    given: dict[str, Any] = {"api_base": server.url, "api_key": "none", "retry_max_wait": 0.02}
    return EmbeddingModel(model="openai/text-embedding-3-small", **(given | arguments))


def test_texts_are_embedded_in_order(server: ModelServer, wait: Wait, run: ec.Run) -> None:
    answer = wait(embedding_model(server)(["one", "two", "one"]))
    expected = [vector_of("one"), vector_of("two"), vector_of("one")]
    assert answer.get("embeddings") == [pytest.approx(vector) for vector in expected]
    (request,) = server.requests
    assert request.path == "/v1/embeddings"
    assert request.body["input"] == ["one", "two"], "equal texts are sent once"
    started, completed = effects(run)
    assert (started.kind, started.request["texts"]) == ("embedding", ["one", "two", "one"])
    assert completed.input_tokens == 11
    assert completed.cost > 0


def test_texts_that_are_known_are_not_sent_again_but_the_call_is_recorded(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    model = embedding_model(server)
    wait(model(["one", "two"]))
    wait(model(["two", "three"]))
    wait(model(["one"]))
    assert [request.body["input"] for request in server.requests] == [["one", "two"], ["three"]]
    assert kinds(run) == ["Started", "Completed"] * 3
    assert effects(run)[5].cost == 0.0


@pytest.mark.parametrize(
    "trouble",
    [refuse(500), refuse(429, retry_after=0.01), hang_up(), garble()],
    ids=["500", "429", "dropped", "malformed"],
)
def test_embeddings_are_tried_again(trouble: Reply, server: ModelServer, wait: Wait) -> None:
    server.script(trouble)
    assert wait(embedding_model(server)("one")).get("embeddings") == [pytest.approx(vector_of("one"))]
    assert len(server.requests) == 2


def test_embeddings_that_fail_fall_back_and_then_are_none(
    server: ModelServer, wait: Wait, run: ec.Run
) -> None:
    server.answer = lambda request: refuse(400) if "small" in request.body["model"] else None
    large = EmbeddingModel(model="openai/text-embedding-3-large", api_base=server.url, api_key="none")
    with one_warning("asking 'openai/text-embedding-3-large'"):
        assert wait(embedding_model(server, fallback=large)("one")) is not None
    with one_warning("the result is None"):
        assert wait(embedding_model(server)("one")) is None
    assert kinds(run) == ["Started", "Failed", "Started", "Completed", "Started", "Failed"]
