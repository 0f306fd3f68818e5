"""Python's garbage collector, for the worker and the producers: each holds tens of thousands of values for long.

The defaults look at everything young after 700 allocations: at full speed that is a pause for every dozen webhooks.
What is there after the start (of the worker: after its table's recovery) stays, and need not be looked at again
(measured: ``python -m bench collector``).
"""

from __future__ import annotations

import gc

THRESHOLDS = 50_000, 50, 100  # objects, and how many younger collections come before an older one


def freeze_gc() -> None:
    """Collect once, leave what is there alone from now on, and look at new things less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
