"""The classifier learns: from its own answers, on texts every Python has, the same way for the same seed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import eventcore as ec
from eventcore.errors import Unavailable
from eventcore.examples import docstrings, intents
from tests.structure.source import ROOT


def trained(seed: int, epochs: int = 8) -> tuple[intents.Learned, ec.Run]:
    ec.clear_session(free_memory=False)
    with ec.open("memory:") as store, store.run("intents", seed=seed) as run:
        return ec.wait(intents.train(epochs, verbose=0)), run


def test_the_data_set_is_the_same_in_every_python_it_is_made_of() -> None:
    found = docstrings.labelled_texts()
    said = "\n".join(f"{item.label}\t{item.name}\t{item.text}" for item in found)
    assert len(found) == len({item.text for item in found}) == 366
    assert Counter(item.label for item in found) == {
        "text": 80, "numbers": 80, "network": 80, "files": 80, "time": 46,
    }  # fmt: skip
    assert hashlib.sha256(said.encode()).hexdigest()[:16] == "587dc0d9d2291435"


def test_without_docstrings_the_data_set_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "NAMES", {"text": {"textwrap": "wrap no_such_name"}})
    with pytest.raises(Unavailable, match=r"only 1 docstrings .* without -OO"):
        docstrings.labelled_texts()


def test_no_text_is_in_two_parts_of_the_data() -> None:
    texts = [item.text for part in intents.data() for item in part.x]
    assert len(texts) == len(set(texts)) == 366
    assert [len(part.x) for part in intents.data()] == [172, 74, 120]


def test_without_examples_it_goes_by_the_names_of_the_labels() -> None:
    async def label(text: str) -> str:
        program = await intents.build()
        return str((await program(intents.Text(text=text))).get("label"))

    with ec.open("memory:") as store, store.run("names"):
        assert ec.wait(label("Open the files of this folder.")) == "files"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.campaign) for n in (1, 2))])
def test_training_lifts_the_accuracy_on_texts_it_never_saw(seed: int) -> None:
    learned, _ = trained(seed)
    assert learned.before == pytest.approx(0.35)
    assert learned.after - learned.before >= 0.10
    assert max(learned.curve) > learned.curve[0]


def test_the_winners_examples_are_answers_of_the_rollouts_they_are_traced_to() -> None:
    learned, run = trained(3, epochs=1)
    proposal, sources = intents.winner(run, learned.program)
    examples = learned.program.get_variable(name="memory_classifier").get_json()["examples"]
    assert proposal > 0 and len(sources) == len(examples) >= 24
    for source, example in zip(sources, examples, strict=True):
        (found,) = [event for _, event in run.events(source.seq, source.seq)]
        assert found.rollout == source.rollout and source.rollout.startswith("training:0/")
        assert found.record["inputs"] == example["inputs"] == {"text": source.text}  # type: ignore[attr-defined]
        assert found.record["outputs"] == example["outputs"]  # type: ignore[attr-defined]
        assert source.seq < proposal and source.reward in (0.0, 1.0)


@pytest.mark.slow
@pytest.mark.campaign
def test_it_runs_from_the_command_line_the_same_way_every_time(tmp_path: Path) -> None:
    texts: list[str] = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "eventcore.examples.intents"], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        texts.append(done.stdout[done.stdout.index("Right on the validation texts") :])
    assert texts[0] == texts[1]
    assert list(tmp_path.iterdir()) == []
