"""Tier-1 hits of webhooks without a key: three of four are on another contact's partition and are rerouted first."""

from __future__ import annotations

from bench.hits import in_turns
from bench.result import Options, Row
from bench.sides import KEYLESS, PLAIN

GOALS = (">= 0.3x an aiokafka loop on webhooks that have their key",)
COMMAND = "python -m bench keyless"


async def run(options: Options) -> list[Row]:
    """Measure both sides in alternating rounds."""
    return await in_turns((KEYLESS, PLAIN), options, COMMAND, {KEYLESS: 0.3})
