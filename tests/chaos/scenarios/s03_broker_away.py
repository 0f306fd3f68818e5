"""The broker is restarted cleanly, killed, down for a minute, and down when the worker starts."""

from __future__ import annotations

from tests.chaos import scenario
from tests.chaos.rig import Rig


class Scenario(scenario.Scenario):
    """Every webhook that was answered 200 is there when the broker is back, and every process continues by itself."""

    number, name = 3, "broker away"
    full = {"webhooks": 8_000, "per_second": 50, "bounces": 3, "away": 60}

    def play(self, rig: Rig, webhooks: int, per_second: int, bounces: int, away: int) -> None:
        """``away``: seconds for which the broker is down."""
        broker = rig.stack.kafka
        assert broker is not None, "a broker of this run's own is needed"
        load = rig.load(webhooks, per_second=per_second, people=webhooks // 4)
        for bounce in range(bounces):
            for end, how in ((broker.stop, "bounced"), (broker.kill, "killed")):
                rig.sleep(rig.chance.uniform(1.0, 5.0))
                with rig.breaking(f"broker {how}, {bounce + 1} of {bounces}"):
                    end()
                    broker.start()
                rig.look()
        rig.sleep(2)
        with rig.breaking(f"broker away for {away} s"):
            broker.kill()
            rig.sleep(away)
            broker.start()
        rig.look()
        rig.sleep(2)
        rig.stop("worker")
        with rig.breaking("worker starts while the broker is away"):
            broker.stop()
            rig.restart("worker")
            rig.sleep(away / 6)
            broker.start()
        rig.until_ready("worker")
        load.wait()
        rig.note("posts sent again", load.again)
