"""`eventcore cost`: what the calls of a run cost, as a whole or split by what they were for.

Adding up is `Run.cost`'s work; here it is only put into a table.
"""

from __future__ import annotations

from typing import Any

import click
import msgspec

from eventcore.cli.output import print_json, print_table, printable
from eventcore.cli.stores import chosen_run, force_option, json_option, reading, run_argument, store_argument
from eventcore.history.costs import GROUPS, Spending

_HEADER = ("CALLS", "ERRORS", "TOKENS IN", "TOKENS OUT", "COST", "SECONDS", "REUSED", "SAVED")

TOTAL = "total"


@click.command(short_help="Print what the calls of a run cost, as a whole or split.")
@store_argument
@run_argument
@click.option(
    "--by",
    type=click.Choice(GROUPS),
    help="Split it by the variable or the candidate that asked, the epoch, rollout or model, or the kind of call.",
)
@click.option("--since-fork", is_flag=True, help="Leave out what was spent before the run was forked.")
@force_option
@json_option
def cost(
    store: str | None, run: str | None, by: str | None, since_fork: bool, force: bool, as_json: bool
) -> int:
    """Print what the calls of a run cost, as a whole or split.

    Columns: calls that were made (an answer out of a cache is none), how many of them failed, tokens of requests and
    of answers, US dollars, seconds they took together; calls that were not made because the answer was in the log of
    the run this one was forked from or in a cassette, and what those had cost. The parts sum to the total.
    """
    with reading(store, force) as opened:
        chosen = chosen_run(opened, run)
        parts = {} if by is None else chosen.cost(by, since_fork=since_fork)
        total = chosen.cost(since_fork=since_fork) if by is None else _sum(parts)
        if as_json:
            print_json(_document(chosen.name, total, by, parts))
            return 0
    rows = [(printable(key), *_cells(part)) for key, part in parts.items()]
    rows.append((TOTAL, *_cells(total)))
    right = frozenset(range(1, len(_HEADER) + 1))
    spare = tuple(1 + _HEADER.index(name) for name in ("SAVED", "REUSED", "SECONDS", "ERRORS"))
    print_table(((by or "").upper(), *_HEADER), rows, right, spare=spare)
    return 0


def _sum(parts: dict[str, Spending]) -> Spending:
    total = Spending()
    for part in parts.values():
        for name in Spending.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(part, name))
    return total


def _cells(spent: Spending) -> tuple[str, ...]:
    return (
        f"{spent.calls:,}",
        f"{spent.errors:,}",
        f"{spent.input_tokens:,}",
        f"{spent.output_tokens:,}",
        f"${spent.cost:.6f}",
        f"{spent.latency / 1_000_000:.1f}",
        f"{spent.reused:,}",
        f"${spent.saved:.6f}",
    )


def _document(run: str, total: Spending, by: str | None, parts: dict[str, Spending]) -> dict[str, Any]:
    """Latency is in microseconds, as in `Spending`."""
    split = {} if by is None else {"by": by, "parts": msgspec.to_builtins(parts)}
    return {"run": run, "total": msgspec.to_builtins(total), **split}
