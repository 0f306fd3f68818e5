"""The whole system on one machine: broker, database, simulated partners, and every process of the project.

Used by ``demo``, ``local`` and the end-to-end tests. If KAFKA_BOOTSTRAP_SERVERS or DATABASE_URL is set, that server is
used and none is started.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from aiokafka.errors import KafkaError

from stream.kafka.clients import open_admin
from stream.kafka.static_members import remove_members
from stream.local.kafka import LocalKafka, free_port
from stream.local.postgres import LocalPostgres
from stream.local.processes import Child
from stream.ops.migrate import migrate
from stream.ops.topics import create_missing
from stream.settings import DEMO_C2S_TOKEN, DEMO_GOOGLE_KEY, DEMO_WEBHOOK_SECRETS, Settings, load
from stream.topics import WORKER_GROUP

C2S_TOKEN = DEMO_C2S_TOKEN
GOOGLE_KEY = DEMO_GOOGLE_KEY

Say = Callable[[str], None]


class Stack:
    """Starts the requested servers and processes, and stops all of them in reverse order."""

    def __init__(self, say: Say, *, scale: float = 1.0, seed: int = 1, extra: Mapping[str, str] | None = None) -> None:
        """``say``: prints a line; ``scale``: factor on the partners' latencies; ``extra``: environment variables."""
        self._say = say
        self._scale = scale
        self._seed = seed
        self._extra = dict(extra or {})
        self.folder = Path(tempfile.mkdtemp(prefix="lead-stream-"))
        self._data: Path | None = None
        self.kafka: LocalKafka | None = None
        self.postgres: LocalPostgres | None = None
        self.bootstrap_servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
        self.database_url = os.environ.get("DATABASE_URL", "")
        self.simulators_url = ""
        self.children: dict[str, Child] = {}
        self.keep_folder = False  # True keeps the logs, for example of a failed run
        names = ("producers", "producers-internal", "worker", "crm-sync", "journal")
        self._ports = {name: free_port() for name in names}
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        self._say(f"[{time.monotonic() - self._began:5.1f} s] {text}")

    @property
    def producers_url(self) -> str:
        """The address of the producers' webhooks."""
        return f"http://127.0.0.1:{self._ports['producers']}"

    @property
    def producers_internal_url(self) -> str:
        """The address of the producers' internal pages."""
        return f"http://127.0.0.1:{self._ports['producers-internal']}"

    @property
    def worker_url(self) -> str:
        """The address of the worker's pages."""
        return f"http://127.0.0.1:{self._ports['worker']}"

    def page(self, name: str) -> str:
        """The address of the pages of a process: ``producers``, ``worker``, ``worker-2``, ..."""
        return self.producers_internal_url if name == "producers" else f"http://127.0.0.1:{self._ports[name]}"

    def instance(self, name: str) -> str:
        """The WORKER_INSTANCE_ID of ``worker``, ``worker-2``, ..."""
        return f"local-{name.partition('-')[2] or '1'}"

    def environment(self) -> dict[str, str]:
        """The environment variables of every process."""
        partners = self.simulators_url or "http://127.0.0.1:9"
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "DATABASE_URL": self.database_url,
            "DIRETRIX_BASE_URL": partners,
            "DIRETRIX_USER": "demo",
            "DIRETRIX_PASSWORD": "demo-password",
            "WORK_API_BASE_URL": partners,
            "WORK_API_TOKEN": "demo-work-token",
            "C2S_BASE_URL": partners,
            "C2S_TOKEN": "demo-c2s-token",
            "DIRETRIX_DAILY_BUDGET": "unlimited",  # the partners are simulated
            **{name.upper(): secret for name, secret in DEMO_WEBHOOK_SECRETS.items()},
            "ALLOW_DEMO_SECRETS": "true",
            "PRODUCER_PORT": str(self._ports["producers"]),
            "PRODUCER_INTERNAL_PORT": str(self._ports["producers-internal"]),
            "STREAM_WEB_PORT": str(self._ports["worker"]),
            "CRM_WEB_PORT": str(self._ports["crm-sync"]),
            "JOURNAL_WEB_PORT": str(self._ports["journal"]),
            "WORKER_INSTANCE_ID": self.instance("worker"),
            **self._extra,
        }

    def settings(self) -> Settings:
        """The settings of every process, for connections of this process."""
        return load(self.environment())

    def start_servers(self) -> None:
        """Start broker and database, and create topics and tables."""
        if not self.bootstrap_servers:
            self.say("starting Apache Kafka")
            self.kafka = LocalKafka(self.folder / "kafka", self.say)
            self.kafka.start()
            self.bootstrap_servers = self.kafka.bootstrap_servers
        if not self.database_url:
            self.say("starting PostgreSQL")
            # A folder of its own: started by root, the server runs as another user, who can't read the common folder.
            self._data = Path(tempfile.mkdtemp(prefix="lead-stream-postgres-"))
            self.postgres = LocalPostgres(self._data)
            self.postgres.start()
            self.database_url = self.postgres.url
        self.say("creating topics and tables")
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        async with open_admin(self.settings()) as admin:
            await create_missing(admin, self.settings())
        await migrate(self.database_url)

    def start_simulators(self) -> None:
        """Start the simulators of Diretrix, the Work API and C2S."""
        port = free_port()
        self.simulators_url = f"http://127.0.0.1:{port}"
        arguments = [
            "stream.local.simulators",
            "--port",
            str(port),
            "--scale",
            str(self._scale),
            "--seed",
            str(self._seed),
        ]
        self.start("simulators", arguments, f"{self.simulators_url}/_control/counts")

    def start_ours(self, *names: str) -> None:
        """Start processes and wait until they are ready: ``producers``, ``worker``, ``crm-sync``, ``journal``."""
        for name in names:
            self._child(name).start()
        for name in names:
            self.children[name].wait_for(f"{self.page(name)}/readyz")

    def _child(self, name: str) -> Child:
        arguments = ["producers"] if name == "producers" else ["stream", name]
        if name not in self.children:
            self.children[name] = Child(name, arguments, self.environment(), self.folder)
        self.say(f"starting {name}")
        return self.children[name]

    def start_another_worker(self, number: int) -> Child:
        """Start ``worker-<number>``, with its own name and pages, for the first time or again. Does not wait."""
        name = f"worker-{number}"
        if name not in self.children:
            self._ports[name] = free_port()
            own = {"WORKER_INSTANCE_ID": self.instance(name), "STREAM_WEB_PORT": str(self._ports[name])}
            self.children[name] = Child(name, ["stream", "worker"], {**self.environment(), **own}, self.folder)
        self.say(f"starting {name}")
        self.children[name].start()
        return self.children[name]

    def start(self, name: str, arguments: list[str], url: str) -> None:
        """Start ``python -m`` with ``arguments`` and wait for ``url``."""
        self.say(f"starting {name}")
        self.children[name] = Child(name, arguments, self.environment(), self.folder)
        self.children[name].start()
        self.children[name].wait_for(url)

    def stop(self) -> None:
        """Stop everything that was started, and remove its data."""
        self.say("stopping")
        for child in reversed(self.children.values()):
            child.signal(signal.SIGTERM)
        for child in reversed(self.children.values()):
            child.wait()
        self._leave_group()
        if self.postgres is not None:
            self.postgres.stop()
        if self.kafka is not None:
            self.kafka.kill()  # its data is deleted, so a clean stop would gain nothing
        folders = [self.folder, *([self._data] if self._data is not None else [])]
        if self.keep_folder:
            self.say(f"logs are in {' and '.join(map(str, folders))}")
            return
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _leave_group(self) -> None:
        """Remove the workers from their group on a broker that keeps running.

        They are static members and would keep their partitions for a while. A later worker with one of their names
        would get these partitions, which may not exist any more.
        """
        names = [self.instance(name) for name in self.children if name.startswith("worker")]
        if self.kafka is not None or not names:
            return
        try:
            asyncio.run(self._remove_members(names))
        except (KafkaError, OSError) as error:
            self.say(f"the workers are members of {WORKER_GROUP} until their sessions end ({type(error).__name__})")

    async def _remove_members(self, names: list[str]) -> None:
        async with open_admin(self.settings()) as admin:
            await remove_members(admin, WORKER_GROUP, names)

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
