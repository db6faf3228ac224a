"""`eventcore resume`: go on with a run that was killed, whatever name its script gives it."""

from __future__ import annotations

import click

from eventcore.cli.output import print_json
from eventcore.cli.program import BAD_INPUT, complain
from eventcore.cli.stores import force_option, json_option
from eventcore.history.store import IN_DOUBT


@click.command(short_help="Run a script again and go on where its log ends.")
@click.argument("store")
@click.argument("run")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--in-doubt", type=click.Choice(IN_DOUBT), default="retry", help="What to do with calls in doubt."
)
@force_option
@json_option
def resume(store: str, run: str, command: tuple[str, ...], in_doubt: str, force: bool, as_json: bool) -> int:
    """Run a script again and go on where its log ends.

    eventcore resume STORE RUN -- python train.py

    The command is run again: recorded answers are given to it in place of calls, and where the log ends it goes on
    for real. Calls that had left when the run was killed are in doubt: they are listed, and retried, failed, or
    asked about. With --json what the command prints goes to stderr. Exit code: the command's.
    """
    from eventcore.cli.stores import reading
    from eventcore.replay.rerunning import go_on

    if not command:
        return complain("cannot resume without a command: add -- python train.py", BAD_INPUT)
    with reading(store, force) as opened:
        found = opened[run]
        url, doubtful = opened.url, found.in_doubt()
    for record in doubtful:
        event = record.event
        click.echo(
            f"in doubt: seq {record.seq} {getattr(event, 'kind', '')} {event.rollout or ''} ({in_doubt})",
            err=True,
        )
    code = go_on(url, run, command, in_doubt, aside=as_json)
    if as_json:
        with reading(url, force) as opened:
            head = opened[run].head
        print_json(
            {"run": run, "head": head, "in_doubt": [record.seq for record in doubtful], "exit_code": code}
        )
    return code
