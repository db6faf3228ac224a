"""`eventcore doctor`: what a maintainer would ask first when something is wrong, with warnings.

The checks are in `eventcore.cli.checks`; here they are printed.
"""

from __future__ import annotations

import click
import msgspec

from eventcore.cli import checks
from eventcore.cli.output import coloured, columns, paint, print_json, printable
from eventcore.cli.program import BAD_INPUT, DAMAGED, NO
from eventcore.cli.stores import force_option, json_option, reading, store_argument
from eventcore.errors import EventcoreError, StorageError

_COLOURS = {checks.OK: None, checks.NOTE: "cyan", checks.WARNING: "yellow"}


@click.command(short_help="Report versions, the machine and the store, with warnings.")
@store_argument
@force_option
@json_option
def doctor(store: str | None, force: bool, as_json: bool) -> int:
    """Report versions, the machine and the store, with warnings.

    Without STORE only Python, the packages and the machine are looked at. Exit code 1 when there is a
    warning; a store that cannot be opened is one line of the report, and exit code 2 or 3 as everywhere.
    """
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
    colour = coloured()
    rows = [(observation.level, observation.subject, printable(observation.text)) for observation in found]
    for (level, _, _), line in zip(rows, columns(rows), strict=True):
        click.echo(paint(line, _COLOURS[level], colour))
