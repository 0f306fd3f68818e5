"""Tunes Python's garbage collector for the worker and the producers, which keep tens of thousands of objects.

By default the collector examines all young objects after 700 allocations: at full speed that is a pause for every dozen
webhooks. Objects that exist after the start (in the worker: after the recovery of its table) live as long as the
process and need no collection (measured: ``python -m bench collector``).
"""

from __future__ import annotations

import gc

THRESHOLDS = 50_000, 50, 100  # new objects; then collections of a generation before one of the next older generation


def freeze_gc() -> None:
    """Collect once, exclude the remaining objects from collection, and collect new objects less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
