"""Diretrix and the Work API fail in every way that was observed, refuse us, and are down for long."""

from __future__ import annotations

import time
from typing import Any

from tests.chaos import scenario
from tests.chaos.rig import Rig
from tests.support.system import answer, counts, faults

PARTNERS = ("diretrix", "work")
# Fewer in a row than open the breaker: each of them is met, not the breaker.
IN_A_ROW = 4
FAULTS = {
    "slow": {"latency": 0.6},
    "hanging": {"hang": 30},
    "429 with Retry-After": {"status": 429, "retry_after": 1},
    "500": {"status": 500},
    "connection reset": {"reset": True},
    "garbage": {"garbage": True},
}
DOWN = {"reset": True}
REFUSED = {"diretrix": {"status": 401}, "work": {"status": 200}}  # of Work: a 200 with an error inside
AT_ONCE = 64  # calls that may be under way when a partner goes down
TAKES_US_AGAIN = 90  # seconds; one call finds out 60 s after a refusal
PROBE_EVERY = 15  # seconds; what the breaker lets through until it is back


class Scenario(scenario.Scenario):
    """Whatever the partners do, every webhook has its end, hits continue, and only unsure calls are paid twice."""

    number, name = 5, "partners fail"
    full = {"webhooks": 4_000, "per_second": 25, "seconds": 5, "down": 30}
    small = {}
    # Ten minutes down are 30 s here: time is scaled by 20, and so are the delays.
    environment = {
        "RETRY_DELAYS": "1s,5s,15s",
        "DIRETRIX_TIMEOUT": "1s",
        "WORK_API_TIMEOUT": "1s",
        "LOOKUP_DEADLINE": "15s",
    }

    def play(self, rig: Rig, webhooks: int, per_second: int, seconds: int, down: int) -> None:
        """``seconds``: of each fault; ``down``: seconds for which both partners are down."""
        load = rig.load(webhooks, per_second=per_second, people=webhooks // 3)
        rig.sleep(seconds)
        for name, fault in FAULTS.items():
            for partner in PARTNERS:
                with rig.breaking(f"{partner}: {name}"):
                    times = {} if "latency" in fault else {"times": IN_A_ROW}
                    faults(rig.stack, **{partner: {**fault, **times}})
                    rig.sleep(seconds)
                    faults(rig.stack)
                rig.look()
        self._down(rig, down)
        self._refused(rig, seconds)
        load.wait()

    def _down(self, rig: Rig, seconds: int) -> None:
        """Both partners are down: known contacts are answered, and the partners are asked a few times only."""
        before, answered = counts(rig.stack)["counts"], self._answered(rig)
        with rig.breaking(f"both down for {seconds} s"):
            faults(rig.stack, diretrix=DOWN, work=DOWN)
            rig.sleep(seconds)
            self._must_be_degraded(rig, "the breaker is open")
            after = counts(rig.stack)["counts"]
            faults(rig.stack)
        for partner in PARTNERS:
            asked = after.get(partner, 0) - before.get(partner, 0)
            rig.note(f"{partner} asked while down", asked)
            most = AT_ONCE + seconds // PROBE_EVERY + 1
            rig.promise(asked <= most, f"{partner} was asked {asked} times while it was down")
        hits = self._answered(rig) - answered
        rig.note("answered while both were down", hits)
        rig.promise(hits > 0, "nothing was answered while the partners were down")

    def _refused(self, rig: Rig, seconds: int) -> None:
        """Both partners refuse us: no call starts beyond those under way, and the log says so."""
        rig.sleep(20)  # the breakers let one call through after 15 s
        before = counts(rig.stack)["counts"]
        with rig.breaking("credentials refused"):
            faults(rig.stack, **REFUSED)
            rig.sleep(seconds)
            self._must_be_degraded(rig, "refuses us")
            after = counts(rig.stack)["counts"]
            faults(rig.stack)
        asked = after["diretrix"] - before["diretrix"]
        rig.note("diretrix asked while it refused", asked)
        rig.promise(asked <= AT_ONCE, f"diretrix was asked {asked} times while it refused us")
        until = time.monotonic() + TAKES_US_AGAIN
        while self._ready(rig)[1]["status"] != "ok" and time.monotonic() < until:
            rig.sleep(1)
        rig.promise(self._ready(rig)[1]["status"] == "ok", "what was mended is still not asked")

    def _answered(self, rig: Rig) -> int:
        rig.reader.catch_up()
        return sum(event.outcome == "enriched" for event in rig.evidence.emissions)

    def _ready(self, rig: Rig) -> tuple[int, Any]:
        return answer(f"{rig.stack.worker_url}/readyz")

    def _must_be_degraded(self, rig: Rig, why: str) -> None:
        status, page = self._ready(rig)
        rig.promise(
            (status, page["status"]) == (200, "degraded") and why in page["checks"]["diretrix"],
            f"ready page says {status} {page} where {why!r} was to be expected",
        )
