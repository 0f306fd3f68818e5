"""``python -m stream worker``."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable
from contextlib import AsyncExitStack

import click
import uvloop
from aiokafka.errors import KafkaError

from stream.domain.errors import StreamError
from stream.domain.provider import Provider
from stream.kafka.clients import open_admin
from stream.kafka.static_members import remove_members
from stream.logs import get_logger
from stream.runtime.startup import settings_or_exit
from stream.settings import Settings
from stream.topics import WORKER_GROUP
from stream.worker.lifecycle import SHUTDOWN_STEP_S, SHUTDOWN_STEPS, Stop, Worker
from stream.worker.wiring import worker

log = get_logger(__name__)


@click.command()
@click.option(
    "--leave-on-stop",
    is_flag=True,
    help="Leave the group on stop although WORKER_INSTANCE_ID is set: this worker will not come back.",
)
def command(*, leave_on_stop: bool) -> None:
    """Answer webhooks: read them from Kafka, enrich them, emit contacts.enriched.

    \b
    Example:
      KAFKA_BOOTSTRAP_SERVERS=localhost:9092 DATABASE_URL=postgresql://... python -m stream worker
    """  # noqa: D301 - click's mark for lines that must stay as they are
    needed = ("DIRETRIX_USER", "DIRETRIX_PASSWORD", "WORK_API_TOKEN", "DIRETRIX_DAILY_BUDGET")
    settings = settings_or_exit("worker", *needed, partners=tuple(Provider))
    sys.exit(uvloop.run(_run(settings, leave_on_stop=leave_on_stop)))


async def _run(settings: Settings, *, leave_on_stop: bool) -> int:
    stop = Stop()
    stop.listen()
    ending = asyncio.create_task(
        _force_exit_after(stop, settings.shutdown_grace.total_seconds() + SHUTDOWN_STEP_S * SHUTDOWN_STEPS)
    )
    try:
        async with AsyncExitStack() as stack:
            made = await _start_unless_stopped(stop, stack.enter_async_context(worker(settings)))
            if made is None:
                return 0
            code = await made.run(stop)
            gives_up = made.must_leave_group or (leave_on_stop and not code)
            if gives_up and settings.worker_instance_id:
                await _leave_group(settings)
            if code or made.runtime_hangs:
                _exit_now(code)
    except (StreamError, KafkaError, OSError) as error:
        log.error("the worker can't start", reason=str(error) or type(error).__name__)  # noqa: TRY400 - the reason is what helps
        return 1
    else:
        return 0
    finally:
        ending.cancel()


async def _start_unless_stopped(stop: Stop, starting: Awaitable[Worker]) -> Worker | None:
    """The worker; None when a stop was requested before it had started."""
    start, stopping = asyncio.ensure_future(starting), asyncio.ensure_future(stop.requested.wait())
    await asyncio.wait({start, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if start.done():
        return start.result()
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    log.info("stopped before it had started")
    return None


async def _leave_group(settings: Settings) -> None:
    """Remove this worker from its group. A broker that does not answer must not delay the exit."""
    try:
        async with asyncio.timeout(SHUTDOWN_STEP_S), open_admin(settings) as admin:
            await remove_members(admin, WORKER_GROUP, [settings.worker_instance_id])
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        reason = type(error).__name__
        log.warning("still a member of the group", instance=settings.worker_instance_id, reason=reason)
    else:
        log.info("left the group", instance=settings.worker_instance_id)


async def _force_exit_after(stop: Stop, seconds: float) -> None:
    """Exit ``seconds`` after a stop was requested, whatever hangs. A thread waits for it, because the loop may hang."""
    await stop.requested.wait()
    timer = threading.Timer(seconds, _exit_now, (1,))
    timer.daemon = True
    timer.start()


def _exit_now(code: int) -> None:
    """Exit without clean-up: Faust's consumer has a thread that only an orderly stop ends."""
    sys.stderr.flush()
    os._exit(code)
