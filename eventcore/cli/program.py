"""The `eventcore` program: its commands, found by name and imported when run, and how it ends.

To add a command, write `eventcore/cli/<file>.py` with a click command of its name and a line into
`COMMANDS`. What a command prints is its own business; how errors, Ctrl-C and closed pipes end it is here.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from eventcore._version import __version__
from eventcore.cli.output import prepare_streams
from eventcore.errors import EventcoreError, StorageError

NO = 1
BAD_INPUT = 2
DAMAGED = 3
DEFECT = 70
INTERRUPTED = 130

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run the tour: events, time travel, a fork, save and load."),
    "runs": ("runs", "List the runs of a store."),
    "log": ("log", "Print the events of a run, oldest first."),
    "show": ("show", "Print the state of a run at any seq, or one event."),
    "history": ("history", "Print every change of a variable, or of one place in it."),
    "diff": ("diff", "Print what differs between two seqs, of one run or of two."),
    "blame": ("blame", "Print which event put every word where it is, and what led to it."),
    "cost": ("cost", "Print what the calls of a run cost, as a whole or split."),
    "why": ("why", "Print how a run came to what it has: lineage, scores, cost, what was rejected."),
    "bisect": ("bisect", "Find the event at which a command's answer turned."),
    "fork": ("fork", "Start a run that shares another's events, and pay only for what changes."),
    "replay": ("replay", "Run a script again and compare it with its log."),
    "resume": ("resume", "Run a script again and go on where its log ends."),
    "label": ("label", "List the labels of a run, or set one."),
    "races": ("races", "Report writes that overwrote what their writer had not seen."),
    "export": ("export", "Write the events of a run as a table: JSON lines or Parquet."),
    "verify": ("verify", "Read everything and report what is damaged."),
    "backup": ("backup", "Copy a store, also while it is being written."),
    "doctor": ("doctor", "Report versions, the machine and the store, with warnings."),
}
"""Command -> (file in this folder, what it does). In the order of `--help`."""


class Program(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"eventcore.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command the arguments begin with; the refusal names the near ones."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 2, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there is: {', '.join(COMMANDS)}"
            ctx.fail(f"cannot find command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, so that help imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has seen enough (`| head`) is no error."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            discard_output()
            return 0

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run one command; in standalone mode end the process with its exit code."""
        if standalone_mode:
            sys.exit(self.run(args))
        return super().main(
            args=args,
            prog_name=prog_name,
            complete_var=complete_var,
            standalone_mode=False,
            windows_expand_args=windows_expand_args,
            **extra,
        )

    def run(self, args: Sequence[str] | None = None) -> int:
        """Run one command, report what went wrong in one line, and return the exit code."""
        prepare_streams()
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = self.main(given or ["--help"], prog_name="eventcore", standalone_mode=False)
            return code if isinstance(code, int) else 0
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx is not None else "eventcore"
            return complain(f"{_sentence(error.format_message())}; see `{where} --help`", BAD_INPUT)
        except click.ClickException as error:
            return complain(_sentence(error.format_message()), BAD_INPUT)
        except (click.Abort, KeyboardInterrupt):
            discard_output()
            return INTERRUPTED
        except StorageError as error:
            return complain(str(error), DAMAGED)
        except EventcoreError as error:
            return complain(str(error), BAD_INPUT)
        except OSError as error:
            discard_output()
            return complain(f"cannot read or write: {error}", DAMAGED)
        except Exception:
            traceback.print_exc()
            return complain("this is a defect of eventcore; please report it with the lines above", DEFECT)


def complain(message: str, code: int) -> int:
    """Print one line to stderr and return the exit code."""
    click.echo(f"eventcore: {' '.join(message.split())}", err=True)
    return code


def _sentence(message: str) -> str:
    """Fit a message of click into one of ours."""
    text = message.rstrip(".")
    return text[:1].lower() + text[1:]


def discard_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter's own flush at exit stays silent."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return  # Not a file (a test's buffer, a closed stream): nothing will be flushed to it.


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="STORE is a path (LMDB, or SQLite if it ends in .sqlite or .db), or a URL such as sqlite:runs.data; "
    "without one, $EVENTCORE_STORE or .eventcore. RUN may be left out when the store has a single run.\n\n"
    "\b\nExit codes:\n"
    "  0    yes, or done\n"
    "  1    the answer is no: differences found, warnings found\n"
    "  2    bad usage or bad input\n"
    "  3    a store that is damaged or cannot be read\n"
    "  70   a defect of eventcore itself\n"
    "  130  stopped with Ctrl-C",
)
@click.version_option(__version__, message="eventcore %(version)s")
def program() -> None:
    """Look into stores of eventcore: every change of a program's state, as it happened."""
