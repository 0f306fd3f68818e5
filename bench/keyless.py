"""Tier-1 hits when every webhook came without its key: three of four lie on another's partition and are moved first.

The loop beside it reads webhooks that have their key: it would not notice that one lies on the wrong partition.
"""

from __future__ import annotations

from bench.hits import in_turns
from bench.result import Options, Row
from bench.sides import KEYLESS, PLAIN

GOALS = (">= 0.3x an aiokafka loop on webhooks that have their key",)
COMMAND = "python -m bench keyless"


async def run(options: Options) -> list[Row]:
    """Measure both in turns."""
    return await in_turns((KEYLESS, PLAIN), options, COMMAND, {KEYLESS: 0.3})
