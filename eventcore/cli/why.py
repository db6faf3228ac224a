"""`eventcore why`: how the variables of a run came to what they hold, what else was tried, and what it cost.

Finding out is `Run.why`'s work; here it is only printed, or written as a page.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
import msgspec

from eventcore.cli.output import print_json, write_page
from eventcore.cli.stores import chosen_run, force_option, json_option, reading

if TYPE_CHECKING:
    from eventcore.history.why import Candidate, Step, VariableStory, Why


@click.command(short_help="Print how a run came to what it has: lineage, scores, cost, what was rejected.")
@click.argument("store")
@click.argument("places", nargs=-1, metavar="[RUN] [VARIABLE]")
@click.option("--at", metavar="SEQ", help="As of this seq, label, epoch or time. Default: the head.")
@click.option("--html", "page", metavar="FILE", help="Write one self-contained page to this file.")
@force_option
@json_option
def why(
    store: str, places: tuple[str, ...], at: str | None, page: str | None, force: bool, as_json: bool
) -> int:
    """Print how a run came to what it has: lineage, scores, cost, what was rejected.

    For each trained variable, or for VARIABLE alone: what it holds and how it did, over how many rollouts; the
    candidates it came from, with what each changed, the model call that gave it and the rewards that call was shown;
    the examples in it with the rollouts they came from; what was tried and rejected. Then what each step cost.
    """
    if len(places) > 2:
        raise click.UsageError("why takes STORE [RUN] [VARIABLE]")
    with reading(store, force) as opened:
        name = places[0] if places else None
        variable = places[1] if len(places) == 2 else None
        if name is not None and variable is None and name not in opened and len(opened) == 1:
            name, variable = None, name
        found = chosen_run(opened, name).why(variable, at)
        if page is not None:
            from eventcore.history.why_page import why_html

            write_page(page, f"Why: run {found.run}", why_html(found))
        if as_json:
            print_json(_document(found) | ({} if page is None else {"page": os.path.abspath(page)}))
        elif page is not None:
            click.echo(f"wrote {page}")
        else:
            click.echo(repr(found))
    return 0


def _document(found: Why) -> dict[str, Any]:
    return {
        "run": found.run,
        "at": found.seq,
        "epochs": msgspec.to_builtins(found.epochs),
        "spent": msgspec.to_builtins(found.spending),
        "costs": msgspec.to_builtins(found.costs),
        "variables": [_story(story) for story in found.variables],
    }


def _story(story: VariableStory) -> dict[str, Any]:
    brought = None if story.before is None else {"run": story.before[0], **_story(story.before[1])}
    return {
        "variable": story.path,
        **_candidate(story.winner),
        "reason": story.winner.reason,
        "lineage": [_step(step) for step in story.lineage],
        "examples": msgspec.to_builtins(story.demos),
        "rejected": [_step(step) for step in story.rejected],
        "before": brought,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "fields": candidate.fields,
        "reward": candidate.score.mean,
        "evaluations": candidate.score.count,
        "validation": candidate.validation.mean,
        "validated": candidate.validation.count,
    }


def _step(step: Step) -> dict[str, Any]:
    origin: dict[str, Any] = msgspec.to_builtins(step.origin)
    return {
        **origin,
        **_candidate(step.candidate),
        **msgspec.to_builtins(step.evidence),
        "differences": msgspec.to_builtins(step.differences),
    }
