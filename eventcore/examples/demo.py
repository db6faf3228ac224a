"""The tour: the guide's program on a store on disk, everything the log of it is good for, and a training.

    eventcore demo

Run it again and it starts a new run in the same store.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

import eventcore as ec
from eventcore.cli.child import child_environment, python_command
from eventcore.cli.diff import words_text
from eventcore.cli.event_text import EventText
from eventcore.cli.output import coloured
from eventcore.examples import intents, personalize
from eventcore.examples.personalize import heading
from eventcore.history.events import SourceSeen
from eventcore.history.naming import Names
from eventcore.history.timetravel import word_diff

DEFAULT_STORE = "eventcore-demo.lmdb"
PERSONA = "persona_personalize"
ROBOT = "A cheerful robot who counts in binary."


class Tour(msgspec.Struct, frozen=True):
    """What the tour made.

    Attributes:
        store: Path or URL of the store, as given.
        run: Name of the run the guide's program ran in.
        fork: Name of the fork.
        training: Name of the run a classifier was trained in.
        accuracy: Its accuracy on held-out texts, untrained and trained.
        update: Seq of the event that changed the persona.
        commands: Commands that work when pasted into a shell in this folder.
        ok: Whether everything read back as written.
    """

    store: str
    run: str
    fork: str
    training: str
    accuracy: tuple[float, float]
    update: int
    commands: list[str]
    ok: bool


def main(path: str = DEFAULT_STORE) -> Tour:
    """Run the tour on a store, made if it is not there.

    Args:
        path: Path or URL of the store.
    """
    with ec.open(path) as store:
        with store.run(free_name(store, "demo"), seed=7) as run:
            program = ec.wait(personalize.main())
        update = list(run.history(PERSONA, "/persona"))[-1].seq
        show_events(run)
        show_time_travel(run, update)
        fork = show_fork(run, update - 1)
        show_save_and_load(program, run, path)
        ok = show_verify(store)
        with store.run(free_name(store, f"{run.name}-training"), seed=7) as training:
            learned = intents.main()
        commands = [*paste(path, run.name, fork.name, update), *paste_training(path, training.name)]
        heading("Now yours: paste any of these")
        for command in commands:
            print(f"  {command}")
    accuracy = (learned.before, learned.after)
    return Tour(path, run.name, fork.name, training.name, accuracy, update, commands, ok)


def free_name(store: ec.Store, name: str) -> str:
    """Return the name, numbered if it is taken."""
    taken, number, free = set(store.runs()), 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def show_events(run: ec.Run) -> None:
    """Print the events of the run; those that only name a source line are left out."""
    heading(f"Every read and write above is an event: run {run.name!r}")
    names = Names()
    text = EventText(names, coloured())
    left_out = 0
    for seq, event in run.events():
        names.learn(event)
        if isinstance(event, SourceSeen):
            left_out += 1
        else:
            print(text.line(seq, event))
    print(f"{run.head} events, {left_out} of them not shown: each names a line of source")


def show_time_travel(run: ec.Run, update: int) -> None:
    """Print the persona before and after the update, and what the update changed."""
    heading(f"Time travel: the persona before event {update}, and after it")
    for seq in (update - 1, update):
        print(f"run.at({seq}):", run.at(seq).variables[PERSONA]["persona"])
    print(f"run.diff({update - 1}, {update}):")
    for found in run.diff(update - 1, update):
        words = found.words or word_diff(found.before, found.after)
        print(f"  {found.variable}{found.pointer}  {words_text(words, whole=True, colour=coloured())}")


def show_fork(run: ec.Run, at: int) -> ec.Run:
    """Go another way from an event on, in a run of its own."""
    fork = run.fork(free_name(run.store, f"{run.name}-robot"), at=at)
    heading(f"A fork from event {at} with another persona: run {fork.name!r}")
    with fork:
        program = ec.wait(personalize.build())
        state = program.get_variable(name=PERSONA)
        print("as the fork found it:", state.get("persona"))
        state.update({"persona": ROBOT})
        print("output:", ec.wait(personalize.greet(program, "Ada")))
        print("count:", program.get_variable(name="stats_personalize").get("count"))
    print(f"run {run.name!r} does not know:", run.state.variables[PERSONA]["persona"])
    return fork


def show_save_and_load(program: ec.Program, run: ec.Run, path: str) -> None:
    """Save the program, and greet with it from a new process."""
    heading("Saved, and loaded in a new process")
    with run:
        program.save(path)
    command = [*python_command("eventcore.examples.greet"), path, run.name, "Grace"]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the new process failed: {done.stderr}")
    print(f"program.save({path!r}); then Program.load({path!r}, run={run.name!r}) elsewhere says:")
    print(done.stdout, end="")


def show_verify(store: ec.Store) -> bool:
    """Read everything back; return whether it is what was written."""
    heading("verify: every checksum, every seq, every snapshot")
    findings = store.verify()
    for finding in findings:
        print(f"{finding.run} seq {finding.seq}: {finding.message}")
    events = sum(row.head - row.forked_at for row in store.rows())
    print(f"{events} events in {len(store.rows())} runs: {'damaged' if findings else 'nothing wrong'}")
    return not findings


def paste(path: str, run: str, fork: str, update: int) -> list[str]:
    """Return commands about this tour that work when pasted into a shell in this folder."""
    store, name, eventcore = shlex.quote(path), shlex.quote(run), script()
    return [
        f"{eventcore} runs {store}",
        f"{eventcore} log {store} {name}",
        f"{eventcore} log {store} {name} --variable {PERSONA} --kind VariableUpdated --json",
        f"{eventcore} show {store} {name} --at {update - 1}",
        f"{eventcore} show {store} {shlex.quote(fork)} {PERSONA}",
        f"{eventcore} diff {store} {name} {update - 1} {update}",
        f"{eventcore} verify {store}",
        f"{eventcore} backup {store} {shlex.quote(free_path('eventcore-demo-backup.lmdb'))}",
        f"{eventcore} doctor {store}",
    ]


def paste_training(path: str, run: str) -> list[str]:
    """Return commands about the training."""
    store, name, eventcore = shlex.quote(path), shlex.quote(run), script()
    return [
        f"{eventcore} log {store} {name} --kind EpochEnded",
        f"{eventcore} log {store} {name} --kind RolloutsScored",
    ]


def free_path(path: str) -> str:
    """Return a path that does not exist: the one given, or it with a number."""
    base, suffix = os.path.splitext(path)
    number, free = 2, path
    while os.path.lexists(free):
        free, number = f"{base}-{number}{suffix}", number + 1
    return free


def script() -> str:
    """Return how `eventcore` is called in this folder by the Python that runs this."""
    mine = Path(sys.executable).with_name("eventcore")
    found = shutil.which("eventcore")
    if found is not None and Path(found) == mine:
        return "eventcore"
    here = Path.cwd()
    if mine.exists():
        return shlex.quote(str(mine.relative_to(here) if mine.is_relative_to(here) else mine))
    return f"{shlex.quote(sys.executable)} -m eventcore"


if __name__ == "__main__":
    main()
