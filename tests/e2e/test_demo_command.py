"""The command of the README, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

DEMO = [sys.executable, "-m", "stream", "demo", "--scale", "0.02"]
LIMIT = 240.0  # seconds


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one; PostgreSQL's leave our process tree and are found by their folder instead."""
    return psutil.Process(pid).children(recursive=True)


def test_json_is_one_object_and_nothing_else_on_standard_output() -> None:
    """``--json`` can be piped: progress goes to standard error, the report to standard output."""
    done = subprocess.run([*DEMO, "--json"], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert report["crm_messages_without_data"] == 0
    assert "posting" in done.stderr


def test_ctrl_c_stops_everything_that_was_started(apart: Path) -> None:
    """After Ctrl-C no process of the demo is left, and none of its files."""
    environment = {**os.environ, "TMPDIR": str(apart)}
    with subprocess.Popen([*DEMO, "--spacing", "2"], stderr=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stderr is not None
        said = ""
        until = time.monotonic() + LIMIT
        while "posting" not in said:
            assert time.monotonic() < until, said
            said += demo.stderr.readline()
        started = descendants(demo.pid)
        assert len(started) >= 5
        demo.send_signal(signal.SIGINT)
        said += demo.stderr.read()
        assert demo.wait(LIMIT) == 130, said
    assert "interrupted; everything is stopped" in said
    _, alive = psutil.wait_procs(started, timeout=LIMIT)
    assert [process.cmdline() for process in alive] == []
    by_folder = [one for one in psutil.process_iter(["cmdline"]) if str(apart) in " ".join(one.info["cmdline"] or [])]
    assert by_folder == []
    assert list(apart.glob("lead-stream-*")) == []
