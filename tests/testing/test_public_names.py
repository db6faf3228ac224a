"""The face of the harness: what is listed exists, and its docstring names every check."""

from __future__ import annotations

import subprocess
import sys

from eventcore import testing
from eventcore.testing.backend_checks import BACKEND_CHECKS
from eventcore.testing.checks import Check
from eventcore.testing.modules import MODULE_CHECKS
from eventcore.testing.optimizers import OPTIMIZER_CHECKS
from eventcore.testing.rewards import REWARD_CHECKS

ALL: tuple[tuple[Check[object], ...], ...] = (MODULE_CHECKS, OPTIMIZER_CHECKS, REWARD_CHECKS, BACKEND_CHECKS)  # type: ignore[assignment]


def test_every_listed_name_exists() -> None:
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
    assert sorted(set(testing.__all__)) == sorted(testing.__all__)


def test_the_docstring_names_every_check_with_what_it_protects() -> None:
    page = " ".join((testing.__doc__ or "").split())
    for checks in ALL:
        for check in checks:
            if checks is not BACKEND_CHECKS or check in BACKEND_CHECKS[-5:]:
                assert f"- `{check.name}`: {check.protects}" in page, check.name


def test_every_check_has_a_name_of_its_own_and_a_sentence() -> None:
    for checks in ALL:
        assert len({check.name for check in checks}) == len(checks)
        assert all(check.name.isidentifier() and check.protects.endswith(".") for check in checks)


def test_the_harness_loads_hypothesis_only_when_a_part_needs_it() -> None:
    code = (
        "import sys, eventcore.testing; sys.exit(bool({'hypothesis', 'pytest', 'lmdb'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
