"""What every test shares: the Hypothesis profiles, and a quick garbage collector.

Fixtures live beside the tests that use them; this file stays small on purpose.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

from eventcore.history.scope import process_scope

# No deadline anywhere: tests write to real disks, and a slow commit is no failure.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples on every machine and every run, so that a red build is the change's own doing.
settings.register_profile(
    "ci",
    settings.get_profile("default"),
    derandomize=True,
    database=None,
    print_blob=True,
)
# For a night: new examples each time, many of them, and longer state-machine runs.
settings.register_profile(
    "nightly", settings.get_profile("default"), max_examples=2_000, stateful_step_count=100
)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

# A shell starts what is to run in the background deaf to Ctrl-C, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first: a worker that comes to one last would have the others wait for it."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True, scope="module")
def _no_run_of_another_module_is_current() -> None:
    """A run that tests before left current for the process, closed perhaps, is nothing a test begins with."""
    process_scope.run = None


@pytest.fixture(autouse=True, scope="module")
def _what_was_there_before_is_not_collected_again() -> None:
    """Set all objects aside: `gc.collect()`, which finds dropped programs, then looks at a module's own alone."""
    gc.collect()
    gc.freeze()
