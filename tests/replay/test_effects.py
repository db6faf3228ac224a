"""Effects, rollouts and randomness as they stand in the log: durable in time, without secrets, the same again."""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventcore as ec
from eventcore.errors import StorageError, TracingError
from eventcore.history.scope import in_rollout, tracing
from eventcore.replay.effects import Outcome, perform
from eventcore.replay.randomness import stream
from eventcore.replay.rollouts import RolloutNames, example_digest
from eventcore.replay.secrets import redacted, redacted_text


@pytest.fixture(params=["runs.lmdb", "runs.db"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    ec.clear_session()
    return tmp_path / str(request.param)


@pytest.fixture
def run() -> Iterator[Any]:
    ec.clear_session()
    with ec.open("memory:") as store, store.run("effects", seed=1) as run:
        yield run


def events(run: Any, kind: str) -> list[Any]:
    return [record.event for record in run.events(kind=kind)]


async def yes(ticket: Any) -> Outcome:
    """Answer at once."""
    return Outcome("yes")


def test_the_intent_is_on_disk_before_the_call_leaves_and_the_outcome_before_the_program_goes_on(
    place: Path,
) -> None:
    with ec.open(place) as store, store.run("durable") as run:

        async def call(ticket: Any) -> Outcome:
            assert run.durable >= ticket.seq
            with ec.open(place, read_only=True) as seen:
                assert [type(r.event).__name__ for r in seen["durable"].events(ticket.seq)] == [
                    "EffectStarted"
                ]
            return Outcome({"said": "yes"}, "m", 3, 2, 0.25, attempts=2)

        async def work() -> None:
            await perform("asking", {"what": 1}, call)
            assert run.durable == run.head
            with pytest.raises(ValueError, match="no"):
                await perform("asking", {"what": 2}, failing)
            assert run.durable == run.head

        async def failing(ticket: Any) -> Outcome:
            raise ValueError("no")

        ec.wait(work())
    with ec.open(place, read_only=True) as store:
        (done,) = events(store["durable"], "EffectCompleted")
        (failed,) = events(store["durable"], "EffectFailed")
        seqs = [record.seq for record in store["durable"].events(kind="EffectStarted")]
        assert [done.cause, failed.cause] == seqs
        assert (done.answer, done.model, done.input_tokens, done.output_tokens, done.cost, done.attempts) == (
            {"said": "yes"}, "m", 3, 2, 0.25, 2,
        )  # fmt: skip
        assert (failed.error, failed.message) == ("ValueError", "no")


def test_a_process_killed_during_a_call_leaves_the_intent_and_no_outcome(tmp_path: Path) -> None:
    script = """
import asyncio, os, sys
import eventcore as ec
from eventcore.replay.effects import perform

async def call(ticket):
    os._exit(9)

ec.open(sys.argv[1]).run("killed")
asyncio.run(perform("asking", {"what": 1}, call))
"""
    child = subprocess.run([sys.executable, "-c", script, str(tmp_path / "r.lmdb")], timeout=60, check=False)
    assert child.returncode == 9
    with ec.open(tmp_path / "r.lmdb", read_only=True) as store:
        assert [event.request for event in events(store["killed"], "EffectStarted")] == [{"what": 1}]
        assert events(store["killed"], "EffectCompleted") == events(store["killed"], "EffectFailed") == []


def test_no_call_leaves_when_its_intent_cannot_be_kept(tmp_path: Path) -> None:
    left: list[Any] = []

    async def call(ticket: Any) -> Outcome:
        left.append(ticket)
        return Outcome(None)

    ec.clear_session()
    with ec.open(tmp_path / "r.lmdb") as store:
        run = store.run("closed")

        async def work() -> None:
            store.close()
            await perform("asking", {}, call)

        with run, pytest.raises((StorageError, ec.errors.EventcoreError)):
            ec.wait(work())
    assert left == []


def test_nothing_is_asked_while_a_graph_is_traced(run: Any) -> None:
    async def work() -> None:
        with tracing():
            await perform("asking", {}, yes)

    with pytest.raises(TracingError, match="cannot perform effect 'asking' while a graph is traced"):
        ec.wait(work())
    assert events(run, "EffectStarted") == []


def test_an_effects_key_is_rollout_request_and_ordinal_whoever_comes_first(run: Any) -> None:
    async def ask(rollout: str, what: list[Any], turns: int) -> list[str]:
        keys = []

        async def call(ticket: Any) -> Outcome:
            keys.append(ticket.key)
            for _ in range(turns):
                await asyncio.sleep(0)
            return Outcome(None)

        with in_rollout(rollout):
            for each in what:
                await perform("asking", each, call)
        return keys

    async def both(first: int, second: int) -> tuple[list[str], list[str]]:
        a, b = {"x": 1, "y": 2}, {"y": 2, "x": 1}
        one, two = await asyncio.gather(ask("one", [a, b, {"x": 2}], first), ask("two", [a], second))
        return one, two

    one, two = ec.wait(both(9, 1))
    digests = [key.split("#")[1] for key in one]
    assert digests[0] == digests[1] != digests[2]
    assert [key.split("#")[::2] for key in [*one, *two]] == [
        ["one", "0"],
        ["one", "1"],
        ["one", "0"],
        ["two", "0"],
    ]
    with ec.open("memory:") as store, store.run("again"):
        assert ec.wait(both(1, 9)) == (one, two)


# --- secrets -----------------------------------------------------------------------------------

KEYS = {
    "api_key": "a1b2c3d4e5f6", "x-api-key": "q1w2e3r4t5", "clientSecret": "zxcvbnm123", "Authorization": "Basic abc=",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG", "session_token": "tok-9988", "Cookie": "sid=778899",
}  # fmt: skip
TEXTS = [
    "sk-proj-abcdefgh12345678", "Bearer abcdef.ghijkl.mnop", "ghp_abcdefghijklmnop1234", "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN", "https://user:hunter2222@host/path",
    "https://host/path?api_key=plainkey99&x=1",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n-----END RSA PRIVATE KEY-----",
]  # fmt: skip
HIDDEN = [
    *KEYS.values(), "sk-proj-abc", "abcdef.ghijkl", "ghp_abc", "AKIAABC", "dozjgNryP4", "hunter2222", "plainkey99",
    "MIIEabc",
]  # fmt: skip


def test_secrets_are_in_no_byte_of_a_store_nor_in_any_event(place: Path) -> None:
    async def failing(ticket: Any) -> Outcome:
        raise ValueError(f"refused: {' and '.join(TEXTS)}")

    class Failing(ec.Module):
        async def call(self, inputs: Any, training: bool = False) -> Any:
            raise ValueError(TEXTS[0])

    with ec.open(place) as store, store.run("secrets") as run:

        async def work() -> None:
            request = {"headers": KEYS, "deep": [{"text": f"use {text} now"} for text in TEXTS]}
            await perform("asking", request, yes)
            await perform("asking", {"headers": [[*pair] for pair in KEYS.items()]}, yes)
            await perform("asking", {"deep": {"headers": list(KEYS.items())}}, yes)
            with pytest.raises(ValueError, match="refused"):
                await perform("asking", {"again": TEXTS}, failing)
            module = Failing(name="failing")
            program = ec.Program(inputs=(x := ec.Input(data_model=Word)), outputs=await Passing(name="p")(x))
            program.compile(reward=failing_reward)
            with pytest.warns(UserWarning, match=r"1 examples failed in evaluate.*\[redacted\]"):
                await program.evaluate([Word(text="a")], None, verbose=0)
            with pytest.raises(ValueError, match="sk-"):
                await module(Word(text="a"))

        ec.wait(work())
        kept = b"\n".join(msgspec.json.encode(record.event) for record in run.events())
        assert kept.count(b"[redacted]") >= 3 * len(KEYS) + 2 * len(TEXTS)
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    everything = kept + b"".join(path.read_bytes() for path in files)
    assert [secret for secret in HIDDEN if secret.encode() in everything] == []


class Word(ec.DataModel):
    """A word."""

    text: str


class Passing(ec.Module):
    """Hands on."""

    async def call(self, inputs: Any, training: bool = False) -> Any:
        """Hand on."""
        return inputs


async def failing_reward(y_true: Any, y_pred: Any) -> float:
    """Tell a secret."""
    raise ValueError(f"cannot reach {TEXTS[5]} with {TEXTS[0]}")


@pytest.mark.parametrize(
    "harmless",
    [
        {
            "max_tokens": 5,
            "token": "word",
            "tokens": ["a"],
            "secretary": "Ann",
            "author": "Bob",
            "monkey": "x",
        },
        {"text": "a basic task-force asked for the skeleton key; https://host:8080/a?b=c"},
        {"api_key": "", "password": None},
        {"empty": {}, "list": []},
        {"labels": ["secret", "public"], "required": ["password", "name"]},
        {"scores": [["secret", 0.9], ["public", 0.1]], "headers": [["Accept", "text"], ["Cookie", ""]]},
        [["secret", "public"], ["a", "b", "c"]],
    ],
)
def test_what_is_no_secret_stays_as_it_is(harmless: Any) -> None:
    assert redacted(harmless) == harmless


@given(text=st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redacted_text(redacted_text(text)) == redacted_text(text)


# --- randomness and rollouts -------------------------------------------------------------------


def test_streams_are_the_same_in_every_process_and_leave_the_global_one_alone() -> None:
    random.seed(1)
    before = random.getstate()
    mine = [stream(7, "shuffle", 1, "a/b").random() for _ in range(2)]
    assert random.getstate() == before
    assert mine[0] == mine[1]
    script = "from eventcore.replay.randomness import stream; print(stream(7, 'shuffle', 1, 'a/b').random())"
    for hash_seed in ("1", "2"):
        child = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60,
            env={"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert float(child.stdout) == mine[0]


def test_a_stream_depends_on_the_seed_the_purpose_and_each_place() -> None:
    given = [
        (7, "a", 1, 2),
        (8, "a", 1, 2),
        (7, "b", 1, 2),
        (7, "a", 2, 1),
        (7, "a", 12),
        (7, "a", "1", 2),
        (7, "a"),
    ]
    drawn = [stream(*each).random() for each in given]  # type: ignore[arg-type]
    assert len(set(drawn)) == len(given)


def test_a_rollouts_name_is_its_phase_epoch_example_and_ordinal() -> None:
    names = RolloutNames("training", 3)
    first, second = example_digest({"a": 1, "b": 2}), example_digest({"b": 2, "a": 1})
    assert first == second != example_digest({"a": 1, "b": 2.5})
    assert [names.name(first), names.name(second)] == [
        f"training:3/{first[:16]}/0",
        f"training:3/{first[:16]}/1",
    ]


def test_an_example_has_one_digest_as_a_data_model_a_dict_or_several_inputs() -> None:
    assert example_digest(Word(text="a")) == example_digest({"text": "a"})
    assert example_digest([Word(text="a"), Word(text="b")]) == example_digest([{"text": "a"}, {"text": "b"}])
    assert example_digest([Word(text="a"), Word(text="b")]) != example_digest([{"text": "b"}, {"text": "a"}])


@pytest.mark.parametrize("closing", [True, False], ids=["a loop for each", "one loop for all"])
def test_a_run_that_performed_effects_is_given_back_when_nobody_holds_it(closing: bool) -> None:
    ec.clear_session()
    left: list[weakref.ref[Any]] = []

    async def ask() -> None:
        with ec.open("memory:") as store, store.run("gone") as run:
            await perform("ask", {}, yes)
            left.append(weakref.ref(run))

    async def ask_three_times() -> None:
        for _ in range(3):
            await ask()
        gc.collect()
        assert [run() for run in left[:-1]] == [None, None]

    if closing:
        for _ in range(3):
            asyncio.run(ask())
        gc.collect()
        assert [run() for run in left] == [None, None, None]
    else:
        asyncio.run(ask_three_times())
