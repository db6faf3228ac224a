"""The example with a model: a real client calls a server that plays the model, well-behaved and not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventcore as ec
from eventcore.examples import hints
from eventcore.examples.docstrings import labelled_texts
from eventcore.testing.model_server import ModelServer, Request, garble, hang_up, refuse, say, stall
from tests.structure.source import ROOT

TRUTH = {item.text: item.label for item in labelled_texts()}


def luck(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def play(messages: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """A model that labels better the more hints it is given, and writes hints and instructions when asked to."""
    said = messages[-1]["content"].removeprefix("<input>\n").removesuffix("\n</input>\n<output>")
    question = json.loads(said)
    if "label" in schema["properties"]:
        skill = 0.3 + 0.15 * min(3, len(question["hints"])) + 0.2 * ("Read with care." in str(messages[0]))
        return {"label": TRUTH[question["text"]] if luck(question["text"]) < skill else "text"}
    present = question["current_variable"]
    if "hints" in schema["properties"]:
        return {"thinking": "One more.", "hints": [*present["hints"], f"Hint {len(present['hints']) + 1}."]}
    return {"thinking": "Better.", "instructions": present["instructions"] + " Read with care."}


def over_http(request: Request) -> dict[str, Any]:
    return play(request.body["messages"], request.body["response_format"]["json_schema"]["schema"])


def learned_with(model: Any) -> tuple[hints.Learned, ec.Run]:
    with ec.open("memory:") as store, store.run("hints", seed=7) as run:
        return ec.wait(hints.train(model, verbose=0)), run


def test_hints_and_instructions_are_both_trained_and_help() -> None:
    learned, run = learned_with(play)
    proposed = {event.variable for _, event in run.events(kind="CandidateProposed")}  # type: ignore[attr-defined]
    assert proposed == {variable.number for variable in learned.program.trainable_variables}
    assert len(proposed) == 2
    assert learned.program.get_variable(name="hints_hinted").get("hints")
    assert learned.after > learned.before + 0.2


def test_a_model_that_is_not_named_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("EVENTCORE_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert hints.main() == 2
    assert "EVENTCORE_MODEL=ollama/llama3.2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_candidates_that_read_alike_are_near() -> None:
    one = {"hints": ["Look for numbers."], "examples": []}
    assert hints.apart(one, dict(one)) == pytest.approx(0.0)
    near = hints.apart(one, {"hints": ["Look for large numbers."], "examples": []})
    far = hints.apart(one, {"hints": ["Sockets send bytes."], "examples": []})
    assert 0.0 < near < far <= 1.0


def child(code: str, cwd: Path, server: ModelServer) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "EVENTCORE_MODEL": "openai/gpt-4o-mini",
        "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, env=environment, check=False,
        timeout=300,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.campaign
def test_it_runs_from_the_command_line_on_the_model_that_is_named(tmp_path: Path) -> None:
    with ModelServer(over_http) as server:
        done = child(
            "import sys; from eventcore.examples.hints import main; sys.exit(main())", tmp_path, server
        )
        requests = len(server.requests)
    assert done.returncode == 0, done.stderr
    assert "Hints for openai/gpt-4o-mini" in done.stdout
    assert "epoch 3/3 - 3 steps" in done.stdout and "  - Hint 1." in done.stdout
    assert "12 texts never seen in training: " in done.stdout
    with ec.open(tmp_path / hints.DEFAULT_STORE, read_only=True) as store:
        spent = store["hints"].cost()
        assert not isinstance(spent, dict)
        assert spent.calls == requests and spent.cost > 0


FAILING = """
import sys, warnings
warnings.simplefilter("ignore")
import eventcore as ec
from eventcore.examples import hints
model = ec.LanguageModel("openai/gpt-4o-mini", timeout=2, retry=3, retry_max_wait=0.2)
with ec.open("hints.lmdb") as store, store.run("hints", seed=7) as run:
    learned = ec.wait(hints.train(model, epochs=1, verbose=0))
    print(learned.before, learned.after)
"""


@pytest.mark.campaign
def test_a_server_that_fails_in_every_way_does_not_end_the_training(tmp_path: Path) -> None:
    wrong = say("I'd rather not answer in JSON.")
    troubles = [
        refuse(429, retry_after=0.1),
        refuse(500),
        stall(30),
        garble(),
        hang_up(),
        wrong,
        say({"x": 1}),
    ]
    with ModelServer(over_http) as server:
        server.script(*troubles)
        done = child(FAILING, tmp_path, server)
        requests = len(server.requests)
    assert done.returncode == 0, done.stderr
    before, after = (float(word) for word in done.stdout.split())
    assert after >= before
    with ec.open(tmp_path / "hints.lmdb", read_only=True) as store:
        run = store["hints"]
        completed: list[Any] = [event for _, event in run.events(kind="EffectCompleted")]
        assert list(run.events(kind="EffectFailed")) == []
        assert requests == len(completed) + len(troubles)
        assert sum(event.attempts for event in completed) >= requests
        assert run.state.variables["omega/iterations_omega"]["epochs"] == 1
