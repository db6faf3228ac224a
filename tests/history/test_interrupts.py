"""Ctrl-C at any point: the log and the state agree afterwards, and nothing waits for ever (I1).

A timer raises KeyboardInterrupt in the main thread after a random number of microseconds, so that over a thousand
tries it falls on every line of the write path. After each, the value is compared with the fold of the log and must be
what it was before the operation or what it is after it.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import FrameType
from typing import Any

import pytest

import eventcore.history.store as stores
from eventcore.variables import Variable
from tests.history.processes import python

SCRIPT = """
import random, signal, sys
import msgspec
import eventcore.history.store as stores
from eventcore.history import snapshots, run as runs
from eventcore.variables import Variable

snapshots.SNAPSHOT_FLOOR = runs.SNAPSHOT_FLOOR = 5_000
url, wanted, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
chance = random.Random(5)

class Pair(msgspec.Struct):
    a: int = 0
    b: int = 0
    items: list[int] = []
    current_predictions: list[dict[str, int]] = []

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
store = stores.open(url)
run = store.run("main")
pair = Variable(data_model=Pair, name="pair")
held, predictions = pair.get("items"), pair.get("current_predictions")

def update(n):
    pair.update({"a": n, "b": n})

def append(n):
    held.append(n)
    if len(held) > 5: held.pop(0)

def predict(n):
    pair.update({"current_predictions": [{"n": n}]})
    predictions.append({"n": n})

def assign(n):
    global held
    pair.assign({"a": n, "b": n})
    held = pair.get("items")

def barrier(n):
    update(n)
    run.flush()

operations = {"update": [update], "views": [append, predict], "assign": [assign], "commit": [barrier]}[kind]
longest = {"update": 60e-6, "views": 150e-6, "assign": 120e-6, "commit": 3e-3}[kind]
interrupted = n = 0
previous = pair.get_json()
while interrupted < wanted:
    n += 1
    operation = chance.choice(operations)
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, longest))
        try:
            operation(n)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    value = pair.get_json()
    truth = run.at(run.head).variables["pair"]
    assert value == truth, (n, value, truth)
    assert run.state.variables["pair"] == truth, (n, run.state.variables, truth)
    assert value["a"] == value["b"], value
    if operation in (update, barrier, assign):
        assert value["a"] in (n, n - 1, previous["a"]), (n, value)
    previous = value
    if n % 5 == 0:
        try: held.append(0); held.pop()
        except Exception: held = pair.get("items")
        run.flush()
assert [record.seq for record in run.events()] == list(range(1, run.head + 1))
assert store.verify() == [], store.verify()
store.close()
print(interrupted)
"""


@pytest.mark.parametrize(
    ("name", "moment", "held"),
    [
        ("acquire", "c_call", False),  # as while waiting for the lock; a thread that has it does not wait
        *((name, "c_return", held) for name in ("acquire", "append", "release") for held in (False, True)),
    ],
)
def test_an_interrupt_beside_any_call_of_the_write_path_leaves_the_lock_as_it_was(
    name: str, moment: str, held: bool
) -> None:
    def interrupt(frame: FrameType, event: str, called: Any) -> None:
        if event == moment and getattr(called, "__name__", "") == name:
            sys.setprofile(None)
            raise KeyboardInterrupt

    with stores.open("memory:") as store, store.run("main") as run:
        pair = Variable({"a": 0}, {"type": "object", "properties": {"a": {"type": "integer"}}}, name="pair")
        for operation in (lambda: pair.update({"a": 1}), lambda: pair.get("a")):
            run.flush()
            with run.lock if held else nullcontext():
                sys.setprofile(interrupt)
                try:
                    with pytest.raises(KeyboardInterrupt):
                        operation()
                finally:
                    sys.setprofile(None)
                assert _is_free_elsewhere(run.lock) is (not held)
            assert _is_free_elsewhere(run.lock)
        assert run.state.variables["pair"] == run.at(run.flush()).variables["pair"] == pair.get_json()


def _is_free_elsewhere(lock: threading.RLock) -> bool:
    """Whether another thread can take a lock."""

    def take() -> bool:
        taken = lock.acquire(blocking=False)
        if taken:
            lock.release()
        return taken

    with ThreadPoolExecutor(1) as other:
        return other.submit(take).result()


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("kind", "times"), [("update", 1000), ("views", 400), ("assign", 200), ("commit", 200)]
)
def test_an_interrupt_at_any_point_leaves_log_and_state_in_agreement(kind: str, times: int) -> None:
    assert python(SCRIPT, "memory:", times, kind).stdout.strip() == str(times)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["update", "commit"])
def test_an_interrupt_while_a_disk_is_written_tears_no_commit(disk: str, kind: str) -> None:
    assert python(SCRIPT, disk, 150, kind).stdout.strip() == "150"
    with stores.open(disk) as store:
        value = store["main"].state.variables["pair"]
        assert value["a"] == value["b"]
        assert store.verify() == []
