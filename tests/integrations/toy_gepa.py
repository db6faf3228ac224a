"""A toy run of GEPA with deterministic fakes: `python toy_gepa.py STORE CALLS [--budget N] [--metric-calls N]`.

Two components, merging, ties and names whose hashes matter, so that unaided GEPA ends differently under another
PYTHONHASHSEED. Every call of a fake model is a line in CALLS; the process kills itself before or after the n-th
call where it is told to.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import eventcore as ec

SEED = {"first instruction": "Say 0.", "second instruction": "Say 0.", "third": "Say 0."}
EXAMPLES = [{"input": f"question {n}", "answer": str(n % 5), "additional_context": {}} for n in range(12)]


class Named:
    """A data loader whose examples go by names."""

    def __init__(self, examples: list[dict[str, Any]]) -> None:
        self.examples = {f"{example['input']}?": example for example in examples}

    def all_ids(self) -> list[str]:
        return list(self.examples)

    def fetch(self, ids: Any) -> list[dict[str, Any]]:
        return [self.examples[name] for name in ids]

    def __len__(self) -> int:
        return len(self.examples)


def digit(*parts: str) -> int:
    """A number from 0 to 9 that depends on the texts alone."""
    return hashlib.blake2b("|".join(parts).encode(), digest_size=2).digest()[0] % 10


class Fakes:
    """The two models, and who kills the process."""

    def __init__(self, calls: Path, kill_at: int, after: bool) -> None:
        self._calls = calls
        self._kill_at = kill_at
        self._after = after
        self._made = 0

    def called(self, kind: str, text: str) -> None:
        """Count a call durably; the process may die before it is counted, or after, unanswered."""
        self._made += 1
        if self._made == self._kill_at and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        with self._calls.open("a") as file:
            file.write(json.dumps([kind, hashlib.sha256(text.encode()).hexdigest()]) + "\n")
        if self._made == self._kill_at and self._after:
            os.kill(os.getpid(), signal.SIGKILL)

    def reflect(self, prompt: Any) -> str:
        """Propose an instruction."""
        self.called("reflection", str(prompt))
        return f"Think of it.\n```\nSay {digit('reflect', str(prompt))}.\n```"

    def task(self, candidate: dict[str, str], question: str) -> int:
        """Answer a question; the score is how many of the components like it."""
        text = json.dumps([sorted(candidate.items()), question])
        self.called("task", text)
        return sum(digit(name, words, question) > 4 for name, words in candidate.items())


class ToyAdapter:
    """A system of three components."""

    propose_new_texts = None

    def __init__(self, fakes: Fakes) -> None:
        self.fakes = fakes

    def evaluate(self, batch: list[Any], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        from gepa.core.adapter import EvaluationBatch

        liked = [self.fakes.task(candidate, example["input"]) for example in batch]
        traces = [{"question": example["input"], "liked": n} for example, n in zip(batch, liked, strict=True)]
        return EvaluationBatch(
            outputs=[{"liked": n} for n in liked],
            scores=[n / 3 for n in liked],
            trajectories=traces if capture_traces else None,
        )

    def make_reflective_dataset(
        self, candidate: Any, eval_batch: Any, components_to_update: list[str]
    ) -> Any:
        return {
            name: [
                {"Inputs": trace["question"], "Feedback": trace["liked"]} for trace in eval_batch.trajectories
            ]
            for name in components_to_update
        }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("calls", type=Path)
    parser.add_argument("--unaided", action="store_true")
    parser.add_argument("--record", default="examples")
    parser.add_argument("--budget", type=int)
    parser.add_argument("--metric-calls", type=int, default=150)
    parser.add_argument("--kill-before", type=int, default=0)
    parser.add_argument("--kill-after", type=int, default=0)
    return parser.parse_args()


class Quiet:
    """A logger that says nothing."""

    def log(self, message: str) -> None: ...


def main() -> None:
    """Run it, and print the outcome as one line of JSON."""
    given = arguments()
    fakes = Fakes(given.calls, given.kill_before or given.kill_after, bool(given.kill_after))
    settings: dict[str, Any] = {
        "seed_candidate": SEED, "trainset": EXAMPLES, "valset": Named(EXAMPLES[:8]), "adapter": ToyAdapter(fakes),
        "reflection_lm": fakes.reflect, "max_metric_calls": given.metric_calls, "use_merge": True, "logger": Quiet(),
        "skip_perfect_score": False,
    }  # fmt: skip
    if given.unaided:
        from gepa.api import optimize as unaided

        result = unaided(**settings, seed=7, run_dir=given.store)
        print(json.dumps({"best": result.best_candidate, "candidates": result.candidates}))
        return
    from eventcore.integrations.gepa import optimize

    budget = None if given.budget is None else {"calls": given.budget}
    with ec.open(given.store) as store, store.run("toy", seed=7, resume=True, budget=budget) as run:
        try:
            result = optimize(**settings, record=given.record)
        except ec.errors.BudgetExceeded:
            print(json.dumps({"stopped": run.head}))
            return
        print(
            json.dumps(
                {
                    "best": result.best_candidate,
                    "candidates": result.candidates,
                    "scores": result.val_aggregate_scores,
                    "parents": result.parents,
                    "digest": run.state.digest,
                    "head": run.head,
                }
            )
        )


if __name__ == "__main__":
    main()
