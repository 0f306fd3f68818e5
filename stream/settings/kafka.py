"""Kafka: brokers, credentials, topics."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, FilePath, SecretStr, ValidationInfo, field_validator

from stream.settings.base import SettingsBase

# A name or an IPv4 address, or an IPv6 address in brackets; without a port it is 9092.
_ADDRESS = re.compile(r"(?:\[[0-9a-f:.%]+\]|[^\s:/@\[\],]+)(?::\d{1,5})?", re.ASCII | re.IGNORECASE)


class KafkaSettings(SettingsBase):
    """Kafka: brokers, credentials, topics."""

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

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        if not all(_ADDRESS.fullmatch(one.strip()) for one in value.split(",")):
            msg = "must be host:port, comma-separated, such as broker-1:9092,broker-2:9092"
            raise ValueError(msg)
        return value

    @field_validator("kafka_sasl_username", "kafka_sasl_password")
    @classmethod
    def _needed_by_sasl(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        if info.data.get("kafka_security_protocol", "").startswith("SASL") and not len(value):
            msg = "is needed: KAFKA_SECURITY_PROTOCOL asks for SASL"
            raise ValueError(msg)
        return value
