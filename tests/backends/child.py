"""What the tests of backends run in other processes: one command per function, spoken to through pipes.

Run as a script with the name of the command, the URL of the store and the command's own arguments.
Every line it prints is flushed at once, so the parent may kill it after any of them.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventcore.backends.lmdb import LmdbBackend
from eventcore.backends.sqlite import SqliteBackend
from eventcore.errors import ConcurrentAppend, EventcoreError, StorageError
from eventcore.history.backend import Backend, Block

ALL = 2**60


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def opened(url: str, **options: object) -> Backend:
    scheme, _, rest = url.partition(":")
    kind: Any = {"lmdb": LmdbBackend, "sqlite": SqliteBackend}[scheme]
    backend: Backend = kind.open(rest, **options)
    return backend


def payload(seq: int, size: int = 300) -> bytes:
    """Bytes nobody would read by accident for another seq."""
    return (b"%d." % seq * size)[:size]


def append_for_ever(url: str) -> None:
    """Acknowledge each append, until killed."""
    store = opened(url)
    row = store.run("a")
    run = row.id if row is not None else store.create_run("a", writer="child").id
    epoch = store.claim(run, f"process {os.getpid()}").epoch
    seq = store.head(run)
    while True:
        size = 300 + (seq * 7919) % 9000
        store.append(run, seq, epoch, [Block(seq + 1, seq + 1, payload(seq + 1, size))])
        seq += 1
        say(str(seq))


def hold(url: str) -> None:
    """Open for writing and wait to be told to go on."""
    store = opened(url)
    say("open")
    sys.stdin.readline()
    store.close()
    say("closed")


def hold_and_fork(url: str) -> None:
    """Open for writing, look at all its files, leave a child of one's own behind, and wait to be killed."""
    store = opened(url)
    got, put = os.pipe()
    if os.fork() == 0:
        os.write(put, b"x")
        os.read(0, 1)  # Until the test closes its end, long after this process's parent is gone.
        os._exit(0)
    os.read(got, 1)
    for file in Path(url.partition(":")[2]).parent.glob("*.lock"):
        file.read_bytes()
    say("open")
    sys.stdin.readline()
    store.close()


def hold_a_reader(url: str) -> None:
    """Stay inside a read transaction until killed."""
    store = opened(url)
    assert isinstance(store, LmdbBackend)

    def stay(txn: object) -> None:
        say("inside")
        sys.stdin.readline()

    store._environment.read(stay)


def race(url: str, count: str) -> None:
    """Try to append each seq in turn; print which ones were won."""
    store = opened(url)
    row = store.run("a")
    assert row is not None
    say("ready")
    sys.stdin.readline()
    for seq in range(1, int(count) + 1):
        try:
            store.append(row.id, seq - 1, 1, [Block(seq, seq, b"%d" % os.getpid())])
            say(f"won {seq}")
        except ConcurrentAppend:
            while store.head(row.id) < seq:
                pass
    say("done")


def follow(url: str, until: str) -> None:
    """Read the run again and again while another process writes; print the first thing that is wrong."""
    store = opened(url, read_only=True)
    row = store.run("a")
    assert row is not None
    say("ready")
    seen = 0
    while seen < int(until):
        for block in store.blocks(row.id, seen + 1, ALL):
            if block.first_seq != seen + 1 or block.data != payload(seen + 1):
                say(f"wrong: {block.first_seq} after {seen}")
                return
            seen = block.last_seq
    say("complete")


def fill(url: str, limit: str) -> None:
    """Append until the largest file size allowed is reached, then on after it is raised."""
    store = opened(url)
    run = store.create_run("a", writer="child").id
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), hard))
    seq = 0
    try:
        while True:
            store.append(run, seq, 1, [Block(seq + 1, seq + 1, payload(seq + 1, 5000))])
            seq += 1
    except StorageError as error:
        say(type(error).__name__)
    say(f"{seq} {store.head(run)} {len(list(store.blocks(run, 1, ALL)))}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    seq = store.head(run)
    store.append(run, seq, 1, [Block(seq + 1, seq + 1, payload(seq + 1, 5000))])
    say(f"{seq + 1} {store.head(run)} {len(list(store.problems()))}")
    store.close()


def survive(url: str) -> None:
    """Append a little with input and output failing underneath: what is acknowledged must be there afterwards."""
    acknowledged, errors = 0, 0
    for _ in range(40):
        store: Backend | None = None
        try:
            store = opened(url)
            row = store.run("a") or store.create_run("a", writer="child")
            epoch = store.claim(row.id, "child").epoch
            seq = store.head(row.id)
            if seq < acknowledged:
                say(f"lost: head {seq} after {acknowledged} was acknowledged")
                return
            while seq < 6:
                store.append(row.id, seq, epoch, [Block(seq + 1, seq + 1, payload(seq + 1, 9000))])
                seq += 1
                acknowledged = seq
            read = [block.data for block in store.blocks(row.id, 1, ALL)]
            found = list(store.problems())
            store.close()
            if read == [payload(i, 9000) for i in range(1, 7)] and not found:
                say(f"complete after {errors} errors")
            else:
                say(f"wrong: {len(read)} blocks, {found}")
            return
        except EventcoreError as error:
            errors += 1
            say(f"error: {type(error).__name__}: {error}")
            if store is not None:
                store.close()
    say("gave up")


def open_each(url: str) -> None:
    """Open every store in a folder, read it all, and say how that went: the parent sees a crash."""
    scheme, _, folder = url.partition(":")
    for name in sorted(os.listdir(folder)):
        if name.endswith(("-wal", "-shm", ".lock")):
            continue
        options: dict[str, object] = {"verify": True} if scheme == "lmdb" and "flip" in name else {}
        try:
            store = opened(f"{scheme}:{Path(folder) / name}", **options)
            for row in store.runs():
                read = list(store.blocks(row.id, 1, ALL))
                sound = len(read) == row.head and all(b.data == payload(b.first_seq, 3000) for b in read)
                say(f"{name} read {row.head if sound else 'wrong values'}")
            if not store.runs():
                say(f"{name} empty")
            store.close()
        except EventcoreError as error:
            say(f"{name} {type(error).__name__}")
    say("end")


def grow(url: str, start: str, count: str) -> None:
    """Append large blocks to a run of one's own, with a small map."""
    store = LmdbBackend.open(url.partition(":")[2], map_size=2**20)
    run = store.create_run(start, writer=start).id
    for seq in range(1, int(count) + 1):
        store.append(run, seq - 1, 1, [Block(seq, seq, payload(seq, 100_000))])
    say(str(len(list(store.blocks(run, 1, ALL)))))
    store.close()


def try_to_write(url: str) -> None:
    """Open for writing and append once; print what happened."""
    try:
        store = opened(url, timeout=1) if url.startswith("sqlite") else opened(url)
        row = store.run("a")
        assert row is not None
        store.append(row.id, row.head, row.epoch, [Block(row.head + 1, row.head + 1, b"x")])
        say("wrote")
        store.close()
    except EventcoreError as error:
        say(f"{type(error).__name__}: {error}")


COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__: command
    for command in (
        append_for_ever,
        hold,
        hold_a_reader,
        hold_and_fork,
        race,
        follow,
        fill,
        survive,
        open_each,
        grow,
        try_to_write,
    )
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
