"""Replays: from the beginning, from an instant in the middle, and one that is killed half-way."""

from __future__ import annotations

from datetime import UTC, datetime

from stream.ops.replay import Earliest, Target
from tests.chaos import scenario
from tests.chaos.rig import Rig
from tests.support.system import counts


class Scenario(scenario.Scenario):
    """A replay emits the same ids, pays nothing within the lifetime of an answer, and tells the CRM nothing new."""

    number, name = 8, "replay"
    full = {"webhooks": 6_000, "per_second": 200}
    small = {"webhooks": 400, "per_second": 100}

    def play(self, rig: Rig, webhooks: int, per_second: int) -> None:
        """Half of the webhooks arrive before the instant to which the second replay goes back."""
        rig.load(webhooks // 2, per_second=per_second, people=webhooks // 4)
        rig.settle()
        instant = datetime.now(UTC)
        rig.load(webhooks - webhooks // 2, per_second=per_second)
        rig.settle()
        told = self._told(rig)
        before = len(rig.evidence.emissions)
        known = {event.event_id for event in rig.evidence.emissions}

        self._replay(rig, Earliest(), webhooks, "from 0")
        self._replay(rig, instant, webhooks - webhooks // 2, "from an instant in the middle")
        self._replay(rig, Earliest(), webhooks, "killed half-way", kill=True)

        again = rig.evidence.emissions[before:]
        rig.note("events by replays", len(again))
        new = {event.event_id for event in again} - known
        rig.promise(not new, f"replays made {len(new)} ids that were not there before")
        paid = sum(event.calls for event in again)
        rig.promise(not paid, f"events of replays say that {paid} calls were paid")
        rig.promise(self._told(rig) == told, "partners were asked or the CRM was told by a replay")

    @staticmethod
    def _told(rig: Rig) -> tuple[int, int, int, int]:
        counted = counts(rig.stack)["counts"]
        return tuple(counted.get(name, 0) for name in ("diretrix", "work", "c2s_message", "c2s_lead"))  # type: ignore[return-value]

    @staticmethod
    def _replay(rig: Rig, target: Target | datetime, wanted: int, how: str, *, kill: bool = False) -> None:
        rig.stop("worker")
        moved = rig.replay(target)
        # A webhook that was parked and came back lies in the topic twice; how many were depends on the machine's load.
        rig.promise(moved >= wanted, f"{how}: only {moved} records to be read again, not {wanted}")
        rig.say(f"replay {how}: {moved} records")
        already = len(rig.evidence.emissions)
        rig.restart("worker")
        if kill:
            rig.until(lambda: rig.events() >= already + wanted // 4, "a quarter of the replay")
            rig.kill("worker")
            rig.say(f"killed after {rig.events() - already} events")
            rig.restart("worker")
        rig.settle()
        emitted = {event.event_id for event in rig.evidence.emissions[already:]}
        rig.promise(len(emitted) == wanted, f"{how}: events for {len(emitted)} webhooks, not {wanted}")
