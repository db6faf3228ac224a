"""Following a run while it is written, here or in another process: nothing skipped, doubled or reordered (I6)."""

from __future__ import annotations

import threading
import time

import pytest

from eventcore.errors import InvalidValue, NotFound
from eventcore.history import events as e
from eventcore.history import store as stores
from eventcore.history.run import Run
from tests.history.processes import python, talking

WRITER = """
import random, sys
import eventcore.history.store as stores
from eventcore.history import events as e
chance = random.Random(int(sys.argv[2]))
run = stores.open(sys.argv[1]).run("watched")
run.flush()
print("ready"); sys.stdin.readline()
for n in range(int(sys.argv[3])):
    run.record(e.MetricLogged(0, None, 0, str(n), float(n)), chance.choice((0, 5_000)))
    if chance.random() < 0.02: run.flush()
    if n == 1_000: run.snapshot()
run.store.close()
print("done")
"""

FOLLOWER = """
import sys
import eventcore.history.store as stores
run = stores.open(sys.argv[1], read_only=True)["watched"]
print("ready", flush=True)
expected = int(sys.argv[2])
for record in run.follow(expected, timeout=60):
    assert record.seq == expected, (record.seq, expected)
    expected += 1
    if record.kind == "MetricLogged" and record.event.name == sys.argv[3]: break
print(expected - 1, record.event.name)
"""


def log(run: Run, name: str) -> int:
    return run.record(e.MetricLogged(*run.stamp(), name, 1.0))


def test_several_processes_follow_one_that_writes_and_each_sees_every_event_once(disk: str) -> None:
    count = 3_000
    with talking(WRITER, disk, 4, count) as writer:
        assert writer.hear() == "ready"
        with talking(FOLLOWER, disk, 1, count - 1) as one, talking(FOLLOWER, disk, 500, count - 1) as two:
            assert (one.hear(), two.hear()) == ("ready", "ready")
            writer.say()
            run = stores.open(disk, read_only=True)["watched"]
            names: list[str] = []
            for record in run.follow(2, timeout=60):
                assert record.seq == len(names) + 2
                assert isinstance(record.event, e.MetricLogged)
                names.append(record.event.name)
                if len(names) == count:
                    break
            assert names == [str(n) for n in range(count)]
            assert one.hear() == two.hear() == f"{count + 1} {count - 1}"
        assert writer.hear() == "done"


def test_a_run_written_by_this_process_is_followed_by_its_threads(url: str) -> None:
    run = stores.open(url).run("mine")
    seen: dict[int, list[int]] = {n: [] for n in range(3)}

    def follow(n: int) -> None:
        for record in run.follow(1 + n * 10, timeout=30):
            seen[n].append(record.seq)
            if record.kind == "LabelSet":
                return

    threads = [threading.Thread(target=follow, args=(n,)) for n in seen]
    for thread in threads:
        thread.start()
    for n in range(1_000):
        log(run, str(n))
    run.record(e.LabelSet(0, None, 0, "end", 1))
    run.flush()
    for thread in threads:
        thread.join()
    assert seen == {n: list(range(1 + n * 10, run.head + 1)) for n in seen}


def test_only_durable_events_are_seen(url: str) -> None:
    run = stores.open(url).run("durable")
    for _ in range(20):
        log(run, "x")
        for record in run.follow(run.head, timeout=0):
            assert record.seq <= run.durable


def test_following_ends_after_the_timeout_without_a_new_event(url: str) -> None:
    run = stores.open(url).run("quiet")
    log(run, "x")
    started = time.monotonic()
    assert [record.seq for record in run.follow(1, timeout=0.1)] == [1, 2]
    assert 0.1 <= time.monotonic() - started < 5
    assert list(run.follow(100, timeout=0)) == []


def test_following_may_begin_beyond_the_head(url: str) -> None:
    run = stores.open(url).run("early")
    coming = run.follow(4, timeout=30)
    for name in ("a", "b", "c"):
        log(run, name)
    assert next(coming).event.name == "c"  # type: ignore[attr-defined]


def test_a_fork_is_followed_through_its_parent(url: str) -> None:
    parent = stores.open(url).run("parent")
    for n in range(5):
        log(parent, str(n))
    fork = parent.fork(at=3)
    log(parent, "not seen")
    log(fork, "seen")
    found = [(r.seq, getattr(r.event, "name", None)) for r in fork.follow(1, timeout=0)]
    assert found == [(1, None), (2, "0"), (3, "1"), (4, None), (5, "seen")]


@pytest.mark.parametrize("seq", [0, -1])
def test_following_from_before_the_first_event_is_refused(url: str, seq: int) -> None:
    with pytest.raises(InvalidValue, match="first event is 1"):
        stores.open(url).run("a").follow(seq)


def test_an_abandoned_follower_holds_nothing_back(disk: str) -> None:
    store = stores.open(disk)
    run = store.run("a")
    follower = run.follow(1)
    next(follower)
    del follower
    run.close()
    store.delete("a")
    assert store.runs() == []


def test_following_a_run_that_is_deleted_says_so(url: str) -> None:
    store = stores.open(url)
    run = store.run("a")
    follower = run.follow(1, timeout=10)
    next(follower)
    run.close()
    store.delete("a")
    with pytest.raises(NotFound, match="deleted"):
        list(follower)


def test_a_follower_goes_on_while_the_writer_is_killed_and_another_takes_over(disk: str) -> None:
    with talking(WRITER, disk, 1, 10**9) as writer:
        assert writer.hear() == "ready"
        writer.say()
        follower = stores.open(disk, read_only=True)["watched"].follow(1, timeout=30)
        seen = [next(follower).seq for _ in range(300)]
    python(
        """
import sys
import eventcore.history.store as stores
from eventcore.history import events as e
run = stores.open(sys.argv[1]).reopen("watched")
run.record(e.LabelSet(0, None, 0, "end", 1))
""",
        disk,
    )
    for record in follower:
        seen.append(record.seq)
        if record.kind == "LabelSet":
            break
    assert seen == list(range(1, len(seen) + 1))
