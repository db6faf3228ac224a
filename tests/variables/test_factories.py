"""Default factories of a data model count like defaults, although a JSON schema cannot say them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import eventcore as ec


class Plan(ec.DataModel):
    """Has a field that must be given and one that makes its own default."""

    goal: str
    steps: list[str] = ec.Field(default_factory=lambda: ["look", "leap"])


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with ec.open("memory:") as store, store.run("factories"):
        yield


def test_a_first_value_and_an_assigned_one_are_completed_by_the_factories() -> None:
    plan = ec.Variable({"goal": "far"}, Plan, name="plan")
    assert plan.get_json() == {"goal": "far", "steps": ["look", "leap"]}
    plan.assign({"goal": "near"})
    assert plan.get_json() == {"goal": "near", "steps": ["look", "leap"]}
    plan.assign({"goal": "none", "steps": []})
    assert plan.get_json() == {"goal": "none", "steps": []}


def test_each_variable_has_a_list_of_its_own() -> None:
    one, other = (ec.Variable({"goal": "g"}, Plan, name=name) for name in ("one", "other"))
    one.get("steps").append("fall")
    assert other.get_json()["steps"] == ["look", "leap"]


def test_what_does_not_fit_is_refused_as_ever() -> None:
    with pytest.raises(ec.errors.SchemaMismatch, match="/goal"):
        ec.Variable({"goal": 3}, Plan, name="plan")
