"""The ladder on a real PostgreSQL and on the partners' simulators over real HTTP: the fakes' scenarios again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.ladder_scenarios import SCENARIOS, Rig
from tests.real_rig import real_rig


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_ladder_on_real_parts(pool: asyncpg.Pool, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    """What each scenario says holds on PostgreSQL and over HTTP."""
    async with asyncio.timeout(20), real_rig(pool) as rig:
        await scenario(rig)
