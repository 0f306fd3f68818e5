"""``python -m stream worker``."""

from __future__ import annotations

import os
import sys

import click
import uvloop
from aiokafka.errors import KafkaError

from stream.bootstrap import worker
from stream.domain.errors import StreamError
from stream.logs import get_logger
from stream.settings import Settings
from stream.start import require, settings_or_exit

log = get_logger(__name__)


@click.command()
def command() -> None:
    r"""Answer webhooks: read them from Kafka, enrich them, emit contacts.enriched.

    \b
    Example:
      KAFKA_BOOTSTRAP_SERVERS=localhost:9092 DATABASE_URL=postgresql://... python -m stream worker
    """
    settings = settings_or_exit("worker")
    require(settings, "DIRETRIX_USER", "DIRETRIX_PASSWORD", "WORK_API_TOKEN")
    sys.exit(uvloop.run(_run(settings)))


async def _run(settings: Settings) -> int:
    try:
        async with worker(settings) as made:
            code = await made.run()
            if code:
                _leave_at_once(code)
            return code
    except (StreamError, KafkaError, OSError) as error:
        log.error("the worker can't start", reason=str(error) or type(error).__name__)  # noqa: TRY400 - the reason is what helps
        return 1


def _leave_at_once(code: int) -> None:
    """End the process without its clean-up: Faust's consumer has a thread that only an orderly stop ends."""
    sys.stderr.flush()
    os._exit(code)
