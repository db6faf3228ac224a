"""`eventcore fork`: another line of history from any event on, paying only for the calls it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from eventcore.cli.output import count, print_json
from eventcore.cli.stores import force_option, json_option
from eventcore.errors import DuplicateName, InvalidValue

if TYPE_CHECKING:
    from eventcore.history.run import Run


@click.command(short_help="Start a run that shares another's events, and pay only for what changes.")
@click.argument("store")
@click.argument("run")
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--at", metavar="SEQ", help="Seq, label or epoch to fork at; the head if left out.")
@click.option("--set", "edits", multiple=True, metavar="VARIABLE/POINTER=JSON", help="Change a value there.")
@click.option("--no-reuse", is_flag=True, help="Pay for every call after the fork.")
@force_option
@json_option
def fork(
    store: str,
    run: str,
    name: str,
    command: tuple[str, ...],
    at: str | None,
    edits: tuple[str, ...],
    no_reuse: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Start a run that shares another's events, and pay only for what changes.

    eventcore fork STORE RUN NEW --at N --set VARIABLE/POINTER=JSON -- python train.py

    The command is run again in the new run: up to N it must do what the log says, after N it may differ. Requests
    that equal one of the parent's are answered from its log. Without a command the fork is only made; its program
    is there with run.program().
    """
    from eventcore.history.store import open
    from eventcore.replay.rerunning import go_on

    with open(store, force=force, create=False) as opened:
        url = opened.url
        parent = opened[run]
        _require_free(parent, name, command)
        _made(parent, name, at, edits, reuse=not no_reuse)
    code = go_on(url, name, command, aside=as_json, edits=edits) if command else 0
    with open(url, read_only=True, force=force) as opened:
        return _report(opened[name], code, as_json, bool(command))


def _require_free(parent: Run, name: str, command: Sequence[str]) -> None:
    """Refuse a name that is taken, saying how to go on."""
    import shlex

    from eventcore.replay.commands import as_called, free_name, url_here

    store = parent.store
    if name not in store:
        return
    taken = store[name]
    hint = ""
    if taken.parent is not None and taken.parent.number == parent.number and command:
        resume = shlex.join([*as_called(), "resume", url_here(parent), name, "--", *command])
        hint = f", or go on with that fork, made at seq {taken.forked_at}: {resume}"
    raise DuplicateName(
        f"cannot fork run {parent.name!r} to {name!r}: the name is taken; choose another, such as "
        f"{free_name(parent)!r}{hint}"
    )


def _made(parent: Run, name: str, at: str | None, edits: Sequence[str], reuse: bool) -> None:
    """Make the fork with its edits, or nothing."""
    from eventcore.replay.editing import declared_after, edit, edit_event, parse_edit

    seq = parent.head if at is None else parent.seq(at)
    parsed = [parse_edit(text) for text in edits]
    state = parent.at(seq)
    for place, value in parsed:
        try:
            edit_event(parent, state, place, value, "")
        except LookupError as error:
            later = declared_after(parent, seq, place)
            hint = (
                f"; that variable is declared at seq {later}: pass --at {later} or a later one"
                if later
                else ""
            )
            raise InvalidValue(
                f"cannot fork run {parent.name!r} at seq {seq} with that edit: {error}{hint}"
            ) from error
    made = parent.fork(name, seq, reuse=reuse)
    for place, value in parsed:
        edit(made, place, value, "eventcore fork --set")
    made.flush()


def _report(made: Run, code: int, as_json: bool, ran: bool) -> int:
    spent = made.cost(since_fork=True)
    if as_json:
        print_json(
            {
                "run": made.name, "forked_at": made.forked_at, "head": made.head, "calls": spent.calls,
                "reused": spent.reused, "saved": spent.saved, "cost": spent.cost, "exit_code": code,
            }
        )  # fmt: skip
    else:
        parent = made.parent
        click.echo(
            f"run {made.name!r}: forked from {parent.name if parent else '?'!r} at seq {made.forked_at}",
            nl=False,
        )
        if ran:
            total = spent.calls + spent.reused
            click.echo(
                f", now at {made.head}: reused {spent.reused} of {count(total, 'call')}, saved ${spent.saved:.4f}, "
                f"paid ${spent.cost:.4f}"
            )
        else:
            click.echo("")
    return code
