"""`eventcore races`: writes of one rollout that overwrote what another had written meanwhile.

Finding them is `Run.races`'s work; here they are put into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from eventcore.cli.output import coloured, count, paint, print_json, printable, short
from eventcore.cli.program import NO
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, run_argument, store_argument

if TYPE_CHECKING:
    from eventcore.history.races import Race


@click.command(short_help="Report writes that overwrote what their writer had not seen.")
@store_argument
@run_argument
@click.option(
    "--possible", is_flag=True, help="Also report changes in place that may have done so without looking."
)
@force_option
@json_option
def races(store: str | None, run: str | None, possible: bool, force: bool, as_json: bool) -> int:
    """Report writes that overwrote what their writer had not seen: lost updates.

    A rollout read a field, another changed it, and the first then replaced it without reading it again. Each
    names the place, both rollouts, the seqs and the lines of the program. Exit code 0 when there is none, 1
    when there are some. Reads outside any rollout that were not judged are counted.
    """
    from eventcore.history.races import unjudged_text

    with reading(store, force) as opened:
        chosen = chosen_run(opened, run)
        found = chosen.races(possible)
        if as_json:
            told = [msgspec.to_builtins(race) for race in found]
            print_json({"run": chosen.name, "races": told, "unjudged": found.unjudged})
        else:
            for race in found:
                click.echo(text_of(race))
            click.echo(f"{count(len(found), 'lost update')} in run {printable(chosen.name)}")
            if found.unjudged:
                click.echo(unjudged_text(found.unjudged))
    return NO if found else 0


def text_of(race: Race) -> str:
    """Return a lost update in three lines: the place, who overwrote, and what was lost."""
    colour = coloured()
    place = paint(printable(race.variable + race.pointer), "yellow", colour)
    perhaps = "" if race.certain else "  (possibly: a change in place)"
    other = f"rollout {printable(race.other)}" if race.other is not None else "code outside any rollout"
    return (
        f"{place}  {short(race.lost)} was overwritten with {short(race.written)}{perhaps}\n"
        f"  {race.seq:>7}  rollout {printable(race.rollout)}, which had read it at {race.read}"
        f"{_at(race.source)}\n"
        f"  {race.other_seq:>7}  {other} had written it meanwhile{_at(race.other_source)}"
    )


def _at(line: str | None) -> str:
    return f"  at {printable(line)}" if line else ""
