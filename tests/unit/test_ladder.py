"""The ladder on fakes of its ports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.fake_rig import FakeRig
from tests.ladder_scenarios import SCENARIOS, Rig


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_ladder_on_fakes(scenario: Callable[[Rig], Awaitable[None]]) -> None:
    """What each scenario says holds on the fakes."""
    async with asyncio.timeout(5):
        await scenario(FakeRig())
