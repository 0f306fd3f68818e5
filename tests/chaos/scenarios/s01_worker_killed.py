"""SIGKILL for the worker at random moments, then for the producers, the CRM sync and the journal."""

from __future__ import annotations

import re
from collections import Counter

from tests.chaos import scenario
from tests.chaos.rig import Rig

OTHERS = ("producers", "crm-sync", "journal")


class Scenario(scenario.Scenario):
    """Kills under load lose no webhook; only calls and writes under way are paid or told twice."""

    number, name = 1, "killed"
    full = {"webhooks": 20_000, "kills": 20, "per_second": 180, "longest_ms": 10_000}
    small = {"webhooks": 1_000, "kills": 4, "per_second": 150, "longest_ms": 2_000}

    def play(self, rig: Rig, webhooks: int, kills: int, per_second: int, longest_ms: int) -> None:
        """``longest_ms``: the longest time between a start and the next kill; the shortest is 100 ms."""
        others = webhooks // 10
        load = rig.load(webhooks - others, per_second=per_second, people=webhooks // 5)
        for kill in range(kills):
            rig.sleep(rig.chance.uniform(0.1, longest_ms / 1000))
            rig.kill("worker")
            rig.say(f"worker killed, {kill + 1} of {kills}")
            rig.restart("worker")
            rig.look()
        rig.until_ready("worker")
        load.wait()
        load = rig.load(others, per_second=per_second)
        for _ in range(max(1, kills // 5)):
            for name in OTHERS:
                rig.sleep(rig.chance.uniform(0.1, 1.0))
                rig.kill(name)
                rig.say(f"{name} killed")
                rig.restart(name)
        load.wait()
        rig.note("posts sent again", load.again)
        log = rig.stack.children["worker"].log.read_text(errors="replace")
        rig.note("parked", dict(Counter(re.findall(r"parked .*reason='?([^'\n]+)", log))))
