"""The pytest plugin: fixtures, profiles, cassettes, and one test id per check. Loaded wherever eventcore is installed.

    from eventcore.testing.pytest_plugin import parametrize_with_checks
    from eventcore.testing.modules import module_checks_of

    @parametrize_with_checks(module_checks_of(MyModule, inputs=MyInput))
    def test_my_module(check):
        check()

pytest imports this at every start, so nothing is imported here that a run without eventcore does not need.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eventcore.history.run import Run
    from eventcore.history.store import Store
    from eventcore.testing.cassettes import Cassette
    from eventcore.testing.checks import BoundCheck


RECORD = "EVENTCORE_RECORD"
IN_PROCESS = "EVENTCORE_CHECKS_IN_PROCESS"  # as in `isolation`, which would be imported at every start
MODES = ("none", "once", "new_episodes", "all")
_before = pytest.StashKey[dict[str, str | None]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--eventcore-record`."""
    parser.getgroup("eventcore").addoption(
        "--eventcore-record",
        choices=MODES,
        help="What becomes of calls of models that are in no cassette: none (an error; the default where $CI is set), "
        "once (recorded if there is no file yet; the default elsewhere), new_episodes (recorded), all (all are made, "
        "and recorded anew).",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the profiles where one of them is asked for; importing hypothesis for nothing would cost everybody."""
    config.addinivalue_line(
        "markers",
        "eventcore_cassette(name=None, mode=None): answer calls of models from a cassette; its name, or path from the "
        "folder of the test's own, and its mode",
    )
    mode = config.getoption("--eventcore-record", default=None)
    if mode:
        # Also for cassettes that tests open themselves, and in processes they start.
        _set(config, RECORD, mode)
    if config.getoption("usepdb", default=False) or config.getoption("trace", default=False):
        # A debugger cannot step into another process.
        _set(config, IN_PROCESS, "1")
    asked = str(config.getoption("--hypothesis-profile", default="") or "")
    if asked.startswith("eventcore") or "hypothesis" in sys.modules:
        from eventcore.testing.profiles import register

        register()


def _set(config: pytest.Config, name: str, value: str) -> None:
    config.stash.setdefault(_before, {})[name] = os.environ.get(name)
    os.environ[name] = value


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was."""
    for name, before in config.stash.get(_before, {}).items():
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a marked test its cassette without its asking for the fixture."""
    names: list[str] = getattr(item, "fixturenames", [])
    if item.get_closest_marker("eventcore_cassette") is not None and "eventcore_cassette" not in names:
        names.insert(0, "eventcore_cassette")


@pytest.fixture
def eventcore_cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """Calls of models inside the test are answered from its cassette, or recorded there, by `--eventcore-record`.

    The file is `cassettes/<module>/<test>.sqlite` beside the test's own, or what the marker names.
    """
    from eventcore.testing.cassettes import cassette

    marker = request.node.get_closest_marker("eventcore_cassette")
    given = _marked(*marker.args, **marker.kwargs) if marker is not None else _marked()
    with cassette(_seen_from_here(cassette_path(request.node, given[0])), given[1]) as playing:
        yield playing


def _seen_from_here(path: Path) -> Path:
    """Shorter in what is said, and in logs that tests keep."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _marked(name: str | None = None, mode: str | None = None) -> tuple[str | None, str | None]:
    return name, mode


def cassette_path(item: pytest.Item, name: str | None = None) -> Path:
    """Where a test's cassette is; each test, and each of its parameters, has one of its own."""
    own = re.sub(r"\.py$", "", item.path.name)
    asked = f"{name}.sqlite" if name is not None and not name.endswith((".sqlite", ".db")) else name
    if asked is None:
        called = item.nodeid.partition("::")[2].replace("::", ".")
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", called).strip("-")
        # Two parameters may differ in nothing a file's name can hold.
        same = plain == called.replace("[", "-").rstrip("]") and len(plain) <= 150
        asked = f"{plain if same else f'{plain[:150]}-{zlib.crc32(called.encode()):08x}'}.sqlite"
    return item.path.parent / "cassettes" / own / asked


@pytest.fixture
def eventcore_run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run in memory of this test's own, current inside the test; names begin anew. Nothing is written anywhere."""
    import eventcore as ec
    from eventcore.models.naming import fresh_names

    with fresh_names(), ec.open("memory:") as store, store.run(_run_name(request)) as run:
        yield run


@pytest.fixture
def eventcore_store(tmp_path: Path) -> Iterator[Store]:
    """A durable store (LMDB) in this test's temporary folder, closed afterwards. No run is started in it.

    A run the test starts in it without `with` is current until the test ends, and for no test after it.
    """
    import eventcore as ec
    from eventcore.history.scope import process_scope
    from eventcore.models.naming import fresh_names

    before = process_scope.run
    try:
        with fresh_names(), ec.open(tmp_path / "runs.lmdb") as store:
            yield store
    finally:
        process_scope.run = before


def _run_name(request: pytest.FixtureRequest) -> str:
    name = "".join(character if character.isalnum() else "-" for character in request.node.name)
    return name[:100]


def parametrize_with_checks(*checks: Iterable[BoundCheck[Any]]) -> Callable[[Any], Any]:
    """Run a test once for each check. The test takes an argument `check` and calls it.

    Its id is the check's name; where checks of several subjects are given, the subject's name stands before it:
    `test_modules[MyModule-save_and_load]`.

    Args:
        checks: Lists of checks, as `module_checks_of` and its like return them.

    Raises:
        InvalidValue: There are none, or something else was passed.
    """
    from eventcore.errors import InvalidValue
    from eventcore.testing.checks import BoundCheck

    given: list[BoundCheck[Any]] = []
    for several in checks:
        found: list[Any] = list(several) if isinstance(several, Iterable) else [several]  # pyright: ignore[reportUnnecessaryIsInstance]
        given += found
    checked: list[Any] = [*given] or [None]
    for check in checked:
        if not isinstance(check, BoundCheck):
            raise InvalidValue(
                f"cannot run a test for each check of {check!r}: pass lists of checks, as "
                "module_checks_of(MyModule, inputs=MyInput) and its like return them"
            )
    subjects = {id(check.subject) for check in given}
    ids = [check.name if len(subjects) < 2 else f"{check.subject_name}-{check.name}" for check in given]
    return pytest.mark.parametrize("check", given, ids=ids)
