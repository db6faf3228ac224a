"""`eventcore runs`: what a store holds, one line per run.

The size of a run is counted by reading its blocks, so in a large store only on demand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from eventcore.cli.output import local_time, print_json, print_table, printable, size
from eventcore.cli.stores import force_option, json_option, reading, store_argument

if TYPE_CHECKING:
    from eventcore.history.backend import RunRow
    from eventcore.history.store import Store

COUNTED_AT_ONCE = 256 * 1024 * 1024
"""Bytes of a store up to which the sizes of its runs are counted without being asked for."""

_WRITER = re.compile(r"^process (\d+)\b.*? on (\S+),")


@click.command(short_help="List the runs of a store.")
@store_argument
@click.option("--size", "with_size", is_flag=True, help="Count the bytes of every run even in a large store.")
@force_option
@json_option
def runs(store: str | None, with_size: bool, force: bool, as_json: bool) -> int:
    """List the runs of a store.

    Columns: name, the parent and the seq it was forked at, head (the last seq), when it was created, who is
    writing it, and the bytes of its own events as stored.
    """
    with reading(store, force) as opened:
        found = [_facts(opened, row, with_size or _is_small(opened)) for row in opened.rows()]
        if as_json:
            print_json({"store": opened.url, "runs": found})
            return 0
    print_table(_HEADER, [_row(facts) for facts in found], right=frozenset({2, 5}), spare=(5, 3, 4, 1))
    return 0


_HEADER = ("NAME", "PARENT", "HEAD", "CREATED", "WRITER", "SIZE")


def _is_small(store: Store) -> bool:
    stored = store.backend.facts().get("bytes")
    return isinstance(stored, int) and stored <= COUNTED_AT_ONCE


def _facts(store: Store, row: RunRow, counted: bool) -> dict[str, Any]:
    from eventcore.history.ownership import is_alive

    parent = store.row(row.parent).name if row.parent is not None else None
    stored: int | None = None
    if counted:
        stored = sum(len(block.data) for block in store.backend.blocks(row.id, row.forked_at + 1, row.head))
    return {
        "name": row.name,
        "parent": parent,
        "forked_at": row.forked_at if parent is not None else None,
        "head": row.head,
        "created": row.created,
        "writer": row.writer or None,
        "writing": bool(row.writer) and is_alive(row.writer),
        "bytes": stored,
    }


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    return (
        printable(facts["name"]),
        f"{printable(facts['parent'])}@{facts['forked_at']}" if facts["parent"] is not None else "-",
        str(facts["head"]),
        local_time(facts["created"]),
        _writer(facts["writer"], facts["writing"]),
        size(facts["bytes"]) if facts["bytes"] is not None else "-",
    )


def _writer(writer: str | None, writing: bool) -> str:
    """Say in few words who has the run open for writing."""
    if writer is None:
        return "-"
    found = _WRITER.match(writer)
    words = f"process {found[1]}" if found else printable(writer)
    if writing:
        return words
    import platform

    elsewhere = found is not None and found[2] != platform.node()
    return f"{words} on {printable(found[2])}" if found and elsewhere else f"{words}, gone"
