"""The chaos suite at its small size: every promise is kept."""

from __future__ import annotations

import pytest

from tests.chaos.runner import run
from tests.chaos.scenario import Scenario, found

SEED = 20260131
SMALL = [scenario for scenario in found() if scenario.small]


@pytest.mark.parametrize("scenario", SMALL, ids=lambda scenario: scenario.title)
def test_every_promise_is_kept_when_it_is_broken_on_purpose(scenario: Scenario) -> None:
    """Nothing is missing, out of order, committed too far, paid for or told twice; see the scenario's own sentence."""
    report = run(scenario, SEED, scenario.small, print)
    assert report.broken == [], report.notes
