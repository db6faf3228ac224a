"""A state machine that uses a module in any order and holds it against its own log and a twin.

The twin is another instance in a run of its own that is given the same, one thing after the other and never at once;
what both hold in the end has to be equal. The twin stays one instance all along, while the module is made again from
its log, from a fork and from a file, and goes on there: what it kept outside its variables is then missing. Both are
used in a program. Where the world tells the two different things they are no longer compared.

A failing history is shrunk by hypothesis, printed as a short program, and
its run is saved as a store that `eventcore show` opens.

    from eventcore.testing.module_machine import machine_of
    TestMine = machine_of(MyModule, MyInput).TestCase
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventcore.errors import InvalidValue
from eventcore.history.run import Run
from eventcore.history.scope import in_run
from eventcore.history.state import State, apply
from eventcore.history.store import open as open_store
from eventcore.testing.attributes import changes_told, plain_attributes
from eventcore.testing.cases import (
    SavingTestCase,
    StepTaken,
    case_path,
    hold_invariants,
    how_to_show,
    imported,
    program,
    recorded,
    why_not_saved,
)
from eventcore.testing.checks import CheckFailed
from eventcore.testing.module_elsewhere import told_differently, world_since
from eventcore.testing.module_inputs import examples_told, shown
from eventcore.testing.module_lives import Life
from eventcore.testing.module_repetition import one_by_one
from eventcore.testing.module_subject import Bench, Factory, ModuleSubject, outputs_json, program_around
from eventcore.testing.module_training import drawn_fields
from eventcore.testing.profiles import ANY_HEALTH
from eventcore.testing.scheduling import run_coroutine
from eventcore.testing.whereabouts import whereabouts

PLACES = st.integers(0, 7)
T = TypeVar("T")


class ModuleMachine(RuleBasedStateMachine):
    """Calls, rewrites, freezes, forks, restarts, saves and loads; after every step the state is what the log says.

    Rules of one's own that change something do so by `both`, or the twin is left behind:

        @rule(size=st.integers(1, 9))
        def resize(self, size):
            self.both(lambda program: program.get_variable(name="size").update({"size": size}))

    Attributes:
        subject: What is checked, a `ModuleSubject(MyModule, MyInput)`; set it in a subclass, which may add rules and
            invariants of its own, or use `machine_of`.
        latest: The machine that was made last: after a failure, the one with the shrunk history.
        steps: How many rules were carried out by all machines of this class.
        ordered: Whether the order of calls matters to the module; None while nobody knows.
    """

    subject: ClassVar[ModuleSubject]
    latest: ClassVar[ModuleMachine | None] = None
    steps: ClassVar[int] = 0
    ordered: ClassVar[bool | None] = None
    TestCase = SavingTestCase()

    @classmethod
    def case(cls) -> str:
        """Save the run of the latest machine; returns the program that made it and how to look at it."""
        steps = cls.latest.taken if cls.latest is not None else []
        return f"{program(_origin(cls), steps)}\n\n{_saved(cls)}"

    def __init__(self) -> None:
        super().__init__()
        subject = getattr(type(self), "subject", None)
        if not isinstance(subject, ModuleSubject):
            raise InvalidValue(
                f"cannot run {type(self).__name__}: its `subject` is {subject!r}; write `subject = "
                "ModuleSubject(MyModule, MyInput)` in it, or use machine_of(MyModule, MyInput)"
            )
        if type(self).latest is not None:
            type(self).latest.close()  # type: ignore[union-attr]  # set by the line above
        type(self).latest = self
        self.stack = ExitStack()
        self.folded, self.seq = State(), 0
        self.taken: list[StepTaken] = []

    @initialize()
    def begin(self) -> None:
        """Make the module, and its twin in a run of its own, each in a program."""
        self.twin: Bench = self.stack.enter_context(self.subject.bench())
        self.twin.module = self._program(self.twin.module)
        self.bench: Bench = self.stack.enter_context(self.subject.bench())
        self.bench.module = self._program(self.bench.module)
        self.life = Life(self.bench, lambda: self._program(self.subject.make()))
        self.attributes: dict[str, str] | None = None
        self.frozen = self.apart = False

    def _program(self, module: Any) -> Any:
        return run_coroutine(lambda: program_around(module, self._example(0)))

    @property
    def run(self) -> Run:
        """The run of the module."""
        return self.bench.run

    def _example(self, place: int) -> Any:
        examples = self.subject.examples()
        return examples[place % len(examples)]

    def take(self, rule: str, **arguments: Any) -> None:
        """Take one step of a program: a rule, and what always holds after it."""
        getattr(self, rule)(**arguments)
        hold_invariants(self)

    def both(self, work: Callable[[Any], T]) -> T:
        """Do something with the module and the same with its twin; again, too, when a restart repeats it all.

        Args:
            work: Is given the program around the module, and changes nothing else.

        Returns:
            What it returned for the module.
        """

        def step(bench: Bench) -> T:
            return work(bench.module)

        found: T = self.life.do(step)
        with in_run(self.twin.run):
            step(self.twin)
        return found

    # --- rules ---------------------------------------------------------------------------------

    @rule(place=PLACES, training=st.booleans())
    @recorded
    def call(self, place: int, training: bool) -> None:
        """Call both on one example: they answer the same, and change no attribute."""
        example = self._example(place)
        starts = self.run.flush(), self.twin.run.flush()
        mine = self.life.do(lambda bench: outputs_json(bench.answer(example, training=training)))
        with in_run(self.twin.run):
            theirs = outputs_json(self.twin.answer(example, training=training))
        self._compare("answered", mine, theirs, starts)

    @rule(place=PLACES, count=st.integers(2, 4), order=st.integers(0, 50))
    @recorded
    def call_at_once(self, place: int, count: int, order: int) -> None:
        """Call on several examples at once; the twin is called on them one after the other.

        Where the order of calls matters even one after the other, the twin is given what the module then holds.
        """
        examples = [self._example(place + number) for number in range(count)]
        starts = self.run.flush(), self.twin.run.flush()

        def at_once(bench: Bench) -> list[Any]:
            async def work() -> list[Any]:
                return await asyncio.gather(*[bench.call(example) for example in examples])

            return [outputs_json(answer) for answer in run_coroutine(work, order)]

        mine = self.life.do(at_once)
        with in_run(self.twin.run):
            theirs = [outputs_json(self.twin.answer(example)) for example in examples]
        if self._order_matters():
            with in_run(self.twin.run):
                for place, variable in enumerate(self.bench.module.variables):
                    self.twin.module.variables[place].assign(variable.get_json())
            mine = theirs
        self._compare("called at once, answered", mine, theirs, starts)

    def _order_matters(self) -> bool:
        """Whether answers or state depend on the order of calls, found out once."""
        cls = type(self)
        if cls.ordered is None:
            forwards, backwards = (
                [*range(len(self.subject.examples()))],
                [*range(len(self.subject.examples()))][::-1],
            )
            cls.ordered = one_by_one(self.subject, forwards)[:2] != one_by_one(self.subject, backwards)[:2]
        return cls.ordered

    def _compare(self, how: str, mine: Any, theirs: Any, starts: tuple[int, int]) -> None:
        """Hold an answer against the twin's, and the module's attributes against what they were."""
        told = [
            world_since(bench, start) for bench, start in zip((self.bench, self.twin), starts, strict=True)
        ]
        self.apart = self.apart or told_differently(*told)
        assert self.apart or mine == theirs, f"{how} {shown(mine)}, and its twin {shown(theirs)}"
        before, now = self.attributes, plain_attributes(self.bench.module)
        self.attributes = now  # the first call may still make some
        changed = "" if before is None else changes_told(before, now)
        assert not changed, (
            f"a call changed the attribute {changed}: it is lost when the module is made again; keep it in a variable"
        )

    @rule(number=st.integers(0, 50))
    @recorded
    def rewrite(self, number: int) -> None:
        """Write what an optimizer might into a trainable variable of both."""
        mine = self.bench.module.trainable_variables
        if mine:
            place = number % len(mine)
            fields = drawn_fields(mine[place], number)
            self.both(lambda program: program.trainable_variables[place].update(fields))

    @rule(frozen=st.booleans())
    @recorded
    def freeze(self, frozen: bool) -> None:
        """Freeze or thaw the module: its variables follow."""
        self.frozen = frozen
        self.both(lambda program: setattr(program, "trainable", not frozen))
        if frozen:
            assert not self.bench.module.trainable_variables, "frozen, it has trainable variables"

    @rule()
    @recorded
    def snapshot(self) -> None:
        """Store a snapshot: nothing changes."""
        before = self.run.state.digest
        self.run.snapshot()
        assert self.run.at(self.run.head).digest == before, "a snapshot is another state"

    @rule(back=st.integers(0, 20))
    @recorded
    def fork(self, back: int) -> None:
        """Fork somewhere in the past: the fork begins with the state of then."""
        at = max(1, self.run.flush() - back)
        fork = self.run.fork(at=at)
        assert fork.state.digest == self.run.at(at).digest, f"a fork at {at} begins with another state"
        fork.close()

    @precondition(lambda self: self.life.repeatable)
    @rule()
    @recorded
    def restart(self) -> None:
        """Do the same again over the log with a fresh instance, as a process that was started again; go on there."""
        self._go_on(self.life.restarted(self.stack))

    @precondition(lambda self: self.attributes is not None)
    @rule()
    @recorded
    def go_on_in_a_fork(self) -> None:
        """Make the module from a fork of its run, and go on there."""
        self.life = self.life.forked(self.stack)
        self._go_on(self.life.bench)

    @precondition(lambda self: self.attributes is not None)
    @rule(suffix=st.just(".json"))  # a store on disk is slow, and is a check of its own
    @recorded
    def save_and_load(self, suffix: str) -> None:
        """Load the module from a file in a run that begins anew, and go on there."""
        self.life = self.life.loaded(self.stack, self.subject.number, suffix)
        self.folded, self.seq = State(), 0
        self._go_on(self.life.bench)

    def _go_on(self, bench: Bench) -> None:
        self.bench, self.attributes = bench, None
        self.twin.run.opened_at = (
            bench.run.opened_at
        )  # `ec.random` is made of it: they go on with the same numbers
        if bench.module.trainable is self.frozen:
            self.life.do(lambda bench: setattr(bench.module, "trainable", not self.frozen))

    # --- what always holds ---------------------------------------------------------------------

    @invariant()
    def the_state_is_what_the_log_says(self) -> None:
        """Fold what is new, and compare with the state, the variables and the twin."""
        if not hasattr(self, "bench"):
            return
        type(self).steps += 1
        head = self.run.flush()
        if head > self.seq:
            for record in self.run.events(self.seq + 1):
                apply(self.folded, record.event)
            self.seq = head
        assert self.folded.digest == self.run.state.digest, "the log folds to another state"
        mine = {variable.path: variable.get_json() for variable in self.bench.module.variables}
        for path, held in mine.items():
            assert self.folded.variables[path] == held, (
                f"{path!r} holds {held!r}, by the log {self.folded.variables[path]!r}"
            )
        theirs = {variable.path: variable.get_json() for variable in self.twin.module.variables}
        for path in () if self.apart else {**mine, **theirs}:
            assert mine.get(path) == theirs.get(path), (
                f"{path!r} holds {mine.get(path)!r}, its twin's {theirs.get(path)!r} (a rule of one's own changes "
                "both by `self.both`)"
            )

    def teardown(self) -> None:
        """Let go of the runs: none stays current. The one that failed can still be read."""
        self.close()

    def close(self) -> None:
        """Let go of the runs."""
        self.stack.close()


def machine_of(factory: Factory, inputs: Any = None, number: int = 0) -> type[ModuleMachine]:
    """Return a state machine of one module; its `TestCase` is a test.

    Args:
        factory: Makes a fresh instance.
        inputs: As in `check_module`.
        number: Decides what is drawn for inputs.
    """
    subject = ModuleSubject(factory, inputs, number)
    subject.prepare()
    subject.examples()
    return type(
        _MADE + _letters(subject.name),
        (ModuleMachine,),
        {"subject": subject, "latest": None, "steps": 0, "ordered": None, "__module__": __name__},
    )


_MADE = "MachineOf"


def _origin(machine: type[ModuleMachine]) -> list[str]:
    """Return the lines of a program that import and make a machine."""
    if machine.__module__ != __name__:
        imports, name = imported(machine, machine.__name__)
        return [*imports, f"state = {name}()"]
    subject = machine.subject
    imports, factory = imported(subject.factory, "factory")
    more, inputs = _inputs_of(subject)
    return [
        "from eventcore.testing.module_machine import machine_of",
        *imports,
        *more,
        f"state = machine_of({factory}, {inputs}, {subject.number})()",
    ]


def _inputs_of(subject: ModuleSubject) -> tuple[list[str], str]:
    """Return the lines of a program that make the inputs, and what they are called there."""
    if subject.given is None:
        return [], "None"
    if isinstance(subject.given, type) and whereabouts(subject.given) is not None:
        return imported(subject.given, "inputs")
    told = examples_told(subject.examples())
    return [
        "from eventcore.testing.module_inputs import examples_from",
        f"inputs = examples_from({told!r})",
    ], "inputs"


def _letters(name: str) -> str:
    return "".join(character for character in name.title() if character.isalnum())


def run_module_machine(
    factory: Factory, inputs: Any = None, *, number: int = 0, examples: int = 50, steps: int = 20
) -> int:
    """Run the machine of a module, and save the shortest failing history.

    Args:
        factory: Makes a fresh instance.
        inputs: As in `check_module`.
        number: Decides what is drawn.
        examples: How many histories.
        steps: How many steps each has, at most.

    Returns:
        How many steps were taken.

    Raises:
        CheckFailed: A history failed; the message holds the program, and where its log was saved.
    """
    machine = machine_of(factory, inputs, number)
    try:
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=ANY_HEALTH,
            ),
        )
    except HypothesisException:
        raise
    except Exception as failure:
        raise CheckFailed(f"{type(failure).__name__}: {failure}\n{machine.case()}") from failure
    finally:
        if machine.latest is not None:
            machine.latest.close()
    return machine.steps


def _saved(machine: type[ModuleMachine]) -> str:
    """Copy the run of the shortest failing history into a store of its own; returns how to look at it."""
    latest = machine.latest
    if latest is None or not hasattr(latest, "bench"):
        return "the module could not be made, so there is no log"
    return save_case(latest.run, case_path(machine.__name__))


def save_case(run: Run, path: Path) -> str:
    """Copy a run into a new store and return the command that shows it."""
    try:
        run.settle()
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_store(path) as store:
            store.import_run(run)
    except Exception as error:
        return why_not_saved(path, error)
    return how_to_show(path, run.name)
