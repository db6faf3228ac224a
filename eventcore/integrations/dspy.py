"""DSPy's optimizers, unmodified, in a run: kill them, start the same script again, and they end as if never killed.

    import dspy, eventcore as ec
    from eventcore.integrations.dspy import LM, compile      # LM instead of dspy.LM

    with ec.open("runs.lmdb") as store, store.run("prompts", seed=7, resume=True):
        dspy.configure(lm=LM("openai/gpt-5-mini"))
        optimizer = dspy.BootstrapFewShotWithRandomSearch(metric=metric)
        program = compile(optimizer, dspy.ChainOfThought("question -> answer"), trainset=train)

Every call of an `LM` is an effect: durable before it leaves, its answer durable before DSPy goes on, with tokens
and cost. When the script is run again, DSPy's own code is run again, and these answers are given to it in the
place of calls; it goes on for real where the log ends. DSPy's cache is off for such a model: the log is what
answers, and it never answers another request.

`compile(optimizer, program, …)` is `optimizer.compile(program, …)`, and besides

- sets one thread where nothing else is said (a call in another thread is refused, by name);
- seeds the global generators of `random` and NumPy, which some optimizers draw from, by the run, and puts them
  back afterwards;
- makes each program that is evaluated an event of a trainable variable, with its score, and the compiled one
  what the variable holds;
- lets errors of the run (a spent budget, a script that left its log) pass DSPy, which would count them as
  failures of the program and go on.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from eventcore.errors import EventcoreError, Unavailable
from eventcore.integrations.attribution import attributed
from eventcore.integrations.halting import arriving, carried
from eventcore.replay.user_effects import random as derived

try:
    import dspy  # pyright: ignore[reportMissingTypeStubs]
    from dspy.clients.backend_selection import CLIENT_KEYS  # pyright: ignore[reportMissingTypeStubs]
    from dspy.clients.execution import execute, prepare  # pyright: ignore[reportMissingTypeStubs]

    from eventcore.integrations.dspy_engine import Needed, RecordedEngine, at_hand
    from eventcore.integrations.dspy_programs import Programs
except ImportError as error:
    raise Unavailable(f"cannot use DSPy: {error}; install it with: pip install 'eventcore[dspy]'") from error

__all__ = ["LM", "compile"]


class LM(dspy.LM):  # type: ignore[misc]
    """A `dspy.LM` whose calls are effects of the current run.

    Args:
        model: Name of a model as `dspy.LM` takes it, or a `dspy.LM` of one's own.
        settings: What `dspy.LM` takes; not with a model of one's own.
    """

    def __init__(self, model: Any, **settings: Any) -> None:
        made: Any = dspy.LM
        asked = model if isinstance(model, dspy.BaseLM) else made(model, **{**settings, "cache": False})
        engine = RecordedEngine(asked)
        begin: Any = super().__init__
        begin(
            asked.model,
            model_type=asked.model_type,
            cache=False,
            num_retries=0,  # the model below retries; the log has one outcome for one call
            callbacks=settings.get("callbacks"),
            engine=engine,
            **{key: value for key, value in asked.kwargs.items() if key not in CLIENT_KEYS},
        )
        self._recorded = engine
        self._cache_responses = False  # whatever a single call asks for

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Answer; errors of the run come out as themselves, not as failures of the model."""
        with arriving():
            return super().__call__(prompt, messages=messages, **kwargs)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Answer in an event loop; what is asked for at once is delivered in the order of the log.

        DSPy's own way leads through threads, whose order nobody decides. So it is asked what it needs, the
        effects are awaited, and then it is given the answers.
        """
        answers: list[Any] = []
        try:
            with at_hand(answers):
                execute(self, prepare(self, prompt, messages, kwargs))
        except Needed as needed:
            n = kwargs.get("n", self.kwargs.get("n")) or 1
            try:
                answers += await asyncio.gather(*(self._recorded.ask(needed.request) for _ in range(n)))
            except EventcoreError as error:
                raise carried(error) from error.__cause__
        with at_hand(answers), dspy.context(send_stream=None):
            return self(prompt, messages=messages, **kwargs)

    def update_history(self, entry: dict[str, Any]) -> None:
        """Keep a call in DSPy's history, with what the recorded answers cost."""
        entry["cost"], self._recorded.spent = self._recorded.spent or None, 0.0
        super().update_history(entry)

    def dump_state(self) -> dict[str, Any]:
        """Return the state of the model below: a saved program does not depend on eventcore."""
        state: dict[str, Any] = self._recorded.lm.dump_state()
        return state


def compile(optimizer: Any, student: Any, *, name: str = "program", **options: Any) -> Any:
    """Carry out `optimizer.compile(student, **options)` in the current run.

    Args:
        optimizer: An optimizer of DSPy.
        student: The program.
        name: Name of the variable whose values are the programs that are tried.
        options: What the optimizer's `compile` takes.

    Returns:
        The compiled program.

    Raises:
        InvalidValue: A call was made in a thread of DSPy's: pass `num_threads=1`.
        BudgetExceeded: The run's budget is spent; resume it with a larger one.
        Diverged: The script is run again and does something else than before.
    """
    programs = Programs(student, name)
    callbacks = [*dspy.settings.callbacks, programs]
    with (
        arriving(),
        attributed(programs.variable),
        _seeded(),
        dspy.context(num_threads=1, callbacks=callbacks),
    ):
        compiled = optimizer.compile(student, **options)
        programs.compiled(compiled)
    return compiled


@contextmanager
def _seeded() -> Generator[None]:
    """Context manager: global generators start from the run's seed, and are as before afterwards."""
    numbers = derived("dspy")
    before = random.getstate()
    numpy: Any = sys.modules.get("numpy")
    before_numpy = None if numpy is None else numpy.random.get_state()
    random.seed(numbers.getrandbits(64))
    if numpy is not None:
        numpy.random.seed(numbers.getrandbits(32))
    try:
        yield
    finally:
        random.setstate(before)
        if numpy is not None:
            numpy.random.set_state(before_numpy)
