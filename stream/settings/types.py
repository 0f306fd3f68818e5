"""The types of settings: each reads the text of a variable and refuses what it does not accept."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from stream.domain.phone_text import AREA_CODE
from stream.domain.provider import CRM_PARTNER, Provider

MAX_DELAYS = 3  # one topic for each delay
UNLIMITED = "unlimited"
MAX_BUDGET_DIGITS = 20
MAX_BUDGET = 2**31 - 1  # calls; the limit of a PostgreSQL integer column
PARTNERS = (*(provider.value for provider in Provider), CRM_PARTNER)


def _parse_duration(value: object) -> object:
    """Read ``24h``, ``90s``, ``15m``, ``180d`` or plain seconds as a timedelta."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    for unit, factor in units.items():
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return _timedelta(float(number) * factor)
    if text.replace(".", "", 1).isdigit():
        return _timedelta(float(text))
    msg = f"{value!r} is not a duration: write 90s, 15m, 24h or 180d"
    raise ValueError(msg)


def _timedelta(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        msg = "is longer than any duration can be"
        raise ValueError(msg) from None


def _check_positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        msg = "a duration must be above zero"
        raise ValueError(msg)
    return value


def _check_ascending(value: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
    if not 1 <= len(value) <= MAX_DELAYS or list(value) != sorted(set(value)):
        msg = f"one to {MAX_DELAYS} delays, each longer than the one before it: 1m,10m,1h"
        raise ValueError(msg)
    return value


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _check_area_code(value: str) -> str:
    if value and not _AREA_CODE.fullmatch(value):
        msg = "must be a Brazilian area code: two digits, such as 11"
        raise ValueError(msg)
    return value


def _parse_budget(value: object) -> object:
    """Read a number of calls, or ``unlimited``."""
    text = value.strip().lower() if isinstance(value, str) else value
    if text is None or text == UNLIMITED or (isinstance(text, int) and 0 <= text <= MAX_BUDGET):
        return text
    if (
        isinstance(text, str)
        and text.isascii()
        and text.isdecimal()
        and len(text) <= MAX_BUDGET_DIGITS
        and int(text) <= MAX_BUDGET
    ):
        return int(text)
    msg = f"is a number of calls a day, at most {MAX_BUDGET}, or: {UNLIMITED}"
    raise ValueError(msg)


def calls_of(budget: int | str | None) -> int | None:
    """The budget as the ledger expects it: calls a day, None for no limit."""
    return budget if isinstance(budget, int) else None


def _check_partners(value: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(Provider.WORK.value if name == "work_api" else name for name in map(str.lower, value))
    if not set(names) <= set(PARTNERS):
        msg = f"knows the partners {', '.join(PARTNERS)}"
        raise ValueError(msg)
    return names


def _check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for one in value:
        try:
            ip_network(one, strict=False)
        except ValueError:
            msg = "addresses and networks, comma-separated: 10.0.0.0/8,192.0.2.7"
            raise ValueError(msg) from None
    return value


def _check_database_address(value: SecretStr) -> SecretStr:
    """Refuse an address that the driver can't parse: the driver's error would quote a part of the password."""
    try:
        address = urlsplit(value.get_secret_value())
    except ValueError:
        raise ValueError(_NO_ADDRESS) from None
    if address.scheme not in {"postgresql", "postgres"}:
        msg = "must begin with postgresql://"
        raise ValueError(msg)
    hosts = address.netloc.rpartition("@")[2].split(",")
    if "@" in address.path + address.query + address.fragment or not all(map(_HOST.fullmatch, hosts)):
        raise ValueError(_NO_ADDRESS)
    return value


Duration = Annotated[timedelta, BeforeValidator(_parse_duration), AfterValidator(_check_positive)]
Delays = Annotated[tuple[Duration, ...], NoDecode, BeforeValidator(_split_commas), AfterValidator(_check_ascending)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
Partners = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas), AfterValidator(_check_partners)]
Budget = Annotated[int | str | None, BeforeValidator(_parse_budget)]
Networks = Annotated[Names, AfterValidator(_check_networks)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_commas)]
AreaCode = Annotated[str, AfterValidator(_check_area_code)]
DatabaseAddress = Annotated[SecretStr, AfterValidator(_check_database_address)]
_NO_ADDRESS = "is no address: percent-encode what is special in its password, such as / ? # : [ ] @"
_AREA_CODE = re.compile(AREA_CODE, re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(:[0-9]{1,5})?")
