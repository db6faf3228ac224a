"""How a cassette's file is written: beside the old one, compact, and put in its place in one step.

It is an SQLite store in one file without side files, whatever opens it for reading: it can be checked in, and played
from a folder nobody may write to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import time_ns

import msgspec

from eventcore.backends.filesystem import os_failure, sync_directory, sync_file
from eventcore.errors import NotFound, StorageError
from eventcore.history import events as e
from eventcore.history import lineage
from eventcore.history.ownership import describe_self
from eventcore.history.run import Run
from eventcore.history.startup import run_facts
from eventcore.history.state import State, size_of
from eventcore.history.store import Store
from eventcore.history.store import open as open_store

RUN = "cassette"
"""Name of the run in a new file."""

Made = tuple[e.EffectStarted, e.EffectCompleted | e.EffectFailed]


def chosen_run(store: Store, name: str | None) -> Run:
    """Return the run of a store that is played: the named one, or else the only one.

    Raises:
        NotFound: There is none of that name, or none is named and there is not exactly one.
    """
    names = store.runs()
    if name is None and len(names) != 1:
        raise NotFound(
            f"cannot choose a run of {store.url} to play: it has {', '.join(names) or 'none'}; pass run="
        )
    return store[names[0] if name is None else name]


class Draft:
    """A file to be. Being there, it shows that the folder can be written; it is gone when the block is left.

    Args:
        path: Where the file goes.
        run: Which run of it is extended; None for the only one, or a new one.

    Raises:
        StorageError: The folder cannot be written.
    """

    def __init__(self, path: Path, run: str | None) -> None:
        self._path = Path(os.path.realpath(path))
        self._run = run
        self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._part.write_bytes(b"")
        except OSError as error:
            raise os_failure(f"record in {path}", error) from error

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._part.unlink()

    def write(self, made: Sequence[Made], keep: bool) -> None:
        """Put the file in its place.

        Args:
            made: The calls, in the order of asking.
            keep: Whether what is there already stays.

        Raises:
            StorageError: It cannot be written; what was there is as it was.
        """
        with tempfile.TemporaryDirectory(prefix="eventcore-cassette-") as folder:
            built = Path(folder) / self._path.name
            if keep and self._path.exists():
                with open_store(f"sqlite:{self._path}", read_only=True) as old:
                    old.backup(built)
            with open_store(f"sqlite:{built}") as store:
                _append(_begun(store, self._run), made)
            _compact(built)
            try:
                shutil.copyfile(built, self._part)
                sync_file(self._part)
                self._part.replace(self._path)
                sync_directory(self._path.parent)
            except OSError as error:
                if isinstance(error, StorageError):
                    raise
                raise os_failure(f"record in {self._path}", error) from error


def _begun(store: Store, name: str | None) -> Run:
    """Return the run to write, with nothing in it about this process: no command line, no folder, no commit."""
    if store.runs():
        here = chosen_run(store, name)
        row = store.backend.claim(here.number, describe_self())
        state = store.reader(row.id).state_at(row.head)
    else:
        wanted = RUN if name is None else name
        meta = lineage.seal(wanted, None, 0, lineage.DEFAULT_SEED)
        row, state = store.backend.create_run(wanted, meta=meta, writer=describe_self()), State()
    run = store.opened(row, state)
    facts = {"versions": run_facts()["versions"], "argv": [], "resumed": bool(row.head)}
    run.record(e.RunStarted(time_ns() // 1000, None, 0, run.seed, facts), 512)
    return run


def _append(run: Run, made: Sequence[Made]) -> None:
    asked_before: Counter[tuple[str | None, str]] = Counter()
    for _, event in run.events(kind=e.EffectStarted):
        if isinstance(event, e.EffectStarted):
            asked_before[(event.rollout, event.digest)] += 1
    for asked, outcome in made:
        place = (asked.rollout, asked.digest)
        # Several runs of a test may have asked the same: here they are one run's.
        intent = e.EffectStarted(
            asked.time,
            asked.rollout,
            0,
            asked.kind,
            asked.digest,
            asked_before[place],
            asked.request,
            None,
            -1,
        )
        asked_before[place] += 1
        seq = run.record(intent, size_of(asked.request) + 64)
        run.record(
            _caused_by(seq, outcome), 64 if isinstance(outcome, e.EffectFailed) else size_of(outcome.answer)
        )


def _caused_by(seq: int, outcome: e.EffectCompleted | e.EffectFailed) -> e.Event:
    return msgspec.structs.replace(outcome, cause=seq)


def _compact(path: Path) -> None:
    """Fold all side files in, for good, and drop what pages hold in vain."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA page_size=1024")
        connection.execute("VACUUM")
    except sqlite3.Error as error:
        raise StorageError(f"cannot write {path}: {error}") from error
    finally:
        connection.close()
