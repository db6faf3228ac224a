"""Having a script run again in a process of its own, and reading what came of it.

`replay` compares it with the log of a run and changes nothing; `go_on` runs it in a run that is there, a fork
or one to be resumed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from eventcore.errors import InvalidValue, NotFound, ReplayFailed
from eventcore.history.run import Run
from eventcore.history.store import open as open_store
from eventcore.replay.divergence import Divergence
from eventcore.replay.rerun import ENVIRONMENT, REFUSED, Found, Order

_STARTUP = Path(__file__).resolve().parent / "startup"


class ReplayReport(msgspec.Struct, frozen=True):
    """What a replay found.

    Attributes:
        run: Name of the run.
        identical: Whether the code did what the log says, event by event, and came to the same state.
        events: Recorded events the code came to.
        effects: Effects answered from the log.
        digest: Digest of the state it came to.
        connections: Connections that were attempted, and refused.
        added_reads: Reads the log does not have: a note, not a divergence.
        missing_reads: Reads only the log has: likewise.
        cut_short: Whether the log ends before the code does: the recorded process was killed, or still runs.
        divergence: The first point at which the code left the log, or None.
        returncode: How the script ended.
        output: What it printed, if that was caught.
        quit: Whether the person at the terminal ended it in the debugger: there is no verdict then.
    """

    run: str
    identical: bool
    events: int
    effects: int
    digest: str
    connections: int
    added_reads: int
    missing_reads: int
    cut_short: bool
    divergence: Divergence | None
    returncode: int
    output: str = ""
    quit: bool = False

    def __str__(self) -> str:
        if self.quit:
            return f"run {self.run!r}: the replay was ended in the debugger; up to seq {self.events} nothing differed"
        if self.divergence is not None:
            return f"run {self.run!r} {self.divergence}"
        notes = [f"{self.events:,} events", f"{self.effects:,} effects answered from the log"]
        notes += [f"{_count(self.connections, 'connection')} refused"] if self.connections else []
        verdict = "identical" if self.identical else "not identical: another state"
        end = "; the log ends there, the code would go on" if self.cut_short else ""
        told = f"{verdict}: {', '.join(notes)}, digest {self.digest[:16]}{end}{self._reads()}"
        return f"run {self.run!r} replayed: {told}"

    def _reads(self) -> str:
        """Say which reads there are more or fewer: a look at a value, or a resumption in the middle of some."""
        more = [_count(self.added_reads, "more read")] if self.added_reads else []
        fewer = [_count(self.missing_reads, "fewer read")] if self.missing_reads else []
        return f" ({', '.join(more + fewer)} than recorded: reads change nothing)" if more or fewer else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def command_of(script: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """Return the command that runs a script: the script by this Python, or a command as it is.

    Raises:
        NotFound: There is no such file.
        InvalidValue: The command is empty.
    """
    if not isinstance(script, (str, os.PathLike)):
        if not script:
            raise InvalidValue(
                "cannot run an empty command: pass a script, or a command such as ['python', 'train.py']"
            )
        return [os.fspath(part) for part in script]
    path = os.fspath(script)
    if not os.path.isfile(path):
        raise NotFound(f"cannot replay {path!r}: there is no such script here ({os.getcwd()})")
    return [sys.executable, path]


def replay(
    run: Run,
    script: str | os.PathLike[str] | Sequence[str],
    *arguments: str,
    breaks: Sequence[int | str] = (),
    catch: bool = True,
) -> ReplayReport:
    """Run a script again and compare it with the log of a run; nothing is written to the store.

    Args:
        run: The recorded run.
        script: A Python script, or a whole command as a list.
        arguments: Arguments of the script.
        breaks: Seqs or what stands for one (a label, "epoch:2", a time), or paths of variables, at which to stop in
            the debugger.
        catch: Whether to catch what the script prints, instead of passing it on (to stderr).

    Raises:
        NotFound: There is no such script, or no such variable to stop at.
        InvalidValue: The log has no such seq to stop at.
        ReplayFailed: The script never came to the run, or left its process without ending.
    """
    command = [*command_of(script), *arguments]
    places = [_place(run, place) for place in breaks]
    with tempfile.TemporaryDirectory(prefix="eventcore-replay-") as folder:
        url = _on_disk(run, folder)
        order = Order("replay", url, run.name, os.path.join(folder, "report"), places)
        done = started(command, order, catch)
        return report_of(run, order, command, done)


def _place(run: Run, place: int | str) -> str:
    """Check a place to stop at: a variable, by its path then, or a seq of the log or what stands for one."""
    text = str(place)
    if not text.isdecimal():
        try:
            return run.state.slot(text).path
        except NotFound as unknown:
            try:
                text = str(run.seq(text))
            except (NotFound, InvalidValue):
                raise unknown from None
    if not 1 <= int(text) <= run.head:
        raise InvalidValue(
            f"cannot stop at seq {text}: the log of run {run.name!r} has 1 to {run.head}; pass one of these, "
            "a label, 'epoch:N', a time, or a variable"
        )
    return text


def report_of(
    run: Run, order: Order, command: Sequence[str], done: subprocess.CompletedProcess[str]
) -> ReplayReport:
    """Read the report a replaying process left.

    Raises:
        ReplayFailed: There is none, or the script never came to the run.
    """
    try:
        found = msgspec.json.decode(Path(order.report).read_bytes(), type=Found)
    except FileNotFoundError:
        raise ReplayFailed(_no_report(command, run, done)) from None
    if os.path.exists(_refused(order)):
        found.connections += os.path.getsize(_refused(order))
    output = done.stdout or ""
    if not found.last:
        asked = ", ".join(found.opened) or "none"
        raise ReplayFailed(
            f"cannot replay run {run.name!r}: the script ended (exit code {done.returncode}) without opening it; "
            f"the runs it asked for: {asked}{_last_lines(output)}"
        )
    left = None if found.divergence is None else msgspec.convert(found.divergence, Divergence)
    if left is not None and found.beside:
        left = msgspec.structs.replace(
            left, reason=f"in run {found.beside!r}, which runs beside it: {left.reason}"
        )
    store = open_store(order.store, read_only=True)
    try:
        recorded = store[order.run].at(found.position).digest
    finally:
        store.close()
    identical = left is None and recorded == found.digest and not found.quit
    return ReplayReport(
        run.name, identical, found.position, found.effects, found.digest,
        found.connections, found.added_reads, found.missing_reads, found.cut_short, left, done.returncode, output,
        found.quit,
    )  # fmt: skip


def _refused(order: Order) -> str:
    """The file in which the processes of a replay note their attempts to connect."""
    return f"{order.report}.refused"


def _on_disk(run: Run, folder: str) -> str:
    """URL of a store another process can read the run in."""
    run.flush()
    if run.store.backend.durable:
        return run.store.url
    url = os.path.join(folder, "runs.lmdb")
    with open_store(url) as copy:
        copy.import_run(run)
    return url


def started(
    command: Sequence[str], order: Order, catch: bool, aside: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command with an order in its environment, to its end.

    Args:
        command: The command.
        order: The order.
        catch: Whether what it prints is caught, instead of passed on.
        aside: Whether its standard output goes to stderr, if it is passed on.

    Raises:
        NotFound: There is no such program.
    """
    environment = dict(os.environ)
    if order.world is not None:
        environment["PYTHONHASHSEED"] = str(order.world.hash)
    environment[ENVIRONMENT] = msgspec.json.encode(order).decode()
    if order.mode == "replay":
        environment[REFUSED] = _refused(order)
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(_STARTUP) + (os.pathsep + path if path else "")
    environment.setdefault("PYTHONUNBUFFERED", "1")
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if catch else {}
    if not catch and aside and not order.breaks:
        streams = {"stdout": sys.stderr.fileno()}
    try:
        if catch:
            return subprocess.run(
                command, env=environment, text=True, errors="replace", check=False, **streams
            )
        with subprocess.Popen(command, env=environment, **streams) as child:
            code = _ended(child, patient=order.mode == "go-on" or bool(order.breaks))
            return subprocess.CompletedProcess(list(command), code)
    except (FileNotFoundError, PermissionError) as error:
        raise NotFound(f"cannot run {' '.join(command)}: {error.strerror}: {command[0]}") from error


def _ended(child: subprocess.Popen[Any], patient: bool) -> int:
    """Wait for a process. It gets a Ctrl-C too and takes its time to end well; unless `patient`, so do we then."""
    interrupted = False
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:
            interrupted = True
    if interrupted and not patient:
        raise KeyboardInterrupt
    return code


def _no_report(command: Sequence[str], run: Run, done: subprocess.CompletedProcess[str]) -> str:
    how = f"exit code {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"
    return (
        f"cannot replay run {run.name!r}: {' '.join(command)} ended ({how}) without a report: it does not import "
        "eventcore from this installation, or left its process without ending (os._exit)"
        f"{_last_lines(done.stdout or '')}"
    )


def _last_lines(output: str) -> str:
    lines = output.strip().splitlines()[-3:]
    return f"; it said: {' | '.join(lines)}" if lines else ""


def go_on(
    store: str,
    run: str,
    command: Sequence[str],
    in_doubt: str = "retry",
    *,
    aside: bool = False,
    edits: Sequence[str] | None = None,
) -> int:
    """Run a command in which the first run of a store is the one given, and return its exit code.

    Args:
        store: URL of the store.
        run: A fork, or a run to be resumed; nobody may have it open.
        command: The command.
        in_doubt: Policy for calls in doubt.
        aside: Whether its standard output goes to stderr.
        edits: If the run is a fork made just now: its edits, as `--set` takes them.

    Returns:
        The exit code; 128 and the number of the signal that ended it.
    """
    order = Order("go-on", store, run, in_doubt=in_doubt, edits=None if edits is None else list(edits))
    code = started(list(command), order, catch=False, aside=aside).returncode
    return code if code >= 0 else 128 - code
