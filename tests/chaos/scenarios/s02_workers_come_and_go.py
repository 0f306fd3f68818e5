"""Workers join and leave under load, also two at once, and one is suspended for longer than its session."""

from __future__ import annotations

from stream.faust_runtime.app import SESSION_TIMEOUT_S
from tests.chaos import scenario
from tests.chaos.rig import Rig

GONE_WITHIN = 20.0  # seconds after SIGCONT


class Scenario(scenario.Scenario):
    """1 -> 3 -> 2 -> 4 -> 1 workers: partitions move, no webhook is lost, and a suspended worker does not continue."""

    number, name = 2, "workers come and go"
    full = {"webhooks": 9_000, "per_second": 75, "pause": 10, "beyond_session": 5}
    small = {"webhooks": 1_500, "per_second": 40, "pause": 1, "beyond_session": 2}

    def play(self, rig: Rig, webhooks: int, per_second: int, pause: int, beyond_session: int) -> None:
        """``pause``: seconds between changes; ``beyond_session``: seconds by which a suspension exceeds the session."""
        load = rig.load(webhooks, per_second=per_second, people=webhooks // 3)
        rig.sleep(1)
        self._join(rig, 2, 3)
        rig.sleep(pause)
        self._leave(rig, "worker-3")
        rig.sleep(pause)
        self._join(rig, 3, 4)
        rig.sleep(pause)
        self._suspend(rig, "worker-2", SESSION_TIMEOUT_S + beyond_session)
        rig.sleep(pause)
        self._leave(rig, "worker-2", "worker-3", "worker-4")
        rig.look()
        load.wait()

    @staticmethod
    def _join(rig: Rig, *numbers: int) -> None:
        """Start workers at once: the second joins while the first one's rebalance is under way."""
        rig.say(f"workers {', '.join(map(str, numbers))} join")
        for number in numbers:
            rig.add_worker(number)
        for number in numbers:
            rig.until_ready(f"worker-{number}")
        rig.look()

    @staticmethod
    def _leave(rig: Rig, *names: str) -> None:
        rig.say(f"{', '.join(names)} leave")
        codes = rig.scale_down(*names)
        rig.promise(not any(codes), f"SIGTERM ended {', '.join(names)} with {codes}, not 0")
        rig.look()

    @staticmethod
    def _suspend(rig: Rig, name: str, seconds: float) -> None:
        rig.say(f"{name} is suspended for {seconds:.0f} s")
        rig.suspend(name, seconds)
        code = rig.until_gone(name, GONE_WITHIN)
        rig.promise(code == 1, f"{name} ended with {code} after a suspension, not by itself with 1")
        rig.look()
        rig.restart(name, ready=True)
