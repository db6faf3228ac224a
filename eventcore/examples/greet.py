"""Load the saved program in a process of its own and greet somebody.

    python -m eventcore.examples.greet STORE RUN [NAME]

Importing `personalize` defines the classes; loading finds them by name and imports nothing itself. The
loaded program lives in this process: what it does here is not written to where it came from.
"""

from __future__ import annotations

import sys

import eventcore as ec
from eventcore.examples import personalize


def main(arguments: list[str]) -> int:
    """Load, greet, and print the greeting and the counter."""
    if len(arguments) not in (2, 3):
        print("usage: python -m eventcore.examples.greet STORE RUN [NAME]", file=sys.stderr)
        return 2
    store, run, *names = arguments
    program = ec.Program.load(store, run=run)
    print(ec.wait(personalize.greet(program, names[0] if names else "Grace")))
    print("call", program.get_variable(name="stats_personalize").get("count"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
