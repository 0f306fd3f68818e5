"""The look-up chain on a real PostgreSQL and on the partners' simulators over real HTTP: the fakes' scenarios again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.support.identity_scenarios import IDENTITY_SCENARIOS
from tests.support.lookup_rig import Rig
from tests.support.lookup_scenarios import CALL_SCENARIOS
from tests.support.real_rig import real_rig
from tests.support.waiting import LIMIT


@pytest.mark.parametrize("check", [*CALL_SCENARIOS, *IDENTITY_SCENARIOS], ids=lambda check: check.__name__)
async def test_ladder_on_real_parts(pool: asyncpg.Pool, check: Callable[[Rig], Awaitable[None]]) -> None:
    """What each scenario says holds on PostgreSQL and over HTTP."""
    async with asyncio.timeout(LIMIT), real_rig(pool) as rig:
        await check(rig)
