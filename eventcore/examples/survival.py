"""A training that is killed, resumed, replayed and forked, with every paid call counted.

    python -m eventcore.examples.survival

The script trains a small classifier with `RandomFewShot`: it tells a message's topic, which is scored, and its tone,
which is not. Its model is a function that takes its time, costs a
tenth of a cent and notes every call in a file, as a provider's bill would. The story starts the script, kills it
with SIGKILL in the middle of the training, starts it again, replays the run without one call, and forks it with
another instruction for one of the two variables: only the calls that read it are paid again.

With `train STORE BILL` it is the script itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import eventcore as ec
from eventcore.examples.personalize import heading
from eventcore.language_models.response import Response

CONCURRENCY = 8
PRICE = 0.001
KILL_AT = 45
"""How many calls are on the bill when the script is killed."""

TOPICS = ("billing", "shipping", "other")


class Message(ec.DataModel):
    """What a customer writes."""

    text: str = ec.Field(description="The message.")


class Topic(ec.DataModel):
    """What it is about."""

    topic: str = ec.Field(description="billing, shipping or other.")


class Tone(ec.DataModel):
    """How it sounds."""

    tone: str = ec.Field(description="calm or angry.")


def messages() -> tuple[list[Message], list[Any]]:
    """Make the examples: messages, and for each its topic and its tone."""
    texts = [f"Message {number}: {TOPICS[number % 3]}{'!' * (number % 2)}" for number in range(24)]
    tones = [Tone(tone="angry" if text.endswith("!") else "calm") for text in texts]
    topics = [Topic(topic=TOPICS[number % 3]) for number in range(24)]
    return [Message(text=text) for text in texts], [list(pair) for pair in zip(topics, tones, strict=True)]


def billed(bill: Path) -> Any:
    """Make a model whose calls are noted in a file."""

    async def model(messages: Any, schema: dict[str, Any]) -> Response:
        digest = hashlib.sha256(repr(messages).encode()).digest()
        with bill.open("a") as file:
            file.write(f"{digest.hex()[:16]}\n")
        await asyncio.sleep(0.005 + digest[0] / 256 * 0.02)
        said = str(messages[-1]["content"])
        skilled = digest[1] < 160
        if "tone" in schema["properties"]:
            answer = {"tone": "angry" if ("!" in said) == skilled else "calm"}
        else:
            right = next((topic for topic in TOPICS if topic in said), "other")
            answer = {"topic": right if skilled else "other"}
        return Response(json=answer, model="example", input_tokens=50, output_tokens=5, cost=PRICE)

    return model


def train(store: str, bill: str) -> None:
    """Train, in a run that is resumed if it is there."""
    run = ec.open(store).run("support", seed=7, resume=True)
    model = ec.LanguageModel(function=billed(Path(bill)))
    x = ec.Input(data_model=Message)
    topic = ec.wait(ec.Generator(data_model=Topic, language_model=model, name="topic")(x))
    tone = ec.wait(ec.Generator(data_model=Tone, language_model=model, name="tone")(x))
    program = ec.Program(inputs=x, outputs=[topic, tone], name="support")
    program.compile(reward=[ec.ExactMatch(), None], optimizer=ec.optimizers.RandomFewShot(nb_max_examples=2))
    ec.wait(
        program.fit(
            *messages(), epochs=2, batch_size=6, validation_split=0.25, max_concurrency=CONCURRENCY, verbose=0
        )
    )
    print(f"trained: seq {run.head}, state {run.state.digest[:16]}, cost so far ${run.cost().cost:.3f}")


def calls(bill: Path) -> int:
    """How many calls are on the bill."""
    return len(bill.read_text().splitlines()) if bill.exists() else 0


def script(*arguments: str | Path) -> list[str]:
    """The command that runs this file as a script."""
    return [sys.executable, __file__, "train", *map(str, arguments)]


def kill_in_the_middle(store: Path, bill: Path) -> None:
    """Start the script and kill it when enough is on the bill."""
    process = subprocess.Popen(script(store, bill))
    while calls(bill) < KILL_AT and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()


def story(folder: Path) -> None:
    """Tell it."""
    bill, untouched = folder / "bill", folder / "bill of a run that was not killed"
    store = folder / "runs.lmdb"

    heading("Without a kill, for comparison")
    subprocess.run(script(folder / "untouched.lmdb", untouched), check=True)
    print(f"calls paid: {calls(untouched)}")

    heading("kill -9 in the middle")
    kill_in_the_middle(store, bill)
    with ec.open(store, read_only=True) as opened:
        run = opened["support"]
        print(
            f"calls paid: {calls(bill)}; answers in the log: {run.cost().calls}; in doubt: {len(run.in_doubt())}"
        )

    heading("The same script again")
    subprocess.run(script(store, bill), check=True)
    print(
        f"calls paid: {calls(bill)}, {calls(bill) - calls(untouched)} of them twice: those that were under way"
    )

    heading("Replay: the code again, without a call")
    before = calls(bill)
    with ec.open(store, read_only=True) as opened:
        print(opened["support"].replay(script(store, bill)))
    print(f"calls paid: {calls(bill) - before}")

    heading("Fork: another instruction for the tone, the same for the topic")
    subprocess.run(
        [
            *(sys.executable, "-m", "eventcore", "fork", str(store), "support", "sterner", "--at", "6"),
            *("--set", 'state_tone/instructions="Say angry when in doubt."', "--", *script(store, bill)),
        ],
        check=True,
    )
    print(f"calls paid: {calls(bill) - before}")


def main(arguments: Sequence[str] = ()) -> None:
    """Tell the story in a folder of its own, or be its script."""
    if arguments[:1] == ["train"]:
        train(*arguments[1:])
        return
    folder = Path(tempfile.mkdtemp(prefix="eventcore-survival-"))
    try:
        story(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main(sys.argv[1:])
