"""A training whose every number is known beforehand: one word is trained, and words are proposed in a given order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import eventcore as ec
from eventcore import optimizers
from eventcore.training.callbacks import Callback

SCORES = {"start": 0.0, "poor": 0.25, "fair": 0.5, "good": 0.75, "best": 1.0}


class Question(ec.DataModel):
    text: str


class Answer(ec.DataModel):
    word: str


class Word(ec.Trainable):
    word: str = ec.Field(default="start", description="The word it says.")


class Calls(ec.DataModel):
    count: int = 0


class Says(ec.Module):
    """Answers with its trained word, and counts its calls in a variable that is not trained."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.state = self.add_variable(data_model=Word, name="word")
        self.calls = self.add_variable(data_model=Calls, name="calls")

    async def call(self, inputs: Any, training: bool = False) -> Any:
        if inputs is None:
            return None
        answer = Answer(word=self.state.get("word"))
        self.calls.update({"count": self.calls.get("count") + 1})
        if training:
            self.state.get("current_predictions").append(
                {"inputs": inputs.get_json(), "outputs": answer.get_json(), "reward": None}
            )
        return answer


class InTurn(optimizers.Optimizer):
    """Proposes the words it was given, one per batch; then nothing more."""

    def __init__(self, words: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = list(words)

    async def propose_new_candidates(
        self,
        step: int,
        trainable_variables: Any,
        x: Any,
        y: Any,
        y_pred: Any,
        training: bool = True,
    ) -> None:
        if self.iterations < len(self.words):
            for variable in trainable_variables:
                self.propose(variable, {"word": self.words[self.iterations]}, strategy="in turn")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": self.words}


async def score(y_true: Any, y_pred: Any) -> float:
    return SCORES[y_pred.get("word")]


class Dictates(Callback):
    """Writes given numbers into the logs of the epochs, in front of the callback that is tested."""

    def __init__(self, **values: Sequence[float]) -> None:
        super().__init__()
        self.values = values
        self.adds = tuple(values)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        for name, values in self.values.items():
            if epoch < len(values):
                logs[name] = values[epoch]


QUESTIONS = [Question(text=f"question {number}") for number in range(10)]
ANSWERS = [Answer(word="best") for _ in QUESTIONS]


def compiled(words: Sequence[str] = (), metrics: Any = None, name: str = "program") -> Any:
    """A program that is ready to be trained."""
    x = ec.Input(data_model=Question)
    program = ec.Program(inputs=x, outputs=ec.wait(Says(name=f"says_{name}")(x)), name=name)
    program.compile(reward=score, optimizer=InTurn(words), metrics=metrics)
    return program


def fit(program: Any, **options: Any) -> Any:
    """Train on one batch per epoch, so that each epoch validates the word proposed in it."""
    given = {"batch_size": 8, "validation_split": 0.2, "verbose": 0, **options}
    return ec.wait(program.fit(QUESTIONS, ANSWERS, **given))


def word_of(program: Any) -> str:
    """What the program says now."""
    found: str = program.trainable_variables[0].get_json()["word"]
    return found
