"""`eventcore doctor`: what a maintainer would ask first when something is wrong, with warnings.

The checks are in `eventcore.cli.checks`; here they are printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from eventcore.cli import checks
from eventcore.cli.output import coloured, count, paint, print_json, print_table, printable
from eventcore.cli.program import BAD_INPUT, DAMAGED, NO
from eventcore.cli.stores import force_option, json_option, reading, store_argument
from eventcore.errors import EventcoreError, InvalidValue, StorageError

if TYPE_CHECKING:
    from eventcore.replay.diagnosis import Diagnosis

_COLOURS = {checks.OK: None, checks.NOTE: "cyan", checks.WARNING: "yellow"}


@click.command(short_help="Report versions, the machine and the store, with warnings.")
@store_argument
@force_option
@json_option
@click.option(
    "--script", metavar="COMMAND", help="Find what makes a script's run differ: 'train.py --epochs 2'."
)
def doctor(store: str | None, force: bool, as_json: bool, script: str | None) -> int:
    """Report versions, the machine and the store, with warnings.

    Without STORE only Python, the packages and the machine are looked at. Exit code 1 when there is a
    warning; a store that cannot be opened is one line of the report, and exit code 2 or 3 as everywhere.

    With --script the script is run once, its calls really made, in a scratch store, and then replayed with another
    clock, other random numbers and identifiers, another hash seed. What makes a difference without being recorded
    is named, the first first; exit code 1 if there is any.
    """
    if script is not None:
        return _examine(script, as_json)
    found = checks.machine()
    code = 0
    if store is not None:
        try:
            with reading(store, force) as opened:
                found += checks.examine(opened)
        except EventcoreError as error:
            code = DAMAGED if isinstance(error, StorageError) else BAD_INPUT
            found.append(checks.Observation("store", checks.WARNING, str(error)))
    warnings = any(observation.level == checks.WARNING for observation in found)
    if as_json:
        print_json(
            {"ok": not warnings, "checks": [msgspec.to_builtins(observation) for observation in found]}
        )
    else:
        _print(found)
    return code or (NO if warnings else 0)


def _print(found: list[checks.Observation]) -> None:
    rows = [(observation.level, observation.subject, printable(observation.text)) for observation in found]
    colours = [_COLOURS[level] for level, _, _ in rows]
    print_table(("LEVEL", "SUBJECT", "FOUND"), rows, plain_header=False, colours=colours)


def _examine(script: str, as_json: bool) -> int:
    import shlex

    from eventcore.replay.diagnosis import diagnose

    try:
        first, *rest = shlex.split(script) or [""]
    except ValueError as error:
        raise InvalidValue(
            f"cannot examine {script!r}: its quotes do not match ({error}); pass a command as in a shell"
        ) from None
    found = diagnose(first, *rest) if first.endswith(".py") else diagnose([first, *rest])
    if as_json:
        print_json({"ok": not found.causes, **msgspec.to_builtins(found)})
    else:
        _print_diagnosis(found)
    return NO if found.causes else 0


def _print_diagnosis(found: Diagnosis) -> None:
    colour = coloured()
    for cause in found.causes:
        click.echo(
            paint(
                f"{cause.source}: run {cause.run!r} comes out differently: {cause.advice}", "yellow", colour
            )
        )
        for line in cause.lines:
            click.echo(f"  takes   {printable(line)}")
        for line in str(cause.divergence).split("\n"):
            click.echo(f"  {printable(line)}")
    if not found.causes:
        click.echo(
            f"{count(found.events, 'event')} of {count(len(found.runs), 'run')} come out the same with another clock, "
            "other random numbers and identifiers, another hash seed and other switches of threads"
        )
    for line in found.harmless:
        click.echo(f"note: {printable(line)} does not reach the events")
