"""Partners send answers that are made to exhaust memory or time, or to crash the process."""

from __future__ import annotations

import psutil

from stream.local.hostile import KINDS
from tests.chaos import scenario
from tests.chaos.rig import Rig
from tests.support.system import faults

PARTNERS = ("diretrix", "work")
# Fewer in a row than open the breaker: each of them is met, not the breaker.
IN_A_ROW = 4
MOST_MEMORY = 150  # MB that the worker may have more than before


class Scenario(scenario.Scenario):
    """Each answer is a failure of that partner: the worker keeps its memory, and every webhook has its end."""

    number, name = 12, "hostile partners"
    full = {"webhooks": 2_000, "per_second": 40, "milliseconds": 2_000}
    small = {"webhooks": 500, "per_second": 40, "milliseconds": 500}
    environment = {"RETRY_DELAYS": "1s", "DIRETRIX_TIMEOUT": "1s", "WORK_API_TIMEOUT": "1s"}

    def play(self, rig: Rig, webhooks: int, per_second: int, milliseconds: int) -> None:
        """``milliseconds``: for each kind of answer at each partner."""
        worker = rig.stack.children["worker"]
        pid = worker.pid
        before = most = _memory(pid)
        load = rig.load(webhooks, per_second=per_second, people=webhooks)
        for kind in KINDS:
            for partner in PARTNERS:
                with rig.breaking(f"{partner}: {kind}"):
                    faults(rig.stack, **{partner: {"body": kind, "times": IN_A_ROW}})
                    rig.sleep(milliseconds / 1000)
                    most = max(most, _memory(pid))
                faults(rig.stack)
            rig.look()
        load.wait()
        rig.settle()
        grown = (max(most, _memory(pid)) - before) / 1e6
        rig.note("worker's memory", f"{before / 1e6:.0f} MB, at most {grown:.0f} MB more")
        rig.promise(worker.is_running and worker.pid == pid, "the worker was restarted")
        rig.promise(grown <= MOST_MEMORY, f"the worker took {grown:.0f} MB")
        log = worker.log.read_text(errors="replace")
        rig.promise("Traceback" not in log, "a traceback is in the worker's log")
        rig.promise(not rig.evidence.letters, "webhooks are dead letters")


def _memory(pid: int) -> int:
    """The memory of a process in bytes; 0 if it has exited."""
    return int(psutil.Process(pid).memory_info().rss) if psutil.pid_exists(pid) else 0
