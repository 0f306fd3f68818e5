"""What every command does first: read the settings, set up the log, say every fault at once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import click
from aiokafka.errors import KafkaError
from pydantic import SecretStr, ValidationError

from stream import logs
from stream.domain.errors import StopError, StreamError
from stream.settings import SECRET_NAMES, UNLIMITED, Settings, load, removed, slips

EXIT_CONFIGURATION = 2
UNSET = (None, "", (), SecretStr(""))
HINTS = {"DIRETRIX_DAILY_BUDGET": f"a number of paid calls a day for the whole fleet, or: {UNLIMITED}"}
BASE_URLS = {"diretrix": "DIRETRIX_BASE_URL", "work": "WORK_API_BASE_URL", "c2s": "C2S_BASE_URL"}


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
    for name in removed():
        logs.get_logger(__name__).warning("a removed variable: it has no effect", given=name)
    grave, others = slips()
    for slip in others:
        logs.get_logger(__name__).warning("an unknown variable: is it a slip?", given=slip.given, meant=slip.meant)
    for slip in grave:
        click.echo(f"{slip.given} is no setting. Is it a slip of {slip.meant}, which is not set?", err=True)
    if grave:
        click.echo("Nothing starts with a budget, a price or a secret that is not read: rename or remove it.", err=True)
        sys.exit(EXIT_CONFIGURATION)


def require(settings: Settings, *names: str, partners: Sequence[str] = ()) -> None:
    """Exit with 2 and every name that is missing: who starts without a secret finds out at the first lead otherwise.

    ``partners``: whom this process speaks to; exits as well where that would be in clear and nobody has said so.
    """
    missing = [name for name in names if getattr(settings, name.lower()) in UNSET]
    files = [f"{name}_FILE" for name in missing if name in SECRET_NAMES]
    faults = [fault for partner in partners if (fault := plaintext_fault(settings, partner))]
    if missing:
        click.echo(f"not configured: {', '.join(missing)}.", err=True)
    if files:
        click.echo(f"Set them, or the paths of files that hold them: {', '.join(files)}.", err=True)
    for name in missing:
        if name in HINTS:
            click.echo(f"{name}: {HINTS[name]}.", err=True)
    for fault in faults:
        click.echo(fault, err=True)
    if missing or faults:
        sys.exit(EXIT_CONFIGURATION)


def plaintext_fault(settings: Settings, partner: str) -> str:
    """What is wrong with a partner's address, "" when nothing is: credentials and leads go there."""
    name = BASE_URLS[partner]
    address = urlsplit(getattr(settings, name.lower()))
    if address.scheme not in {"http", "https"} or not address.hostname:
        return f"{name}: is no address: it begins with https:// or http:// and names a host."
    if address.scheme == "https" or partner in settings.plaintext_partners or _is_loopback(address.hostname):
        return ""
    return (
        f"{name}: is http:// beyond this machine, where everybody on the way can read it. "
        f"Use https://, or name {partner} in PLAINTEXT_PARTNERS."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
