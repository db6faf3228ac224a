"""Resuming a run: a replay that goes on for real where the log ends.

The same script runs again. What it did is compared with the log, recorded answers are given to it instead of
calls, and from the end of the log on its run is written like any other. Calls that had left when the run was
killed are in doubt: they may have been paid. Only they are ever made twice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial

from eventcore.errors import BudgetExceeded, CallInDoubt, CallNotRecorded, Diverged
from eventcore.history import events as e
from eventcore.history.costs import MOMENTS
from eventcore.history.log import MAX_EVENT
from eventcore.history.run import Run
from eventcore.history.state import State, encode_state
from eventcore.replay.advice import (
    again,
    answers,
    error_here,
    failure_of,
    in_short,
    left_log,
    shorter,
    show_users_frames,
)
from eventcore.replay.divergence import Divergence, brief, say
from eventcore.replay.effects import Effect
from eventcore.replay.replayer import Replayer
from eventcore.replay.spending import require_budget, sort_of, spending
from eventcore.replay.waiting import OutcomeEvent, Wait


def resume(run: Run, in_doubt: str = "retry", *, from_fork: bool = False) -> Run:
    """Have a run replayed by the code that follows.

    Args:
        run: Opened for writing, with an empty live state.
        in_doubt: "retry", "fail" or "ask".
        from_fork: Whether the code starts where the run was forked, not at the first event.
    """
    last = run.store.reader(run.number).head()
    forked_at = (run.forked_at or 0) if from_fork else 0
    if last <= forked_at:
        run.record_start(resumed=False)  # killed before anything was durable
        return run
    state = run.store.reader(run.number).state_at(forked_at)
    Resumption(run, forked_at + 1, last, in_doubt).begin(state)
    return run


_ENDING = 50
"""Events at the end of a log among which it says how the training ended."""


class Resumption(Replayer):
    """A replay that goes on for real.

    Args:
        run: The run.
        first: Seq of the first event to compare.
        last: Seq of the last event.
        in_doubt: What to do with calls that had left: "retry", "fail" or "ask".
    """

    goes_on = True

    def __init__(self, run: Run, first: int, last: int, in_doubt: str) -> None:
        super().__init__(run, first, last)
        self._from = first - 1
        self._policy = in_doubt

    def begin(self, state: State) -> None:
        """Take the place of the log's end; what is spent is counted from here on."""
        super().begin(state)
        spending(self.run)

    def ended(self, event: e.Event | None) -> None:
        """Go on for real."""
        self._require_budget(event)
        self.require_leave(wait.effect for wait in self.waiting())
        self._go_on(None)

    def leave(self, coming: tuple[int, e.Event], event: e.Event | None, reason: str = "") -> None:
        """A call that is not recorded is refused here as it was then, if the budget is still what it was."""
        self._require_budget(event)
        super().leave(coming, event, reason)

    def _require_budget(self, event: e.Event | None, begun: bool = False) -> None:
        """Refuse a call for which the budget does not suffice, before it is recorded or made again."""
        if isinstance(event, e.EffectStarted) and event.kind not in MOMENTS:
            require_budget(self.run, sort_of(event.kind, event.request), begun)

    def _go_on(self, restored: e.StateRestored | None) -> None:
        waits = self.waiting()
        self.run.end_replay(restored)
        self.run.record_start(resumed=True, replayed_from=self._from)
        left = sum(not wait.effect.moment for wait in waits)
        doubt = f", {left} call{'s' * (left > 1)} in doubt" if left else ""
        say(
            f"run {self.run.name!r} goes on at seq {self.position}: {answers(self.effects)} taken from its log"
            f"{doubt}"
        )
        for wait in waits:
            wait.dispatcher.call(partial(self.launch, wait))

    def launch(self, wait: Wait) -> None:
        """Make a call that may have been made before, if the policy says so."""
        effect = wait.effect
        try:
            if effect.reuse():
                wait.arrive_reused()
            elif self._fails(effect):
                error = self._counted_as_failed(effect)
                seq, event = effect.failed(error)
                wait.arrive(seq, event, error=error)
            else:
                self._require_budget(effect.asked, begun=True)
                wait.start()
        except (CallNotRecorded, BudgetExceeded) as error:
            wait.refuse(error)

    def _fails(self, effect: Effect) -> bool:
        return self._policy == "fail" and not effect.moment

    def doubtful(self, effect: Effect) -> OutcomeEvent | None:
        """Have a plain function's call in doubt fail, if that is the policy."""
        if effect.reuse():
            return effect.reused
        if not self._fails(effect):
            self._require_budget(effect.asked, begun=True)
            return None
        return effect.failed(self._counted_as_failed(effect))[1]

    def require_leave(self, effects: Iterable[Effect]) -> None:
        """Ask for every call in doubt, if that is the policy; raise for one that is not to be made again."""
        for effect in effects:
            if self._policy == "ask" and not effect.moment and not _wanted(effect):
                self._error = CallInDoubt(
                    f"{self._doubt(effect)}; the run is unchanged: resume it and say yes at the terminal, or with "
                    'in_doubt="retry" to make it again, or with "fail" to have it count as failed'
                )
                self._refuse_all(self._error)
                raise self._error

    def _counted_as_failed(self, effect: Effect) -> CallInDoubt:
        return CallInDoubt(
            f'{self._doubt(effect)}; with in_doubt="fail" it counts as failed from now on: fork the run at seq '
            f"{effect.ticket.seq - 1} to make it after all"
        )

    def _doubt(self, effect: Effect) -> str:
        return (
            f"cannot tell whether call {effect.ticket.key} ({effect.kind}) of run {self.run.name!r} was made: the run "
            f"was killed after seq {effect.ticket.seq} and before its answer was recorded"
        )

    def may_pass_ending(self, coming: tuple[int, e.Event]) -> bool:
        """Pass over the end of an interrupted process: it is taken back and the run goes on before it."""
        if super().may_pass_ending(coming):
            return True
        if not self.is_cut_short():
            return False
        self.require_leave(wait.effect for wait in self.waiting())
        kept = self.position
        state = encode_state(self.run.replayed_state)
        if len(state) > MAX_EVENT:
            return False  # cannot be taken back: the divergence says how to fork before it
        self.pass_to(self.last)
        self._go_on(e.StateRestored(*self.run.stamp(), kept, state))
        return True

    def diverged(self, found: Divergence) -> Diverged:
        """Say which command would accept what the code does now."""
        show_users_frames()
        return Diverged(left_log(self.run, found), found)

    def _how_it_ended(self, error: BaseException | None) -> str:
        """In words, by what the training said of itself last, and by the error the script ends with."""
        said = ""
        for _, event in self._reader.events(max(self._from + 1, self.last - _ENDING), self.last):
            if isinstance(event, e.TrainEnded):
                said = event.reason
        if said not in ("", "done", "stopped"):
            return f"ended again as it had ({said})"
        if error is not None:
            return f"has no more events, and its script failed ({in_short(error)}),"
        return "had finished"

    def finish(self) -> None:
        """Say what became of a resumption that came to no new event."""
        if self.broken:
            return
        with self.run.lock:
            left = self.next_seq()
        name, error = self.run.name, error_here()
        if left is None:
            failed = None if error is None else failure_of(error, self._reader, self._from + 1, self.last)
            say(
                f"run {name!r} {self._how_it_ended(error)} at seq {self.last}: nothing was done again, "
                f"{answers(self.effects)} taken from its log{again(self.run, failed)}"
            )
        else:
            how = "ended" if error is None else f"failed ({in_short(error)})"
            say(
                f"run {name!r}: the script {how} at seq {self.position} and its log goes on to {self.last}; "
                f"nothing was changed{'' if error is not None else shorter(self.run, self.position)}"
            )


def _wanted(effect: Effect) -> bool:
    """Ask the person at the terminal; nobody there means no."""
    if not sys.stdin or not sys.stdin.isatty():
        return False
    sys.stderr.write(
        f"eventcore: a call of {effect.kind} may have been made and paid before the run was killed, at seq "
        f"{effect.ticket.seq}; it asked: {brief(effect.asked.request)}\n"
        "eventcore: make it again? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
