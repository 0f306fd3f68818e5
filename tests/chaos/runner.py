"""Runs scenarios one after the other, each on servers of its own, and returns their reports."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping

from aiokafka.errors import KafkaError
from asyncpg import InterfaceError, PostgresError

from stream.domain.errors import StreamError
from stream.local.stack import Stack
from tests.chaos.report import Report, judge
from tests.chaos.rig import Rig
from tests.chaos.scenario import Scenario

# Parked webhooks come back soon, and a look-up whose partner hangs does not take half a minute of the run.
# A write to the CRM that a killed process had under way is waited for twice its time-out.
ENVIRONMENT = {"RETRY_DELAYS": "1s", "LOOKUP_DEADLINE": "8s", "C2S_TIMEOUT": "5s"}


def run(scenario: Scenario, seed: int, size: Mapping[str, int], say: Callable[[str], None]) -> Report:
    """Run one scenario and judge it. Its logs are kept if a promise is broken."""
    report = Report(scenario.title, seed)
    say(f"{scenario.title}: seed {seed}, {', '.join(f'{name} {value}' for name, value in size.items())}")
    began = time.monotonic()
    with Stack(_ignore, scale=scenario.scale, seed=seed, extra={**ENVIRONMENT, **scenario.environment}) as stack:
        rig = Rig(stack, report, lambda text: say(f"  [{time.monotonic() - began:5.1f} s] {text}"))
        try:
            stack.start_servers()
            stack.start_simulators()
            stack.start_ours(*scenario.processes)
            scenario.play(rig, **size)
            rig.say("waiting for every webhook's end")
            rig.settle()
            rig.reader.read_database()
            judge(report, rig.evidence, rig.past_unfinished)
        except (StreamError, KafkaError, PostgresError, InterfaceError, AssertionError, OSError) as error:
            report.broken.append(f"it did not get to its end: {type(error).__name__}: {error}")
            rig.say(traceback.format_exc())
        except KeyboardInterrupt:
            # At once: a process that is suspended hears nothing else, and nobody waits for the others' grace.
            for child in stack.children.values():
                child.kill()
            raise
        if rig.left:
            report.notes["left by itself"] = ", ".join(f"{name} {times} times" for name, times in rig.left.items())
        report.seconds = time.monotonic() - began
        if not report.kept:
            stack.keep_folder = True
            rig.evidence.dump(stack.folder / "evidence.json")
            report.notes["logs"] = str(stack.folder)
    say(f"  {'kept' if report.kept else 'BROKEN'} after {report.seconds:.0f} s: {report.figures}")
    return report


def _ignore(text: str) -> None:
    del text
