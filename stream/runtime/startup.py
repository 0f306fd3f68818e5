"""What every command does first: read the settings, configure the log, report all faults at once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import click
from aiokafka.errors import KafkaError
from pydantic import SecretStr, ValidationError

from stream import logs
from stream.domain.errors import StopError, StreamError
from stream.domain.provider import CRM_PARTNER, Provider
from stream.settings import SECRET_NAMES, UNLIMITED, Settings, examine, removed, slips

EXIT_CONFIGURATION = 2
UNSET = (None, "", (), SecretStr(""))
HINTS = {"DIRETRIX_DAILY_BUDGET": f"a number of paid calls a day for the whole fleet, or: {UNLIMITED}"}
Check = Callable[[Settings, Collection[str]], list[str]]  # settings, variables with a fault -> what else is wrong
BASE_URLS = {
    Provider.DIRETRIX: "DIRETRIX_BASE_URL",
    Provider.WORK: "WORK_API_BASE_URL",
    CRM_PARTNER: "C2S_BASE_URL",
}


def settings_or_exit(process: str, *needed: str, partners: Sequence[str] = (), check: Check | None = None) -> Settings:
    """Read the settings and configure the log for ``process``. Prints every fault and exits with 2 if there is one.

    ``needed``: variables that the process requires; without this check a missing secret would show at the first lead.
    ``partners``: the partners it calls; plain HTTP to one is a fault unless the settings allow it. ``check``: returns
    further faults.
    """
    settings, invalid = examine()
    logs.configure(settings, process)
    lines, named = _invalid(invalid)
    faults = [*lines, *_slips(), *_missing(settings, [name for name in needed if name not in named])]
    if "PLAINTEXT_PARTNERS" not in named:
        readable = [partner for partner in partners if BASE_URLS[partner] not in named]
        faults += filter(None, [plaintext_fault(settings, partner) for partner in readable])
    if check is not None:
        faults += check(settings, named)
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        sys.exit(EXIT_CONFIGURATION)
    return settings


def _invalid(error: ValidationError | None) -> tuple[list[str], frozenset[str]]:
    """The lines about invalid variables, and the variables' names, whose values must not be used."""
    if error is None:
        return [], frozenset()
    faults = error.errors(include_input=False, include_url=False)
    lines = [f"  {fault['loc'][0]}: {fault['msg']}" for fault in faults]
    named = [str(fault["loc"][0]).partition(".")[0] for fault in faults]
    return ["the configuration has faults:", *lines], frozenset(name.removesuffix("_FILE") for name in named)


def _slips() -> list[str]:
    for name in removed():
        logs.get_logger(__name__).warning("a removed variable: it has no effect", given=name)
    grave, others = slips()
    for slip in others:
        logs.get_logger(__name__).warning("an unknown variable: is it misspelt?", given=slip.given, meant=slip.meant)
    lines = [f"{slip.given} is no setting. Is {slip.meant} meant, which is not set?" for slip in grave]
    if lines:
        lines.append("Nothing starts with a budget, a price or a secret that is not read: rename or remove it.")
    return lines


def _missing(settings: Settings, needed: Sequence[str]) -> list[str]:
    missing = [name for name in needed if getattr(settings, name.lower()) in UNSET]
    if not missing:
        return []
    files = [f"{name}_FILE" for name in missing if name in SECRET_NAMES]
    lines = [f"not configured: {', '.join(missing)}."]
    if files:
        lines.append(f"Set them, or the paths of files that hold them: {', '.join(files)}.")
    return lines + [f"{name}: {HINTS[name]}." for name in missing if name in HINTS]


def plaintext_fault(settings: Settings, partner: str) -> str:
    """What is wrong with a partner's base URL, to which credentials and leads are sent; "" if nothing is."""
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
    """Run ``work`` until SIGTERM or Ctrl-C, which set its event. Returns the exit code."""
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
