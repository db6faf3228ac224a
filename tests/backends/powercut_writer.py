"""The process whose calls are recorded: it uses a store in every way and marks in the trace what it was promised.

Run as a script, with `powercut.c` loaded, with the URL of the store, a seed and how the backend is spoilt ("" for not
at all). What it was promised it does not learn from the store: the committer's own batches say which events there
are, and the live state what they come to.
"""

from __future__ import annotations

import ctypes
import os
import random
import sqlite3
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from eventcore.backends import filesystem, sqlite_database
from eventcore.history import events as e
from eventcore.history import index, snapshots
from eventcore.history import store as stores
from eventcore.history.log import Log
from eventcore.history.run import Run
from eventcore.history.store import Store
from eventcore.variables import Variable


class Counted(msgspec.Struct):
    """What is written: a number that only grows, a list and some text."""

    n: int = 0
    items: list[int] = []
    text: str = ""


def digest(event: e.Event) -> int:
    """Return a number that another event would not have."""
    return zlib.crc32(repr(event).encode())


def mark(*words: object) -> None:
    """Say something in the trace."""
    text = msgspec.json.encode(words)
    ctypes.CDLL(None).powercut_mark(text, ctypes.c_size_t(len(text)))


# --- hearing what is promised ---------------------------------------------------------------------


def listen() -> None:
    """Mark every event before it is committed, and what is acknowledged at the moment it is."""
    write, commit = Log._write, Log.commit

    def told(log: Log, first: int, batch: Sequence[e.Event], states: list[tuple[int, bytes]]) -> None:
        mark("events", log.row.name, first, [digest(event) for event in batch])
        write(log, first, batch, states)

    def acknowledged(log: Log) -> None:
        commit(log)
        mark("durable", log.row.name, log.durable)

    _replace(Log, _write=told, commit=acknowledged)


def _replace(owner: Any, **functions: Callable[..., Any]) -> None:
    for name, function in functions.items():
        setattr(owner, name, function)


# --- spoiling a backend -----------------------------------------------------------------------------


def _lmdb_with(**options: bool) -> None:
    opened: Callable[..., Any] = lmdb.open

    def careless(path: str, **others: Any) -> Any:
        return opened(path, **{**others, **options})

    _replace(lmdb, open=careless)


def _sqlite_with(level: str) -> None:
    connect = sqlite_database._connect

    def careless(settings: sqlite_database.Settings, mode: str) -> sqlite3.Connection:
        connection = connect(settings, mode)
        connection.execute(f"PRAGMA synchronous={level}")
        return connection

    _replace(sqlite_database, _connect=careless)


def _names_unsynced() -> None:
    for module in (filesystem, sqlite_database):
        _replace(module, sync_directory=lambda path: None)


def _acknowledged_before_commit() -> None:
    write = Log._write

    def hasty(log: Log, first: int, batch: Sequence[e.Event], states: list[tuple[int, bytes]]) -> None:
        mark("durable", log.row.name, first + len(batch) - 1)
        write(log, first, batch, states)

    _replace(Log, _write=hasty)


SPOILT: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "lmdb-sync": lambda: _lmdb_with(sync=False),
    "lmdb-metasync": lambda: _lmdb_with(metasync=False),
    "sqlite-off": lambda: _sqlite_with("OFF"),
    "sqlite-normal": lambda: _sqlite_with("NORMAL"),
    "names": _names_unsynced,
    "hasty": _acknowledged_before_commit,
}


def make_small() -> None:
    """Have everything happen that otherwise takes megabytes: snapshots, index chunks, checkpoints, growth."""
    index.CHUNK, snapshots.SNAPSHOT_FLOOR = 40, 2_000
    connect = sqlite_database._connect

    def often(settings: sqlite_database.Settings, mode: str) -> sqlite3.Connection:
        connection = connect(settings, mode)
        if mode == "rw":
            connection.execute("PRAGMA wal_autocheckpoint=25")
        return connection

    _replace(sqlite_database, _connect=often)


# --- what is written --------------------------------------------------------------------------------


class Writer:
    """Works on a store, opening it several times."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self.url = url
        self.chance = chance
        self.forks: list[str] = []
        self.n = 0

    def session(self, number: int) -> None:
        """Open the store, go on with a run, begin one, fork, delete, and close."""
        options: dict[str, Any] = {}
        if self.url.startswith("lmdb") and number == 0:
            options = {"map_size": 2**17}
        with stores.open(self.url, **options) as store:
            self.go_on(store, "main")
            self.go_on(store, f"run {number}")
            self.fork(store["main"])
            if len(self.forks) > 1:
                self.delete(store, self.forks.pop(0))
            if number == 1:
                self.backup(store)

    def go_on(self, store: Store, name: str) -> None:
        """Work in a run, which is made if it is not there."""
        if name in store:
            run = store.reopen(name)
        else:
            mark("creating", name, None, 0)
            run = store.run(name)
            mark("created", name)
        with run:
            self.work(run)
        if self.chance.random() < 0.5:
            run.close()

    def fork(self, parent: Run) -> None:
        """Fork a run somewhere and write into the fork."""
        name = f"fork {self.n}"
        at = self.chance.randint(1, parent.head)
        mark("creating", name, parent.name, at)
        with parent.fork(name, at=at) as fork:
            mark("created", name)
            self.work(fork, most=8)
        fork.close()
        self.forks.append(name)

    def delete(self, store: Store, name: str) -> None:
        """Delete a run."""
        mark("deleting", name)
        store.delete(name)
        mark("deleted", name)

    def backup(self, store: Store) -> None:
        """Copy the store beside itself."""
        heads = {name: store[name].durable for name in store}
        store.backup(Path(self.url.partition(":")[2]).with_name("copy"))
        mark("copied", heads)

    def work(self, run: Run, most: int = 25) -> None:
        """Change a variable many times, with barriers, snapshots and labels in between."""
        variable = Variable(data_model=Counted, name=f"counted {self.n}")
        for _ in range(self.chance.randint(most // 2, most)):
            for _ in range(self.chance.choice((1, 1, 3, 60))):
                self.change(variable)
            kind = self.chance.random()
            if kind < 0.1:
                run.snapshot()
            elif kind < 0.2:
                run.label(f"at {self.n}")
            if kind < 0.8:
                seq = run.flush()
                mark("state", run.name, seq, run.state.digest)

    def change(self, variable: Variable) -> None:
        """Make one event, now and then a large one that does not compress."""
        self.n += 1
        kind = self.chance.random()
        if kind < 0.2:
            variable.get("items").append(self.n)
        elif kind < 0.22:
            variable.get("items").clear()
        elif kind < 0.28:
            variable.update({"text": self.chance.randbytes(self.chance.choice((100, 3_000, 12_000))).hex()})
        else:
            variable.update({"n": self.n})


def make_durably(folder: Path) -> None:
    """Make a folder with those above it."""
    if not folder.exists():
        make_durably(folder.parent)
        folder.mkdir()
        descriptor = os.open(folder.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def main() -> None:
    """Write as the command line says."""
    url, seed, spoilt = sys.argv[1:]
    listen()
    make_small()
    SPOILT[spoilt]()
    chance = random.Random(f"writer {seed}")
    scheme, _, path = url.partition(":")
    if scheme == "lmdb" and chance.random() < 0.3:
        make_durably(Path(path))  # A mount point is there before its store.
    writer = Writer(url, chance)
    for number in range(3):
        writer.session(number)


if __name__ == "__main__":
    main()
