"""`eventcore bisect`: the first seq from which on a command says something else, as with `git bisect run`.

The command gets each state as JSON on its standard input. What it prints is shown; its exit code is the answer.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from eventcore.cli.event_text import event_json
from eventcore.cli.output import Clock, coloured, paint, print_json, printable
from eventcore.cli.program import NO
from eventcore.cli.stores import chosen_run, force_option, json_option, reading
from eventcore.errors import InvalidValue, NotFound
from eventcore.history.bisecting import Bisection
from eventcore.history.naming import Names
from eventcore.history.timetravel import variable_known

if TYPE_CHECKING:
    from eventcore.history.bisecting import Turn
    from eventcore.history.run import Run

SKIP = 125
"""Exit code of a command that cannot judge a state."""

LAST_ANSWER = 125
"""Above this an exit code is no answer: a shell found no such command, or could not run it, or it was killed."""

_SHELL_SAYS = {
    126: ": a shell's code for what cannot be run",
    127: ": a shell's code for a command it cannot find",
}

_NOBODY_READS = (-signal.SIGPIPE, 128 + signal.SIGPIPE)


@click.command(
    short_help="Find the event at which a command's answer turned.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--from", "start", default="1", metavar="SEQ", help="Oldest state to try. Default: 1.")
@click.option("--to", "stop", metavar="SEQ", help="Newest state to try. Default: the head.")
@click.option(
    "--variable", metavar="PATH", help="Give the command this variable's value, not the whole state."
)
@force_option
@json_option
@click.argument("store")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[RUN] -- COMMAND...")
def bisect(
    store: str,
    words: tuple[str, ...],
    start: str,
    stop: str | None,
    variable: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Find the event at which a command's answer turned.

    COMMAND is run at one state after the other, about log2(n) of them, with the state on its standard input: a JSON
    object of values by path of the variable (with --variable, that value alone). EVENTCORE_SEQ is the seq. Exit code
    0 means yes, 125 that it cannot tell, any other up to 124 no; 126 and above (no such command, killed) end the
    search. Options stand before STORE. Exit code 1 when the answer never turns.
    """
    name, command = _command(words)
    with reading(store, force) as opened:
        run = chosen_run(opened, name)
        if variable is not None:
            run.state.slot(variable)  # refuses a name that stands for none
        asking = _Asking(run, command, variable, quiet=as_json)
        last = run.head if stop is None else run.seq(stop)
        try:
            turn = Bisection(asking, max(1, run.seq(start)), last).run()
        except NotFound as error:
            click.echo(f"eventcore: {_said(error)}", err=True)
            return NO
        except InvalidValue as error:
            raise asking.failure or error from error.__cause__
        _print(run, turn, as_json)
    return 0


def _said(error: NotFound) -> str:
    """Return an error with the options of this command in place of the arguments of `run.bisect`."""
    return str(error).replace("with start= and stop=", "with --from and --to")


def _command(words: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Split `[RUN] -- COMMAND...`."""
    rest = list(words)
    if "--" not in rest[:2] or not rest[rest.index("--") + 1 :]:
        raise click.UsageError("bisect takes STORE [RUN] -- COMMAND...")
    at = rest.index("--")
    return (rest[0] if at else None), rest[at + 1 :]


class _Asking:
    """Runs the command at a state."""

    def __init__(self, run: Run, command: list[str], variable: str | None, quiet: bool) -> None:
        self._run = run
        self._command = command
        self._variable = variable
        self._quiet = quiet
        self.failure: InvalidValue | BrokenPipeError | None = None

    def __call__(self, seq: int) -> bool | None:
        state = self._run.at(seq)
        if self._variable is None:
            return self._ask(seq, dict(state.variables))
        return (
            self._ask(seq, state.variables[self._variable]) if variable_known(state, self._variable) else None
        )

    def _ask(self, seq: int, value: Any) -> bool | None:
        given = {**os.environ, "EVENTCORE_SEQ": str(seq), "EVENTCORE_RUN": self._run.name}
        try:
            done = subprocess.run(
                self._command,
                input=msgspec.json.encode(value),
                env=given,
                check=False,
                stdout=subprocess.DEVNULL if self._quiet else None,
            )
        except OSError as error:
            self.failure = InvalidValue(f"cannot run {self._command[0]!r}: {error}")
            raise self.failure from error
        code = done.returncode
        if code in _NOBODY_READS and not self._quiet and _reader_left():
            self.failure = BrokenPipeError()
            raise self.failure
        if code < 0 or code > LAST_ANSWER:
            said = f"{self._command[0]!r} ended with {code} at seq {seq}{_SHELL_SAYS.get(code, '')}"
            self.failure = InvalidValue(
                f"cannot go on: {said}; 0 is yes, 125 cannot tell, others up to 124 no"
            )
            raise self.failure
        answer = None if code == SKIP else code == 0
        if not self._quiet:
            self._tell(f"seq {seq}: {'cannot tell' if answer is None else 'yes' if answer else 'no'}")
        return answer

    def _tell(self, line: str) -> None:
        try:
            click.echo(line)
        except BrokenPipeError as error:  # a reader that has seen enough, not an error of the predicate
            self.failure = error
            raise


def _reader_left() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout, 0)
    except (OSError, ValueError, AttributeError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _print(run: Run, turn: Turn, as_json: bool) -> None:
    names = Names()
    names.take(run.at(turn))
    event = next(iter(run.events(int(turn), int(turn)))).event
    if as_json:
        print_json(
            {
                "run": run.name,
                "seq": int(turn),
                "before": turn.before,
                "after": turn.after,
                "tried": turn.tried,
                "event": event_json(int(turn), event, names),
            }
        )
        return
    words = {True: "yes", False: "no"}
    place = printable(names.path(event) or "-")
    click.echo(
        f"{paint(str(int(turn)), 'yellow', coloured())} is the first seq with {words[turn.after]}: "
        f"{type(event).__name__} {place}  {Clock().text(event.time)}"
    )
    source = names.source(event)
    click.echo(
        f"before it the answer is {words[turn.before]}; {len(turn.tried)} states were tried"
        + (f"; at {printable(source)}" if source else "")
    )
