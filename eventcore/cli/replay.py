"""`eventcore replay`: run the script of a run again and compare it with the log, event by event."""

from __future__ import annotations

import click
import msgspec

from eventcore.cli.output import coloured, paint, print_json, printable
from eventcore.cli.program import BAD_INPUT, INTERRUPTED, NO, complain
from eventcore.cli.stores import force_option, json_option, reading


@click.command(short_help="Run a script again and compare it with its log.")
@click.argument("store")
@click.argument("run")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--break",
    "breaks",
    multiple=True,
    metavar="SEQ|VARIABLE",
    help="Stop in the debugger: at the first line of the script that comes to a seq (or a label, epoch:N, a time) or "
    "behind it, or at each line that changes a variable.",
)
@force_option
@json_option
def replay(
    store: str, run: str, command: tuple[str, ...], breaks: tuple[str, ...], force: bool, as_json: bool
) -> int:
    """Run a script again and compare it with its log.

    eventcore replay STORE RUN -- python train.py

    Recorded answers are given to it in place of calls, connections are refused, and the store is left unchanged.
    Exit code 0 when it did what the log says, 1 at the first divergence, which is printed.
    """
    from eventcore.replay.rerunning import replay as replayed

    if not command:
        return complain("cannot replay without a command: add -- python train.py", BAD_INPUT)
    with reading(store, force) as opened:
        report = replayed(opened[run], list(command), breaks=breaks, catch=as_json)
        if as_json:
            print_json(msgspec.to_builtins(report))
        else:
            click.echo(
                paint(
                    printable_lines(str(report)),
                    "green" if report.identical or report.quit else "red",
                    coloured(),
                )
            )
    if report.quit:
        return INTERRUPTED
    return 0 if report.identical else NO


def printable_lines(text: str) -> str:
    """Return text of several lines without control characters."""
    return "\n".join(printable(line) for line in text.split("\n"))
