"""Hypothesis profiles for tests of what writes to logs: no deadline, because a slow disk is no failure.

pytest --hypothesis-profile=eventcore-ci
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

ANY_HEALTH = (
    HealthCheck.data_too_large,
    HealthCheck.differing_executors,
    HealthCheck.filter_too_much,
    HealthCheck.function_scoped_fixture,
    HealthCheck.large_base_example,
    HealthCheck.nested_given,
    HealthCheck.too_slow,
)
"""What hypothesis warns test authors of, and nobody can do anything about inside a check."""


def register() -> None:
    """Register `eventcore`, `eventcore-ci` (the same examples everywhere) and `eventcore-thorough`."""
    base = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("eventcore", base)
    settings.register_profile("eventcore-ci", base, derandomize=True, database=None, print_blob=True)
    settings.register_profile("eventcore-thorough", base, max_examples=2_000, stateful_step_count=100)
