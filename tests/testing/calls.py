"""What tests of cassettes call: an effect that is counted, and a model behind real HTTP."""

from __future__ import annotations

from typing import Any

import eventcore as ec


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


def over_http(url: str, **arguments: Any) -> ec.LanguageModel:
    settings: dict[str, Any] = {"api_key": "a-key-of-this-test", "retry": 0, **arguments}
    return ec.LanguageModel(model="openai/gpt-4o-mini", api_base=url, **settings)
