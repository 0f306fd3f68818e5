"""The worker's container is re-created under another host name, after a kill and after a clean stop."""

from __future__ import annotations

import time

from tests.chaos import scenario
from tests.chaos.rig import Rig

READY_WITHIN = 60.0  # seconds; a worker that its assignor refused waited for 312


class Scenario(scenario.Scenario):
    """A static member gets its partitions back under any host name and continues."""

    number, name = 14, "renamed host"
    full = {"webhooks": 4_000, "per_second": 60, "times": 6}
    small = {"webhooks": 300, "per_second": 30, "times": 2}

    def play(self, rig: Rig, webhooks: int, per_second: int, times: int) -> None:
        """``times``: how often the container is re-created."""
        load = rig.load(webhooks, per_second=per_second, people=webhooks // 3)
        for number in range(times):
            rig.sleep(rig.chance.uniform(1.0, 3.0))
            if number % 2:
                rig.promise(rig.stop("worker") == [0], "SIGTERM did not end the worker with 0")
            else:
                rig.kill("worker")
            rig.rename_host("worker", f"host-{number}")
            rig.say(f"worker re-created on host-{number}")
            began = time.monotonic()
            rig.restart("worker", ready=True)
            seconds = time.monotonic() - began
            rig.promise(seconds < READY_WITHIN, f"host-{number} was ready after {seconds:.0f} s")
            rig.note(f"host-{number} ready after", f"{seconds:.1f} s")
            rig.look()
        load.wait()
        rig.promise(not rig.left, f"ended by itself: {rig.left}")
