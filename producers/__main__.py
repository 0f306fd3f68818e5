"""``python -m producers``: the life of the HTTP server."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from datetime import UTC, datetime

import click
import uvloop

from producers.app import App
from producers.auth import SHORTEST
from producers.limits import Limits
from producers.publisher import open_publisher
from producers.secret_faults import secret_faults, short_secrets, without_secret
from producers.server import listen
from stream.domain.errors import StopError
from stream.logs import get_logger
from stream.runtime.gc_tuning import freeze_gc
from stream.runtime.startup import settings_or_exit
from stream.settings import Settings

log = get_logger(__name__)

MOST_INTERNAL = 100  # connections to the operator's pages
OTHER_FILES = 512  # open files beside the connections: connections that are refused, the broker's
FLUSH_SHARE = 0.2  # of the shutdown's grace; the requests under way have the rest


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Receive webhooks over HTTP and publish them to the topic `webhooks`.

    Every setting is an environment variable. A route without a secret is not served, unless
    ALLOW_UNAUTHENTICATED=true says that everybody may post to it.

    \b
    Example:
      C2S_WEBHOOK_TOKEN=... GOOGLE_ADS_KEY=... KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python -m producers
    """  # noqa: D301 - click wants the character itself
    settings = settings_or_exit("producers", check=secret_faults)
    _warn_of_secrets(settings)
    try:
        uvloop.run(serve(settings))
    except StopError as error:
        log.error("the producers can't start", reason=str(error))  # noqa: TRY400 - the reason is what helps
        sys.exit(1)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C: stop accepting, let requests end, flush, leave. Raises StopError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    grace = settings.shutdown_grace.total_seconds()
    flush = grace * FLUSH_SHARE
    limits = Limits(per_address=settings.producer_max_connections_per_address)
    most, trusted = settings.producer_max_connections, settings.trusted_proxies
    raise_file_limit(most + OTHER_FILES)
    host, internal_host = settings.producer_host, settings.producer_internal_host
    async with open_publisher(settings, flush) as publisher:
        app = App(settings, publisher, lambda: datetime.now(UTC), limits)
        async with (
            listen(app.handle_internal, internal_host, settings.internal_port, MOST_INTERNAL, 1.0) as internal_port,
            listen(
                app.handle, host, settings.producer_port, most, grace - flush, limits=limits, trusted=trusted
            ) as port,
        ):
            freeze_gc()
            log.info("listening", host=host, port=port, internal_host=internal_host, internal_port=internal_port)
            await stop.wait()
            log.info("stopping: requests under way may end")
    log.info("stopped")


def raise_file_limit(files: int) -> None:
    """Let the process open ``files`` files, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _warn_of_secrets(settings: Settings) -> None:
    without = without_secret(settings)
    if without and settings.allow_unauthenticated:
        names = ", ".join(one.setting.upper() for one in without)
        log.warning("everybody may post: no secret is configured", missing=names)
    elif without:  # the others were faults
        for one in without:
            log.info("a webhook is not served: no secret is configured", path=one.path, missing=one.setting.upper())
    short = short_secrets(settings)
    if short:
        log.warning(
            "a webhook secret is too short: the next release will not start with it",
            variables=", ".join(short),
            shortest=SHORTEST,
        )


if __name__ == "__main__":
    main(prog_name="python -m producers")
