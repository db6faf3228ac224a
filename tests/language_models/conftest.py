"""One model server and one event loop for all tests here, and a fresh run in memory for each.

litellm takes seconds to import and keeps its HTTP clients per event loop, so both are shared.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import eventcore as ec
from eventcore.language_models import set_default_embedding_model, set_default_language_model
from eventcore.testing.model_server import ModelServer

Wait = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(autouse=True)
def run() -> Iterator[ec.Run]:
    ec.clear_session(free_memory=False)
    store = ec.open("memory:")
    with store.run("test") as run:
        yield run
    store.close()
    set_default_language_model(None)
    set_default_embedding_model(None)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(shared_server: ModelServer) -> Iterator[ModelServer]:
    shared_server.reset()
    yield shared_server
    shared_server.reset()


@pytest.fixture(scope="session")
def shared_loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def wait(shared_loop: asyncio.Runner) -> Wait:
    """Run a coroutine in the shared event loop, in the context of the test."""
    return lambda coroutine: shared_loop.run(coroutine, context=contextvars.copy_context())
