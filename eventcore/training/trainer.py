"""`Trainer`: what `compile`, `fit`, `evaluate` and `predict` of a program do.

A program has one trainer, made when it is first asked for. The trainer holds what `compile` was given and runs
examples through the program; the order of the steps of `fit` is in `loop.py`.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Sequence
from typing import Any

from eventcore.errors import InvalidValue
from eventcore.history import events as e
from eventcore.history.scope import current_run
from eventcore.modules.building import ensure_built
from eventcore.modules.calling import converted, given_inputs, settle
from eventcore.replay.rollouts import RolloutNames
from eventcore.training.examples import Example, Examples, Stream, paired, source_of
from eventcore.training.forward import MAX_CONCURRENCY, Rolled, run_examples, score_examples, warn_of_failures
from eventcore.training.loop import Fit, FitOptions
from eventcore.training.measures import Measures, mean
from eventcore.training.scoring import CompiledReward


class Trainer:
    """Trains, evaluates and runs one program.

    Attributes:
        program: The program.
        optimizer: The optimizer, None without one.
        reward: The compiled reward, None before `compile`.
        measures: The compiled metrics.
        stop_training: Set it to True to end `fit` after the present batch.
        resume_epoch: A callback sets it when training begins, to go on with that epoch.
        history: The `History` of the last `fit`.
    """

    def __init__(self, program: Any) -> None:
        self.program = program
        self.optimizer: Any = None
        self.reward: CompiledReward | None = None
        self.measures = Measures([])
        self.stop_training = False
        self.resume_epoch = 0
        self.history: Any = None
        self.compiled = False
        self._config: dict[str, Any] = {}
        self.last_count = 0
        self.last_errors: list[BaseException] = []
        self._calls = 0

    # --- compile -------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = None,
        reward: Any = None,
        reward_weights: Any = None,
        metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Take what the program is trained and scored with; see `Program.compile`."""
        from eventcore import optimizers
        from eventcore.training import metrics as metrics_module

        if steps_per_execution < 1:
            raise InvalidValue(
                f"cannot compile with steps_per_execution={steps_per_execution}: pass at least 1"
            )
        chosen = None if optimizer is None else self._untaken(optimizers.get(optimizer))
        names = list(getattr(self.program, "output_names", None) or [])
        compiled = None if reward is None else CompiledReward(reward, reward_weights, names)
        self.measures = Measures([self._own(metrics_module.get(metric)) for metric in metrics or ()], names)
        self.optimizer, self.reward = chosen, compiled
        if chosen is not None:
            chosen.set_program(self.program)
            chosen.build([])
        self._config = {
            "optimizer": chosen,
            "reward": _compiled_rewards(reward, compiled),
            "reward_weights": reward_weights,
            "metrics": list(self.measures.metrics) or None,
        }
        self.compiled, self.stop_training = True, False

    def _untaken(self, optimizer: Any) -> Any:
        """Return an optimizer, unless it trains another program.

        Raises:
            InvalidValue: It does.
        """
        if self._is_taken(optimizer):
            gc.collect()  # a program that was dropped goes with the collector, not before
        if self._is_taken(optimizer):
            kind = type(optimizer).__name__
            raise InvalidValue(
                f"cannot compile program {self.program.name!r} with optimizer {optimizer.name!r}: it trains program "
                f"{optimizer.program.name!r}, and what it has learnt is about that one; pass a new one, {kind}(…)"
            )
        return optimizer

    def _is_taken(self, optimizer: Any) -> bool:
        program = optimizer.program
        return program is not None and program is not self.program and program.optimizer is optimizer

    def _own(self, metric: Any) -> Any:
        """Return a metric that nobody else updates: itself, or a new one like it."""
        owner = metric.owner() if metric.owner is not None else None
        if owner is not None and owner is not self and any(metric is one for one in owner.measures.metrics):
            config = metric.get_config()
            config.pop("scope", None)
            metric = type(metric).from_config(config)
        metric.owner = weakref.ref(self)
        return metric

    def get_compile_config(self) -> dict[str, Any]:
        """Return what `compile` was given."""
        return dict(self._config)

    def require_compiled(self, what: str) -> CompiledReward:
        """Return the reward, or raise saying what to do first."""
        if not self.compiled:
            raise InvalidValue(
                f"cannot {what} program {self.program.name!r}: it is not compiled; "
                "call program.compile(reward=…, optimizer=…) first"
            )
        if self.reward is None:
            raise InvalidValue(f"cannot {what} program {self.program.name!r}: compile it with a reward=")
        return self.reward

    # --- fit -----------------------------------------------------------------------------------

    async def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int = 1,
        minibatch_size: int | None = 4,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.1,
        validation_data: Any = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int = 32,
        validation_freq: int | Sequence[int] = 1,
        max_concurrency: int = MAX_CONCURRENCY,
        reset: bool = False,
    ) -> Any:
        """Train the program; see `Program.fit`."""
        from eventcore.training.callbacks import CallbackList

        self.require_compiled("fit")
        if self.optimizer is None:
            raise InvalidValue(f"cannot fit program {self.program.name!r}: compile it with an optimizer=")
        _check_sizes(
            batch_size, minibatch_size, epochs, initial_epoch, steps_per_epoch, validation_steps, max_concurrency,
            validation_batch_size, validation_freq,
        )  # fmt: skip
        source = source_of(x, y, steps_per_epoch)
        validation, validation_steps = _given_validation(validation_data, validation_steps)
        if validation_data is None and isinstance(source, Examples) and _fraction(validation_split):
            source, validation = source.split(validation_split)
        options = FitOptions(
            batch_size=batch_size, minibatch_size=minibatch_size, epochs=epochs, initial_epoch=initial_epoch,
            shuffle=shuffle, steps_per_epoch=steps_per_epoch, validation_steps=validation_steps,
            validation_batch_size=validation_batch_size, validation_freq=validation_freq,
            max_concurrency=max_concurrency, reset=reset,
        )  # fmt: skip
        steps = steps_per_epoch or (-(-source.size // batch_size) if source.size > 0 else None)
        listeners = CallbackList(
            callbacks, add_history=True, add_progbar=True, program=self.program, verbose=verbose, epochs=epochs,
            steps=steps, metrics=self.known_logs(validation is not None),
        )  # fmt: skip
        self.stop_training, self.resume_epoch = False, 0
        self.history = listeners.history
        if epochs > initial_epoch:
            await Fit(self, source, validation, options).train(listeners)
        return self.history

    def known_logs(self, validated: bool) -> list[str]:
        """Names a callback may monitor."""
        names = ["reward", *self.measures.names()]
        return [*names, *(f"val_{name}" for name in names)] if validated else names

    async def train_on_batch(
        self,
        step: int,
        x: Any,
        y: Any = None,
        val_x: Any = None,
        val_y: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Do one step of training: run, credit, propose, score the proposal, write the best."""
        self.require_compiled("train")
        if self.optimizer is None:
            raise InvalidValue(f"cannot train program {self.program.name!r}: compile it with an optimizer=")
        validation = None if val_x is None else Examples(paired(val_x, val_y, "the validation batch"))
        rewards = await Fit(self, Examples(paired(x, y, "the batch")), validation, SINGLE_STEP).single(step)
        logs = {"reward": mean(rewards), **self.measures.results()}
        if return_dict:
            return logs
        values = list(logs.values())
        return values[0] if len(values) == 1 else values

    # --- running examples ----------------------------------------------------------------------

    async def ready(self, first: Sequence[Example]) -> None:
        """Build the program if nobody has, without a call, and make its variables live in the current run.

        Args:
            first: The first examples; the first of them that fits builds the program.
        """
        for example in first:
            if self.program.built:
                break
            try:
                args, _ = converted(self.program, (example.x,), {})
                await ensure_built(self.program, given_inputs(args, {}))
            except InvalidValue as error:
                # One bad example must not end a training; it fails by itself, like any other.
                logging.getLogger("eventcore").debug("an example cannot build the program: %s", error)
        settle(self.program)

    async def rollouts(
        self,
        examples: Sequence[Example],
        phase: str,
        epoch: int,
        step: int | None,
        *,
        training: bool,
        score: bool = True,
        limit: int = MAX_CONCURRENCY,
        cause: int = 0,
        names: RolloutNames | None = None,
    ) -> list[Rolled]:
        """Run examples and score them; one event tells the rewards of all."""
        names = names or RolloutNames(phase, epoch, step)
        rolled = await run_examples(
            self.program, examples, names, training=training, limit=limit, cause=cause
        )
        if score and self.reward is not None:
            await score_examples(rolled, self.reward, limit=limit, cause=cause)
            run = current_run()
            pairs = [(item.rollout, item.reward) for item in rolled]
            moment, _, _ = run.stamp()
            run.record(e.RolloutsScored(moment, None, cause, phase, pairs), 32 * len(pairs))
        return rolled

    async def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int = 32,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = True,
        max_concurrency: int = MAX_CONCURRENCY,
    ) -> Any:
        """Score the program on examples, without training."""
        self.require_compiled("evaluate")
        source = source_of(x, y, steps)
        listeners = self.callback_list(callbacks, verbose, steps=steps)
        listeners.on_test_begin()
        self.note_data("test", source)
        logs = await self.score_source(source, "test", 0, batch_size, steps, max_concurrency, listeners)
        errors = self.last_errors
        warn_of_failures(len(errors), errors[0] if errors else None, "in evaluate", stacklevel=3)
        listeners.on_test_end(logs)
        await current_run().barrier()
        if return_dict:
            return logs
        values = list(logs.values())
        return values[0] if len(values) == 1 else values

    def note_data(self, role: str, source: Examples | Stream) -> None:
        """Record that a data set went in."""
        run = current_run()
        run.record(e.DataSetSeen(*run.stamp(), role, source.size, source.digest), 48)

    async def score_source(
        self,
        source: Examples | Stream,
        phase: str,
        epoch: int,
        batch_size: int,
        steps: int | None,
        limit: int,
        listeners: Any = None,
        cause: int = 0,
    ) -> dict[str, float]:
        """Return mean reward (NaN if nothing could be scored) and metrics over a source, by name, sorted."""
        measures, self.last_errors = self.measures.fresh(), []
        names = RolloutNames(phase, epoch)
        rewards: list[float] = []
        began = False
        for number, batch in enumerate(source.batches(epoch, batch_size, None)):
            if steps is not None and number >= steps:
                break
            if not began:
                await self.ready(batch)
                began = True
            if listeners is not None:
                listeners.on_test_batch_begin(number)
            rolled = await self.rollouts(
                batch, phase, epoch, None, training=False, limit=limit, cause=cause, names=names
            )
            rewards += [item.reward for item in rolled if item.reward is not None]
            self.last_errors += [item.error for item in rolled if item.error is not None]
            await measures.update(rolled)
            if listeners is not None:
                listeners.on_test_batch_end(number, {"reward": mean(rewards)})
        if not began:
            raise InvalidValue(f"cannot score on the {phase} data: it holds no examples")
        self.last_count = len(rewards)
        return dict(sorted({"reward": mean(rewards), **measures.results()}.items()))

    async def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        max_concurrency: int = MAX_CONCURRENCY,
    ) -> list[Any]:
        """Run the program on examples; a failed one comes back as None."""
        source = source_of(x, None, steps)
        listeners = self.callback_list(callbacks, verbose, steps=steps)
        listeners.on_predict_begin()
        self.note_data("prediction", source)
        outputs: list[Any] = []
        names = RolloutNames("prediction", self._next_call())
        for number, batch in enumerate(source.batches(0, batch_size or 32, None)):
            if steps is not None and number >= steps:
                break
            listeners.on_predict_batch_begin(number)
            rolled = await self.rollouts(
                batch, "prediction", 0, None, training=False, score=False, limit=max_concurrency, names=names
            )
            outputs += [item.output for item in rolled]
            listeners.on_predict_batch_end(number, {"outputs": [item.output for item in rolled]})
        listeners.on_predict_end()
        await current_run().barrier()
        return outputs

    def _next_call(self) -> int:
        self._calls += 1
        return self._calls

    async def predict_on_batch(self, x: Any, training: bool = False) -> list[Any]:
        """Run the program on one batch; a failed example comes back as None."""
        batch = paired(x, None, "the batch")
        phase = "training" if training else "prediction"
        names = RolloutNames(phase, self._next_call(), 0)
        rolled = await self.rollouts(batch, phase, 0, 0, training=training, score=False, names=names)
        return [item.output for item in rolled]

    async def compute_reward(
        self, x: Any, y: Any, y_pred: Sequence[Any], training: bool = True
    ) -> list[float | None]:
        """Return the rewards of predictions, None for one that cannot be scored."""
        reward = self.require_compiled("score")
        batch = paired(list(y_pred) if x is None else x, y, "the batch")
        names = RolloutNames("training" if training else "test", self._next_call(), 0)
        rolled = [
            Rolled(example, names.name(example.digest), output)
            for example, output in zip(batch, y_pred, strict=True)
        ]
        await score_examples(rolled, reward, limit=MAX_CONCURRENCY)
        return [item.reward for item in rolled]

    async def compute_metrics(self, x: Any, y: Any, y_pred: Sequence[Any]) -> dict[str, float]:
        """Update the metrics with predictions and return their values by name."""
        batch = paired(list(y_pred) if x is None else x, y, "the batch")
        await self.measures.update(
            [Rolled(example, "", output) for example, output in zip(batch, y_pred, strict=True)]
        )
        return self.measures.results()

    async def test_on_batch(
        self, x: Any, y: Any = None, return_dict: bool = False, y_pred: Sequence[Any] | None = None
    ) -> Any:
        """Score one batch; with `y_pred`, without calling the program."""
        self.require_compiled("test")
        if y_pred is None:
            y_pred = await self.predict_on_batch(x)
        rewards = [reward for reward in await self.compute_reward(x, y, y_pred, False) if reward is not None]
        logs = {"reward": mean(rewards), **await self.compute_metrics(x, y, y_pred)}
        if return_dict:
            return logs
        values = list(logs.values())
        return values[0] if len(values) == 1 else values

    def callback_list(self, callbacks: Any, verbose: Any, **params: Any) -> Any:
        """Return the callbacks of one call as a list that is told together."""
        from eventcore.training.callbacks import CallbackList

        if isinstance(callbacks, CallbackList):
            return callbacks
        return CallbackList(callbacks, add_history=False, add_progbar=False, program=self.program, **params)


SINGLE_STEP = FitOptions(
    batch_size=1,
    minibatch_size=None,
    epochs=1,
    initial_epoch=0,
    shuffle=False,
    steps_per_epoch=None,
    validation_steps=None,
    validation_batch_size=32,
    validation_freq=1,
    max_concurrency=MAX_CONCURRENCY,
    reset=False,
)


def _compiled_rewards(given: Any, compiled: CompiledReward | None) -> Any:
    """Return the reward objects in the form they were given in."""
    if compiled is None:
        return None
    if isinstance(given, dict):
        return dict(zip(compiled.output_names, compiled.rewards, strict=True))
    return compiled.rewards if isinstance(given, (list, tuple)) else compiled.rewards[0]


def _given_validation(data: Any, steps: int | None) -> tuple[Examples | None, int | None]:
    """Return validation data and how many batches of it to use.

    A generator or dataset is read here, once, as far as `steps` says: scores can be compared only if every epoch
    is scored on the same examples.
    """
    if data is None:
        return None, steps
    pair = isinstance(data, tuple) and len(data) == 2
    source = source_of(data[0], data[1]) if pair else source_of(data, None, steps)
    if isinstance(source, Examples):
        return source, steps
    examples = [example for batch in source.batches(0, 1, None) for example in batch]
    if not examples:
        raise InvalidValue("cannot validate: validation_data= gave no examples")
    return Examples(examples), None


def _fraction(split: float) -> float:
    if not 0 <= split < 1:
        raise InvalidValue(f"cannot split by validation_split={split!r}: pass a fraction from 0 up to 1")
    return split


def _check_sizes(
    batch_size: int,
    minibatch_size: int | None,
    epochs: int,
    initial_epoch: int,
    steps_per_epoch: int | None,
    validation_steps: int | None,
    max_concurrency: int,
    validation_batch_size: int,
    validation_freq: Any,
) -> None:
    listed = isinstance(validation_freq, (list, tuple, set, frozenset))
    sizes = {
        "batch_size": batch_size,
        "minibatch_size": 1 if minibatch_size is None else minibatch_size,
        "steps_per_epoch": 1 if steps_per_epoch is None else steps_per_epoch,
        "validation_steps": 1 if validation_steps is None else validation_steps,
        "max_concurrency": max_concurrency,
        "validation_batch_size": validation_batch_size,
        "validation_freq": 1 if listed else validation_freq,
        "epochs": epochs,
        "initial_epoch": initial_epoch,
    }
    for name, value in sizes.items():
        least = 0 if name in ("epochs", "initial_epoch") else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidValue(f"cannot fit with {name}={value!r}: pass a whole number of at least {least}")
