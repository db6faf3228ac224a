"""An OpenAI-compatible model server on 127.0.0.1, for tests that call models through real HTTP.

It answers `/v1/chat/completions` and `/v1/embeddings` with what the test scripted, or else with something
that fits the request, and it can fail in the ways real servers do: late, refusing, with a wrong status, with
broken JSON, by hanging up. It keeps every request with the server's own time of arrival. No model is involved.

    with ModelServer() as server:
        server.script(refuse(429, retry_after=1), say('{"label": "question"}'))
        model = LanguageModel("openai/gpt-4o-mini", api_base=server.url, api_key="anything")
        ...
        assert len(server.requests) == 2
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from eventcore.modules.placeholders import placeholder

JsonDict = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the server does with one request.

    Attributes:
        content: Text of the answer, None for what fits the request.
        tool_calls: Name and arguments of tools it wishes to have called.
        status: HTTP status; other than 200 it is an error.
        message: Text of the error.
        headers: Further headers.
        raw: Body to send as it is, in place of all of the above.
        delay: Seconds to wait before answering.
        drop: Hang up without an answer.
        finish: Why the answer ended: "stop", "length", ...
        input_tokens: Tokens to report for the request.
        output_tokens: Tokens to report for the answer.
    """

    content: str | None = None
    tool_calls: tuple[tuple[str, JsonDict], ...] = ()
    status: int = 200
    message: str = "the server was told to refuse this"
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    delay: float = 0.0
    drop: bool = False
    finish: str = "stop"
    input_tokens: int = 11
    output_tokens: int = 7


def say(content: str | JsonDict, **fields: Any) -> Reply:
    """Answer with a text, or with JSON."""
    return Reply(content=content if isinstance(content, str) else json.dumps(content), **fields)


def refuse(status: int, *, retry_after: float | str | None = None, **fields: Any) -> Reply:
    """Answer with an error status, with `Retry-After` (seconds, or the text of a date) if one is given."""
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Reply(status=status, headers=headers, **fields)


def stall(seconds: float = 3600.0) -> Reply:
    """Answer nothing for a long time; closing the server ends the wait."""
    return Reply(delay=seconds)


def hang_up() -> Reply:
    """Close the connection in place of an answer."""
    return Reply(drop=True)


def garble(body: bytes = b'{"choices": [{"mess') -> Reply:
    """Answer with a body that is no JSON."""
    return Reply(raw=body)


@dataclass(frozen=True)
class Request:
    """One request that arrived.

    Attributes:
        path: Path it was sent to.
        headers: Its headers, names in lower case.
        body: Its JSON.
        time: When it arrived, in seconds of the server's monotonic clock.
    """

    path: str
    headers: JsonDict
    body: JsonDict
    time: float = field(compare=False)


Answer = Callable[[Request], Reply | str | JsonDict | None]


class ModelServer:
    """The server; a context manager, listening from `start` (or `with`) to `close`.

    Args:
        answer: Called in a thread of its own with each request that no script covers; returns a `Reply`, a
            text, JSON, or None for something that fits the request: the last message again, the smallest value
            of the schema asked for.

    Attributes:
        requests: What arrived, in order of arrival.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._script: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: _Listener | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> ModelServer:
        """Begin to listen on a free port."""
        self._server = _Listener(self)
        # A short poll: `shutdown` waits for the next one, and tests close many servers.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening; requests that are stalled are dropped."""
        self._closing.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address to pass as `api_base`."""
        assert self._server is not None, "start the server first"
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def script(self, *replies: Reply | str | JsonDict) -> None:
        """Answer the next requests with these, in order of arrival."""
        with self._lock:
            self._script.extend(_as_reply(reply) for reply in replies)

    def reset(self) -> None:
        """Forget requests and script."""
        with self._lock:
            self._script.clear()
            self.requests.clear()
            self.answer = None

    def waits(self) -> list[float]:
        """Seconds between each request and the one before, by the server's clock."""
        times = [request.time for request in self.requests]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    def take(self, request: Request) -> Reply:
        """Keep a request and decide what it is answered; the handler calls this."""
        with self._lock:
            self.requests.append(request)
            scripted = self._script.popleft() if self._script else None
            answer = self.answer
        if scripted is not None:
            return scripted
        made = answer(request) if answer is not None else None
        return Reply() if made is None else _as_reply(made)

    def pause(self, seconds: float) -> bool:
        """Wait; False if the server is closed meanwhile."""
        return not self._closing.wait(seconds)


def _as_reply(reply: Reply | str | JsonDict) -> Reply:
    return reply if isinstance(reply, Reply) else say(reply)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, owner: ModelServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up early are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        """Answer one request."""
        owner = cast("_Listener", self.server).owner
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or b"{}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, body, time.monotonic())
        reply = owner.take(request)
        if reply.drop or (reply.delay and not owner.pause(reply.delay)):
            self.close_connection = True
            return
        status, sent = _body(request, reply)
        self._send(status, sent, reply.headers, streamed=bool(body.get("stream")) and status == 200)

    def _send(self, status: int, body: bytes, headers: Iterable[tuple[str, str]], *, streamed: bool) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _body(request: Request, reply: Reply) -> tuple[int, bytes]:
    if reply.raw is not None:
        return reply.status, reply.raw
    if reply.status != 200:
        return reply.status, _dump({"error": {"message": reply.message, "type": "scripted", "code": None}})
    if request.path.endswith("/embeddings"):
        return 200, _dump(_embeddings(request.body, reply))
    if not request.path.endswith("/chat/completions"):
        return 404, _dump({"error": {"message": f"no such path: {request.path}"}})
    completion = _completion(request.body, reply)
    return 200, _stream(completion) if request.body.get("stream") else _dump(completion)


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _usage(reply: Reply) -> JsonDict:
    total = reply.input_tokens + reply.output_tokens
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": total,
    }


def _completion(body: JsonDict, reply: Reply) -> JsonDict:
    message: JsonDict = {"role": "assistant", "content": reply.content}
    calls = reply.tool_calls or _fitting_calls(body, reply)
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{place}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for place, (name, arguments) in enumerate(calls)
        ]
    elif reply.content is None:
        message["content"] = _fitting_text(body)
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", ""),
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else reply.finish}
        ],
        "service_tier": "default",
        "usage": _usage(reply),
    }


def _fitting_calls(body: JsonDict, reply: Reply) -> tuple[tuple[str, JsonDict], ...]:
    """The call of the tool a request insists on; a scripted text is taken for its arguments."""
    wanted = body.get("tool_choice")
    if not isinstance(wanted, dict):
        return ()
    name = wanted["function"]["name"]
    tool = next(tool["function"] for tool in body["tools"] if tool["function"]["name"] == name)
    arguments = json.loads(reply.content) if reply.content is not None else placeholder(tool["parameters"])
    return ((name, arguments),)


def _fitting_text(body: JsonDict) -> str:
    form = body.get("response_format") or {}
    schema = form.get("json_schema", {}).get("schema")
    if schema is not None:
        return json.dumps(placeholder(schema))
    content = body.get("messages", [{}])[-1].get("content")
    return content if isinstance(content, str) else json.dumps(content)


def _stream(completion: JsonDict) -> bytes:
    """A completion in pieces of a few letters, as server-sent events."""
    head = {
        "id": completion["id"],
        "object": "chat.completion.chunk",
        "created": 0,
        "model": completion["model"],
    }
    text: str = completion["choices"][0]["message"]["content"] or ""
    deltas: list[JsonDict] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[start : start + 4]} for start in range(0, len(text), 4)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": completion["choices"][0]["finish_reason"]})
    chunks: list[JsonDict] = [{**head, "choices": [choice]} for choice in choices]
    chunks.append({**head, "choices": [], "usage": completion["usage"]})
    return b"".join(b"data: " + _dump(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _embeddings(body: JsonDict, reply: Reply) -> JsonDict:
    given = body.get("input", [])
    texts = [given] if isinstance(given, str) else given
    size = body.get("dimensions") or 8
    data = [
        {"object": "embedding", "index": place, "embedding": vector_of(str(text), size)}
        for place, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": reply.input_tokens, "total_tokens": reply.input_tokens}
    return {"object": "list", "model": body.get("model", ""), "data": data, "usage": usage}


def vector_of(text: str, size: int = 8) -> list[float]:
    """The vector the server gives to a text: of length 1, and always the same."""
    digest = hashlib.shake_256(text.encode()).digest(size)
    numbers = [byte / 127.5 - 1 for byte in digest]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]
