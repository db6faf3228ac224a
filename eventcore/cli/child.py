"""Running the same command line again in a process of its own.

The child finds the same eventcore as this process and takes no module from the current folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

import eventcore


def python_command(module: str) -> list[str]:
    """Return the command that runs a module with this Python; give it `child_environment()`."""
    return [sys.executable, "-P", "-m", module]


def child_environment() -> dict[str, str]:
    """Return an environment in which a child imports the eventcore this process runs."""
    home = str(Path(eventcore.__file__).parent.parent)
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([home, given] if given else [home])}


def run_again(*more: str) -> int:
    """Run the command in progress once more in a child, with further options before its arguments.

    Output goes where this process's goes.

    Returns:
        Its exit code; minus the number of the signal that ended it.
    """
    context = click.get_current_context()
    name = context.info_name or ""
    arguments = [*python_command("eventcore"), name, *more, *_spelled(context)]
    sys.stdout.flush()
    with subprocess.Popen(arguments, env=child_environment()) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # The child got it too and ends by itself.


def _spelled(context: click.Context) -> list[str]:
    """Return the options and arguments of a command as they would be typed."""
    options: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if isinstance(parameter, click.Argument):
            arguments += [] if value is None else [str(value)]
        elif value is True:
            options.append(parameter.opts[0])
        elif value not in (None, False):
            options += [parameter.opts[0], str(value)]
    return [*options, "--", *arguments]
