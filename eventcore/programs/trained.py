"""The training methods of a program: each hands over to the program's trainer.

The trainer lives above programs; it is imported when a program is first compiled, run on a list or trained, so
a program that is only called never loads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from eventcore.history.scope import in_run, scope

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.training.trainer import Trainer


class Trained:
    """What a program can do besides being called."""

    _own_trainer: Trainer | None = None
    _apart: Run | None = None

    def live_apart(self, run: Run) -> None:
        """Let everything this program does be recorded in `run`, whatever run is current: a look into the past."""
        object.__setattr__(self, "_apart", run)

    def at_home(self) -> AbstractContextManager[Any]:
        """Where its events go: nothing changes for a program that lives in the current run."""
        home = self._apart
        return nullcontext() if home is None or scope().run is home else in_run(home)

    @property
    def trainer(self) -> Trainer:
        """The trainer of this program."""
        if self._own_trainer is None:
            from eventcore.training.trainer import Trainer

            object.__setattr__(self, "_own_trainer", Trainer(self))
        assert self._own_trainer is not None
        return self._own_trainer

    @property
    def optimizer(self) -> Any:
        """The optimizer it was compiled with, None without one."""
        return self.trainer.optimizer

    @property
    def reward(self) -> Any:
        """The compiled reward, None without one."""
        return self.trainer.reward

    @property
    def metrics(self) -> list[Any]:
        """The metrics it was compiled with."""
        return list(self.trainer.measures.metrics)

    @property
    def history(self) -> Any:
        """The `History` of the last `fit`, None before one."""
        return self.trainer.history

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.trainer.compiled

    @property
    def stop_training(self) -> bool:
        """Set to True, e.g. by a callback, to end `fit` after the present batch."""
        return self.trainer.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self.trainer.stop_training = bool(value)

    def compile(
        self,
        optimizer: Any = None,
        reward: Any = None,
        reward_weights: Any = None,
        metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Say how the program is trained and scored.

        Args:
            optimizer: An optimizer that trains no other program, its config, or its name; None to evaluate only.
            reward: A reward, a function, a config or a name; or a list or dict of them, one per output.
            reward_weights: Weights of the outputs' rewards, in the same form.
            metrics: A list of metrics, functions or names. In place of a metric that another program has, one like
                it is made.
            run_eagerly: Accepted for compatibility; everything is eager.
            steps_per_execution: Accepted for compatibility; batches are taken one by one.

        Raises:
            InvalidValue: An unknown name (the message lists the known ones), an optimizer that trains another program,
                or rewards that do not fit the outputs.
        """
        with self.at_home():
            self.trainer.compile(optimizer, reward, reward_weights, metrics, run_eagerly, steps_per_execution)

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
        **options: Any,
    ) -> Any:
        """Train the program.

        Args:
            x: A list or array of inputs (data models or dicts), or a generator, a dataset or a function that gives
                `(x_batch, y_batch)`.
            y: Targets in the same order, or None.
            batch_size: Examples of a step.
            minibatch_size: Validation examples each step's proposal is scored on; None for all.
            epochs: The epoch to stop before.
            verbose: 0 silent, 1 a progress bar, 2 a line per epoch, "auto" 1 at a terminal and 2 elsewhere.
            callbacks: Callbacks.
            validation_split: Fraction held out from the end of a list; 0 to select on training rewards.
            validation_data: `(x, y)`, or a generator of such batches, instead.
            shuffle: Shuffle a list anew each epoch, by the run's seed.
            initial_epoch: The epoch to begin with.
            steps_per_epoch: Batches of an epoch; needed for an endless generator.
            validation_steps: Batches of a full validation; None for all.
            validation_batch_size: Examples of a validation batch.
            validation_freq: Validate every so many epochs, or after the epochs listed (1 is the first).
            **options: `max_concurrency` (examples under way at once, 32) and `reset` (forget the population).

        Returns:
            The `History`: `reward` is the training reward, `val_reward` the validation's.

        Raises:
            InvalidValue: Not compiled, no examples, or arguments that cannot be; nothing was called then.
            TrainingFailed: Every example failed; the first cause is chained.
        """
        with self.at_home():
            return await self.trainer.fit(
                x, y, batch_size, minibatch_size, epochs, verbose, callbacks, validation_split, validation_data,
                shuffle, initial_epoch, steps_per_epoch, validation_steps, validation_batch_size, validation_freq,
                **options,
            )  # fmt: skip

    async def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Return mean reward and metrics over examples, without training.

        Examples that fail are left out, with a warning; the reward is NaN if none could be scored.

        Args:
            x: As in `fit`.
            y: As in `fit`.
            **options: `batch_size` (32), `verbose`, `steps`, `callbacks`, `return_dict` (True), `max_concurrency`.
        """
        with self.at_home():
            return await self.trainer.evaluate(x, y, **options)

    async def predict(self, x: Any, **options: Any) -> Any:
        """Return the outputs for examples, in their order; None for one that failed.

        Args:
            x: As in `fit`.
            **options: `batch_size`, `verbose`, `steps`, `callbacks`, `max_concurrency`.
        """
        with self.at_home():
            return await self.trainer.predict(x, **options)

    async def train_on_batch(self, step: int, x: Any, y: Any = None, **options: Any) -> Any:
        """Do one step of training on one batch; returns its reward and metrics.

        Args:
            step: Number of the step.
            x: Inputs of the batch.
            y: Targets of the batch.
            **options: `val_x`, `val_y`, `return_dict`.
        """
        with self.at_home():
            return await self.trainer.train_on_batch(step, x, y, **options)

    async def test_on_batch(self, x: Any, y: Any = None, **options: Any) -> Any:
        """Score one batch; `return_dict` and `y_pred` as options."""
        with self.at_home():
            return await self.trainer.test_on_batch(x, y, **options)

    async def predict_on_batch(self, x: Any, training: bool = False) -> list[Any]:
        """Return the outputs for one batch, None for an example that failed."""
        with self.at_home():
            return await self.trainer.predict_on_batch(x, training)

    async def compute_reward(self, x: Any, y: Any, y_pred: Any, training: bool = True) -> list[float | None]:
        """Return the rewards of predictions, None where one cannot be scored."""
        with self.at_home():
            return await self.trainer.compute_reward(x, y, y_pred, training)

    async def compute_metrics(self, x: Any, y: Any, y_pred: Any) -> dict[str, float]:
        """Update the metrics with predictions and return their values."""
        with self.at_home():
            return await self.trainer.compute_metrics(x, y, y_pred)

    def reset_metrics(self) -> None:
        """Empty all metrics."""
        with self.at_home():
            self.trainer.measures.reset()

    def get_compile_config(self) -> dict[str, Any]:
        """Return what `compile` was given."""
        return {} if self._own_trainer is None else self._own_trainer.get_compile_config()

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as another program was: with an optimizer of its own, which has learnt nothing yet."""
        optimizer = config.get("optimizer")
        if getattr(optimizer, "program", None) not in (None, self):
            made = type(optimizer).from_config({**optimizer.get_config(), "name": None})  # type: ignore[union-attr]
            config = {**config, "optimizer": made}
        self.compile(**config)
