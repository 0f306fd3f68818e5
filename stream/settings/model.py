"""``Settings``: all groups of settings as one frozen object."""

from __future__ import annotations

from pydantic import SecretStr

from stream.settings.crm import CrmSettings
from stream.settings.database import DatabaseSettings
from stream.settings.kafka import KafkaSettings
from stream.settings.partners import PartnerSettings
from stream.settings.producers import ProducerSettings
from stream.settings.worker import WorkerSettings


# pydantic orders the fields from the last base to the first. The generated files and lists of faults have this order.
class Settings(WorkerSettings, ProducerSettings, CrmSettings, PartnerSettings, DatabaseSettings, KafkaSettings):
    """The whole configuration, read once from the environment."""


SECRET_NAMES = tuple(
    name.upper()
    for name, field in Settings.model_fields.items()
    if field.annotation in (SecretStr, tuple[SecretStr, ...])
)
