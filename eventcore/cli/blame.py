"""`eventcore blame`: which event put every word, or every other part of a value, where it is.

Finding out is `Run.blame`'s work; here it is only put into lines.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec

from eventcore.cli.output import (
    Clock,
    coloured,
    count,
    full,
    paint,
    print_json,
    printable,
    short,
    write_page,
)
from eventcore.cli.stores import force_option, json_option, reading, subject
from eventcore.errors import InvalidValue

if TYPE_CHECKING:
    from eventcore.history.blame import Piece
    from eventcore.history.blame_view import Blame
    from eventcore.history.origins import Call, Evidence, Origin

CHAINS = 8
"""Owners whose chain is printed without `--all`."""

MESSAGE = 100
"""Characters of a request and of its answer printed without `--all`."""


@click.command(short_help="Print which event put every word where it is, and what led to it.")
@click.argument("store")
@click.argument("places", nargs=-1, metavar="[RUN] VARIABLE [/POINTER]")
@click.option("--at", metavar="SEQ", help="As of this seq, label, epoch or time. Default: the head.")
@click.option("--span", metavar="START:END", help="Only these characters of a text.")
@click.option("--text", metavar="WORDS", help="Only these words of a text, where they occur first.")
@click.option(
    "--all", "everything", is_flag=True, help="Print every chain, and requests and answers in full."
)
@click.option("--html", "page", metavar="FILE", help="Write a page to this file, not to the terminal.")
@force_option
@json_option
def blame(
    store: str,
    places: tuple[str, ...],
    at: str | None,
    span: str | None,
    text: str | None,
    everything: bool,
    page: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Print which event put every word where it is, and what led to it.

    First the pieces of the value, in order: seq, event, when in training, the words. Then for each of these events
    the chain behind it: the model call whose answer has the words, the rewards the optimizer was shown, the
    candidates it was made of, and the events that copied it since. Variable and pointer may be written as one, as in
    state_generator/instructions.
    """
    with reading(store, force) as opened:
        run, variable, pointer = subject(opened, places, "blame")
        if span is not None and text is not None:
            raise click.UsageError("--span and --text both say which words: leave one out")
        found = run.blame(variable, pointer, _span(span) if span is not None else text, at)
        if page is not None:
            from eventcore.history.blame_view import blame_html

            write_page(page, f"Blame of {found.variable}{found.pointer}", blame_html(found))
        if as_json:
            print_json(_document(found) | ({} if page is None else {"page": os.path.abspath(page)}))
        elif page is not None:
            click.echo(f"wrote {page}")
        else:
            for line in _lines(found, everything, coloured()):
                click.echo(line)
    return 0


def _span(text: str) -> tuple[int, int]:
    start, _, end = text.partition(":")
    try:
        return int(start), int(end)
    except ValueError:
        raise InvalidValue(f"cannot use span {text!r}: pass START:END, as in 0:12") from None


def _document(found: Blame) -> dict[str, Any]:
    owners: list[dict[str, Any]] = []
    for origin in found.owners:
        evidence = found.evidence(origin.seq)
        before = [
            {"run": other.run, "at": other.seq, "pieces": msgspec.to_builtins(other.pieces)}
            for other in found.before(origin.seq)
        ]
        owners.append(msgspec.to_builtins(origin) | msgspec.to_builtins(evidence) | {"before": before})
    return {
        "run": found.run,
        "variable": found.variable,
        "pointer": found.pointer,
        "at": found.seq,
        "pieces": msgspec.to_builtins(found.pieces),
        "owners": owners,
    }


def _lines(found: Blame, everything: bool, colour: bool) -> Iterator[str]:
    from eventcore.history.blame_view import said

    place = printable(found.variable + found.pointer)
    yield paint(f"{place} at seq {found.seq} of run {printable(found.run)}", "dim", colour)
    rows = [(piece, printable(said(found.origin(piece.seq)))) for piece in found.pieces]
    width = min(60, max((len(what) for _, what in rows), default=0))
    before = ""
    for piece, what in rows:
        if piece.pointer != before:
            before = piece.pointer
            if piece.pointer != found.pointer:
                yield paint(printable(piece.pointer), "cyan", colour)
        value = full(piece.value) if everything else short(piece.value)
        yield f"{paint(f'{piece.seq:>7}', 'yellow', colour)}  {what:<{width}}  {value}"
    owners = found.owners
    for origin in owners if everything else owners[-CHAINS:]:
        yield ""
        yield from chain_lines(origin, found.evidence(origin.seq), everything, colour)
        yield from _copies(found, [piece for piece in found.pieces if piece.seq == origin.seq])
        yield from _before(found, origin)
    if len(owners) > CHAINS and not everything:
        yield paint(f"\n{len(owners) - CHAINS} older events are left out; see --all", "dim", colour)


def chain_lines(origin: Origin, evidence: Evidence, everything: bool, colour: bool) -> Iterator[str]:
    """Yield what is known of one event: what it was, the model call, the rewards, the parents."""
    from eventcore.history.blame_view import said

    when = Clock().text(origin.time) if origin.time else ""
    yield f"{paint(str(origin.seq), 'yellow', colour)}  {printable(said(origin))}  {paint(when, 'dim', colour)}"
    if evidence.call is not None:
        yield from _call(evidence.call, everything)
    if evidence.rewards:
        yield _rewards(origin, evidence.rewards, everything)
    for parent in origin.parents:
        scored = "" if parent.reward is None else f", reward {parent.reward:.3g} over {parent.count}"
        yield f"    made of     {parent.seq} {parent.kind}{scored}"


def _rewards(origin: Origin, rewards: Sequence[tuple[str, float]], everything: bool) -> str:
    each = ", ".join(f"{printable(rollout)} {reward:g}" for rollout, reward in rewards)
    if origin.kind == "PredictionAppended":
        return f"    scored      {each}"
    values = [reward for _, reward in rewards]
    mean = f"{count(len(values), 'rollout')}, mean reward {sum(values) / len(values):.3g}"
    between = f" (from {min(values):.3g} to {max(values):.3g})" if min(values) < max(values) else ""
    return f"    was shown   {mean}{between}" + (f": {each}" if everything else "")


def _call(call: Call, everything: bool) -> Iterator[str]:
    cost = f", ${call.cost:.6f}" if call.cost else ""
    tokens = f", {call.input_tokens} + {call.output_tokens} tokens" if call.input_tokens else ""
    line = f" at {printable(call.source.rsplit('/', 1)[-1])}" if call.source else ""
    yield f"    model call  {call.seq} {printable(call.model or call.kind)}{tokens}{cost}{line}"
    asked, answered = call.request, call.answer
    if not everything:  # what was said last is what the answer is to
        asked, answered = _last_message(asked), _content(answered)
    value = full if everything else partial(short, limit=MESSAGE)
    yield f"      asked     {value(asked)}"
    yield f"      answered  {value(answered)}"


def _last_message(request: dict[str, Any]) -> Any:
    messages = request.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return request if last is None else _content(last)


def _content(said: Any) -> Any:
    return (said.get("content") or said) if isinstance(said, dict) else said


def _before(found: Blame, origin: Origin) -> Iterator[str]:
    """Follow a value into the run it was brought from, or say where to ask."""
    from eventcore.history.blame_view import gone_on, said

    place = gone_on(origin.note)
    if place is None:
        return
    store, run, seq = map(printable, place)
    older = found.before(origin.seq)
    for other in older:
        for piece in other.pieces:
            text = printable(said(other.origin(piece.seq)))
            yield f"    in run {run}  {piece.seq}  {text}  {short(piece.value)}"
    spelt = shlex.join(["blame", store, run, found.variable + found.pointer, "--at", seq])
    yield f"    {'more' if older else 'goes on'}: eventcore {printable(spelt)}"


def _copies(found: Blame, pieces: list[Piece]) -> Iterator[str]:
    seqs = sorted({seq for piece in pieces for seq in piece.copies})
    for seq in seqs:
        origin = found.origin(seq)
        note = f" ({printable(origin.note)})" if origin.note else ""
        yield f"    copied by   {seq} {origin.kind}{note}"
