"""Cassettes: calls of models are made once, recorded in a file, and answered from it whenever the test runs again.

    with ec.testing.cassette("tests/cassettes/greeting.sqlite"):
        answer = ec.wait(program(Name(name="Ada")))

A cassette is a run in a store, like any other: `eventcore log sqlite:tests/cassettes/greeting.sqlite` prints it,
and any run of any store can be played as one (`run=`). It holds the calls, without keys, and nothing of the test's own
runs, its command line or its folders, so that it can be checked in. Equal requests are answered as in a fork: each
recorded answer once, the one of the same rollout first, else the oldest left; so an edited test still uses what it can.
Effects of one's own (`@ec.effect`) are recorded like models. Other connections are not watched.

Modes, as in VCR: "none" makes no call; "once" records if there is no file yet, and else makes none; "new_episodes"
makes and adds the calls that are not there; "all" makes all calls and records the file anew. The file appears, or is
replaced, in one step when the block is left, also by an error: what was paid for is kept.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from eventcore.errors import CallNotRecorded, InvalidValue, StorageError
from eventcore.history import events as e
from eventcore.history.store import open as open_store
from eventcore.history.urls import split
from eventcore.replay.divergence import nearest_request, shown, source_line
from eventcore.replay.outcomes import CANCELLED
from eventcore.replay.reuse import Answer, Pool, set_tape, tape_here
from eventcore.testing.cassette_files import Draft, chosen_run

MODES = ("none", "once", "new_episodes", "all")
VARIABLE = "EVENTCORE_RECORD"
"""Environment variable that holds the mode of cassettes that are given none."""

SUFFIXES = (".sqlite", ".db")
LOCAL = frozenset({"now", "uuid"})
"""Effects that ask nobody: their answers are recorded like others, and where there is none they are simply made."""

_entering = threading.Lock()
Recorded = e.EffectCompleted | e.EffectFailed
EFFECTS = (e.EffectStarted, e.EffectCompleted, e.EffectFailed, e.EffectReused)


def default_mode() -> str:
    """The mode of a cassette that is given none: `$EVENTCORE_RECORD`'s, or else "none" where `$CI` is set, or "once".

    Raises:
        InvalidValue: The variable holds no mode.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        return _checked(asked, f" in ${VARIABLE}")
    return "once" if os.environ.get("CI", "").lower() in ("", "0", "false") else "none"


def _checked(mode: object, where: str = "") -> str:
    if mode not in MODES:
        raise InvalidValue(f"cannot record by mode {mode!r}{where}: pass one of {', '.join(MODES)}")
    return str(mode)


def cassette(place: str | os.PathLike[str], mode: str | None = None, *, run: str | None = None) -> Cassette:
    """Return a cassette to be used in a `with` statement: effects inside are answered from it, or recorded in it.

    Args:
        place: The file, `.sqlite` or `.db`; made, with its folder, when something is recorded. Also the URL or path
            of any store, to play a run of it.
        mode: "none", "once", "new_episodes" or "all"; None for `default_mode()`.
        run: Which run of the store to play; None for the only one.

    Raises:
        InvalidValue: A mode that is none, or a place that cannot be recorded in.
    """
    return Cassette(place, mode, run)


class Cassette:
    """Recorded calls, and what becomes of those a test makes. Made by `cassette`.

    Attributes:
        place: As it was named.
        mode: What is done about calls it has no answer to.
        played: How many calls it answered.
        recorded: How many calls were made, and recorded in it.
    """

    def __init__(self, place: str | os.PathLike[str], mode: str | None, run: str | None) -> None:
        self.place = os.fspath(place)
        self.mode = default_mode() if mode is None else _checked(mode)
        self.played = self.recorded = 0
        self._run = run
        self._path = _file(self.place)
        if self._path is None and self.mode in ("new_episodes", "all"):
            raise InvalidValue(
                f"cannot record in {self.place}: a cassette is one file; name one that ends with "
                f"{' or '.join(SUFFIXES)}, or play this store with mode='none'"
            )
        self._lock = threading.Lock()
        self._events: list[tuple[int, e.Event]] = []
        self._pool = Pool(self.place, ())
        self._asked: dict[int, tuple[int, e.EffectStarted]] = {}
        self._made: dict[int, tuple[e.EffectStarted, Recorded]] = {}
        self._draft: Draft | None = None
        self._writes = False

    @property
    def left(self) -> int:
        """How many recorded answers were not asked for."""
        return len(self._pool)

    def __repr__(self) -> str:
        return f"Cassette({self.place!r}, mode={self.mode!r}, played={self.played}, recorded={self.recorded})"

    # --- in use ------------------------------------------------------------------------------------

    def __enter__(self) -> Cassette:
        with _entering:
            used = tape_here()
            if used is not None:
                raise InvalidValue(
                    f"cannot use cassette {self.place} inside another: {used!r} answers the calls of this process; "
                    "leave it first, or record both tests in one"
                )
            self._load()
            set_tape(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_tape(None)
        draft, self._draft = self._draft, None
        if draft is None:
            return
        with self._lock:
            made = [self._made[number] for number in sorted(self._made)]
        try:
            with draft:
                if made:
                    draft.write(made, keep=self.mode != "all")
        except StorageError as second:
            # The first error is the one to show; what a full disk says would only hide it.
            if error is None:
                raise
            error.add_note(f"while leaving cassette {self.place}: {second}")

    def _load(self) -> None:
        self.played = self.recorded = 0
        self._asked, self._made, self._events = {}, {}, []
        there = self._path is None or os.path.lexists(self._path)
        self._writes = self.mode in ("new_episodes", "all") or (self.mode == "once" and not there)
        if there and self.mode != "all":
            url = self.place if self._path is None else f"sqlite:{self._path}"
            with open_store(url, read_only=True) as store:
                run = chosen_run(store, self._run)
                self._events = [
                    (seq, event)
                    for seq, event in store.reader(run.number).events(1, run.head)
                    if isinstance(event, EFFECTS)
                ]
        self._pool = Pool(self.place, self._events, failures=True)

    # --- what effects ask of it --------------------------------------------------------------------

    def answer(self, asked: e.EffectStarted) -> Answer | None:
        """Return the recorded outcome of a call, None to have it made.

        Raises:
            CallNotRecorded: There is none, and the mode makes no calls.
            StorageError: It would be recorded, and cannot be.
        """
        with self._lock:
            found = self._pool.take(asked)
            if found is not None:
                self.played += 1
                return found
            if not self._writes:
                if asked.kind in LOCAL:
                    return None
                raise CallNotRecorded(self._missing(asked))
            if self._draft is None and self._path is not None:
                self._draft = Draft(self._path, self._run)  # before a call is paid for that could not be kept
            self._asked[id(asked)] = (len(self._asked), asked)
            return None

    def keep(self, asked: e.EffectStarted, outcome: Recorded) -> None:
        """Take note of the outcome of a call that was made."""
        if isinstance(outcome, e.EffectFailed) and outcome.error == CANCELLED:
            return
        with self._lock:
            if (number := self._asked.get(id(asked))) is not None:
                self._made[number[0]] = (asked, outcome)
                self.recorded = len(self._made)

    # --- what is missing ---------------------------------------------------------------------------

    def _missing(self, asked: e.EffectStarted) -> str:
        """Say what was asked, what comes nearest to it, and how to record it."""
        equal = sum(
            isinstance(event, e.EffectStarted) and event.digest == asked.digest for _, event in self._events
        )
        recorded = sum(isinstance(event, e.EffectStarted) for _, event in self._events)
        if equal:
            why = f"it was recorded {equal} time{'s' * (equal > 1)}, and is asked once more"
        elif self._events:
            why = f"none of its {recorded} calls has this request"
        else:
            why = "there is no such file"
        lines = [
            f"cannot answer a call of {asked.kind} from cassette {self.place}: {why}; mode {self.mode!r} makes none"
        ]
        if line := source_line():
            lines.append(f"  line      {line}")
        near = None if equal else nearest_request(asked, self._events)
        if near is not None:
            lines.append(f"  nearest recorded request: seq {near[0]}")
            lines += [text for difference in near[1][:8] for text in shown(difference, "asked   ")]
        adding = "once" if not self._events else "new_episodes"
        lines.append(
            f"To record it: mode={adding!r}, ${VARIABLE}={adding}, or pytest --eventcore-record={adding}"
            + ("" if adding == "once" else "; all of it anew: all")
        )
        return "\n".join(lines)


def _file(place: str) -> Path | None:
    """The file of a cassette that can be recorded; None for another store, which can only be played."""
    scheme, rest = split(place)
    if scheme == "sqlite" or (scheme == "lmdb" and not place.startswith("lmdb:") and rest.endswith(SUFFIXES)):
        return Path(os.path.abspath(rest))
    if scheme == "lmdb" and not os.path.isdir(rest):
        raise InvalidValue(
            f"cannot use {place!r} as a cassette: name a file that ends with {' or '.join(SUFFIXES)}, or a store "
            "that is there"
        )
    return None
