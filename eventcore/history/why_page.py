"""How the answer to "why" looks: as text for a console, and as one page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from eventcore.history.blame_view import escaped, said
from eventcore.history.costs import Spending
from eventcore.history.origins import Evidence
from eventcore.history.timetravel import Difference, word_diff
from eventcore.history.why import Candidate, Demo, Score, Step, StepCost, VariableStory, Why

REJECTED = 20
"""Rejected candidates a text shows; a page shows all."""

STEPS = 40
"""Steps whose cost a text shows."""

_LONG = 160


def why_text(why: Why) -> str:
    """Return the whole story as text."""
    lines = [f"Why run {why.run!r} has what it has at seq {why.seq}"]
    if why.costs:
        lines.append(f"spent: {_spent(why.spending)}")
    lines += [f"epoch {epoch.epoch} (ended at {epoch.seq}): {_logs(epoch.logs)}" for epoch in why.epochs]
    for story in why.variables:
        lines += ["", *_story_lines(story)]
    if why.costs:
        lines += ["", "cost of each step"]
        lines += [f"  {_place(part):<22} {_spent(part.spending)}" for part in why.costs[:STEPS]]
        if len(why.costs) > STEPS:
            lines.append(f"  and {len(why.costs) - STEPS} more steps")
    return "\n".join(lines)


def _story_lines(story: VariableStory) -> Iterator[str]:
    yield story.path
    yield f"  {_results(story.winner)}" + (f" ({story.winner.reason})" if story.winner.reason else "")
    yield from (f"  {name} = {_value(item)}" for name, item in story.winner.fields.items())
    yield "  lineage"
    for run, older in _before(story):
        yield f"    in run {run!r}"
        yield from _lineage_lines(older)
    if story.before is not None:
        yield "    then"
    yield from _lineage_lines(story)
    if story.demos:
        yield "  examples"
        yield from (f"    {_demo(demo)}" for demo in story.demos)
    yield f"  tried and rejected: {len(story.rejected) or 'nothing'}"
    for step in story.rejected[:REJECTED]:
        yield f"    {step.origin.seq:>7}  {said(step.origin)}: {_results(step.candidate)}"
        yield from (f"             {line}" for line in _changes(step))
    if len(story.rejected) > REJECTED:
        yield f"    and {len(story.rejected) - REJECTED} more"


def _lineage_lines(story: VariableStory) -> Iterator[str]:
    for step in story.lineage:
        yield f"    {step.origin.seq:>7}  {said(step.origin)}: {_results(step.candidate)}"
        yield from (f"             {line}" for line in _behind(step.evidence, step.origin.sources))
        if step is not story.lineage[0]:
            yield from (f"             {line}" for line in _changes(step))


def _before(story: VariableStory) -> list[tuple[str, VariableStory]]:
    """Return the runs a value came through and how it came to it there, the oldest first."""
    found: list[tuple[str, VariableStory]] = []
    while story.before is not None:
        found.insert(0, story.before)
        story = story.before[1]
    return found


def _score(score: Score, what: str) -> str:
    return f"{what} {score.mean:.3g} over {score.count} rollouts"


def _results(candidate: Candidate) -> str:
    scores = ((candidate.validation, "validation"), (candidate.score, "reward"))
    return ", ".join(_score(score, what) for score, what in scores if score.count) or "never evaluated"


def _behind(evidence: Evidence, sources: Iterable[str]) -> Iterator[str]:
    call = evidence.call
    if call is not None:
        cost = f", ${call.cost:.6f}" if call.cost else ""
        tokens = f", {call.input_tokens} + {call.output_tokens} tokens" if call.input_tokens else ""
        yield f"from model call {call.seq} ({call.model or call.kind}{tokens}{cost})"
    if evidence.rewards:
        mean = sum(reward for _, reward in evidence.rewards) / len(evidence.rewards)
        what = "made of the records of" if tuple(sources) else "shown"
        yield f"{what} {len(evidence.rewards)} rollouts, mean reward {mean:.3g}"


def _changes(step: Step) -> Iterator[str]:
    yield from (_change(difference) for difference in step.differences)
    yield from _examples(step)


def _examples(step: Step) -> Iterator[str]:
    kept, added, dropped = step.examples
    if added or dropped:
        yield f"examples: {kept} kept, {added} added, {dropped} dropped"


def _change(difference: Difference) -> str:
    signs = {"add": "+", "remove": "-", "replace": "~"}
    return f"{signs[difference.op]} {difference.pointer}  {''.join(_changed(difference))}"


def _changed(difference: Difference) -> Iterator[str]:
    before, after = difference.before, difference.after
    if difference.op != "replace":
        yield _value(before if difference.op == "remove" else after)
    elif isinstance(before, str) and isinstance(after, str):
        for word in difference.words or word_diff(before, after):
            marks = {"-": ("[-", "-]"), "+": ("{+", "+}"), "=": ("", "")}[word.op]
            text = (
                word.text
                if word.op != "=" or len(word.text) <= 80
                else f"{word.text[:38]} … {word.text[-38:]}"
            )
            yield f"{marks[0]}{_printable(text)}{marks[1]}"
    else:
        yield f"{_value(before)} -> {_value(after)}"


def _demo(demo: Demo) -> str:
    reward = demo.value.get("reward") if isinstance(demo.value, dict) else None
    scored = f", reward {reward:g}" if isinstance(reward, (int, float)) else ""
    source = f"rollout {demo.rollout}" if demo.rollout else "written by hand or by a program"
    return f"{source}{scored}, since seq {demo.seq}: {_value(demo.value)}"


def _spent(spending: Spending) -> str:
    tokens = f", {spending.tokens:,} tokens" if spending.tokens else ""
    errors = f", {spending.errors} failed" if spending.errors else ""
    return f"{spending.calls:,} calls{errors}{tokens}, ${spending.cost:.4f}"


def _place(part: StepCost) -> str:
    if part.epoch is None:
        return "outside training"
    return f"epoch {part.epoch}" + ("" if part.step is None else f" step {part.step}")


def _logs(logs: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in logs.items()
    )


def _value(value: Any, limit: int = _LONG) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _printable(text if len(text) <= limit else text[: limit - 1] + "…")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


# --- the page ----------------------------------------------------------------------------------

_STYLE = (
    "<style>.why{font-family:sans-serif;line-height:1.45}.why table{border-collapse:collapse}"
    ".why td,.why th{padding:.15em .7em;text-align:left;vertical-align:top;border-bottom:1px solid #ddd}"
    ".why pre{white-space:pre-wrap;background:#8881;padding:.5em;margin:.3em 0}"
    ".why del{background:#fbb;color:#000}.why ins{background:#bfb;color:#000;text-decoration:none}"
    ".why li{margin:.6em 0}.why small{opacity:.75}</style>"
)


def why_html(why: Why) -> str:
    """Return the whole story as HTML, with its style and without a script."""
    parts = [f'{_STYLE}<div class="why"><h1>Why run {escaped(why.run)} has what it has at seq {why.seq}</h1>']
    if why.epochs:
        rows = "".join(
            f"<tr><td>{epoch.epoch}</td><td>{epoch.seq}</td><td>{escaped(_logs(epoch.logs))}</td></tr>"
            for epoch in why.epochs
        )
        parts.append(f"<table><tr><th>epoch</th><th>ended at</th><th>logs</th></tr>{rows}</table>")
    parts += [_story_html(story) for story in why.variables]
    if why.costs:
        rows = "".join(
            f"<tr><td>{_place(part)}</td><td>{_spent(part.spending)}</td></tr>" for part in why.costs
        )
        total = f"<tr><th>all</th><th>{_spent(why.spending)}</th></tr>"
        parts.append(f"<h2>Cost of each step</h2><table>{rows}{total}</table>")
    return "".join(parts) + "</div>"


def _story_html(story: VariableStory) -> str:
    winner = story.winner
    reason = f" ({escaped(winner.reason)})" if winner.reason else ""
    fields = "".join(
        f"<dt>{escaped(name)}</dt><dd><pre>{_whole(item)}</pre></dd>" for name, item in winner.fields.items()
    )
    line = _lineage_html(story)
    older = "".join(
        f"<h3>Lineage in run {escaped(repr(run))}</h3><ol>{_lineage_html(before)}</ol>"
        for run, before in _before(story)
    )
    demos = "".join(f"<li>{escaped(_demo(demo))}</li>" for demo in story.demos)
    tried = "".join(_step_html(step, False) for step in story.rejected)
    return (
        f"<h2>{escaped(story.path)}</h2><p>{escaped(_results(winner))}{reason}</p><dl>{fields}</dl>"
        f"{older}<h3>Lineage</h3><ol>{line}</ol>"
        + (f"<h3>Examples</h3><ol>{demos}</ol>" if demos else "")
        + f"<h3>Tried and rejected</h3>{f'<ul>{tried}</ul>' if tried else '<p>nothing</p>'}"
    )


def _lineage_html(story: VariableStory) -> str:
    return "".join(_step_html(step, at == 0) for at, step in enumerate(story.lineage))


def _step_html(step: Step, first: bool) -> str:
    differences = [] if first else step.differences
    lines = "".join(
        f"<br><small>{escaped(line)}</small>" for line in _behind(step.evidence, step.origin.sources)
    )
    call = step.evidence.call
    if call is not None:
        lines += (
            f"<details><summary>request and answer of call {call.seq}</summary><pre>{_whole(call.request)}</pre>"
            f"<pre>{_whole(call.answer)}</pre></details>"
        )
    if step.evidence.rewards:
        listed = ", ".join(f"{rollout} {reward:g}" for rollout, reward in step.evidence.rewards)
        lines += f"<details><summary>rewards</summary>{escaped(listed)}</details>"
    changes = "".join(f"<pre>{_change_html(difference)}</pre>" for difference in differences)
    changes += "" if first else "".join(f"<p>{line}</p>" for line in _examples(step))
    title = f"{said(step.origin)}: {_results(step.candidate)}"
    return f"<li><b>{step.origin.seq}</b> {escaped(title)}{lines}{changes}</li>"


def _change_html(difference: Difference) -> str:
    before, after = difference.before, difference.after
    place = f"<small>{escaped(difference.pointer)}</small> "
    if difference.op == "replace" and isinstance(before, str) and isinstance(after, str):
        tags = {"-": "<del>{}</del>", "+": "<ins>{}</ins>", "=": "{}"}
        compared = difference.words or word_diff(before, after)
        return place + "".join(tags[word.op].format(escaped(word.text)) for word in compared)
    gone = "" if difference.op == "add" else f"<del>{_whole(before)}</del>"
    new = "" if difference.op == "remove" else f"<ins>{_whole(after)}</ins>"
    return place + gone + new


def _whole(value: Any) -> str:
    return escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1))
