"""`eventcore verify`: read everything, say what was read and what is wrong.

The checks are `Store.verify`'s; here they are counted and printed. They run in a child process: a storage
engine that walks damaged pages may end its process, and that must be a finding, not a crash.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import click
import msgspec

from eventcore.cli.child import run_again
from eventcore.cli.output import coloured, count, paint, print_json, printable
from eventcore.cli.program import DAMAGED, complain
from eventcore.cli.stores import force_option, json_option, reading, run_argument, store_argument
from eventcore.errors import EventcoreError

if TYPE_CHECKING:
    from eventcore.history.backend import RunRow
    from eventcore.history.store import Store
    from eventcore.history.verify import Finding


@click.command(short_help="Read everything and report what is damaged.")
@store_argument
@run_argument
@force_option
@json_option
@click.option("--here", is_flag=True, hidden=True, help="Check in this process.")
def verify(store: str | None, run: str | None, force: bool, as_json: bool, here: bool) -> int:
    """Read everything and report what is damaged.

    Checks the files below, every checksum, that seqs have no gap, that every event decodes and folds, that
    every snapshot equals the fold of the log, and the index. Exit code 0 when all is well, 3 when something
    is damaged; the first line of each run's findings names the first seq that cannot be trusted.
    """
    if not here:
        return _in_child(store)
    with reading(store, force) as opened:
        rows = opened.rows() if run is None else [opened.row(run)]
        findings = opened.verify(run)
        checked = [_checked(opened, row) for row in rows]
        if as_json:
            document = {"store": opened.url, "ok": not findings, "checked": checked}
            print_json({**document, "findings": [msgspec.to_builtins(finding) for finding in findings]})
        else:
            _report(opened, checked, findings)
    return DAMAGED if findings else 0


def _in_child(store: str | None) -> int:
    """Run this same command in a child process and return its exit code."""
    code = run_again("--here")
    if code >= 0:
        return code
    return complain(
        f"cannot read {store or 'the store'}: its storage engine ended the checking process with "
        f"{signal.Signals(-code).name}, so its files are damaged; restore a backup",
        DAMAGED,
    )


def _checked(store: Store, row: RunRow) -> dict[str, Any]:
    """Count what a run stores itself; what cannot be read is not counted."""
    blocks, snapshots = 0, 0
    try:
        for _ in store.backend.blocks(row.id, row.forked_at + 1, row.head):
            blocks += 1
        snapshots = len(store.backend.snapshot_seqs(row.id))
    except EventcoreError:
        pass  # It is among the findings.
    return {"run": row.name, "events": row.head - row.forked_at, "blocks": blocks, "snapshots": snapshots}


def _report(store: Store, checked: list[dict[str, Any]], findings: list[Finding]) -> None:
    colour = coloured()
    for run in checked:
        mine = [finding for finding in findings if finding.run == run["run"]]
        seqs = [finding.seq for finding in mine if finding.seq]
        if not mine:
            verdict = paint("ok", "green", colour)
        else:
            verdict = paint(f"damaged, first at seq {min(seqs)}" if seqs else "damaged", "red", colour)
        amounts = ", ".join(count(run[what], what[:-1]) for what in ("events", "blocks", "snapshots"))
        click.echo(f"run {printable(run['run'])}: {amounts}: {verdict}")
    for finding in sorted(findings, key=lambda found: (found.run or "", found.seq)):
        place = printable(finding.run) if finding.run is not None else "the store"
        at = f" seq {finding.seq}" if finding.seq else ""
        click.echo(f"  {place}{at}: {printable(finding.message)}")
    if findings:
        click.echo(f"{store.url}: {paint(count(len(findings), 'finding'), 'red', colour)}")
    else:
        click.echo(f"{store.url}: nothing wrong in {count(len(checked), 'run')}")
