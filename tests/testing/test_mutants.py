"""Faulty things are caught by the check that should catch them, and sound ones pass all of them."""

from __future__ import annotations

import faulthandler
from typing import Any

import pytest

from eventcore.testing.checks import Report
from tests.mutants.score import KINDS, WANTED, main, runner, score


@pytest.mark.campaign
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_nearly_all_mutants_are_caught_by_the_check_that_should(kind: str) -> None:
    faulthandler.cancel_dump_traceback_later()  # it takes minutes, and does not hang
    verdicts = score([kind])
    missed = [verdict.mutant.name for verdict in verdicts if not verdict.caught]
    assert len(verdicts) >= 15
    assert len(missed) <= (1 - WANTED) * len(verdicts), missed


SOUND = [(kind, factory) for kind in KINDS for factory in runner(kind)[0].sound]


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "factory"), SOUND, ids=[f"{kind}-{f.__name__}" for kind, f in SOUND])
def test_sound_things_pass_every_check(kind: str, factory: Any) -> None:
    report: Report = runner(kind)[1](factory, seed=41)
    assert report.ok
    applied = [outcome for outcome in report.outcomes if outcome.status == "passed"]
    assert len(applied) * 2 > len(report.outcomes) or factory.__name__ == "Stateless"
    assert all(outcome.exercised for outcome in applied)


def test_there_are_at_least_sixty_mutants_each_saying_what_is_wrong_with_it() -> None:
    mutants = [mutant for kind in KINDS for mutant in runner(kind)[0].mutants]
    assert len(mutants) >= 60
    assert len({(mutant.name, mutant.factory.__module__) for mutant in mutants}) == len(mutants)
    assert all(mutant.why.endswith(".") and mutant.caught_by for mutant in mutants)


def test_a_name_nothing_has_is_refused_by_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--kind", "rewards", "--only", "Overlapp"])
    assert left.value.code == 2
    assert "nothing is called Overlapp; there are " in capsys.readouterr().err
