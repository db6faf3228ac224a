"""The README's script for GEPA runs as it stands there, but for the models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from tests.language_models.samples import QUIET
from tests.structure.source import ROOT

pytest.importorskip("gepa", reason="GEPA is not installed: pip install 'eventcore[gepa]'")

pytestmark = QUIET

SCRIPT = re.search(
    r"\n### Optimizers of other libraries\n.*?```python\n(.*?)```",
    (ROOT / "README.md").read_text(),
    re.DOTALL,
)
MODELS = {'"openai/gpt-5-mini"': "task", '"openai/gpt-5"': "reflect"}
EXAMPLES = [{"input": f"question {n}", "answer": f"{n % 4}", "additional_context": {}} for n in range(8)]


def test_the_script_for_gepa_run_again_ends_alike_without_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SCRIPT is not None
    script = SCRIPT[1]
    for name, model in MODELS.items():
        assert script.count(name) == 1
        script = script.replace(name, model)
    monkeypatch.chdir(tmp_path)
    calls: list[str] = []

    def task(messages: Any) -> str:
        calls.append("task")
        return str(len(messages[0]["content"]) % 4)

    def reflect(prompt: Any) -> str:
        calls.append("reflect")
        return f"```\nSay it in {len(calls)} words.\n```"

    def go() -> tuple[Any, str]:
        ec.clear_session()
        known: dict[str, Any] = {
            "task": task, "reflect": reflect, "train": EXAMPLES[:5], "validation": EXAMPLES[5:],
        }  # fmt: skip
        exec(compile(script, "prompts.py", "exec"), known)
        return known["result"].best_candidate, capsys.readouterr().out.splitlines()[-1]

    first = go()
    assert {"task", "reflect"} == set(calls)
    calls.clear()
    assert go() == first == (first[0], str(first[0]))
    assert calls == []
    with ec.open("prompts.lmdb", read_only=True) as store:
        assert len(store["prompts"].cost(by="candidate")) > 1
