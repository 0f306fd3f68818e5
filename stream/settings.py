"""Every variable the project reads: name, type, default, help.

Owns the environment: nothing else in the project reads ``os.environ``. All faults are reported together, at start
(``stream/runtime/startup.py``). Each secret ``NAME`` may instead be given as ``NAME_FILE``, the path of a file that
holds it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, SecretStr, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from stream.domain.dead_letter_limit import DlqLimit
from stream.domain.near_names import NearName, near_names
from stream.domain.phone_text import AREA_CODE
from stream.domain.provider import CRM_PARTNER, Provider

MOST_DELAYS = 3  # one topic for each delay
UNLIMITED = "unlimited"
MOST_BUDGET_DIGITS = 20
LARGEST_BUDGET = 2**31 - 1  # calls; the limit of a PostgreSQL integer column
PARTNERS = (*(provider.value for provider in Provider), CRM_PARTNER)
REMOVED = ("STREAM_FAST_PATH",)  # settings of the previous release; setting one logs a warning


def _seconds(value: object) -> object:
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


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        msg = "a duration must be above zero"
        raise ValueError(msg)
    return value


def _growing(value: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
    if not 1 <= len(value) <= MOST_DELAYS or list(value) != sorted(set(value)):
        msg = f"one to {MOST_DELAYS} delays, each longer than the one before it: 1m,10m,1h"
        raise ValueError(msg)
    return value


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _area_code(value: str) -> str:
    if value and not _AREA_CODE.fullmatch(value):
        msg = "must be one of Brazil's area codes, two digits such as 11"
        raise ValueError(msg)
    return value


def _budget(value: object) -> object:
    """Read a number of calls, or ``unlimited``."""
    text = value.strip().lower() if isinstance(value, str) else value
    if text is None or text == UNLIMITED or (isinstance(text, int) and 0 <= text <= LARGEST_BUDGET):
        return text
    if (
        isinstance(text, str)
        and text.isascii()
        and text.isdecimal()
        and len(text) <= MOST_BUDGET_DIGITS
        and int(text) <= LARGEST_BUDGET
    ):
        return int(text)
    msg = f"is a number of calls a day, at most {LARGEST_BUDGET}, or: {UNLIMITED}"
    raise ValueError(msg)


def calls_of(budget: int | str | None) -> int | None:
    """A budget as the ledger takes it: None has no limit."""
    return budget if isinstance(budget, int) else None


def _partners(value: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(Provider.WORK.value if name == "work_api" else name for name in map(str.lower, value))
    if not set(names) <= set(PARTNERS):
        msg = f"knows the partners {', '.join(PARTNERS)}"
        raise ValueError(msg)
    return names


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for one in value:
        try:
            ip_network(one, strict=False)
        except ValueError:
            msg = "addresses and networks, comma-separated: 10.0.0.0/8,192.0.2.7"
            raise ValueError(msg) from None
    return value


def _database_address(value: SecretStr) -> SecretStr:
    """Refuse what the driver would stumble over: its error would hold a part of the password."""
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


Duration = Annotated[timedelta, BeforeValidator(_seconds), AfterValidator(_positive)]
Delays = Annotated[tuple[Duration, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_growing)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Partners = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_partners)]
Budget = Annotated[int | str | None, BeforeValidator(_budget)]
Networks = Annotated[Names, AfterValidator(_networks)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_comma_separated)]
AreaCode = Annotated[str, AfterValidator(_area_code)]
DatabaseAddress = Annotated[SecretStr, AfterValidator(_database_address)]
_NO_ADDRESS = "is no address: percent-encode what is special in its password, such as / ? # : [ ] @"
_AREA_CODE = re.compile(AREA_CODE, re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(:[0-9]{1,5})?")
# Webhook secrets of `demo` and `local`; they are public.
DEMO_C2S_TOKEN = "demo-webhook-token"  # noqa: S105 - public, refused unless ALLOW_DEMO_SECRETS is set
DEMO_GOOGLE_KEY = "demo-google-ads-key"
DEMO_WEBHOOK_SECRETS = {  # by setting
    "c2s_webhook_token": DEMO_C2S_TOKEN,
    "google_ads_key": DEMO_GOOGLE_KEY,
    "grupo_olx_credentials": "grupo-olx:demo-grupo-olx-password",
}
DEMO_SECRETS = frozenset({*DEMO_WEBHOOK_SECRETS.values(), "demo-google-key"})  # the last one was used until 0.1


class Settings(BaseSettings):
    """The whole configuration, read once from the environment."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    # Kafka
    kafka_bootstrap_servers: str = Field("localhost:9092", description="Kafka brokers, host:port, comma-separated")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol of the connection to the brokers"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism; used when KAFKA_SECURITY_PROTOCOL is SASL_*"
    )
    kafka_sasl_username: str = Field("", description="SASL user name", validate_default=True)
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="SASL password", validate_default=True)
    kafka_ssl_cafile: FilePath | None = Field(
        None, description="File of the CA that signed the brokers' certificates; unset: the CAs of the system"
    )
    topic_partitions: int = Field(
        8, ge=1, description="Partitions of each of these topics: webhooks, its retry topics and changelog, events"
    )
    topic_replication: int = Field(1, ge=1, description="Replicas of each partition; use 3 in production")

    # PostgreSQL
    database_url: DatabaseAddress = Field(
        SecretStr("postgresql://localhost/leads"),
        description="Address of PostgreSQL, postgresql://user:password@host/database",
    )
    database_pool_size: int = Field(8, ge=2, description="Maximum connections to PostgreSQL per process")
    database_timeout: Duration = Field(timedelta(seconds=5), description="Time limit of one SQL statement")

    # Partners
    diretrix_base_url: str = Field("http://api.diretrixconsultoria.com.br", description="Base URL of the Diretrix API")
    diretrix_user: str = Field("", description="User name for the Diretrix API")
    diretrix_password: SecretStr = Field(SecretStr(""), description="Password for the Diretrix API")
    diretrix_timeout: Duration = Field(timedelta(seconds=10), description="Time limit of one Diretrix call")
    diretrix_price: Decimal = Field(
        Decimal("0.01"), ge=0, description="Price of one paid Diretrix call, in PRICE_CURRENCY"
    )
    price_currency: str = Field("BRL", description="Currency of the prices")
    diretrix_max_concurrency: int = Field(64, ge=1, description="Maximum concurrent Diretrix calls across all workers")
    diretrix_rate_per_second: float | None = Field(
        None, gt=0, description="Maximum Diretrix calls per second across all workers; unset: no limit"
    )
    diretrix_daily_budget: Budget = Field(
        None,
        description="Maximum paid Diretrix calls per Sao Paulo day across all workers: a number or unlimited; required",
    )
    work_api_base_url: str = Field("http://localhost:9", description="Base URL of the Work API")
    work_api_token: SecretStr = Field(SecretStr(""), description="Token for the Work API")
    work_api_timeout: Duration = Field(timedelta(seconds=15), description="Time limit of one Work API call")
    work_api_price: Decimal = Field(Decimal(0), ge=0, description="Price of one Work API call, in PRICE_CURRENCY")
    work_api_max_concurrency: int = Field(64, ge=1, description="Maximum concurrent Work API calls across all workers")
    work_api_rate_per_second: float | None = Field(
        None, gt=0, description="Maximum Work API calls per second across all workers; unset: no limit"
    )
    work_api_daily_budget: Budget = Field(
        UNLIMITED,
        description="Maximum Work API calls per Sao Paulo day across all workers: a number or unlimited",
    )
    plaintext_partners: Partners = Field(
        (Provider.DIRETRIX.value,),
        description="Partners that may be called over http:// outside this machine: diretrix, work, c2s",
    )

    # CRM
    c2s_base_url: str = Field("http://localhost:9", description="Base URL of the C2S API")
    c2s_token: SecretStr = Field(SecretStr(""), description="Token for the C2S API")
    c2s_timeout: Duration = Field(timedelta(seconds=30), description="Time limit of one C2S call")
    c2s_type_negotiation: str = Field(
        "Compra", description="Value of type_negotiation in leads that the CRM sync creates"
    )
    c2s_source: str = Field(
        "Google Ads",
        description="Value of source in created leads whose webhook source has no name of its own in the CRM",
    )
    c2s_seller_id: str = Field("", description="Seller of leads that the CRM sync creates; empty: the CRM decides")
    crm_concurrency: int = Field(8, ge=1, description="Maximum concurrent C2S calls per CRM sync process")
    crm_note_not_found: bool = Field(default=False, description="Write a message to the CRM also when nobody was found")
    crm_resend_unconfirmed: bool = Field(
        default=False, description="Resend unconfirmed writes, which may have been carried out already"
    )
    crm_web_host: str = Field("127.0.0.1", description="Address on which the CRM sync serves its pages")
    crm_web_port: int = Field(6067, ge=0, le=65535, description="Port of the CRM sync's pages; 0: any free port")
    journal_web_host: str = Field("127.0.0.1", description="Address on which the journal serves its pages")
    journal_web_port: int = Field(6068, ge=0, le=65535, description="Port of the journal's pages; 0: any free port")

    # Producers
    c2s_webhook_token: Secrets = Field(
        (), description="Secret of the C2S webhook; two values are both valid, for a rotation"
    )
    google_ads_key: Secrets = Field(
        (), description="Secret of the Google Ads webhook; two values are both valid, for a rotation"
    )
    grupo_olx_credentials: Secrets = Field(
        (),
        description="user:password of the Grupo OLX webhook; two values are both valid, for a rotation; unset: 404",
    )
    allow_unauthenticated: bool = Field(default=False, description="Serve webhook routes that have no secret")
    allow_demo_secrets: bool = Field(
        default=False, description="Accept the webhook secrets of the demo, which are public"
    )
    producer_host: str = Field("127.0.0.1", description="Address on which the producers receive webhooks")
    producer_port: int = Field(8080, ge=0, le=65535, description="Port on which the producers receive webhooks")
    producer_internal_host: str = Field(
        "127.0.0.1", description="Address of the producers' internal pages: /readyz, /metrics, /openapi.json"
    )
    producer_internal_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the producers' internal pages; unset: PRODUCER_PORT + 1; 0: any free port",
    )
    trusted_proxies: Networks = Field(
        (), description="Addresses and networks of reverse proxies whose X-Forwarded-For header is used"
    )
    producer_publish_timeout: Duration = Field(
        timedelta(seconds=10), description="Time limit for the broker's acknowledgement, after which the answer is 503"
    )
    producer_max_connections: int = Field(
        1_000, ge=1, description="Maximum concurrent HTTP connections per process; further ones get 503"
    )
    producer_max_connections_per_address: int = Field(
        100,
        ge=1,
        description="Maximum concurrent HTTP connections from one remote address; TRUSTED_PROXIES are exempt",
    )
    producer_duplicate_window: int = Field(
        100_000, ge=0, description="Number of recent deliveries that are remembered to recognise duplicates"
    )

    # Worker
    stream_web_host: str = Field("127.0.0.1", description="Address on which the worker serves its pages")
    stream_web_port: int = Field(6066, ge=0, le=65535, description="Port of the worker's pages; 0: any free port")
    workers: int = Field(1, ge=1, description="Number of workers; each takes its share of the limits on partner calls")
    worker_instance_id: str = Field(
        "", description="Stable name of this worker, unique among the workers (Kafka static membership)"
    )
    cache_ttl_known: Duration = Field(
        timedelta(hours=24), description="How long a known person is answered from the table"
    )
    cache_ttl_unknown: Duration = Field(
        timedelta(hours=1), description="How long an unknown contact is not looked up again"
    )
    cache_capacity: int = Field(50_000, ge=1, description="Maximum table entries per worker")
    work_unknown_for: Duration = Field(
        timedelta(days=7), description="How long a CPF that the Work API does not know is not looked up again"
    )
    enrichment_max_age: Duration = Field(
        timedelta(days=180), description="Age at which the data of a stored person is fetched again"
    )
    contact_denylist: Names = Field(
        (), description="Phones and e-mails that identify nobody, such as the company's own; comma-separated"
    )
    default_area_code: AreaCode = Field(
        "", description="Area code to assume for phones that have none; unset: these phones are ignored"
    )
    lookup_slots: int = Field(128, ge=1, description="Maximum concurrent look-ups per worker, one per contact")
    lookup_queue: int = Field(
        5_000,
        ge=1,
        description="Maximum contacts per worker that are looked up or wait for a slot; further ones are parked",
    )
    lookup_deadline: Duration = Field(timedelta(seconds=30), description="Time limit of one look-up, from its start")
    lookup_queue_limit: Duration = Field(
        timedelta(seconds=120), description="Maximum wait for a look-up slot, after which the webhook is parked"
    )
    max_unfinished_span: int = Field(
        20_000,
        ge=1_000,
        description="Maximum webhooks of a partition from the oldest that is not completed to the newest fetched",
    )
    retry_delays: Delays = Field(
        (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)),
        description="Delays before a parked webhook is retried: after the first failure, the second, all later ones",
    )
    retry_max_age: Duration = Field(
        timedelta(hours=24),
        le=timedelta(days=6),
        description="Age at which a parked webhook becomes a dead letter; at most 6d",
    )
    fuse_in_a_row: int = Field(
        100, ge=1, description="Number of consecutive dead letters that stops the worker or the CRM sync"
    )
    fuse_share: float = Field(
        0.75,
        gt=0,
        le=1,
        description="Share of dead letters in a minute's records above which the process stops; 1: never",
    )
    fuse_minimum: int = Field(
        100, ge=1, description="Number of dead letters in a minute below which FUSE_SHARE has no effect"
    )
    shutdown_grace: Duration = Field(timedelta(seconds=25), description="Time to finish work in flight after SIGTERM")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Minimum level of log lines")
    log_json: bool = Field(default=False, description="Write each log line as a JSON object")
    journal: bool = Field(
        default=False, description="Write public.webhook_events too; keep it off while the replaced service runs"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what ``load`` gives and nothing else: the library would look into the environment by itself."""
        return (init_settings,)

    @field_validator("kafka_sasl_username", "kafka_sasl_password")
    @classmethod
    def _needed_by_sasl(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        if info.data.get("kafka_security_protocol", "").startswith("SASL") and not len(value):
            msg = "is needed: KAFKA_SECURITY_PROTOCOL asks for SASL"
            raise ValueError(msg)
        return value

    @property
    def internal_port(self) -> int:
        """The port of the producers' internal pages; 0: any free one."""
        if self.producer_internal_port is not None:
            return self.producer_internal_port
        return self.producer_port and self.producer_port % 65_535 + 1

    @property
    def fuse(self) -> DlqLimit:
        """When dead letters stop the process."""
        return DlqLimit(self.fuse_in_a_row, self.fuse_share, self.fuse_minimum)

    def __repr__(self) -> str:
        """Say nothing: a configuration never reaches a log as a whole."""
        return "Settings(...)"

    __str__ = __repr__


SECRET_NAMES = tuple(
    name.upper()
    for name, field in Settings.model_fields.items()
    if field.annotation in (SecretStr, tuple[SecretStr, ...])
)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environ`` (the process environment unless given).

    Raises ``pydantic.ValidationError`` with every fault: invalid values, secrets that are given twice, and each
    ``NAME_FILE`` that can't be read or is no text. It shows no value of a secret and no path of its file.
    """
    settings, faults = examine(environ)
    if faults is not None:
        raise faults
    return settings


def examine(environ: Mapping[str, str] | None = None) -> tuple[Settings, ValidationError | None]:
    """The settings, and every fault of theirs; what has a fault has its default, so that the rest can be looked at."""
    variables = dict(os.environ if environ is None else environ)
    values: dict[str, Any] = {}
    faults: list[InitErrorDetails] = []
    for name in Settings.model_fields:
        variable = name.upper()
        file = variables.get(f"{variable}_FILE", "") if variable in SECRET_NAMES else ""
        if file and variables.get(variable):
            faults.append(_fault(variable, f"is given twice: unset it, or {variable}_FILE"))
        elif file:
            try:
                values[name] = _text_of(Path(file))
            except OSError as error:
                faults.append(_fault(f"{variable}_FILE", f"the secret's file can't be read: {error.strerror}"))
        elif variables.get(variable):
            values[name] = variables[variable]
    unread = {str(fault["loc"][0]).removesuffix("_FILE").lower() for fault in faults}
    settings, others = _validated(values, unread)
    faults += others
    if not faults:
        return settings, None
    return settings, ValidationError.from_exception_data("Settings", faults, hide_input=True)


def _validated(values: dict[str, Any], unread: set[str]) -> tuple[Settings, list[InitErrorDetails]]:
    """The settings with the defaults in place of faults, and these; that ``unread`` ones are missing is none."""
    faults: list[InitErrorDetails] = []
    while True:  # each time without a value that was a fault
        try:
            return Settings.model_validate(values), faults
        except ValidationError as error:
            if not values:
                raise  # the defaults are at fault: ours, and nothing is left to take away
            found = error.errors(include_input=False, include_url=False)
        named = {str(fault["loc"][0]) for fault in found}
        faults += [
            _fault(".".join(map(str, fault["loc"])).upper(), fault["msg"].removeprefix("Value error, "))
            for fault in found
            if fault["loc"][0] not in unread
        ]
        if named - values.keys():  # the broker's protocol alone makes a fault of a default
            named.add("kafka_security_protocol")
        values = {name: value for name, value in values.items() if name not in named}


def _fault(variable: str, text: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("setting", "{text}", {"text": text}), loc=(variable,), input=None)


def slips(environ: Mapping[str, str] | None = None) -> tuple[list[NearName], list[NearName]]:
    """Variables that look like settings which are not set: those that must stop the start, and the others.

    A budget, a price or a secret that is not read costs money or opens a door.
    """
    variables = os.environ if environ is None else environ
    found = near_names(variables, (name.upper() for name in Settings.model_fields), SECRET_NAMES)
    return [one for one in found if _is_grave(one.meant)], [one for one in found if not _is_grave(one.meant)]


def removed(environ: Mapping[str, str] | None = None) -> list[str]:
    """Variables that have a value, were settings in the release before, and have no effect any more."""
    variables = os.environ if environ is None else environ
    return [name for name in REMOVED if variables.get(name)]


def _is_grave(variable: str) -> bool:
    return variable.removesuffix("_FILE") in SECRET_NAMES or variable.endswith(("_BUDGET", "_PRICE"))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "it is no UTF-8 text", str(path)) from None
