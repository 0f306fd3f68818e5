"""Look-ups of 1, 2 and 4 workers while the partners are the limit.

Every worker has the same number of slots, so twice the workers should look up twice as much. The contacts are spread
evenly over the partitions; the workers join before the webhooks come. It is counted as in ``misses``.
"""

from __future__ import annotations

import sys
from statistics import median

from bench.misses import ready, waves
from bench.result import Options, Row, at_least

GOALS = (">= 0.9 linear",)
COMMAND = "python -m bench workers"
WORKERS = (1, 2, 4)
SLOTS = 32  # a worker: a machine with few cores must not be the limit
SCALE = 0.4  # of the partners' usual latencies: 1.9 s a look-up
WAVES = 10


async def run(options: Options) -> list[Row]:
    """Measure each number of workers in alternating rounds."""
    used = waves(WAVES, options.scale)
    rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    async with ready(SLOTS, max(WORKERS), SCALE) as trial:
        for number in range(options.rounds):
            for workers in WORKERS:
                seed = options.seed + 100 * number + workers
                measured = await trial.round(SLOTS * used * workers, seed, workers, {})
                rates[workers].append(measured.rate)
                print(f"round {number + 1}: {workers} workers, {measured}", file=sys.stderr)
    rows = []
    for workers in WORKERS:
        note = (
            f"{min(rates[workers]):.1f}..{max(rates[workers]):.1f} in {options.rounds} rounds; {SLOTS} slots a worker"
        )
        rows.append(Row(f"{workers} workers", median(rates[workers]), "look-ups/s", "", None, COMMAND, note))
        shares = [many / (workers * one) for many, one in zip(rates[workers], rates[1], strict=True)]
        if workers > 1:
            goal = at_least(0.9, median(shares))
            note = f"{min(shares):.3f}..{max(shares):.3f}"
            rows.append(Row(f"{workers} workers: share of linear", median(shares), "x", *goal, COMMAND, note))
    return rows
