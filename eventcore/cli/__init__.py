"""The command line: look into a store, compare, check and copy it, without writing Python.

Nothing here knows more than the public API does: each command opens a store for reading, asks a `Run`
and prints. `main` is what the `eventcore` script and `python -m eventcore` call. Commands live in one file
each and are imported only when they are run (see `eventcore.cli.program`).

Exit codes, the same for every command:

    0    yes, or done (also when the reader of a pipe went away)
    1    the answer is no: `diff` found differences, `doctor` found something to warn of
    2    bad usage or bad input: an unknown option, store, run, variable or seq
    3    a store that is damaged or cannot be read; `verify` found something
    70   a defect of eventcore itself, with its traceback
    130  stopped with Ctrl-C
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: Arguments without the program's name; None for those of this process.
    """
    try:
        from eventcore.cli.program import program

        return program.run(argv)
    except KeyboardInterrupt:
        return 130
