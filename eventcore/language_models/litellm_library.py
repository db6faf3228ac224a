"""litellm, imported when a model is first called and looked up at every call.

Importing it costs seconds and, left to itself, a download of its price list, so nothing else of eventcore
imports it. Its functions are taken from the module at each call, so replacing `litellm.acompletion` works.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings
from collections.abc import AsyncGenerator
from importlib.util import find_spec
from typing import Any, cast
from weakref import WeakKeyDictionary

from eventcore.errors import Unavailable
from eventcore.language_models.response import part


def litellm_module() -> Any:
    """Return litellm, imported and told to keep quiet the first time.

    Raises:
        Unavailable: It is not installed.
    """
    loaded = sys.modules.get("litellm")
    if loaded is not None and hasattr(loaded, "acompletion"):
        return loaded
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else importing it downloads a list
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import litellm
    except ImportError as error:
        raise Unavailable(
            f"cannot call a language model: litellm cannot be imported ({error}). "
            "Run pip install 'eventcore[lm]', or pass LanguageModel(function=…)."
        ) from error
    library = cast("Any", litellm)
    library.telemetry = False
    library.suppress_debug_info = True
    logging.getLogger("LiteLLM").addFilter(_worth_saying)
    return library


async def litellm_here() -> Any:
    """Return litellm for use in this event loop; what it opens here is closed when the loop is.

    Left to itself it keeps the connections of every loop that ever ran, four files each: a script with a few
    hundred `ec.wait` would run out of them.

    Raises:
        Unavailable: It is not installed.
    """
    library = litellm_module()
    loop = asyncio.get_running_loop()
    if loop not in _closers:
        # An event loop closes the asynchronous generators begun in it before it is closed itself.
        _closers[loop] = closer = _closing(library, f"-{id(loop)}")
        await anext(closer)
    return library


_closers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()


async def _closing(library: Any, of_this_loop: str) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        held = part(library, "in_memory_llm_clients_cache", "cache_dict", default={})
        for key in [key for key in held if str(key).endswith(of_this_loop)]:
            await _close(held.pop(key))


async def _close(client: Any) -> None:
    """Close a client of whatever kind: OpenAI's wrap one of httpx, litellm's own have it as `client`."""
    inner = getattr(client, "_client", None) or getattr(client, "client", None) or client
    try:
        await inner.aclose()
    except Exception:  # it is closed, or was never opened, and the loop ends anyway
        logging.getLogger(__name__).debug("could not close %r", client, exc_info=True)


def _worth_saying(record: logging.LogRecord) -> bool:
    """Drop litellm's remark that the event loop changed, which every `ec.wait` would cause."""
    return "event loop changed" not in record.getMessage()


def cost_of(raw: Any) -> float:
    """Price a response of litellm in US dollars; 0.0 for a model whose price is unknown."""
    try:
        cost = litellm_module().completion_cost(completion_response=raw)
    except Exception:
        cost = part(raw, "_hidden_params", "response_cost")
    return float(cost) if isinstance(cost, (int, float)) and cost >= 0 else 0.0


def reasons(model: str) -> bool:
    """Whether litellm knows that a model takes `reasoning_effort`."""
    try:
        return bool(litellm_module().supports_reasoning(model=model))
    except Exception:
        return False


def provider_in_library(model: str) -> str:
    """The provider litellm would send a model's requests to, "" if it knows none."""
    try:
        return str(litellm_module().get_llm_provider(model)[1])
    except Exception:
        return ""


def arguments_for_tools() -> dict[str, Any]:
    """Return what has to be passed beside tools.

    Recent litellm looks for MCP servers among the tools, with a package it does not install; where that is
    missing every call with tools would fail.
    """
    handler = "litellm.responses.mcp.chat_completions_handler"
    return {"_skip_mcp_handler": True} if find_spec("mcp") is None and find_spec(handler) is not None else {}
