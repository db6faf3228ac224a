"""The pytest plugin: fixtures, profiles, and one test id per check. Loaded by pytest wherever eventcore is installed.

    from eventcore.testing.pytest_plugin import parametrize_with_checks
    from eventcore.testing.modules import module_checks_of

    @parametrize_with_checks(module_checks_of(MyModule, inputs=MyInput))
    def test_my_module(check):
        check()

pytest imports this at every start, so nothing is imported here that a run without eventcore does not need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.store import Store
    from eventcore.testing.checks import BoundCheck


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the profiles where one of them is asked for; importing hypothesis for nothing would cost everybody."""
    asked = str(config.getoption("--hypothesis-profile", default="") or "")
    if asked.startswith("eventcore") or "hypothesis" in sys.modules:
        from eventcore.testing.profiles import register

        register()


@pytest.fixture
def eventcore_run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run in memory of this test's own, current inside the test; names begin anew. Nothing is written anywhere."""
    import eventcore as ec
    from eventcore.models.naming import fresh_names

    with fresh_names(), ec.open("memory:") as store, store.run(_run_name(request)) as run:
        yield run


@pytest.fixture
def eventcore_store(tmp_path: Path) -> Iterator[Store]:
    """A durable store (LMDB) in this test's temporary folder, closed afterwards. No run is started in it."""
    import eventcore as ec
    from eventcore.models.naming import fresh_names

    with fresh_names(), ec.open(tmp_path / "runs.lmdb") as store:
        yield store


def _run_name(request: pytest.FixtureRequest) -> str:
    name = "".join(character if character.isalnum() else "-" for character in request.node.name)
    return name[:100]


def parametrize_with_checks(*checks: Iterable[BoundCheck[Any]]) -> Callable[[Any], Any]:
    """Run a test once for each check; its id is the check's name. The test takes an argument `check` and calls it.

    Args:
        checks: Lists of checks, as `module_checks_of` and its like return them.
    """
    return pytest.mark.parametrize("check", [check for several in checks for check in several], ids=repr)
