"""``python -m producers``: starts the HTTP server, serves until SIGTERM, stops in good order."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from datetime import UTC, datetime

import click
import uvloop

from producers.app import App
from producers.auth import MIN_SECRET_CHARACTERS
from producers.limits import Limits
from producers.publisher import open_publisher
from producers.secret_faults import endpoints_without_secret, secret_faults, short_secrets
from producers.server import listen
from stream.domain.errors import StopError
from stream.logs import get_logger
from stream.runtime.gc_tuning import freeze_gc
from stream.runtime.startup import settings_or_exit
from stream.settings import Settings

log = get_logger(__name__)

MAX_INTERNAL_CONNECTIONS = 100  # to the operator's pages
OTHER_OPEN_FILES = 512  # beside the connections: rejected ones, and those to the broker
FLUSH_SHARE = 0.2  # of SHUTDOWN_GRACE, for the publisher; requests in flight have the rest


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
    _warn_about_secrets(settings)
    try:
        uvloop.run(serve(settings))
    except StopError as error:
        log.error("the producers can't start", reason=str(error))  # noqa: TRY400 - the reason is what helps
        sys.exit(1)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; then stop accepting, let requests end, flush. Raises StopError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    grace = settings.shutdown_grace.total_seconds()
    flush = grace * FLUSH_SHARE
    limits = Limits(connections_per_address=settings.producer_max_connections_per_address)
    max_connections, trusted = settings.producer_max_connections, settings.trusted_proxies
    raise_file_limit(max_connections + OTHER_OPEN_FILES)
    host, internal_host = settings.producer_host, settings.producer_internal_host
    async with open_publisher(settings, flush) as publisher:
        app = App(settings, publisher, lambda: datetime.now(UTC), limits)
        async with (
            listen(
                app.handle_internal, internal_host, settings.internal_port, MAX_INTERNAL_CONNECTIONS, 1.0
            ) as internal_port,
            listen(
                app.handle, host, settings.producer_port, max_connections, grace - flush, limits=limits, trusted=trusted
            ) as port,
        ):
            freeze_gc()
            log.info("listening", host=host, port=port, internal_host=internal_host, internal_port=internal_port)
            await stop.wait()
            log.info("stopping")
    log.info("stopped")


def raise_file_limit(files: int) -> None:
    """Raise the process's limit of open files to ``files``, or as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _warn_about_secrets(settings: Settings) -> None:
    without = endpoints_without_secret(settings)
    if without and settings.allow_unauthenticated:
        names = ", ".join(one.setting.upper() for one in without)
        log.warning("everybody may post: no secret is configured", missing=names)
    elif without:  # only optional ones: a missing required secret stops the start
        for one in without:
            log.info("a webhook is not served: no secret is configured", path=one.path, missing=one.setting.upper())
    short = short_secrets(settings)
    if short:
        log.warning(
            "a webhook secret is too short: the next release will not start with it",
            variables=", ".join(short),
            shortest=MIN_SECRET_CHARACTERS,
        )


if __name__ == "__main__":
    main(prog_name="python -m producers")
