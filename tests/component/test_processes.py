"""Children of ours: started, waited for, stopped by force when they must, and gone when we are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stream.domain.errors import StopError
from stream.local.kafka import free_port
from stream.local.processes import Child
from tests.support.waiting import LIMIT, wait_until

SERVES = ["http.server", "--bind", "127.0.0.1"]


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def child(folder: Path, source: str, **environment: str) -> Child:
    """A child that runs ``source`` as a module of its own."""
    (folder / "source_of_a_child.py").write_text(source)
    return Child("child", ["source_of_a_child"], {"PYTHONPATH": str(folder), **environment}, folder)


def said(one: Child, text: str) -> None:
    """Wait until it has said something."""
    wait_until(lambda: text in one.tail(), f"{text!r}: {one.tail()}")


def test_a_child_is_ready_when_its_page_answers(tmp_path: Path) -> None:
    """Waiting ends with the first 200, and stopping ends the process."""
    port = free_port()
    one = Child("web", [*SERVES, str(port)], {}, tmp_path)
    one.start()
    try:
        one.wait_for(f"http://127.0.0.1:{port}/", LIMIT)
        assert one.is_running
    finally:
        one.stop()
    assert not one.is_running


def test_a_child_that_ends_instead_is_reported_with_its_log(tmp_path: Path) -> None:
    """Waiting for a child that ends raises at once, with the end of its log."""
    one = child(tmp_path, "raise SystemExit('no such luck')")
    one.start()
    with pytest.raises(StopError, match="child ended: no such luck"):
        one.wait_for("http://127.0.0.1:9/", LIMIT)


def test_a_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    """Waiting has a limit."""
    one = child(tmp_path, "import time\nprint('busy', flush=True)\ntime.sleep(600)")
    one.start()
    try:
        said(one, "busy")
        with pytest.raises(StopError, match="not ready after 0 s: busy"):
            one.wait_for("http://127.0.0.1:9/", 0.2)
    finally:
        one.kill()


def test_a_child_may_end_in_good_order(tmp_path: Path) -> None:
    """The child gets SIGTERM first, and its own exit code is returned."""
    one = child(
        tmp_path,
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('up', flush=True)\n"
        "time.sleep(600)",
    )
    one.start()
    said(one, "up")
    assert one.stop() == 7


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """After the limit the child gets SIGKILL."""
    one = child(
        tmp_path,
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)",
    )
    one.start()
    said(one, "up")
    one.signal(signal.SIGTERM)
    assert one.wait(0.3) == -signal.SIGKILL


def test_a_child_has_the_environment_it_is_given(tmp_path: Path) -> None:
    """The given variables are added to those of the parent."""
    one = child(tmp_path, "import os\nprint(os.environ['GIVEN'], 'PATH' in os.environ)", GIVEN="something")
    one.start()
    assert one.wait(LIMIT) == 0
    assert one.tail() == "something True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """No child is left after SIGKILL to the parent."""
    source = (
        "import pathlib, sys, time\n"
        "from stream.local.processes import Child\n"
        "one = Child('grandchild', ['http.server', '0'], {}, pathlib.Path(sys.argv[1]))\n"
        "one.start()\n"
        "print(one.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", source, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert lives(grandchild)
        parent.kill()
    wait_until(lambda: not lives(grandchild), "the grandchild's end")
