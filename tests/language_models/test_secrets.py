"""Keys are nowhere: not in events, not in the bytes of a store, not in what is saved, not in warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import eventcore as ec
from eventcore.language_models import EmbeddingModel, Generator, LanguageModel
from eventcore.language_models.credentials import known_secrets, scrubbed, without_secrets
from eventcore.testing.model_server import ModelServer, Request, refuse, say
from tests.language_models.samples import QUIET, Label, Text, over_http

pytestmark = QUIET

KEY = "a-key-that-looks-like-nothing-in-particular"
FROM_ENVIRONMENT = "another-key-kept-in-the-environment"
IN_HEADER = "the-token-of-a-gateway-in-front"
PASSWORD = "correct-horse-battery"
ALL = (KEY, FROM_ENVIRONMENT, IN_HEADER, PASSWORD)

Wait = Callable[[Any], Any]


def everything_in(run: ec.Run, *folders: Path) -> bytes:
    """The events as they are decoded, and every byte of every file."""
    events = b"\n".join(msgspec.json.encode(event) for _, event in run.events())
    files = [path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"\n".join([events, *files])


def test_no_key_is_found_in_any_byte_that_is_kept(
    tmp_path: Path, server: ModelServer, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_GATEWAY_API_KEY", FROM_ENVIRONMENT)

    def answer(request: Request) -> Any:
        if "refuse" in str(request.body):
            return refuse(401, message=f"wrong key: {request.headers['authorization']} {FROM_ENVIRONMENT}")
        return say({"label": f"you sent {request.headers['authorization']} and {IN_HEADER}"})

    server.answer = answer
    store = ec.open(str(tmp_path / "runs.lmdb"))
    arguments: dict[str, Any] = {
        "api_key": KEY,
        "extra_headers": {"Authorization-Token": "x", "X-Auth-Token": IN_HEADER},
        "cache_dir": tmp_path / "answers",
    }
    with store.run("kept") as run, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = over_http(server, **arguments)
        x = ec.Input(data_model=Text)
        program = ec.Program(
            inputs=x, outputs=wait(Generator(data_model=Label, language_model=model, name="kind")(x))
        )
        answered = wait(program(Text(text="hello"), training=True))
        assert wait(program(Text(text="refuse"))) is None
        wait(model(f"my key is {KEY}, and sk-0123456789abcdefghij is yours"))
        embedding = EmbeddingModel(
            model="openai/text-embedding-3-small", api_base=server.url, api_key=KEY, retry=0
        )
        assert wait(embedding("refuse")) is None
        program.save(tmp_path / "saved.json")
        run.flush()
        kept = everything_in(run, tmp_path)
    store.close()
    assert KEY in str([request.headers for request in server.requests]), "the server did get it"
    for secret in (*ALL, "sk-0123456789abcdefghij"):
        assert secret.encode() not in kept, secret
        assert secret not in str([str(warning.message) for warning in caught]), secret
        assert secret not in str(answered.get_json()), secret
    assert b"[redacted]" in kept


def test_a_password_in_an_address_is_not_kept(tmp_path: Path, server: ModelServer, wait: Wait) -> None:
    address = server.url.replace("://", f"://somebody:{PASSWORD}@")
    store = ec.open(str(tmp_path / "runs.lmdb"))
    server.answer = lambda request: refuse(400, message=f"no such user: somebody:{PASSWORD}")
    with store.run("kept") as run, warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        model = LanguageModel("openai/gpt-4o-mini", api_base=address, api_key="none", retry=0)
        x = ec.Input(data_model=Text)
        program = ec.Program(
            inputs=x, outputs=wait(Generator(data_model=Label, language_model=model, name="kind")(x))
        )
        wait(program(Text(text="hello")))
        program.save(tmp_path / "saved.json")
        run.flush()
        assert PASSWORD.encode() not in everything_in(run, tmp_path)
    store.close()


def test_short_values_under_a_secret_name_are_no_secrets() -> None:
    assert "none" not in known_secrets({"api_key": "none"})
    assert "long-enough-a-key" in known_secrets({"extra": [{"api_key": "long-enough-a-key"}]})


def test_headers_in_pairs_are_treated_like_those_in_a_dict() -> None:
    pairs = [("X-Auth-Token", IN_HEADER), ["Authorization", f"Bearer {KEY}"], ("Accept", "text/plain")]
    assert {IN_HEADER, KEY} <= set(known_secrets({"extra_headers": pairs}))
    assert without_secrets({"extra_headers": pairs}) == {"extra_headers": [["Accept", "text/plain"]]}


def test_what_is_no_secret_is_left_alone() -> None:
    value = {"model": "x", "max_tokens": 3, "nested": [{"api_key": "a", "b": "c"}], "url": "http://u:p@h/x"}
    assert without_secrets(value) == {
        "model": "x",
        "max_tokens": 3,
        "nested": [{"b": "c"}],
        "url": "http://h/x",
    }
    assert scrubbed({"a": ["x", 1, None, "has abcdefgh in it"]}, ("abcdefgh",)) == {
        "a": ["x", 1, None, "has [redacted] in it"]
    }
