"""What every command does first: read the settings, set up the log, say every fault at once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import click
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from stream import logs
from stream.domain.errors import StopError, StreamError
from stream.settings import SECRET_NAMES, Settings, load, slips

EXIT_CONFIGURATION = 2


def settings_or_exit(process: str) -> Settings:
    """The settings, with the log set up for ``process``; exits with 2 and every fault named."""
    try:
        settings = load()
    except OSError as error:
        click.echo(f"a secret's file can't be read: {error.filename}: {error.strerror}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    except ValidationError as error:
        click.echo("the configuration has faults:", err=True)
        for fault in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in fault["loc"]).upper()
            click.echo(f"  {name}: {fault['msg']}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    logs.configure(settings, process)
    _look_for_slips()
    return settings


def _look_for_slips() -> None:
    grave, others = slips()
    for slip in others:
        logs.get_logger(__name__).warning("an unknown variable: is it a slip?", given=slip.given, meant=slip.meant)
    for slip in grave:
        click.echo(f"{slip.given} is no setting. Is it a slip of {slip.meant}, which is not set?", err=True)
    if grave:
        click.echo("Nothing starts with a budget, a price or a secret that is not read: rename or remove it.", err=True)
        sys.exit(EXIT_CONFIGURATION)


def require(settings: Settings, *names: str) -> None:
    """Exit with 2 and every name that is missing: who starts without a secret finds out at the first lead otherwise."""
    missing = [name for name in names if not len(getattr(settings, name.lower()))]
    if not missing:
        return
    click.echo(f"not configured: {', '.join(missing)}.", err=True)
    files = [f"{name}_FILE" for name in missing if name in SECRET_NAMES]
    click.echo(f"Set them, or the paths of files that hold them: {', '.join(files)}.", err=True)
    sys.exit(EXIT_CONFIGURATION)


async def until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run ``work`` until SIGTERM or Ctrl-C, which set its event; returns the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = logs.get_logger(__name__)
    try:
        await work(stop)
    except (StreamError, KafkaError, OSError) as error:
        log.error("leaving", reason=f"{type(error).__name__}: {error}")  # noqa: TRY400 - the reason is what helps
        return error.exit_code if isinstance(error, StopError) else 1
    log.info("stopped")
    return 0
