"""litellm, imported when a model is first called and looked up at every call.

Importing it costs seconds and, left to itself, a download of its price list, so nothing else of eventcore
imports it. Its functions are taken from the module at each call, so replacing `litellm.acompletion` works.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from importlib.util import find_spec
from typing import Any, cast

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
