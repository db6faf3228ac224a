"""A toy run of DSPy's optimizers with a deterministic fake: `python toy_dspy.py STORE CALLS OPTIMIZER`.

Every call of the fake model is a line in CALLS; the process kills itself before or after the n-th call where it is
told to.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, Usage

import eventcore as ec
from eventcore.integrations.dspy import LM, compile


class FakeEngine:
    """Answers by a digest of what it is asked."""

    def __init__(self, calls: Path, kill_at: int, after: bool) -> None:
        self._calls = calls
        self._kill_at = kill_at
        self._after = after
        self._made = 0

    def complete(self, request: Request) -> Response:
        asked = "\n".join([str(request.system), *(str(message.text) for message in request.messages)])
        digest = hashlib.sha256(asked.encode()).hexdigest()
        self._made += 1
        if self._made == self._kill_at and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        with self._calls.open("a") as file:
            file.write(json.dumps([digest, request.config.temperature]) + "\n")
        if self._made == self._kill_at and self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        number = int(digest[:8], 16)
        fields = {"proposed_instruction": f"Count to {number % 1000}.", "answer": str(number % 3)}
        fields |= {"proposed_prefix_for_output_field": "Answer:", "reasoning": f"It is {number % 7}."}
        text = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())
        usage = Usage(input_tokens=len(asked), output_tokens=len(text), total_tokens=len(asked) + len(text))
        return Response(
            id=None, model="fake", message=Message.assistant(text + "\n\n[[ ## completed ## ]]"),
            finish_reason="stop", usage=usage,
        )  # fmt: skip


TRAIN = [dspy.Example(question=f"question {n}", answer=str(n % 3)).with_inputs("question") for n in range(10)]


def metric(example: Any, prediction: Any, trace: Any = None) -> bool:
    return bool(example.answer == prediction.answer)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("calls", type=Path)
    parser.add_argument("optimizer", choices=("bootstrap", "search", "copro", "mipro"))
    parser.add_argument("--budget", type=int)
    parser.add_argument("--kill-before", type=int, default=0)
    parser.add_argument("--kill-after", type=int, default=0)
    return parser.parse_args()


def optimized(kind: str, program: Any) -> Any:
    if kind == "bootstrap":
        return compile(
            dspy.BootstrapFewShot(metric=metric, max_bootstrapped_demos=2), program, trainset=TRAIN
        )
    if kind == "search":
        search = dspy.BootstrapFewShotWithRandomSearch(
            metric=metric, max_bootstrapped_demos=2, max_labeled_demos=2, num_candidate_programs=3
        )
        return compile(search, program, trainset=TRAIN[:5], valset=TRAIN[5:])
    if kind == "copro":
        copro = dspy.COPRO(metric=metric, breadth=3, depth=2)
        return compile(
            copro, program, trainset=TRAIN[:6], eval_kwargs={"num_threads": 1, "display_progress": False}
        )
    mipro = dspy.MIPROv2(metric=metric, auto=None, num_candidates=3, max_bootstrapped_demos=2)
    return compile(mipro, program, trainset=TRAIN[:6], valset=TRAIN[6:], num_trials=4, minibatch=False)


def main() -> None:
    """Run it, and print the outcome as one line of JSON."""
    given = arguments()
    fake = FakeEngine(given.calls, given.kill_before or given.kill_after, bool(given.kill_after))
    budget = None if given.budget is None else {"calls": given.budget}
    with ec.open(given.store) as store, store.run("toy", seed=7, resume=True, budget=budget) as run:
        dspy.configure(lm=LM(dspy.LM("toy/fake", engine=fake)))
        try:
            program = optimized(given.optimizer, dspy.ChainOfThought("question -> answer"))
        except ec.errors.BudgetExceeded:
            print(json.dumps({"stopped": run.head}))
            return
        state = program.dump_state()
        print(json.dumps({"program": state, "digest": run.state.digest, "head": run.head}))


if __name__ == "__main__":
    main()
