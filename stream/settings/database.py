"""PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, SecretStr

from stream.settings.base import SettingsBase
from stream.settings.types import DatabaseAddress, Duration


class DatabaseSettings(SettingsBase):
    """PostgreSQL."""

    database_url: DatabaseAddress = Field(
        SecretStr("postgresql://localhost/leads"),
        description="Address of PostgreSQL, postgresql://user:password@host/database",
    )
    database_pool_size: int = Field(8, ge=2, description="Maximum connections to PostgreSQL per process")
    database_timeout: Duration = Field(timedelta(seconds=5), description="Time limit of one SQL statement")
