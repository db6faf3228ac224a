"""GEPA improves a prompt, is killed, and goes on: the same command again ends as if nothing had happened.

    python -m eventcore.examples.gepa_prompts runs.lmdb --kill-after 40
    python -m eventcore.examples.gepa_prompts runs.lmdb
    eventcore why runs.lmdb

Without `--task-lm` and `--reflection-lm` (names as litellm takes them) both models are played by a few lines, so
that it costs nothing. What makes GEPA resumable are the lines marked with an arrow.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
from typing import Any

import eventcore as ec  # <-


def _task(n: int) -> dict[str, Any]:
    numbers = [n, n * 7 % 11, n * 3 % 10]
    question = f"Which of {numbers[0]}, {numbers[1]} and {numbers[2]} is greatest?"
    return {"input": question, "answer": str(max(numbers)), "additional_context": {}}


TASKS = [_task(n) for n in range(16)]
ADVICE = ("Compare them pair by pair.", "Check the result.", "Write nothing else.", "Take your time.")


class Played:
    """Two models that answer by what they are asked, and a process that ends after so many calls."""

    def __init__(self, kill_after: int) -> None:
        self.left = kill_after

    def _called(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def answer(self, messages: Any) -> str:
        """Answer a question, the better the longer the instructions."""
        self._called()
        instructions, question = str(messages[0]["content"]), str(messages[1]["content"])
        difficulty = hashlib.sha256(question.encode()).digest()[0]
        numbers = [int(word.strip("?,")) for word in question.split() if word.strip("?,").isdigit()]
        return str(max(numbers) if difficulty < 70 * instructions.count(".") else min(numbers))

    def reflect(self, prompt: Any) -> str:
        """Propose instructions with one more sentence."""
        self._called()
        before = str(prompt).split("```")[1].strip()
        return f"```\n{before} {ADVICE[before.count('.') % len(ADVICE)]}\n```"


def main(arguments: list[str] | None = None) -> int:
    """Run GEPA, or go on with it, and print what it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--task-lm", help="for example openai/gpt-5-mini")
    parser.add_argument("--reflection-lm", help="for example openai/gpt-5")
    parser.add_argument("--metric-calls", type=int, default=120)
    parser.add_argument(
        "--kill-after", type=int, default=0, help="SIGKILL during this call of a played model"
    )
    given = parser.parse_args(arguments)
    from eventcore.integrations.gepa import optimize  # <- in the place of: from gepa import optimize

    played = Played(given.kill_after)
    with ec.open(given.store) as store, store.run("prompts", seed=7, resume=True) as run:  # <-
        result = optimize(
            seed_candidate={"instructions": "Answer with a number."},
            trainset=TASKS[:8],
            valset=TASKS[8:],
            task_lm=given.task_lm or played.answer,
            reflection_lm=given.reflection_lm or played.reflect,
            max_metric_calls=given.metric_calls,
        )
        best: Any = result.best_candidate
        print(f"best, {max(result.val_aggregate_scores):.2f}: {best['instructions']}")
        print(f"{len(result.candidates)} candidates, digest {run.state.digest[:16]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
