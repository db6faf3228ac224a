"""The steps of `fit`, in order, and nothing else.

Per batch: the optimizer writes what the batch starts from, the batch runs with `training=True`, each record gets
its own reward, the optimizer proposes, the proposal is scored on a small validation sample, the best so far is
written. Per epoch: the most promising combination is scored on the whole validation set, once; winners are chosen
by those scores. Without validation data the training rewards decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import EventcoreError, InvalidValue, TrainingFailed
from eventcore.history import events as e
from eventcore.history.run import Run
from eventcore.history.scope import caused_by, current_run
from eventcore.replay.randomness import stream
from eventcore.replay.rollouts import RolloutNames
from eventcore.replay.secrets import redacted
from eventcore.training.credit import attribute, close_leftovers
from eventcore.training.examples import Example, Examples, Stream
from eventcore.training.forward import Rolled, warn_of_failures
from eventcore.training.measures import RunningMean, mean

if TYPE_CHECKING:
    from eventcore.training.trainer import Trainer
    from eventcore.variables import Variable

HOPELESS = 32
"""Rollouts that may fail, with none succeeding, before the training stops with the first cause."""


class FitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `fit` that steer the loop; see `Program.fit`."""

    batch_size: int
    minibatch_size: int | None
    epochs: int
    initial_epoch: int
    shuffle: bool
    steps_per_epoch: int | None
    validation_steps: int | None
    validation_batch_size: int
    validation_freq: int | Sequence[int]
    max_concurrency: int
    reset: bool

    def validates(self, epoch: int) -> bool:
        """Whether the whole validation set is due at the end of an epoch."""
        if isinstance(self.validation_freq, int):
            return (epoch + 1) % self.validation_freq == 0
        return epoch + 1 in self.validation_freq


class Fit:
    """One call of `fit`."""

    def __init__(
        self,
        trainer: Trainer,
        source: Examples | Stream,
        validation: Examples | None,
        options: FitOptions,
    ) -> None:
        self.trainer = trainer
        self.source = source
        self.options = options
        self.validation = validation
        self.held_out = None if validation is None else validation.examples
        self.optimizer = trainer.optimizer
        self.run: Run = current_run()
        self.variables: list[Variable] = []
        self.listeners: Any = None
        self.place = "before the first batch"
        self._succeeded = 0
        self._failed = 0
        self._failed_now = 0
        self._first_now: BaseException | None = None
        self._validated: dict[Any, dict[str, float]] = {}
        self._first_error: BaseException | None = None
        self._unused: dict[str, Variable] = {}
        self._began = 0
        self._frozen: list[Variable] = []
        self._names: dict[str, RolloutNames] = {}  # of the present epoch; a single step has its own

    async def train(self, listeners: Any) -> None:
        """Train; whatever ends it, the log says so and is durable."""
        self.listeners = listeners
        reason = "failed"
        try:
            await self._begin()
            for epoch in range(self._first_epoch(), self.options.epochs):
                await self._epoch(epoch)
                if self.trainer.stop_training:
                    break
            with caused_by(self._began):
                await self.optimizer.on_train_end(self.variables)
            reason = "stopped" if self.trainer.stop_training else "done"
            listeners.on_train_end({})
        except (KeyboardInterrupt, asyncio.CancelledError):
            reason = f"interrupted {self.place}"
            sys.stderr.write(
                f"eventcore: training interrupted {self.place}; run {self.run.name!r} has all until then\n"
            )
            raise
        except BaseException as error:
            reason = f"failed {self.place}: {type(error).__name__}"
            raise
        finally:
            try:
                listeners.close()
            finally:
                self._end(reason)

    def _first_epoch(self) -> int:
        """Where to begin; a callback may have taken up an earlier training."""
        return max(self.options.initial_epoch, self.trainer.resume_epoch)

    def _leave_the_best(self) -> None:
        """Cut short, the program may hold what was just being tried: write the best that was found instead."""
        # An error of this is not told: what ended the training goes to the caller.
        with contextlib.suppress(EventcoreError), caused_by(self._began):
            self.optimizer.write_best(self.variables, "training ended early")

    async def single(self, step: int) -> list[float]:
        """Do one batch alone (`train_on_batch`) and return its rewards."""
        from eventcore.training.callbacks import CallbackList

        self.listeners = CallbackList([], add_history=False, add_progbar=False, program=self.trainer.program)
        await self._begin()
        batch = [example for part in self.source.batches(0, 2**31, None) for example in part]
        return await self._batch(0, step, batch, RunningMean())

    def _end(self, reason: str) -> None:
        if self.run.writable and self.run.usable:
            if reason not in ("done", "stopped"):
                self._leave_the_best()
            with caused_by(self._began):
                self.run.record(e.TrainEnded(*self.run.stamp(), reason), len(reason))
            self.run.flush()

    async def _begin(self) -> None:
        first = [] if self.trainer.program.built else self.source.first(HOPELESS)
        await self.trainer.ready(first)
        self.run = current_run()
        self._sort_variables()
        self._unused = {variable.path: variable for variable in self.variables}
        for role, source in (("training", self.source), ("validation", self.validation)):
            if source is not None:
                self.trainer.note_data(role, source)
        config = {
            **msgspec.to_builtins(self.options),
            "optimizer": _described(self.optimizer),
            "rewards": [
                None if reward is None else _described(reward)
                for reward in self.trainer.require_compiled("fit").rewards
            ],
        }
        self._began = self.run.record(e.TrainBegan(*self.run.stamp(), config), 512)
        if not self.variables:
            warnings.warn(
                f"program {self.trainer.program.name!r} has no trainable variables: fit only evaluates; "
                "program.summary() says why a variable is not trainable",
                stacklevel=4,
            )
        for variable in [*self.variables, *self._frozen]:
            close_leftovers(variable, "left over from an earlier call")
        self.listeners.on_train_begin({})
        self.optimizer.tries_in_training = self.held_out is None
        with caused_by(self._began):
            await self.optimizer.on_train_begin(self.variables, reset=self.options.reset)

    def _sort_variables(self) -> None:
        """Tell the variables that are trained from those that are frozen and only collect records."""
        program = self.trainer.program
        self.variables = list(program.trainable_variables)
        trained = {id(variable) for variable in self.variables}
        self._frozen = [
            variable
            for variable in program.variables
            if id(variable) not in trained and "current_predictions" in variable.raw_value()
        ]

    def _leave_frozen(self) -> None:
        """Leave out what was frozen since training began; what was thawed waits for the next `fit`."""
        trainable = {id(variable) for variable in self.trainer.program.trainable_variables}
        if any(id(variable) not in trainable for variable in self.variables):
            self._frozen += [variable for variable in self.variables if id(variable) not in trainable]
            self.variables = [variable for variable in self.variables if id(variable) in trainable]
            self._unused = {
                path: variable for path, variable in self._unused.items() if id(variable) in trainable
            }

    # --- an epoch ------------------------------------------------------------------------------

    async def _epoch(self, epoch: int) -> None:
        with caused_by(self._began):
            cause = self.run.record(e.EpochBegan(*self.run.stamp(), epoch))
        measures = self.trainer.measures
        measures.reset()
        reward = RunningMean()
        self._leave_frozen()
        # By all epochs there were, so that a second fit in this run names its rollouts anew.
        self._names = {
            phase: RolloutNames(phase, self.optimizer.epochs) for phase in ("training", "minibatch")
        }
        with caused_by(cause):
            await self.optimizer.on_epoch_begin(epoch, self.variables)
            self.listeners.on_epoch_begin(epoch, {})
            for step, batch in enumerate(self._batches(epoch)):
                self.place = f"in epoch {epoch}, step {step}"
                await self._batch(epoch, step, batch, reward)
                if self.trainer.stop_training:
                    break
            if not self._succeeded and self._failed:
                raise self._hopeless()
            self.place = f"at the end of epoch {epoch}"
            # Read before validation adds calls and cost of its own.
            logs = {"reward": reward.value, **measures.results()}
            fresh = await self._validate(epoch)
            await self.optimizer.on_epoch_end(epoch, self.variables)
            logs |= self._of_the_winner(fresh)
        warn_of_failures(self._failed_now, self._first_now, f"in epoch {epoch}", stacklevel=5)
        self._failed_now, self._first_now = 0, None
        self._warn_unused()
        with caused_by(cause):
            self.run.record(e.EpochEnded(*self.run.stamp(), epoch, _numbers(logs)), 64)
        await self.run.barrier()
        self.listeners.on_epoch_end(epoch, logs)

    def _batches(self, epoch: int) -> Iterator[list[Example]]:
        options = self.options
        seed = self.run.seed if options.shuffle and isinstance(self.source, Examples) else None
        count = 0
        for batch in self.source.batches(epoch, options.batch_size, seed):
            if options.steps_per_epoch is not None and count >= options.steps_per_epoch:
                return
            count += 1
            yield batch
        if count == 0:
            of_use = f"; {self.source.of_use()}" if isinstance(self.source, Stream) else ""
            raise InvalidValue(f"cannot train epoch {epoch}: the data gave no examples{of_use}")

    async def _validate(self, epoch: int) -> dict[str, float]:
        """Score the most promising combination on the whole validation set."""
        if self.validation is None or not self.options.validates(epoch):
            return {}
        await self.optimizer.on_validation_begin(epoch, self.variables)
        options = self.options
        self.listeners.on_test_begin({})
        logs = await self.trainer.score_source(
            self.validation, "validation", self.optimizer.epochs, options.validation_batch_size,
            options.validation_steps, options.max_concurrency, self.listeners,
        )  # fmt: skip
        self.listeners.on_test_end(dict(logs))
        self._note_errors(self.trainer.last_errors)
        found = {f"val_{name}": value for name, value in logs.items()}
        if self.trainer.last_count:
            await self.optimizer.record_validation(self.variables, logs["reward"], self.trainer.last_count)
            self._validated[self.optimizer.standing(self.variables)[0]] = found
        return found

    def _of_the_winner(self, fresh: dict[str, float]) -> dict[str, float]:
        """Return the validation logs of the combination the epoch ends with: what was validated may have lost."""
        if not fresh:
            return {}
        identity, score = self.optimizer.standing(self.variables)
        logs = dict(self._validated.get(identity, fresh))
        if score is not None:
            logs["val_reward"] = score
        return logs

    # --- a batch -------------------------------------------------------------------------------

    async def _batch(
        self, epoch: int, step: int, batch: list[Example], epoch_reward: RunningMean
    ) -> list[float]:
        cause = self.run.record(e.BatchBegan(*self.run.stamp(), epoch, step, len(batch)))
        with caused_by(cause):
            self.listeners.on_train_batch_begin(step, {})
            await self.optimizer.on_batch_begin(step, epoch, self.variables)
            rolled = await self.trainer.rollouts(
                batch, "training", epoch, step, training=True, limit=self.options.max_concurrency, cause=cause,
                names=self._names.get("training"),
            )  # fmt: skip
            self._note(rolled)
            rewards = [item.reward for item in rolled if item.reward is not None]
            epoch_reward.add(rewards)
            await self.trainer.measures.update(rolled)
            await self._learn(epoch, step, rolled, cause)
            await self.optimizer.on_batch_end(step, epoch, self.variables)
        logs = {"reward": epoch_reward.value, **self.trainer.measures.results()}
        with caused_by(cause):
            self.run.record(e.BatchEnded(*self.run.stamp(), epoch, step, _numbers(logs)), 64)
        await self.run.barrier()
        self.listeners.on_train_batch_end(step, logs)
        return rewards

    async def _learn(self, epoch: int, step: int, rolled: list[Rolled], cause: int) -> None:
        scored = {item.rollout: item.reward for item in rolled if item.reward is not None}
        self._warn_lost(attribute(self.variables, scored))
        for variable in self._frozen:
            close_leftovers(variable, "the variable is frozen")
        used = [variable for variable in self.variables if variable.peek("nb_visit")]
        for variable in used:
            self._unused.pop(variable.path, None)
        if scored and (self.held_out is None or not self.optimizer.was_tried(self.variables)):
            # The training rewards judge the combination the batch ran with when nothing is held out; and else,
            # once, the one training began with, so that it can win.
            await self._count_candidates(step, list(scored.values()))
        if self.held_out is not None or not self.optimizer.seeds_left(self.variables):
            # With nothing held out a proposal is tried on the next batch; seed candidates have theirs first.
            await self.optimizer.propose_new_candidates(
                step, used, [item.example.x for item in rolled], _targets(rolled), [item.output for item in rolled],
                training=True,
            )  # fmt: skip
        if self.held_out is not None:
            sample = self._sample(epoch, step, self.held_out)
            tried = await self.trainer.rollouts(
                sample,
                "minibatch",
                epoch,
                step,
                training=False,
                limit=self.options.max_concurrency,
                cause=cause,
                names=self._names.get("minibatch"),
            )
            self._note_errors([item.error for item in tried if item.error is not None])
            found = [item.reward for item in tried if item.reward is not None]
            if found:
                await self._count_candidates(step, found)

    async def _count_candidates(self, step: int, rewards: list[float]) -> None:
        score, count = mean(rewards), len(rewards)
        for variable in self.variables:
            await self.optimizer.maybe_add_candidate(step, variable, reward=score, count=count)
        await self.optimizer.record_trial(self.variables, score, count)

    def _sample(self, epoch: int, step: int, held_out: list[Example]) -> list[Example]:
        size = self.options.minibatch_size
        if size is None or len(held_out) <= size:
            return held_out
        rng = stream(self.run.seed, "minibatch", epoch, step)
        return [held_out[index] for index in sorted(rng.sample(range(len(held_out)), size))]

    # --- what is worth saying ------------------------------------------------------------------

    def _note(self, rolled: Sequence[Rolled]) -> None:
        for item in rolled:
            if item.error is None:
                self._succeeded += 1
            else:
                self._failed += 1
                self._first_error = self._first_error or item.error
                self._note_errors([item.error])
        if not self._succeeded and self._failed >= HOPELESS:
            raise self._hopeless()

    def _note_errors(self, errors: Sequence[BaseException]) -> None:
        """Count failures of this epoch, those of examples held out among them, to be told at its end."""
        self._failed_now += len(errors)
        if errors and self._first_now is None:
            self._first_now = errors[0]

    def _hopeless(self) -> TrainingFailed:
        error = TrainingFailed(
            f"cannot train program {self.trainer.program.name!r}: all {self._failed} examples so far failed; "
            f"the first with {type(self._first_error).__name__}: {self._first_error}"
        )
        error.__cause__ = self._first_error
        return error

    def _warn_lost(self, variables: Sequence[Variable]) -> None:
        """Say once which variables got records that belong to no example."""
        for variable in variables:
            if self._unused.pop(variable.path, None) is not None:
                warnings.warn(
                    f"records were appended to current_predictions of variable {variable.path!r} outside any example "
                    "and were closed without a reward: in a thread, use asyncio.to_thread, which knows the example; "
                    "run_in_executor and workers started before do not",
                    stacklevel=7,
                )

    def _warn_unused(self) -> None:
        """Say once which variables were never used in a way an optimizer can learn from."""
        for variable in self._unused.values():
            reads = sum(1 for _ in self.run.events(max(1, self._began), variable=variable, kind="FieldRead"))
            warnings.warn(
                f"variable {variable.path!r} was read {reads} times and no record was appended to its "
                "current_predictions: the optimizer has no evidence about it and leaves it alone",
                stacklevel=6,
            )
        self._unused = {}


def _described(part: Any) -> dict[str, Any]:
    """Return what an optimizer or reward is, for the log: its class and its plain settings, without keys."""
    config = part.get_config()
    plain = {**{name: value for name, value in config.items() if isinstance(value, str)}, **_numbers(config)}
    found: dict[str, Any] = redacted({"class_name": type(part).__name__, **plain})
    return found


def _targets(rolled: Sequence[Rolled]) -> list[Any] | None:
    targets = [item.example.y for item in rolled]
    return None if all(target is None for target in targets) else targets


def _numbers(logs: dict[str, Any]) -> dict[str, Any]:
    """Keep what JSON can hold."""
    return {
        name: value
        for name, value in logs.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }
